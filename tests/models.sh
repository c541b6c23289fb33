#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# models.sh: the models in tests/models, each verified as a whole with the bounds of its "run" lines, and again with each of its planted
# mistakes, which must be found. With MODELS_LONG=1 (make check-model) each is verified with the bounds of its "long" lines too.
#
# For errors: no assertion fails, and nobody is left standing. For cycles (pan -l), with the first bounds: there is none, so every reader
# and every recoverer gets to its end, whoever of the others dies on the way.
set -u
. "$top_srcdir/tests/tap.sh"

models='block table batch'

# mistakes MODEL: lines "NUMBER KIND RUN NAME"; the bounds of that run (or long) line are enough to find it
mistakes() {
	sed -n 's,^#define MISTAKE_\([A-Z_]*\) \([0-9]*\) *\/\* \([a-z]*\) \([0-9]*\): .*,\2 \3 \4 \1,p' "$top_srcdir/tests/models/$1.pml"
}

# bounds MODEL KIND [N]: of its run (or long) lines
bounds() {
	sed -n "s/^ \* $2 ${3:-[0-9]*}: \([A-Z_0-9= ]*[0-9]\).*/\1/p" "$top_srcdir/tests/models/$1.pml"
}

# build MODEL: two verifiers, one for errors and one for cycles
build() {
	mkdir "$work/$1" && cp "$top_srcdir"/tests/models/*.pml "$work/$1" && cd "$work/$1" || return 1
	spin -a "$1.pml" && $CC -O1 -w -DSAFETY -DMEMLIM=8000 -o errors pan.c && $CC -O0 -w -DNP -DMEMLIM=8000 -o cycles pan.c
}

# verify MODEL BOUNDS [-l]: the whole state space, without an error, or with -l without a cycle; says how large it is
verify() {
	local program=errors start seconds said

	[ $# -lt 3 ] || program=cycles
	start=$(date +%s%N)
	said=$(cd "$work/$1" && env $2 ./$program -m10000 -w20 "${@:3}" 2>&1)
	seconds=$(awk -v ns=$(($(date +%s%N) - start)) 'BEGIN {printf "%.1f", ns / 1e9}')
	awk -v what="$1.pml: $2 ($program)" -v seconds="$seconds" '
	/depth reached/ {sub(/.*reached /, ""); depth = $1 + 0}
	/states, stored/ {states = $1}
	END {printf "# %s: %d states, depth %d, %s s\n", what, states, depth, seconds}' <<<"$said" >>"$work/sizes"
	grep -q 'errors: 0$' <<<"$said" && ! grep -qE 'max search depth|out of memory|search not completed|too small' <<<"$said" && return
	grep -E 'pan|error' <<<"$said"
	return 1
}

verify_all() {
	local line

	while read -r line; do
		verify "$1" "$line" || return 1
	done < <(bounds "$1" "$2")
}

# found MODEL NUMBER KIND RUN
found() {
	local said

	said=$(cd "$work/$1" && env $(bounds "$1" "$3" "$4") MISTAKE="$2" ./errors -m10000 -w18 2>&1)
	grep -q 'errors: 1$' <<<"$said" && return
	grep -E 'pan|error' <<<"$said"
	return 1
}

# What stands in the comments of the models, and in their README, as name() or as src/file: it exists.
named_from_the_code() {
	local name wrong=0

	awk '{
		line = $0
		while (line != "") {
			if (inside) {
				end = index(line, "*/")
				print end ? substr(line, 1, end - 1) : line
				line = end ? substr(line, end + 2) : ""
				if (end)
					inside = 0
			} else {
				start = index(line, "/*")
				line = start ? substr(line, start + 2) : ""
				inside = start > 0
			}
		}
	}' "$top_srcdir"/tests/models/*.pml >"$work/comments"
	cat "$top_srcdir/tests/models/README" >>"$work/comments"
	for name in $(grep -oE '\<[a-z_0-9]+\(\)' "$work/comments" | sort -u); do
		grep -qE "^[a-z].*\<${name%??}\(" "$top_srcdir"/src/*.[ch] && continue
		echo "no function in src: $name"
		wrong=1
	done
	for name in $(grep -oE '\<src/[a-z]+\.[ch]\>' "$work/comments" | sort -u); do
		[ -f "$top_srcdir/$name" ] && continue
		echo "no such file: $name"
		wrong=1
	done
	[ "$(grep -cE '[a-z]\(\)' "$work/comments")" -gt 30 ] || wrong=1
	return $wrong
}

for command in spin "${CC%% *}"; do
	if ! command -v "$command" >/dev/null; then
		echo "1..0 # SKIP there is no $command: apt-get install spin gcc"
		exit 0
	fi
done

long=${MODELS_LONG:+1}
count=1
for model in $models; do
	count=$((count + 2 + ${long:-0} + $(mistakes $model | wc -l)))
done
echo "1..$count"
check "what the models name exists in the code" named_from_the_code
for model in $models; do
	: >"$work/sizes"
	(build $model) >"$work/built" 2>&1 || sed 's/^/# /' "$work/built"
	check "$model.pml keeps its promises" verify_all $model run
	[ -z "$long" ] || check "$model.pml keeps them within larger bounds" verify_all $model long
	while read -r mistake kind run name; do
		check "$model.pml: the mistake $name is found" found $model "$mistake" "$kind" "$run"
	done < <(mistakes $model)
	check "$model.pml: everybody gets to the end" verify $model "$(bounds $model run 1)" -l
	cat "$work/sizes"
done

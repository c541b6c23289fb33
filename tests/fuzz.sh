#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# fuzz.sh: the fuzzers' entries (tests/fuzz): their collected inputs given to them once, compiled by whatever compiler builds the rest;
# then libFuzzer with clang's sanitizers on each for $FUZZ_SECONDS (4), starting from these inputs. And it must find faults that are
# planted. What it finds is written out, to be given to the entry again; see tests/fuzz/segment.c.
#
# Where clang or its runtime is missing, that part is skipped; with $FUZZ_REQUIRED set, it fails.
set -u
. "$top_srcdir/tests/tap.sh"
seconds=${FUZZ_SECONDS:-4}
src=$top_srcdir fuzz=$top_srcdir/tests/fuzz
flags="-std=c11 -D_GNU_SOURCE -I$src/include -I$src/src -I$src/shmtools/common -I$src/shmtools/flagctl
	$(pkg-config --cflags libbsd-overlay jansson)"
commands="$(pkg-config --libs jansson libbsd-overlay)"
library=$top_builddir/.libs/libflagstore-internal.a
fuzzing="-O1 -gline-tables-only -fno-sanitize-recover=all"
parsers=("$src"/shmtools/common/{keytext,value}.c "$src"/shmtools/flagctl/{filter,flagd,flaglist,tsv}.c)
# What the parsers call and is none.
around=("$src"/shmtools/common/{cli,columns,failure,output,progress,quantity}.c)
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

# replays ENTRY SOURCE...: without a fuzzer, all that has been collected
replays() {
	local entry=$1

	shift
	$CC $flags ${CFLAGS:-} "$fuzz/$entry.c" "$fuzz/replay.c" "$@" "$library" $commands ${LMDB_LIBS:--llmdb} \
		-o "$work/$entry.replay" &&
		"$work/$entry.replay" "$fuzz/corpus/$entry" >"$work/$entry.replayed" || { cat "$work/$entry.replayed"; return 1; }
}

# compile DIRECTORY SOURCE...: objects that count where they have been
compile() {
	local directory=$1

	shift
	mkdir -p "$directory" && cd "$directory" || return 1
	printf '%s\n' "$@" | xargs -P 2 -n 5 \
		clang $flags $fuzzing -fsanitize=fuzzer-no-link,address,undefined -c
}

# link PROGRAM OBJECT...
link() {
	local program=$1

	shift
	clang -fsanitize=fuzzer,address,undefined "$@" $commands ${LMDB_LIBS:--llmdb} -o "$program"
}

builds() {
	compile "$work/library" "$src"/src/*.c && compile "$work/segment.o" "$fuzz/segment.c" &&
		link "$work/segment" "$work"/segment.o/*.o "$work"/library/*.o &&
		compile "$work/import.o" "$fuzz/import.c" "${parsers[@]}" "${around[@]}" && link "$work/import" "$work"/{import.o,library}/*.o
}

# fuzz ENTRY PROGRAM SECONDS LOG: its status is the fuzzer's
fuzz() {
	local longest=256

	# The longest key's text has more than a thousand bytes.
	[ "$1" = segment ] || longest=4096
	mkdir -p "$4.found"
	"$2" -max_total_time="$3" -len_control=0 -max_len="$longest" -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$4." \
		"$4.found" "$fuzz/corpus/$1" >"$4" 2>&1 </dev/null
}

# found LOG: what a fuzzer has to say of a crash; and the input, which would be gone with the directory
found() {
	local input

	grep -E 'not so:|ERROR|runtime error|SUMMARY|^    #[0-9]' "$1" | head -n 30
	for input in "$1".crash-* "$1".timeout-* "$1".leak-* "$1".oom-*; do
		[ -e "$input" ] || continue
		echo "the input, for base64 -d:"
		base64 "$input"
	done
}

# Both side by side.
fuzz_both() {
	local entry

	for entry in segment import; do
		{
			fuzz $entry "$work/$entry" "$seconds" "$work/$entry.log"
			echo $? >"$work/$entry.status"
		} &
	done
	wait
}

# figures ENTRY: after the fuzzer has ended
figures() {
	local edges executions crashes

	executions=$(awk '/^stat::number_of_executed_units/ {print $2}' "$work/$1.log")
	edges=$(grep -oE 'cov: [0-9]+' "$work/$1.log" | tail -n 1)
	crashes=$(find "$work" -maxdepth 1 -name "$1.log.[ctlo]*-*" | wc -l)
	echo "# $1: ${executions:-0} executions, ${edges#cov: } edges, $crashes crashes"
}

survives() {
	local executions

	executions=$(awk '/^stat::number_of_executed_units/ {print $2}' "$work/$1.log")
	[ "$(cat "$work/$1.status")" = 0 ] && [ "${executions:-0}" -gt 0 ] && return
	found "$work/$1.log"
	tail -n 5 "$work/$1.log"
	return 1
}

# plant FILE OLD NEW: a copy of FILE in which NEW stands for OLD, which must be there once
plant() {
	local text rest

	text=$(cat "$src/$1")
	rest=${text#*"$2"}
	[ "$rest" != "$text" ] && [ "${rest#*"$2"}" = "$rest" ] || { echo "$1 does not have once: $2"; return 1; }
	mkdir -p "$work/planted"
	printf '%s\n' "${text%%"$2"*}$3$rest" >"$work/planted/${1##*/}"
}

# finds ENTRY: the planted program crashes before long
finds() {
	fuzz "$1" "$work/planted/$1" 20 "$work/planted/$1.log" && { echo "no input made it crash"; tail -n 3 "$work/planted/$1.log"; return 1; }
	grep -qE "AddressSanitizer|runtime error|not so:" "$work/planted/$1.log" || { tail -n 20 "$work/planted/$1.log"; return 1; }
}

finds_long_key() {
	plant shmtools/common/keytext.c '	if (length >= sizeof encoded)
		return "it is longer than 255 bytes";
' '' && compile "$work/planted/o" "$work/planted/keytext.c" &&
		link "$work/planted/import" "$work/planted/o/keytext.o" $(printf '%s\n' "$work"/{import.o,library}/*.o | grep -v /keytext.o) &&
		finds import
}

# Only for the file that finds a bucket: line numbers go unchecked there.
finds_unchecked_line() {
	plant src/segment.h 'return __builtin_expect(offset < fs_backed_bytes(store), 1);' \
		'return store && offset + 1;' && compile "$work/planted/o" -include "$work/planted/segment.h" "$src/src/table.c" &&
		link "$work/planted/segment" "$work/planted/o/table.o" "$work/segment.o/segment.o" \
			$(printf '%s\n' "$work"/library/*.o | grep -v /table.o) &&
		finds segment
}

echo 1..7
check 'segment: the collected inputs do no harm' replays segment
echo "# segment: $(tail -n 1 "$work/segment.replayed")"
check 'import: the collected inputs do no harm' replays import "${parsers[@]}" "${around[@]}"
echo "# import: $(tail -n 1 "$work/import.replayed")"

fuzzed=('the library and the parsers compile with -fsanitize=fuzzer,address,undefined' "segment: fuzzed for $seconds s, it keeps its promises"
	"import: fuzzed for $seconds s, it keeps its promises" 'import: a length that is not looked at is found'
	'segment: line numbers that are not looked at are found')
why=
command -v clang >/dev/null || why='clang is missing: apt-get install clang libclang-rt-dev'
if [ -z "$why" ]; then
	echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size) {return data && size > 1u << 30;}' >"$work/try.c"
	clang -fsanitize=fuzzer,address,undefined "$work/try.c" -o "$work/try" 2>"$work/try.out" ||
		why="clang has no libFuzzer: apt-get install libclang-rt-dev"
fi
if [ -n "$why" ]; then
	for what in "${fuzzed[@]}"; do
		if [ -n "${FUZZ_REQUIRED:-}" ]; then
			check "$what" eval "echo '$why'; false"
		else
			skip "$what" "$why"
		fi
	done
	exit
fi
check "${fuzzed[0]}" builds
fuzz_both
check "${fuzzed[1]}" survives segment
figures segment
check "${fuzzed[2]}" survives import
figures import
check "${fuzzed[3]}" finds_long_key
check "${fuzzed[4]}" finds_unchecked_line

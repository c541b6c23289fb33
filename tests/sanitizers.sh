#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# sanitizers.sh: the library and the tests once more under gcc's sanitizers: unit tests and the stress test for wrong addresses
# and undefined behaviour, so flaginspect and flagtop on damaged segments, the stress test in threads for data races. Compiled here, whatever
# the build was configured for.
# $SANITIZER_SECONDS is how long each stress runs (5).
set -u
. "$top_srcdir/tests/tap.sh"
seconds=${SANITIZER_SECONDS:-5}
# Not space.c, whose kernel calls these checks see nothing of, and deaths.c, whose processes do not live to report.
units='points segments batches damage truncation bits hostile'
# Those that take long and have hardly code of their own: when there is time.
[ "$seconds" -le 5 ] || units="$units reads forks orders"
CMOCKA_LIBS=${CMOCKA_LIBS:--lcmocka}

# build SANITIZER PROGRAM...: into $work/SANITIZER/
build() {
	local sanitizer=$1 folder=$work/$1 name sources
	local flags="-std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=$sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer
		-I$top_srcdir/include -I$top_srcdir/src ${CMOCKA_CFLAGS:-}"

	shift
	mkdir "$folder" && cd "$folder" || return 1
	sources=("$top_srcdir"/src/*.c "$top_srcdir"/tests/{support,operations,linearize,model}.c)
	[ "$sanitizer" != thread ] || sources+=("$top_srcdir/tests/clocklock.c")
	printf '%s\n' "${sources[@]}" | xargs -P 2 -n 8 $CC $flags -c || return 1
	for name in "$@"; do
		$CC $flags "$top_srcdir/tests/$name.c" ./*.o $CMOCKA_LIBS ${LMDB_LIBS:--llmdb} -o "$name" || return 1
	done
}

# build_tool NAME: into $work/tools, with the library of build address,undefined. Not optimised: that takes the least time in all.
build_tool() {
	local folder=$work/tools.o/$1
	local flags="-std=c11 -D_GNU_SOURCE -DPACKAGE_VERSION=\"0\" -O0 -fsanitize=address,undefined -fno-sanitize-recover=all
		-fno-omit-frame-pointer -I$top_srcdir/include -I$top_srcdir/src -I$top_srcdir/shmtools/common ${TOOLS_CFLAGS-$(pkg-config --cflags jansson libbsd-overlay ncursesw)}"

	mkdir -p "$work/tools" "$folder" && cd "$folder" || return 1
	printf '%s\n' "$top_srcdir/shmtools/$1"/*.c | xargs -P 2 -n 8 $CC $flags -c || return 1
	[ "$1" = common ] || $CC $flags ./*.o "$work"/tools.o/common/*.o $(for file in "$top_srcdir"/src/*.c; do
		echo "$work/address,undefined/$(basename "$file" .c).o"
	done) ${TOOLS_LIBS:--ljansson -lbsd -lncursesw -ltinfo} ${LMDB_LIBS:--llmdb} -o "$work/tools/$1"
}

# finds_nothing COMMAND...: with the tools that were built here; what the sanitizers say goes into files, since tools fail for other reasons
finds_nothing() (
	export PATH=$work/tools:$PATH ASAN_OPTIONS="$ASAN_OPTIONS:log_path=$work/found" UBSAN_OPTIONS="$UBSAN_OPTIONS:log_path=$work/found"

	"$@"
	status=$?
	cat "$work"/found.* 2>/dev/null && return 1
	return $status
)

# A tool with a mistake: a key's last byte is written behind the buffer.
wrong_address() {
	echo 'int main(int count, char **arguments) {char all[8]; all[7 + count] = **arguments; return all[count];}' >"$work/wrong.c"
	$CC -O0 -fsanitize=address "$work/wrong.c" -o "$work/tools/wrong" && wrong
}

# Everything that looks at a segment, which has been scribbled over but for the constants, and what a repair makes of it.
looks_at_damage() {
	local file=$FLAGSTORE_DIR/flagstore.damaged size seed view look

	flagctl create damaged --shards 4 --max-size 2M && flagctl import damaged "$top_srcdir/tests/data/postgresql.tsv" || return 1
	size=$(($(od -A n -t u4 -j 192 -N 4 "$file") * 64))
	cp "$file" "$work/sound"
	for seed in 1 2 3; do
		awk -v seed=$seed -v size="$size" 'BEGIN {srand(seed); for (i = 0; i < 20; i++) print 4096 + int(rand() * (size - 4096))}' |
			while read -r place; do
				printf "\\$(printf %03o $((place * 7 & 255)))" | dd of="$file" bs=1 seek="$place" conv=notrunc 2>/dev/null
			done
		for view in shards threads hottest conflicts events; do
			flagtop --once --interval 1ms --view $view damaged
		done
		for look in check dump 'dump --json' map shards workers locks threads events conflicts 'history debug_assertions'; do
			set -- $look
			flaginspect "$1" damaged "${@:2}"
		done
		flaginspect diff "$work/sound" damaged
		flaginspect map damaged --html "$work/map.html"
		flaginspect repair damaged --quarantine "$work/quarantine.$seed"
	done >/dev/null
	true
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=second_deadlock_stack=1

echo "1..$(($(wc -w <<<"$units") + 7))"
check 'the library compiles with -fsanitize=address,undefined' build address,undefined $units stress
for unit in $units; do
	check "$unit: no wrong address, nothing undefined" "$work/address,undefined/$unit"
done
check "stress for $seconds s: no wrong address, nothing undefined" \
	"$work/address,undefined/stress" --seconds "$seconds" --grow $((seconds * 2000))
check 'so do the tools' eval 'build_tool common && build_tool flaginspect && build_tool flagtop'
check "flaginspect and flagtop on a damaged segment: no wrong address, nothing undefined" finds_nothing looks_at_damage
check 'a wrong address would be noticed' eval '! finds_nothing wrong_address >/dev/null'
check 'the library compiles with -fsanitize=thread' build thread stress
check "stress in threads for $seconds s: no data race" "$work/thread/stress" --threads --seconds "$seconds" --grow $((seconds * 1000))

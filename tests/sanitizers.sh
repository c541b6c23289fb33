#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# sanitizers.sh: the library and the tests once more under gcc's sanitizers: all unit tests and the stress test for wrong addresses
# and undefined behaviour, the stress test in threads for data races. Compiled here, whatever the build was configured for.
# $SANITIZER_SECONDS is how long each stress runs (5).
set -u
. "$top_srcdir/tests/tap.sh"
seconds=${SANITIZER_SECONDS:-5}
# Not space.c, whose kernel calls these checks see nothing of, and deaths.c, whose processes do not live to report.
units='points segments reads batches damage truncation bits hostile forks orders'
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
		$CC $flags "$top_srcdir/tests/$name.c" ./*.o $CMOCKA_LIBS -o "$name" || return 1
	done
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=second_deadlock_stack=1

echo "1..$(($(wc -w <<<"$units") + 4))"
check 'the library compiles with -fsanitize=address,undefined' build address,undefined $units stress
for unit in $units; do
	check "$unit: no wrong address, nothing undefined" "$work/address,undefined/$unit"
done
check "stress for $seconds s: no wrong address, nothing undefined" \
	"$work/address,undefined/stress" --seconds "$seconds" --grow $((seconds * 2000))
check 'the library compiles with -fsanitize=thread' build thread stress
check "stress in threads for $seconds s: no data race" "$work/thread/stress" --threads --seconds "$seconds" --grow $((seconds * 1000))

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# handle-code.sh: what compilers make of a loop that reads a handle: no call in it but the one to the slow path, which is jumped over.
set -u
. "$top_srcdir/tests/tap.sh"

cat >"$work/loop.c" <<'END_OF_LOOP'
#include <flagstore.h>
size_t count_true(flagstore_handle *handle, size_t rounds);
size_t count_true(flagstore_handle *handle, size_t rounds)
{
	size_t count = 0;

	for (size_t i = 0; i < rounds; i++)
		count += flagstore_handle_get(handle);
	return count;
}
END_OF_LOOP

# hot_path COMPILER: the instructions of the shortest loop: from a label to the conditional jump back to it
hot_path() {
	$1 -std=c11 -O2 -S -I"${include:-$top_srcdir/include}" "$work/loop.c" -o "$work/loop.s" || return 1
	awk '
		/^[.A-Za-z_0-9]+:/ { label[substr($1, 1, index($1, ":") - 1)] = n + 1; next }
		/^\t[a-z]/ {
			line[++n] = $0
			if ($1 ~ /^j/ && $1 !~ /^jmp/ && ($2 in label) && (!end || n - label[$2] < end - start)) {
				start = label[$2]
				end = n
			}
		}
		END {
			for (i = start; i && i <= end; i++)
				print line[i]
		}' "$work/loop.s"
}
# inlined COMPILER: the loop is found, loads the word, and calls nothing
inlined() {
	hot_path "$1" >"$work/hot" || return 1
	cat "$work/hot"
	[ -s "$work/hot" ] && ! grep -q 'call' "$work/hot" && [ "$(wc -l <"$work/hot")" -le 24 ]
}
# A header in which reading a handle is a call.
mkdir "$work/slow"
sed 's/return (differ & FLAGSTORE_HANDLE_VALUE) != 0;/return flagstore_handle_resolve(handle);/' "$top_srcdir/include/flagstore.h" >"$work/slow/flagstore.h"
noticed() {
	! include=$work/slow inlined "$1"
}

# The one that the library is built with, which may have options of its own, and the others that are here.
compilers=("${CC:-cc}")
for compiler in gcc clang; do
	command -v $compiler >/dev/null && [ "$compiler" != "${CC:-cc}" ] && compilers+=("$compiler")
done
echo "1..$((${#compilers[@]} * 2))"
for compiler in "${compilers[@]}"; do
	check "$compiler: reading a handle in a loop calls nothing" inlined "$compiler"
	check "$compiler: a call would be noticed" noticed "$compiler"
done

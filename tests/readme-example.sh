#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# readme-example.sh: the README's C example is compiled as it is printed, by the command that is printed, against an installed library;
# the README's shell example is run line by line.
set -u
. "$top_srcdir/tests/tap.sh"
export FLAGSTORE_DIR=$work/segments
mkdir "$FLAGSTORE_DIR"
readme=$top_srcdir/README.md

# Installs the library into $work/root, and lets pkg-config find it there.
install_library() {
	local found

	(unset MAKEFLAGS MFLAGS MAKELEVEL &&
		make -s -C "$top_builddir" DESTDIR="$work/root" install-libLTLIBRARIES install-includeHEADERS install-pkgconfigDATA) || return 1
	found=$(find "$work/root" -name flagstore.pc)
	[ -n "$found" ] || return 1
	sed -i "s#^\([a-z_]*\)=/#\1=$work/root/#" "$found"
	export PKG_CONFIG_PATH=${found%/*}
}

compile() {
	local command

	awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' "$readme" >"$work/example.c"
	command=$(sed -n 's/^    cc \(example\.c .*\)/\1/p' "$readme")
	[ -s "$work/example.c" ] && [ -n "$command" ] || return 1
	cd "$work" && eval "$CC $CFLAGS -Wall -Wextra -Wconversion -Werror $command"
}

run_example() {
	LD_LIBRARY_PATH=$(pkg-config --variable=libdir flagstore) "$work/a.out"
}

complains_without_segment() {
	local message

	message=$(run_example 2>&1 >/dev/null) && return 1
	[[ $message == *"$FLAGSTORE_DIR/flagstore.shop"* ]] || { echo "it said: $message"; return 1; }
}

# Those lines of the README that start with flagctl; a watch has no end, and must still be there when it is stopped.
shell_lines() {
	sed -n 's/^    \(flagctl .*\)/\1/p' "$readme" | sed 's/ *#.*//; s/^flagctl watch.*/timeout 0.5 &; [ $? -eq 124 ]/'
}

run_shell() {
	local line

	cd "$work" || return 1
	printf 'one\ttrue\ntwo\tfalse\n' >flags.tsv
	[ "$(shell_lines | wc -l)" -ge 5 ] || return 1
	while read -r line; do
		bash -c "$line" </dev/null || { echo "failed: $line"; return 1; }
	done < <(shell_lines)
	[ "$(flagctl get shop one)" = true ]
}

sees_the_flag() {
	[ "$(run_example | sort -u)" = "sorry, back soon" ] || return 1
	flagctl set shop checkout.paused false
	[ "$(run_example | sort -u)" = "thank you for your order" ]
}

echo 1..5
check "the library is installed where pkg-config finds it" install_library
check "the C example compiles by the printed command" compile
check "it says what is missing when there is no segment" complains_without_segment
check "the shell example runs" run_shell
check "the C example sees the flag" sees_the_flag

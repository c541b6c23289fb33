# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# tap.sh: the lines of a test written in shell, which follow a plan (1..N). To be sourced. $work is a directory of the test's own.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0

# check WHAT COMMAND...: ok if the command succeeds; its output is shown if it does not
check() {
	local what=$1 result=ok

	shift
	number=$((number + 1))
	"$@" >"$work/.output" 2>&1 || result='not ok'
	[ "$result" = ok ] || sed 's/^/# /' "$work/.output"
	echo "$result $number - $what"
}

# on_terminal COMMAND: the output and status of a shell's command on a terminal of 60 columns. The terminal outlives it, because script(1)
# does not wait for what a busy system has still on its way.
on_terminal() {
	SHELL=/bin/sh TERM=xterm script -qec "stty cols 60; $1; status=\$?; sleep 0.2; exit \$status" /dev/null </dev/null
}

# skip WHAT WHY
skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-manual.sh: flaginspect(1), --help and the completion say the same, usage errors are sentences, and the page's examples are
# true.
set -u
. "$(dirname "$0")/flaginspect.sh"

page=$top_srcdir/man/flaginspect.1
commands=$(inspect_commands)

help_options() {
	flaginspect "$1" --help | sed -nE 's/^  (-([a-zA-Z]),|   ) --([a-z-]+)( [A-Z]+)? .*/\2 \3\4/p' | sed 's/^ //'
}
page_section() {
	awk -v command="$1" '/^\.S[sh] / {on = ($1 == ".Ss" && $2 == command)} on' "$page"
}
page_options() {
	sed -nE 's/^\.It (Fl ([a-zA-Z]) , )?Fl -([a-z-]+)( Ar ([a-z]+))?$/\2 \3 \U\5/p' | sed 's/^ //; s/ $//'
}
common='j json
h help
V version'

same_options() {
	diff <(help_options "$1" | grep -vxF "$common" | sort) <(page_section "$1" | page_options | sort)
}
same_operands() {
	diff <(flaginspect "$1" --help | sed -n '1s/.*\[options\] *//p' | tr -c 'A-Z\n' ' ' | xargs) \
		<(sed -n "s/^\.Ss $1 *//p" "$page" | sed 's/\<\(Ar\|Op\|Ns\)\>//g' | tr a-z A-Z | tr -c 'A-Z\n' ' ' | xargs)
}
same_statuses() {
	diff <(flaginspect --help | sed -n '/^exit status:/,$s/^ *\([0-9]\+\)  /\1 /p') \
		<(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$page" | sed -n '/^\.It [0-9]/{s/^\.It //;N;s/\n/ /;p}')
}
check "the page has the commands of --help" diff <(sort <<<"$commands") <(sed -n 's/^\.Ss \([a-z]*\).*/\1/p' "$page" | sort)
for command in $commands; do
	check "$command has the same options in page and help" same_options "$command"
	check "$command has the same operands" same_operands "$command"
	check "$command without operands" fails 2 "^flaginspect: $command: .*missing" flaginspect "$command"
	check "$command with an unknown option" fails 2 "unknown" flaginspect "$command" t a b --nonsense
done
check "the page has the exit statuses of --help" same_statuses

# The examples, in their order, on a segment of their own in the place of the page's.
examples() {
	cd "$work" || return 1
	flagctl create shop && flagctl batch shop checkout.paused=true search.new=false >batch || return 1
	sed -n 's/^\.Dl \$ //p' "$page" | sed "s,/dev/shm,$FLAGSTORE_DIR,; s/\\\\e/\\\\/g" >examples
	while read -r example; do
		echo "$ $example"
		bash -c "$example" || return 1
	done <examples
}
check "the examples work" examples

mkdir "$work/empty" && cd "$work/empty" || exit 1
. "$top_srcdir/shmtools/completion/flaginspect"
completes() {
	local expected=$1 COMP_WORDS COMP_CWORD COMPREPLY

	shift
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	_flaginspect
	[ "${COMPREPLY[*]}" = "$expected" ] || { echo "${COMPREPLY[*]}"; return 1; }
}
check "a command is completed" completes check flaginspect chec
check "an option, too" completes --slot flaginspect dump --sl
check "and a segment" completes shop flaginspect check sh
plan

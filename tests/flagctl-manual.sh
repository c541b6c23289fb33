#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-manual.sh: flagctl(1) and --help say the same, and the page's examples are true.
set -u
. "$(dirname "$0")/flagctl.sh"

page=$top_srcdir/man/flagctl.1

# Everything that --help says, as lines "COMMAND OPTION..." and "COMMAND: OPERANDS"; and everything that the page says.
help_options() {
	flagctl "$1" --help | sed -nE 's/^  (-([a-zA-Z]),|   ) --([a-z-]+)( [A-Z]+)? .*/\2 \3\4/p' | sed 's/^ //'
}
page_section() {
	awk -v command="$1" '
	/^\.S[sh] / {on = ($1 == ".Ss" && $2 == command)}
	on' "$page"
}
page_options() {
	sed -nE 's/^\.It (Fl ([a-zA-Z]) , )?Fl -([a-z-]+)( Ar ([a-z]+))?$/\2 \3 \U\5/p' | sed 's/^ //; s/ $//'
}
common='j json
h help
V version'

same_options() {
	diff <(help_options "$1" | grep -vxF "$common" | sort) \
		<(page_section "$1" | page_options | sort)
}
# The operands in the usage line and in the page's heading, as words.
same_operands() {
	diff <(flagctl "$1" --help | sed -n '1s/.*\[options\] *//p' | sed 's/\.\.\.//g' | tr -c 'A-Z\n' ' ' | xargs) \
		<(sed -n "s/^\.Ss $1 *//p" "$page" | sed 's/\<\(Ar\|Op\|Ns\)\>//g' | tr a-z A-Z | tr -c 'A-Z\n' ' ' | xargs)
}
same_alias() {
	diff <(flagctl "$1" --help | sed -n 's/^Alias: //p') \
		<(page_section "$1" | sed -n '/^(Alias:$/{n;s/^\.Cm \([a-z]*\).*/\1/p}')
}
same_statuses() {
	diff <(flagctl --help | sed -n '/^exit status:/,$s/^ *\([0-9]\+\)  /\1 /p') \
		<(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$page" | sed -n '/^\.It [0-9]/{s/^\.It //;N;s/\n/ /;p}')
}
same_commands() {
	diff <(commands | sort) <(sed -n 's/^\.Ss \([a-z]*\).*/\1/p' "$page" | sort)
}
check "the page has the commands of --help" same_commands
check "the page has the common options" \
	diff <(help_options info | sort) <(sed '/^\.Sh COMMANDS/q' "$page" | page_options | sort)
for command in $(commands); do
	check "$command has the same options in page and help" same_options "$command"
	check "$command has the same operands" same_operands "$command"
	check "$command has the same alias" same_alias "$command"
done
check "the page has the exit statuses of --help" same_statuses

# The examples, in their order, on a segment of their own. The page's group, and its directory, are replaced by what is there.
examples() {
	cd "$work" || return 1
	printf 'checkout.paused\tfalse\nsearch.new\tfalse\nsearch.old\ttrue\n' >flags.tsv
	sed -n 's/^\.Dl \$ //p' "$page" | sed "s/--group shop/--group $(id -g)/; s,/var/lib/prices,$work/prices,; s/\\\\e/\\\\/g" >examples
	[ "$(wc -l <examples)" -ge 11 ] || return 1
	while read -r example; do
		echo "$ $example"
		bash -c "$example" || return 1
	done <examples
}
check "the examples work" examples
check "the exported copy has what the examples changed" says 0 $'^search.new\ttrue$' cat "$work/shop.tsv"
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-manual.sh: flaglab(1), --help, the completion and the columns of the table say the same, and the page's examples are
# true.
set -u
. "$(dirname "$0")/flagctl.sh"

page=$top_srcdir/man/flaglab.1
commands=$(flaglab --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')

help_options() {
	flaglab "$1" --help | sed -nE 's/^  (-([a-zA-Z]),|   ) --([a-z-]+)( [A-Z]+)? .*/\2 \3\4/p' | sed 's/^ //'
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
	diff <(flaglab "$1" --help | sed -n '1s/.*\[options\] *//p' | grep .) <(sed -n "s/^\.Ss $1 Ar \(.*\)/\U\1/p" "$page")
}
# The page names each default: "N; the default is 4" where --help says (4).
same_defaults() {
	diff <(flaglab "$1" --help | sed -nE 's/.*--([a-z]+) [A-Z]+ .*\(([0-9]+)\)$/\1 \2/p' | grep -v ' 0$') \
		<(page_section "$1" | tr '\n' ' ' | sed '$s/$/\n/' | sed 's/\.It /\n/g' | sed -nE 's/.*Fl -([a-z]+) .*the default is ([0-9]+).*/\1 \2/p')
}
same_statuses() {
	diff <(flaglab --help | sed -n '/^exit status:/,$s/^ *\([0-9]\+\)  /\1 /p') \
		<(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$page" | sed -n '/^\.It [0-9]/{s/^\.It //;N;s/\n/ /;p}')
}

printf 'a\ttrue\nb\tfalse\nc\ttrue\n' >"$work/flags.tsv"
flagctl create t && flagctl import t "$work/flags.tsv" >"$work/out" || exit 1
same_columns() {
	diff <(flaglab run t --seconds 100ms --workers 1 | sed -n '/^WORKER/{s/  */\n/g;p}') \
		<(sed -n '/^\.Sh THE TABLE$/,/^\.Sh THE TABLES/s/^\.It \([A-Z/]*\)$/\1/p' "$page")
}
# Every line behind the table that a run prints stands in the page.
same_lines() {
	local line

	flaglab run t --seconds 100ms --workers 1 | sed -n '/^POINT/,/^healthy/p' | sed -nE 's/^([a-z ]{1,13}[a-z]) {2,}.*|^(wrong answers) .*/\1\2/p' |
		sed 's/ *$//' >"$work/lines"
	[ "$(wc -l <"$work/lines")" -eq 6 ] || { cat "$work/lines"; return 1; }
	while read -r line; do
		grep -qx "\.It $line" "$page" || { echo "not in the page: $line"; return 1; }
	done <"$work/lines"
}

flaglab crash t --seconds 300ms --flags 1000 >"$work/crash" || { cat "$work/crash"; exit 1; }
page_of_crash() {
	sed -n '/^\.Sh THE TABLES OF CRASH/,/^\.Sh ENV/s/^\.It //p' "$page"
}
crash_columns() {
	diff <(sed -n '/^WHILE\|^TIME/{s/  */\n/g;p}' "$work/crash") <(page_of_crash | grep -x '[A-Z0-9.-]*')
}
# Rows, and lines behind the tables.
crash_lines() {
	local line

	sed -nE '/^WHILE/,$s/^([a-z][a-z ,]*[a-z])(  .*|  *[0-9-].*)$/\1/p' "$work/crash" | sed 's/ after$//' >"$work/lines"
	[ "$(wc -l <"$work/lines")" -ge 26 ] || { cat "$work/lines"; return 1; }
	while read -r line; do
		page_of_crash | grep -qx "$line" || { echo "not in the page: $line"; return 1; }
	done <"$work/lines"
}

check "the page has the commands of --help" diff <(echo "$commands") <(sed -n 's/^\.Ss \([a-z]*\).*/\1/p' "$page")
check "the page has the common options" diff <(echo "$common" | sort) <(sed '/^\.Sh COMMANDS/q' "$page" | page_options | sort)
for command in $commands; do
	check "$command has the same options in page and help" same_options "$command"
	check "$command has the same operands" same_operands "$command"
	check "$command has the same defaults" same_defaults "$command"
done
check "the page has the exit statuses of --help" same_statuses
check "the page has the columns of the table" same_columns
check "the page has the lines behind it" same_lines
check "the page has the columns of crash" crash_columns
check "the page has the rows and lines of crash" crash_lines

. "$top_srcdir/shmtools/completion/flaglab"
# offers EXPECTED WORD...: completing the last word gives EXPECTED, sorted
offers() {
	local expected=$1

	shift
	COMP_WORDS=(flaglab "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_flaglab
	diff <(printf '%s\n' $expected | sort) <(printf '%s\n' "${COMPREPLY[@]}" | sort)
}
flagctl create lab.two || exit 1
check "completion: commands" offers 'run race' r
check "completion: commands behind help" offers 'run crash race incident bench' help ''
check "completion: options of crash" offers '--kills' crash t --k
check "completion: segments" offers 't lab.two' run ''
check "completion: one segment only" offers '' run t ''
check "completion: segments behind an option" offers 'lab.two' run --workers 4 lab.t
check "completion: no offer for a number" offers '' run --workers ''
check "completion: options" offers '--keep --kill' run t --k
check "completion: no segment for incident, which makes its own" offers '' incident ''
check "completion: files" offers "$work/flags.tsv" incident --flags "$work/flags.t"
check "completion: nothing for an unknown command" offers '' nonsense ''

# The examples, in their order; ten seconds are too long for a test.
examples() {
	cd "$work" || return 1
	sed -n 's/^\.Dl \$ //p' "$page" | sed 's/^flaglab [a-z]* lab$/& --seconds 200ms/' >examples
	[ "$(wc -l <examples)" -ge 9 ] || return 1
	while read -r example; do
		echo "$ $example"
		bash -o pipefail -c "$example" || return 1
	done <examples
}
if command -v jq >/dev/null; then
	check "the examples work" examples
else
	skip "the examples work" "there is no jq"
fi
plan

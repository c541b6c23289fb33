#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagtop-manual.sh: flagtop(1), --help, the completion and the columns of the views say the same, and the page's examples are true.
set -u
. "$(dirname "$0")/flagctl.sh"

page=$top_srcdir/man/flagtop.1
printf 'a\ttrue\nb\tfalse\n' >"$work/flags.tsv"
flagctl create shop && flagctl import shop "$work/flags.tsv" >"$work/out" || exit 1

same_options() {
	diff <(flagtop --help | sed -nE 's/^  (-([a-z1A-Z]),|   ) --([a-z-]+)( [A-Z]+)? .*/\2 \3\4/p' | sed 's/^ //' | sort) \
		<(sed -nE 's/^\.It (Fl ([a-z1A-Z]) , )?Fl -([a-z-]+)( Ar ([a-z]+))?$/\2 \3 \U\5/p' "$page" | sed 's/^ //; s/ $//' | sort)
}
same_statuses() {
	diff <(flagtop --help | sed -n '/^exit status:/,$s/^ *\([0-9]\+\)  /\1 /p') \
		<(sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$page" | sed -n '/^\.It [0-9]/{s/^\.It //;N;s/\n/ /;p}')
}
same_columns() {
	local view=$1

	diff <(flagtop --view "$view" --sort nonsense shop 2>&1 |
			sed -n 's/.*it has \(.*\)$/\1/p' | sed 's/, /\n/g') \
		<(sed -n "/^\.Ss $view\$/,/^\.El/s/^\.It //p" "$page")
}
offers() {
	local expected=$1

	shift
	COMP_WORDS=(flagtop "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_flagtop
	diff <(printf '%s\n' $expected | sort) <(printf '%s\n' "${COMPREPLY[@]}" | sort)
}
# The examples that end by themselves.
examples() {
	sed -n 's/^\.Dl \$ //p' "$page" | sed 's/\\(dq/"/g' | grep -e '--once\|--count' >"$work/examples"
	[ "$(wc -l <"$work/examples")" -eq 3 ] || return 1
	while read -r example; do
		echo "$ $example"
		bash -o pipefail -c "$example" || return 1
	done <"$work/examples"
}

check "page and help have the same options" same_options
check "the page has the exit statuses of --help" same_statuses
for view in shards threads hottest conflicts events; do
	check "the page has the columns of $view" same_columns $view
done
. "$top_srcdir/shmtools/completion/flagtop"
flagctl create lab || exit 1
check "completion: segments" offers 'shop lab' ''
check "completion: views" offers 'events' --view e
check "completion: options" offers '--version --view' --v
check "completion: no offer for a number" offers '' --count ''
check "the examples work" examples
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-completion.sh: what bash offers behind a command line.
set -u
. "$(dirname "$0")/flagctl.sh"

. "$top_srcdir/shmtools/completion/flagctl"
flagctl create shop --mode 600 && flagctl create lab.one || exit 1
flagctl batch shop checkout.paused=true checkout.new=true search=false 'a b=true' >"$work/out"

# offers EXPECTED WORD...: completing the last word gives EXPECTED, each on a line, sorted
offers() {
	local expected=$1

	shift
	COMP_WORDS=(flagctl "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_flagctl
	printf '%s\n' "${COMPREPLY[@]}" | sort >"$work/offered"
	diff <(printf '%s\n' $expected | sort) "$work/offered"
}
check "commands" offers 'test toggle' t
check "commands by name" offers 'import info' i
check "help" offers 'help health' h
check "commands behind help" offers 'watch wait' help wa
check "segments" offers 'shop lab.one' get ''
check "segments by their beginning" offers 'shop' list s
check "keys" offers 'checkout.paused checkout.new' toggle shop ch
check "more keys" offers 'checkout.paused checkout.new' get shop search ch
check "values" offers 'true false' set shop search ''
check "no more than the operands" offers '' set shop search true ''
check "long options" offers '--prefix' list shop --pr
check "options of create" offers '--max-size --mode' create --m
check "common options" offers '--json' get --j
check "a format" offers 'tsv flagd' import shop --format ''
check "a value of --expect" offers 'true' set shop search true --expect t
check "operands behind an option with a value" offers 'shop lab.one' export --format tsv ''
check "changes" offers 'checkout.paused= checkout.new=' batch shop ch
check "what a change may be" offers 'search=true search=toggle' batch shop search=t
check "nothing for a segment that does not exist" offers '' get nowhere ''
check "nothing for an unknown command" offers '' nonsense ''
spaced() {
	COMP_WORDS=(flagctl get shop 'a') COMP_CWORD=3 COMPREPLY=()
	_flagctl
	echo "${COMPREPLY[*]}"
	[ "${COMPREPLY[*]}" = 'a\ b' ]
}
check "a key with a blank is quoted" spaced
plan

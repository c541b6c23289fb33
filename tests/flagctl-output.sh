#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-output.sh: output that does not arrive is a failure, and never lands anywhere else.
set -u
. "$(dirname "$0")/flagctl.sh"

flagctl create t && seq -f 'flag.%g=true' 4000 | flagctl batch t >"$work/out" || exit 1

# Each: COMMAND fails by 74 and says so, with a standard output that is a full device, closed, or a pipe without reader.
full() {
	local seen=0

	"$@" >/dev/full 2>"$work/stderr" || seen=$?
	echo "status $seen"
	cat "$work/stderr"
	[ "$seen" -eq 74 ] && grep -qE '^(flagctl: |\{"error":.*)standard output .*No space left on device' "$work/stderr"
}
closed() {
	local seen=0

	"$@" >&- 2>"$work/stderr" || seen=$?
	echo "status $seen"
	cat "$work/stderr"
	[ "$seen" -eq 74 ] && grep -qE '^(flagctl: |\{"error":.*)standard output' "$work/stderr"
}
gone() {
	local seen

	{ sleep 0.1; "$@" 2>"$work/stderr"; echo $? >"$work/seen"; } | true
	seen=$(cat "$work/seen")
	echo "status $seen"
	cat "$work/stderr"
	[ "$seen" -eq 74 ] && grep -qE '^(flagctl: |\{"error":.*)standard output .*Broken pipe' "$work/stderr"
}
while read -r command; do
	# shellcheck disable=SC2086
	for loss in full closed gone; do
		check "$command, standard output $loss" $loss flagctl $command
	done
done <<'END'
--help
--version
get --help
get t flag.1
get t flag.1 flag.2
get t flag.1 --json
list t
list t --long
list t --json
info t
info t --json
check t
toggle t flag.1
batch t flag.2=toggle
import t /dev/null
export t
export t --json
test t flag.1 --json
END
check "nothing was written into the segment" ends 0 '0 findings' flagctl check t
silent() {
	"$@" >&-
}
check "what is silent does not mind" silent flagctl set t flag.3 false
check "standard input that is closed can't be read" fails 66 'standard input' flagctl batch t <&-
check "a closed standard error does not turn up in the segment" sh -c 'flagctl toggle t nowhere 2>&-; [ $? -eq 3 ]'
check "the segment is whole" ends 0 '0 findings' flagctl check t
check "nothing but text: no colours without a terminal" ends 1 '' grep -P '\033' <(TERM=xterm flagctl list t --long)
if script -qec true /dev/null >"$work/out" 2>&1; then
	check "titles are bold on a terminal" says 0 $'\033\\[1m' on_terminal 'flagctl list t --long'
	check "but not with NO_COLOR" ends 1 '' grep -P '\033' <(on_terminal 'NO_COLOR=1 flagctl list t --long')
	seq -f 'more.%06g' 60000 | sed 's/$/\ttrue/' >"$work/more.tsv"
	check "a long import shows progress on a terminal" says 0 'importing [0-9]+ of 60000 flags' \
		on_terminal "flagctl import t $work/more.tsv"
else
	skip "titles are bold on a terminal" "there is no script(1)"
	skip "but not with NO_COLOR" "there is no script(1)"
	skip "a long import shows progress on a terminal" "there is no script(1)"
fi
plan

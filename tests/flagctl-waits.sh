#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-waits.sh: wait and watch see what happens, end when they should, and never sleep through the end of a segment.
set -u
. "$(dirname "$0")/flagctl.sh"

flagctl create t && flagctl set t a true || exit 1

waiting() {
	says 0 "^workers +$1 living" flagctl info t
}

check "a value that is there already" ends 0 '' timeout 20 flagctl wait t a true
check "a time limit" fails 1 'flag a of segment t in time' timeout 20 flagctl wait t a false --timeout 100ms
check "a time limit of nothing" fails 1 'in time' timeout 20 flagctl wait t a false --timeout 0
check "a missing flag has no value" fails 1 'in time' timeout 20 flagctl wait t b false --timeout 0.1
check "a missing flag does not change by itself" fails 1 'in time' timeout 20 flagctl wait t b --timeout 0.1

# woken STATUS OUTPUT CHANGE... -- WAIT...: the change ends the wait
woken() {
	local status=$1 output=$2 change=() seen_status=0 pid

	shift 2
	while [ "$1" != -- ]; do
		change+=("$1")
		shift
	done
	shift
	timeout 20 "$@" >"$work/woken" 2>&1 &
	pid=$!
	eventually waiting 1 >/dev/null || return 1
	sleep 0.1
	"${change[@]}" >/dev/null || return 1
	wait $pid || seen_status=$?
	echo "status $seen_status, output $(cat "$work/woken")"
	[ "$seen_status" -eq "$status" ] && [ "$(cat "$work/woken")" = "$output" ]
}
check "a flip ends a wait for the value" woken 0 '' flagctl toggle t a -- flagctl wait t a false
check "a flip ends a wait for any change" woken 0 true flagctl toggle t a -- flagctl wait t a
check "a delete ends it" woken 0 missing flagctl delete t a -- flagctl wait t a
check "an insert ends it" woken 0 false flagctl set t a false -- flagctl wait t a
check "a batch ends it" woken 0 true flagctl batch t a=true b=true -- flagctl wait t a
check "as JSON" woken 0 '{"key": "a", "value": null}' flagctl delete t a -- flagctl wait t a --json
check "an insert with the wrong value does not end a wait for the other" woken 0 '' \
	sh -c 'flagctl set t a true; sleep 0.2; flagctl set t a false' -- flagctl wait t a false
check "a wait ends with its segment" \
	woken 3 'flagctl: segment t has been unlinked meanwhile' flagctl unlink t --force -- flagctl wait t a true

flagctl create t && flagctl set t a true || exit 1
check "and when it is cut short, by a sentence" woken 0 1 truncate -s 0 "$FLAGSTORE_DIR/flagstore.t" -- \
	sh -c 'flagctl wait t a false 2>&1 | grep -c "cut short"'
rm "$FLAGSTORE_DIR/flagstore.t"

flagctl create t && flagctl set t a true || exit 1
check "a watch shows a change" \
	woken 0 "a true false" sh -c 'flagctl toggle t a' -- sh -c 'flagctl watch t --count 1 | cut -f 2-4 | tr "\t" " "'
check "a watch says when and who" woken 0 1 flagctl toggle t a -- \
	sh -c 'flagctl watch t --count 1 | grep -cE "^20[0-9-]+T[0-9:.]+Z	a	false	true	flagctl\[[0-9]+\]$"'
check "an insert and a delete" woken 0 $'n missing true\nn true missing' \
	sh -c 'flagctl set t n true; sleep 0.3; flagctl delete t n' -- sh -c 'flagctl watch t --count 2 | cut -f 2-4 | tr "\t" " "'
check "only the flags that are asked for" woken 0 'shop.x missing true' \
	sh -c 'flagctl set t other true; sleep 0.2; flagctl set t shop.y true; sleep 0.2; flagctl set t shop.x true' -- \
	sh -c 'flagctl watch t --count 1 --prefix shop --glob "*x" | cut -f 2-4 | tr "\t" " "'
check "as JSON" woken 0 'other true false' flagctl toggle t other -- \
	sh -c 'flagctl watch t --json --count 1 | jq -r "\"\(.key) \(.before) \(.value)\""'
check "a key with a newline stays one line" woken 0 'a\nb missing true' flagctl set t 'a\nb' true -- \
	sh -c 'flagctl watch t --count 1 | cut -f 2-4 | tr "\t" " "'
flagctl create crowd && seq -f 'f%g=false' 2000 | flagctl batch crowd >"$work/out"
timeout 30 flagctl watch crowd --count 2000 >"$work/crowd" &
watcher=$!
eventually says 0 '^workers +1 living' flagctl info crowd >"$work/out"
seq -f 'f%g=true' 2000 | flagctl batch crowd >"$work/out"
check "a batch of 2000 changes is seen" wait $watcher
check "each of them once" ends 0 2000 sh -c "cut -f 2-4 '$work/crowd' | sort -u | grep -c 'false	true'"
check "a watch ends when nobody reads it" woken 0 74 sh -c 'flagctl toggle t a; sleep 0.3; flagctl toggle t a' -- \
	bash -c '{ flagctl watch t; echo $? >&2; } 2>&1 >/dev/full | tail -n 1'
check "a watch ends with its segment" \
	woken 3 'flagctl: segment t has been unlinked meanwhile' flagctl unlink t --force -- flagctl watch t
plan

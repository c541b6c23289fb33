#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# incident.sh: the incident of flagstore(7), from its first sign to its end, with the commands that stand there, while the workers that
# break the table go on running.
set -u
. "$(dirname "$0")/flaginspect.sh"

conflicts() {
	flagctl guard lab --json | jq .conflicts
}
no_more_conflicts() {
	local before

	sleep 0.2
	before=$(conflicts)
	sleep 0.5
	echo "$before conflicts, then $(conflicts)"
	[ "$(conflicts)" -eq "$before" ]
}
# It exits with 1 when slots had to be given up; their keys are named, and their bytes kept.
repaired() {
	flaginspect repair lab --quarantine "$work/quarantine" >"$work/repair"
	[ $? -le 1 ] && tail -n 2 "$work/repair" | grep ' without a readable key; 0 findings left$'
}
still_running() {
	kill -0 "$race"
}

flagctl create lab --lab --shards 2 --max-size 256M && flagctl guard lab detect || exit 1
# Until the end of this test, which is long before that of the race.
flaglab race lab --workers 3 --seconds 60 >"$work/race" 2>&1 &
race=$!
damaged() {
	flaginspect check lab >"$work/check"
	[ $? -eq 1 ] && grep -E '^[1-9][0-9]* findings$' "$work/check"
}
alarmed() {
	flagctl health lab | grep '^CORRUPT '
}

check "detect: health says CORRUPT" eventually alarmed
check "locate: the damage by kind" eventually damaged
check "locate: who wrote without the lock, and from where" says 1 'WITHOUT THE LOCK, at write_own at racework\.c:[0-9]+' flaginspect conflicts lab
check "hot-fix: the workers are made to lock" flagctl guard lab enforce
check "no more conflicts" no_more_conflicts
check "repair: all that was damaged" repaired
check "verify: nothing is damaged" ends 0 '0 findings' flaginspect check lab
check "verify: health says HEALTHY" says 0 '^HEALTHY ' flagctl health lab
check "the workers have run all the time" still_running
check "report: all of it in one file" flaginspect snapshot lab "$work/evidence"
check "which has the culprits" says 1 'WITHOUT THE LOCK' flaginspect conflicts "$work/evidence"
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-race.sh: what breaks without locking is found, nothing breaks with it, and the guard sees who did it.
set -u
. "$(dirname "$0")/flagctl.sh"

race() {
	flaglab race lab --workers 3 --seconds 600ms --json >"$work/race.json"
}
reports() {
	jq -e "$1" "$work/race.json" >/dev/null || { cat "$work/race.json"; return 1; }
}

flagctl create normal && flagctl create lab --lab --shards 1 --max-size 64M || exit 1
refuses() {
	tool=flaglab fails 77 'was not created as a laboratory segment' flaglab race normal
}
check "a normal segment refuses" refuses
check "flagctl guard shows the mode" ends 0 'off' flagctl guard lab
check "and sets it" flagctl guard lab detect
check "which is the segment's" ends 0 'detect' flagctl guard lab
check "there is no other mode" fails 2 'the modes are' flagctl guard lab on
check "the race ends well" race
check "something broke without locking" reports '[.without_locking.broken[].count] | add > 0'
check "nothing broke with locking" reports '[.with_locking.broken[].count] | add == 0'
check "detect, audit and abort saw conflicts" reports '[.guards[] | select(.guard != "enforce") | .conflicts > 0] | all'
check "abort ended somebody" reports '.guards[] | select(.guard == "abort") | .aborted > 0'
check "enforce left nothing to see" reports '.guards[] | select(.guard == "enforce") | .conflicts == 0 and .findings == 0 and .aborted == 0'
check "the damage is in the segment" says 1 '' flagctl check lab
check "and so are the conflicts" [ "$(flagctl guard lab --json | jq .conflicts)" -gt 0 ]
check "nothing else is left behind" [ "$(ls "$FLAGSTORE_DIR" | wc -l)" -eq 2 ]
plan

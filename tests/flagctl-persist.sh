#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-persist.sh: segments that persist: created with the flags of their directory, verified against what mdb_dump(1) and
# others do to it, their circuit breaker, backup and restore.
set -u
. "$(dirname "$0")/flagctl.sh"

flags=("$top_srcdir"/tests/data/*.tsv)
dir=$work/lmdb

same_as() {
	flagctl export "$1" "${@:3}" | diff - "$2"
}
synced() {
	flagctl persist "$1" --sync >"$work/persist"
}

# Usage.
check "--durability without --persist" fails 2 'go with --persist' flagctl create t --durability sync
check "a durability that is none" fails 2 'async or sync' flagctl create t --persist "$dir" --durability often
check "a failure that is none" fails 2 'degrade or refuse' flagctl create t --persist "$dir" --on-failure panic
check "a laboratory does not persist" fails 2 'laboratory' flagctl create t --persist "$dir" --lab
check "a directory that can't be made" fails 74 'No such file' flagctl create t --persist "$work/no/where"
check "which leaves no segment" fails 3 'does not exist' flagctl info t
touch "$work/file"
check "a directory that is none" fails 74 'file' flagctl create t --persist "$work/file"
flagctl create volatile
check "volatile: persist says so" ends 0 'durability      volatile' flagctl persist volatile
check "volatile: --sync is nothing" ends 0 'durability      volatile' flagctl persist volatile --sync
check "volatile: no breaker" fails 2 'volatile' flagctl breaker volatile
check "volatile: nothing to verify" fails 2 'volatile' flagctl verify volatile

# There and back.
for durability in sync async; do
	flagctl create t --persist "$dir" --durability $durability || exit 1
	check "$durability: import" says 0 '^369 flags' flagctl import t "${flags[@]}"
	flagctl export t >"$work/t.tsv"
	check "$durability: persist --sync" synced t
	check "$durability: nothing is pending" grep -q '^journal  *0 B of' "$work/persist"
	check "$durability: verify" ends 0 '369 flags compared: all the same' flagctl verify t
	check "$durability: the directory without a segment" same_as "$dir" "$work/t.tsv" --saved
	flagctl unlink t
	flagctl create t --persist "$dir" --durability $durability || exit 1
	check "$durability: created anew, it has all" same_as t "$work/t.tsv"
	check "$durability: a change" flagctl toggle t alertEnrichment
	flagctl export t >"$work/t.tsv"
	flagctl unlink t
	flagctl create t --persist "$dir" || exit 1
	check "$durability: a change is kept when the command has ended" same_as t "$work/t.tsv"
	flagctl unlink t
	rm -r "$dir"
done

flagctl create t --persist "$dir" --flush-interval 10ms || exit 1
flagctl import t "${flags[@]}" >"$work/out"
check "info" says 0 '^durability +async$' flagctl info t
check "info --json" jq -e '.durability == "async"' <(flagctl info t --json)
check "persist --json" jq -e '.durability == "async" and .flush_interval_ms == 10 and .breaker == "closed" and .commit_failures == 0' \
	<(flagctl persist t --json --sync)
check "breaker --json" jq -e '.state == "closed" and .limits.commit_ms == 1200 and .minute.failures == 0' <(flagctl breaker t --json)
check "a second segment is refused" fails 73 'segment .*flagstore\.t does, and exists' flagctl create u --persist "$dir"
check "and leaves no file" fails 3 'does not exist' flagctl info u

# LMDB's own programs, if they are there.
if command -v mdb_dump >/dev/null; then
	entries() {
		mdb_stat "$dir" | grep -qE '^  Entries: 370$'
	}
	dumped() {
		mdb_dump -p "$dir" >"$work/dump" && grep -qx ' alertEnrichment' "$work/dump" && grep -qE '^ \\00flagstore$' "$work/dump"
	}
	check "mdb_stat counts the flags, and the record of them all" entries
	check "mdb_dump shows them" dumped
else
	skip "mdb_stat counts the flags, and the record of them all" "there is no mdb_stat: apt-get install lmdb-utils"
	skip "mdb_dump shows them" "there is no mdb_dump: apt-get install lmdb-utils"
fi

# What somebody else does to LMDB.
if command -v mdb_load >/dev/null; then
	# replace KEY HEX: the record of the key
	replace() {
		printf 'VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n %s\n %s\nDATA=END\n' "$(printf '%s' "$1" | od -An -tx1 | tr -d ' \n')" "$2" |
			mdb_load "$dir"
	}
	value() {
		[ "$(flagctl get t alertEnrichment)" = true ] && echo 00 || echo 01
	}
	tamper() {
		replace nobody.knows 01010000000000010000000000000000 && replace alertEnrichment "01$(value)0000000000010000000000000000"
	}
	check "somebody else writes to LMDB" tamper
	check "verify finds it" says 1 '^nobody\.knows	table missing	lmdb true$' flagctl verify t
	check "the changed one, too" grep -qE '^alertEnrichment	table ' "$work/stdout"
	check "and counts" grep -qE '^370 flags compared: 0 missing in LMDB, 1 in LMDB alone, 1 of another value$' "$work/stdout"
	check "--json" jq -e '.surplus == 1 and .different == 1 and .missing == 0 and (.differences | length) == 2' <(flagctl verify t --json)
	check "it is an event" says 0 'mismatch' flaginspect events t
	check "--repair lmdb" says 0 '2 repaired$' flagctl verify t --repair lmdb
	check "after which both are the same" ends 0 '369 flags compared: all the same' flagctl verify t
	check "and the table is as it was" unchanged t true
	check "somebody else writes again" tamper
	check "--repair table" says 0 '2 repaired$' flagctl verify t --repair table
	check "after which both are the same, with the new flag" ends 0 '370 flags compared: all the same' flagctl verify t
	check "a record that is none" replace bad ffff
	check "is said to be" fails 74 'record of "bad"' flagctl verify t
	check "and mended by the flag being set" flagctl set t bad true
	synced t
	check "so that all is well" ends 0 '371 flags compared: all the same' flagctl verify t
else
	skip "what somebody else does to LMDB" "there is no mdb_load: apt-get install lmdb-utils"
fi
check "a repair that is none" fails 2 'lmdb or table' flagctl verify t --repair both

# The breaker by hand, and by itself.
state() {
	flagctl breaker t --json | jq -r .state
}
is_state() {
	[ "$(state)" = "$1" ]
}
eventually() {
	for ((i = 0; i < 300; i++)); do
		"$@" && return 0
		sleep 0.05
	done
	return 1
}
check "set without limits" fails 2 'goes with the limits' flagctl breaker t set
check "limits without set" fails 2 'limits go with' flagctl breaker t --samples 3
check "what is not possible" fails 2 'set, open or auto' flagctl breaker t shut
check "open by hand" flagctl breaker t open
check "it is open" is_state open
check "changes go on" flagctl set t while.open true
check "and are not durable" fails 75 'circuit breaker' flagctl verify t
check "--sync says so" fails 75 'breaker' flagctl persist t --sync --wait 300ms
check "auto" flagctl breaker t auto
check "it closes" eventually is_state closed
check "what was changed meanwhile is there" ends 0 "$(flagctl list t | wc -l) flags compared: all the same" flagctl verify t
check "limits" flagctl breaker t set --failures 100 --samples 2 --commit-time 3s
check "are shown" jq -e '.limits.failures_permille == 100 and .limits.samples == 2 and .limits.commit_ms == 3000 and .trips == 1' \
	<(flagctl breaker t --json)
mv "$dir" "$work/away"
try() {
	flagctl set t "try.$RANDOM" true && is_state open
}
check "the directory is gone: it opens" eventually try
check "with the reason" says 0 'last failure.*No such file' flagctl breaker t
check "events say so" says 0 'closed -> open' flaginspect events t
mv "$work/away" "$dir"
again() {
	flagctl set t "try.$RANDOM" true && is_state closed
}
check "it is back: it closes by itself" eventually again
synced t
check "and nothing is missing" says 0 'all the same' flagctl verify t

# Refusing.
flagctl create r --persist "$work/r" --on-failure refuse && flagctl set r a true && flagctl breaker r open || exit 1
check "refuse: a change is refused" unchanged r fails 75 'refuses changes' flagctl set r a false
check "an insert, too" fails 75 'refuses changes' flagctl set r b false
check "a batch, too" fails 75 'refuses changes' flagctl batch r a=false b=true
check "a delete, too" fails 75 'refuses changes' flagctl delete r a
check "reads go on" ends 0 true flagctl get r a
check "and the same value is no change" flagctl set r a true

# Backup and restore.
check "backup" says 0 ' flags saved$' flagctl backup t "$work/backup"
check "not over a file" fails 73 'exists already' flagctl backup t "$work/backup"
check "it is one file" [ ! -e "$work/backup-lock" ]
flagctl export t >"$work/t.tsv"
check "which has all" same_as "$work/backup" "$work/t.tsv" --saved
flagctl set t new.flag true && flagctl delete t alertEnrichment && flagctl toggle t while.open
check "restore --dry-run" says 0 '^1 inserted, 1 changed, 1 deleted, ' flagctl restore t "$work/backup" --dry-run
check "restore" says 0 '^1 inserted, 1 changed, 1 deleted, ' flagctl restore t "$work/backup"
check "it is as it was" same_as t "$work/t.tsv"
check "restore of what is no backup" fails 66 '.' flagctl restore t "$work/t.tsv"
check "import --saved" says 0 ' inserted or changed' flagctl import volatile "$work/backup" --saved
check "a volatile segment has all, too" same_as volatile "$work/t.tsv"
check "backup of a volatile segment" says 0 ' flags saved$' flagctl backup volatile "$work/backup2"
check "has all" same_as "$work/backup2" "$work/t.tsv" --saved
plan

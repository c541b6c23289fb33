#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-locks.sh: shards, workers and locks, of segments whose writers are stopped, traced or dead.
set -u
. "$(dirname "$0")/flaginspect.sh"

cd "$work" || exit 1
flagctl create t --shards 4 --max-size 8M --lock-wait 30s && flagctl import t "$top_srcdir/tests/data/postgresql.tsv" >out || exit 1
flagctl set t gone true && flagctl delete t gone

check "shards add up" ends 0 true json "([.[].flags] | add) == $(flagctl info t --json | jq .flags) and ([.[].dead] | add) == 1" flaginspect shards t
check "shards has a line for each" ends 0 5 wc -l < <(flaginspect shards t)
check "nobody is attached" ends 0 '[]' json . flaginspect workers t
check "those who left are known" ends 0 '"flagctl left"' json '[.[] | "\(.command) \(.access)"] | unique[0] | .' flaginspect workers t --all
check "no lock is held" ends 0 'no lock of 4 is held or waited for' flaginspect locks t

# The key of shard 2 that somebody will wait for.
key=$(flaginspect dump t --shard 2 --json | jq -r '[.shards[0].buckets[].used[] | select(.state == "LIVE") | .key][0]')
begin read t
reader=$culprit
begin hold t 2 || exit 1
check "a holder is a worker that writes" ends 0 "\"culprit sleeping writing\"" \
	json ".[] | select(.pid == $culprit) | \"\(.command) \(.state) \(.access)\"" flaginspect workers t
check "a reader is seen, too" says 0 "^ +- +$reader +- +reading +sleeping " flaginspect workers t
flagctl delete t "$key" >deleted 2>&1 &
waiter=$!
check "a held lock: who, whether it is well, what it does" says 0 "^ +2  culprit\[$culprit\] +$culprit  sleeping .*changing" flaginspect locks t
if grep -q 202 "/proc/$waiter/syscall" 2>/dev/null; then
	check "its waiter" eventually ends 0 "[$waiter]" json '[.[0].waiters[].pid]' flaginspect locks t
else
	skip "its waiter" "system calls of others can't be seen here"
fi
kill -STOP $culprit
check "a stopped holder" eventually says 0 "^ +2  culprit\[$culprit\] .* stopped .* kill -CONT $culprit lets it go on" flaginspect locks t
check "only the one shard" ends 0 '[2]' json '[.[].shard]' flaginspect locks t
check "all of them" ends 0 4 json length flaginspect locks t --all
check "check leaves the shard out, and says so" says 75 '^0 findings$' flaginspect check t
kill -KILL $waiter $culprit
wait $waiter $culprit 2>/dev/null
check "a holder that died" says 0 '^ +2  culprit.* died .*the next writer' flaginspect locks t
check "what it left is checked" says 1 '^lock: shard 2, .*begun and not ended; .*a writer died' flaginspect check t
flagctl set t "$key.new" true
check "and gone with the next writer of the shard" eventually bash -c "flagctl check t && flaginspect locks t | grep 'no lock'"
kill $reader

# A holder that dies and writes its core, which takes a while: somebody looks all the time meanwhile.
for try in 1 2 3; do
	begin swell t 2 || exit 1
	while :; do flaginspect locks t; done >dumping 2>&1 &
	looker=$!
	kill -ABRT $culprit
	wait $culprit 2>/dev/null
	kill $looker
	wait $looker 2>/dev/null
	grep -q 'dumping core' dumping || ! ls core* >/dev/null 2>&1 || continue
	break
done
if ls core* >/dev/null 2>&1 || grep -q 'dumping core' dumping; then
	if grep -q 'dumping core' dumping; then
		check "a holder that writes its core" says 0 "^ +2  culprit\[$culprit\] .* dumping core .*writes its core; wait" cat dumping
	else
		skip "a holder that writes its core" "the core was written before anybody could look"
	fi
else
	skip "a holder that writes its core" "this system writes no core dumps here: $(cat /proc/sys/kernel/core_pattern)"
fi
rm -f core*
plan

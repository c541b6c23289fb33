#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-events.sh: the flight recorder: events, blame, history, threads, conflicts; snapshots; and flagctl's health and doctor.
set -u
. "$(dirname "$0")/flaginspect.sh"

cd "$work" || exit 1
flagctl create t --shards 4 --max-size 8M && flagctl set t a true || exit 1
flagctl set t a false && flagctl set t 'n\tew' true && flagctl delete t 'n\tew'

check "blame: who, when, from what" says 0 '^a is false since 20..-.*Z, change 2, by flagctl\[[0-9]+\]; before: true$' flaginspect blame t a
check "blame in JSON" ends 0 '[false,true,false,"flagctl"]' json '[.flag.value, .change.before, .change.after, .change.writer.command]' flaginspect blame t a
check "of what is gone" says 0 '^n\\tew is missing since .*, deleted by flagctl' flaginspect blame t 'n\tew'
check "of what never was" fails 3 'there is no flag nix' flaginspect blame t nix
check "history" ends 0 '[["insert",null,true],["flip",true,false]]' json '[.[] | [.operation, .before, .after]]' flaginspect history t a
check "as text" says 0 'flagctl\[[0-9]+\]/[0-9]+ flip true -> false$' flaginspect history t a
check "none" ends 1 '' flaginspect history t nix
# But for the coarse clock of changes.
check "events are in the order of time" ends 0 true json '[.[].time_ns] as $t | [range(1; $t | length) | $t[.] - $t[. - 1] > -100000000] | all' \
	flaginspect events t
check "with keys" ends 0 '["a","a"]' json '[.[] | select(.kind == "change" and .key == "a") | .key]' flaginspect events t
check "as text" says 0 ' change +flagctl\[[0-9]+\]/[0-9]+ shard [0-3] a flip true -> false$' flaginspect events t
check "as trace events" ends 0 '[true,true]' jq -c \
	'[(.traceEvents | map(select(.ph == "i")) | length > 3), (.traceEvents | map(.ph) | unique - ["M", "X", "i"] == [])]' \
	<(flaginspect events t --format chrome)
check "of no other format" fails 2 'takes chrome' flaginspect events t --format xml
flagctl watch t >watched 2>&1 &
watcher=$!
eventually says 0 '"live segment"' flaginspect check t --json
timeout 20 flaginspect events t --follow >followed &
follower=$!
eventually [ -s followed ]
flagctl set t later true
check "followed" eventually grep -q 'later insert missing -> true' followed
kill $watcher
wait $watcher 2>/dev/null
check "until nobody is attached" wait $follower

# Threads and health, beside one that holds a lock.
check "no thread" ends 0 '[]' json . flaginspect threads t
check "healthy" ends 0 'HEALTHY no sign of damage' flagctl health t
check "also when looked at closely" ends 0 'HEALTHY nothing is wrong' flagctl health t --deep
key=$(flaginspect dump t --json | jq -r '[.shards[] | select(.live > 0) | .shard][0]')
begin hold t "$key" || exit 1
check "a thread that holds a lock" ends 0 "[\"holding\",$key,\"culprit\",\"sleeping\"]" json '.[0] | [.activity, .shard, .worker.command, .state]' \
	flaginspect threads t
impatient() {
	sleep 0.1
	flagctl health t --patience 1ms
}
check "blocked" says 75 "^BLOCKED culprit\[$culprit\]/$culprit has been holding, shard $key, for " impatient
# Their stacks: one that waits for the lock, before the one that holds it and is stopped.
doomed=$(flaginspect dump t --shard "$key" --json | jq -r '[.shards[0].buckets[].used[] | select(.state == "LIVE") | .key][0]')
flagctl delete t "$doomed" >deleted 2>&1 &
waiter=$!
waits() {
	flaginspect threads t | grep -q '^waiting'
}
eventually waits
kill -STOP $culprit
if json '.[].threads[].stack_error' flaginspect threads t --stacks | grep -qE 'ptrace is not|built without libdw'; then
	skip "stacks" "ptrace is not permitted here, or there is no libdw"
else
	check "stacks, those that wait first, in groups" ends 0 "[[\"waiting\",$key,1],[\"holding\",$key,1]]" \
		json '[.[] | [.activity, .shard, .count]]' flaginspect threads t --stacks
	check "where it waits" ends 0 "[$waiter,true,null]" \
		json '.[0].threads[0] | [.thread, any(.stack[]; startswith("flagstore_batch_commit ")), .stack_error]' flaginspect threads t --stacks
	check "where the stopped one stands" ends 0 "[$culprit,true,null,\"stopped\"]" \
		json '.[1].threads[0] | [.thread, any(.stack[]; startswith("main ")), .stack_error, .state]' flaginspect threads t --stacks
	check "in text" says 0 '^      #[0-9]+ +main ' flaginspect threads t --stacks
	check "it is still stopped" grep -q '^State:.T (stopped)' "/proc/$culprit/status"
fi
kill -KILL $waiter $culprit
wait $waiter $culprit 2>/dev/null
flagctl check t >out

# Snapshots.
check "a snapshot" ends 0 '' flaginspect snapshot t kept
check "has it all" ends 0 '0 findings' flaginspect check kept
check "with its history" says 0 '^a is false since' flaginspect blame kept a
check "is not written over" fails 73 . flaginspect snapshot t kept
check "a check keeps one" ends 0 '0 findings' flaginspect check t --snapshot checked
check "of the same flags" says 0 '^0 flags only in the first, 0 only in the second, 0 changed' flaginspect diff --flags kept checked

# Corrupt.
slot=$(slot_of t a)
poke "$FLAGSTORE_DIR/flagstore.t" $((slot + 25)) Z
check "a damaged slot" says 1 "^CORRUPT shard [0-9]+, offset $(printf %#x "$slot"): key, hash and life of a flag do not belong" flagctl health t
check "a closer look says what check says" says 1 '^CORRUPT check-value: ' flagctl health t --deep
check "in JSON" ends 0 '"CORRUPT"' json .health flagctl health t --deep
flagctl create tags --shards 1 --max-size 8M && flagctl set tags a true
wrong=$(flaginspect dump tags --json | jq '.shards[0].buckets[0].used[0] | if .tag == 1 then 2 else 1 end')
poke "$FLAGSTORE_DIR/flagstore.tags" $(($(flaginspect dump tags --json | jq '.shards[0].buckets[0] | .offset + .slots * 64') + 16)) \
	"$(printf "\\\\$wrong%.0s" {1..16})"
check "wrong tags are no sign of damage" ends 0 'HEALTHY no sign of damage' flagctl health tags
check "but are seen by a closer look" says 1 '^CORRUPT ' flagctl health tags --deep
# A count that two writers lost, in a sound table.
flagctl create counts --shards 4 --max-size 8M
poke "$FLAGSTORE_DIR/flagstore.counts" "$(offset live)" '\x7f'
check "a wrong count needs none" says 1 '^CORRUPT shard 0 has [0-9]+ flags, and says 127; ' flagctl health counts
head -c 5000 kept >"$FLAGSTORE_DIR/flagstore.cut"
check "one that was cut short" says 1 '^CORRUPT segment .* 5000 bytes' flagctl health cut
check "a missing one is no answer" ends 3 '' flagctl health nix

# Conflicts, of a laboratory segment.
check "no conflicts" ends 0 '0 conflicts between 0 pairs of places' flaginspect conflicts t
flagctl create lab --lab --max-size 16M --shards 2 && flagctl guard lab detect
flaglab race lab --workers 3 --seconds 300ms >race 2>&1
check "conflicts name both parties and their places" says 1 '^  noticed by flaglab-racer\[[0-9]+\]/[0-9]+, .* at .*flaglab' flaginspect conflicts lab
check "in JSON" ends 0 true json 'length > 0 and all(.[]; .count > 0 and (.noticed.place | length > 3))' flaginspect conflicts lab
check "with stacks" says 1 '^      #0 ' flaginspect conflicts lab --stacks
repaired() {
	flaginspect repair lab >repair
	tail -n 1 repair
	flaginspect check lab
}
check "what it broke is repaired" repaired

check "the doctor sees that locks survive their holders" ends 0 '"ok"' json '.checks[] | select(.what == "robust locks") | .verdict' flagctl doctor
limit() {
	flagctl doctor --json | jq -e --argjson swap "$(($(wc -l </proc/swaps) > 1))" --argjson root "$(($(id -u) == 0))" \
		'.checks[] | select(.what == "memory lock limit") | (.found | test("there is no swap") == ($swap == 0)) and
			(.found | test(" taken by segments")) and (.verdict == "ok" or $swap == 1)'
}
check "the limit of locked memory is compared with what segments take" limit
check "and segments that nobody uses" says 0 'flagctl unlink lab' flagctl doctor
plan

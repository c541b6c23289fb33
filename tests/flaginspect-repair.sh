#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-repair.sh: damage of each kind is repaired, no readable flag is lost without being named, and workers go on meanwhile.
set -u
. "$(dirname "$0")/flaginspect.sh"

cd "$work" || exit 1
long=$(printf 'l%.0s' $(seq 100))
flagctl create t --shards 4 --max-size 8M && flagctl import t "$top_srcdir/tests/data/postgresql.tsv" >out || exit 1
flagctl batch t "$long=true" this.is.overwritten=true gone=true >out && flagctl delete t gone
flagctl export t >flags
file=$FLAGSTORE_DIR/flagstore.t
cp "$file" "$work/sound"

# A copy that attaches: with the room that its header says.
restore() {
	cat "$work/sound" >"$file" && fallocate -l 8M "$file"
}
# same_flags [KEY...]: all flags are as they were, but for these
same_flags() {
	local keys=$1

	diff <(grep -vxF -f <(printf '%s' "$keys") flags) <(flagctl export t)
}
repaired() {
	flaginspect repair t >out 2>&1
	cat out
	flagctl check t && flaginspect check t
}

check "a sound segment has nothing to repair" says 0 '^0 fixed, 0 sealed, 0 moved, 0 dropped, 0 quarantined, 0 no-room; lost: 0 keys, 0 slots without a readable key; 0 findings left$' flaginspect repair t
check "and is as before" same_flags ''
slot=$(slot_of t this.is.overwritten)
poke "$file" $((slot + 30)) Z
check "a dry run says what would be done" says 1 '^quarantined: shard [0-3], offset 0x[0-9a-f]+: .*; key this.Zs.overwritten, true$' flaginspect repair t --dry-run
check "and that nothing is left" says 1 '^would be: .* 1 quarantined, 0 no-room; lost: 1 keys, 0 slots without a readable key; 0 findings would be left$' flaginspect repair t --dry-run
check "and does nothing" says 1 '^1 findings' flaginspect check t
check "a torn slot is given up, and named" says 1 '^lost key: this.Zs.overwritten$' flaginspect repair t
cp "$work/stdout" "$work/first"
check "its bytes are kept" ends 0 '"this.Zs.overwritten"' jq .key flagstore.t.quarantine
check "the line with the totals says the same" grep -qE ' 1 quarantined, 0 no-room; lost: 1 keys, 0 slots without a readable key; 0 findings left$' "$work/first"
check "the segment is sound" ends 0 '0 findings' flaginspect check t
check "the other flags are there" same_flags $'this.is.overwritten\ttrue'
flagctl set t this.is.overwritten true
check "and it takes the flag again" same_flags ''

# No key at all, and one that a flag has that is where it belongs.
restore
slot=$(slot_of t this.is.overwritten)
poke "$file" $((slot + 24)) '\x00'
check "a slot without a readable key is named by its place" says 1 "^lost slot: offset $(printf 0x%x "$slot"), no key is readable in it$" flaginspect repair t --dry-run
check "and counted as that" ends 0 "[[],[$slot]]" json '[.lost_keys, .lost_slots]' flaginspect repair t
restore
other=$(flaginspect dump t --json | jq -r --argjson slot "$slot" \
	'first(.shards[] | select(all(.buckets[].used[]; .offset != $slot)) | .buckets[].used[] | select(.state == "LIVE" and (.key | length < 39)) | .key)')
poke "$file" $((slot + 24)) "\\x$(printf %02x ${#other})$other"
check "a key that a flag has is not lost" ends 0 '[1,[],[]]' json '[.by_kind.quarantined, .lost_keys, .lost_slots]' flaginspect repair t
check "and that flag is as it was" same_flags $'this.is.overwritten\ttrue'

restore
slot=$(slot_of t "$long")
poke "$file" $((slot + 20)) "\\x$(printf %02x $((255 - $(od -An -tu1 -j $((slot + 20)) -N 1 "$file"))))"
check "a readable flag with a wrong check value is kept" ends 0 '[1,0,0]' json '[.by_kind.sealed, (.lost_keys | length), .findings_left]' flaginspect repair t
check "with its value" same_flags ''

restore
slot=$(slot_of t this.is.overwritten)
poke "$file" $((slot + 7)) '\x90'
check "so is one with reserved bits" repaired
check "all flags are there after it" same_flags ''

restore
slot=$(flaginspect dump t --json | jq '.shards[1].buckets[0] | .offset + ([range(.slots)] - [.used[].slot])[0] * 64')
poke "$file" "$slot" '\n'
check "an empty slot in which somebody wrote" says 1 '^slot: ' flaginspect check t
check "is empty again" repaired
check "and all flags are there" same_flags ''

# Keys that stand outside of their slots: what is given up of a flag does not keep its piece of the heap.
flagctl create long --shards 2 --max-size 8M && flagctl batch long $(printf "$long-%d=true " {10..49}) >out || exit 1
here=$FLAGSTORE_DIR/flagstore.long
cp "$here" "$work/sound.long"
# slots SHARD: those of its flags
slots() {
	flaginspect dump long --json | jq ".shards[$1].buckets[].used[] | select(.state == \"LIVE\") | .offset"
}
# copy FROM TO BYTES
copy() {
	dd if="$here" of="$here" bs=1 skip="$1" seek="$2" count="$3" conv=notrunc 2>dd
}
cell_of() {
	echo $(($(od -An -tu4 -j $(($1 + 32)) -N 4 "$here") * 64))
}
mapfile -t first < <(slots 0)
mapfile -t second < <(slots 1)
copy "$(cell_of "${first[0]}")" "$(cell_of "${first[1]}")" 103
copy $((first[0] + 16)) $((first[1] + 16)) 4
check "a second copy of a flag with a long key" ends 0 '[1,0]' json '[.by_kind.dropped, .findings_left]' flaginspect repair long
cat "$work/sound.long" >"$here" && fallocate -l 8M "$here"
copy "${second[0]}" "${first[0]}" 64
check "one in the wrong shard" ends 0 '[1,0]' json '[.by_kind.dropped, .findings_left]' flaginspect repair long
check "is as it was, where it belongs" ends 0 39 eval 'flagctl list long --json | jq "length"'

# Everything that is made from other things, at once: counts, tags, a directory, the free lists, the heap's end.
restore
poke "$file" "$(offset live)" '\x63'
bucket=$(flaginspect dump t --json | jq '.shards[1].buckets[0] | .offset + .slots * 64')
poke "$file" $((bucket + 20)) '\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00'
check "wrong tags and counts are findings" says 1 ' tag$' flaginspect check t
check "and are repaired" repaired
check "all flags" same_flags ''
restore
directory=$(flaginspect dump t --json --buckets | jq '.shards[2].directory_offset')
poke "$file" "$directory" '\xff\xff\xff\xff\xff\xff\xff\xff'
check "a directory entry that leads nowhere" says 1 '^directory: |^bucket: ' flaginspect check t
check "costs readers its flags" eval '! same_flags "" >out'
check "it is repaired" repaired
check "and its flags are found again" same_flags ''
restore
poke "$file" 192 '\xff\xff\xff\x00'
check "the heap's end" repaired
check "does not matter for flags" same_flags ''
restore
poke "$file" "$(offset shards)" '\x05'
check "a flipped bit of the header keeps workers out" ends 69 '' flagctl get t "$long"
check "and is repaired" repaired
check "with all flags" same_flags ''

# What belongs to nothing. heap_end FILE: its line
heap_end() {
	od -A n -t u4 -j 192 -N 4 "$1" | tr -d ' '
}
end=$(heap_end sound)
restore
poke "$file" 192 "$(printf '\\x%02x' $(((end + 20) & 255)) $(((end + 20) >> 8)))"
check "lines that were never used are not of the heap" repaired
check "which ends where it did" ends 0 "$end" heap_end "$file"
# copy_bytes FILE FROM TO COUNT
copy_bytes() {
	dd if="$1" of="$1" bs=1 skip=$(($2)) seek=$(($3)) count=$(($4)) conv=notrunc 2>"$work/dd"
}
# cell_of FILE SLOT: where its key stands
cell_of() {
	echo $(($(od -A n -t u4 -j $(($2 + 32)) -N 4 "$1") * 64))
}
# A segment that has no room left to give.
full() {
	local directory shard

	flagctl create full --shards 2 --seats 4 --workers 4 --max-size 1M || return 1
	for count in 4000 2000 1000 500 250 100; do
		while awk -v first="$RANDOM$RANDOM" -v count=$count 'BEGIN { for (i = 0; i < count; i++) print "full." first "." i "\ttrue" }' >full.tsv &&
			flagctl import full full.tsv >out 2>&1; do :; done
	done
	flagctl export full >full.flags
	cp "$FLAGSTORE_DIR/flagstore.full" full
	directory=$(flaginspect dump full --json --buckets | jq '.shards[1].directory_offset')
	poke "$FLAGSTORE_DIR/flagstore.full" $((directory + $1 * 8)) '\xff\xff\xff\xff\xff\xff\xff\xff'
	flaginspect repair full >out
	cat out
	tail -n 1 out | grep ' 0 quarantined, 0 no-room; lost: 0 keys, 0 slots without a readable key; 0 findings left$' && flagctl export full | diff - full.flags
}
check "a lost bucket is used again, where there is no room for another one" full 0
other=$(printf 'm%.0s' $(seq 100))
flagctl create one --shards 1 --max-size 8M && flagctl batch one "$long=true" "$other=true" >out
one=$FLAGSTORE_DIR/flagstore.one
from=$(slot_of one "$long")
slot=$(slot_of one "$other")
cell=$(cell_of "$one" "$slot")
copy_bytes "$one" "$(cell_of "$one" "$from")" "$cell" 100
copy_bytes "$one" "$from" "$slot" 64
poke "$one" $((slot + 32)) "$(printf '\\x%02x' $((cell / 64 & 255)) $((cell / 64 >> 8)))"
check "a long key that exists twice" says 0 '1 dropped, 0 quarantined, 0 no-room; lost: 0 keys, 0 slots without a readable key; 0 findings left$' flaginspect repair one
check "its other cell is free again" ends 0 "0 findings" flaginspect check one
check "and it is there" ends 0 "$long	true" flagctl list one
# While workers go on.
restore
(trap 'exit 0' TERM; while :; do flagctl batch t work.a=toggle >batch 2>&1 || flagctl set t work.a true; flagctl set t "work.$RANDOM" true; done) 2>worker.err &
worker=$!
slot=$(slot_of t this.is.overwritten)
poke "$file" $((slot + 30)) Z
poke "$file" "$(offset live)" '\x63'
check "a repair beside a worker" says 1 '0 findings left$' flaginspect repair t --quarantine beside
check "leaves a sound segment" ends 0 '0 findings' flagctl check t
kill $worker
wait $worker 2>/dev/null
check "what the worker does meanwhile does not fail" [ ! -s worker.err ]
check "evidence is not overwritten" fails 73 'the table is as it was' \
	bash -c 'printf Z | dd of="$0" bs=1 seek=$1 conv=notrunc 2>dd; flaginspect repair t --quarantine beside' "$file" $(($(slot_of t work.a) + 30))
# A byte that changes all the time: the trial sees another slot than the repair does.
kept() {
	local i slot

	restore
	slot=$(slot_of t this.is.overwritten)
	for i in 1 2 3 4 5 6 7 8 9 10; do
		restore
		begin scribble t $((slot + 30)) || return 1
		flaginspect repair t --json --quarantine "kept.$i" >out
		kill $culprit
		wait $culprit 2>/dev/null
		jq -r '.done[] | select(.what == "quarantined") | .key' out >given_up
		[ ! -s given_up ] || jq -r 'select(.bytes | length == 128) | .key' "kept.$i" | grep -qxF -f given_up || { cat out; return 1; }
	done
}
check "what breaks between trial and repair is kept, too" kept
poke sound "$(offset shards)" XXXXXXXX

# Writers that are always in the middle of a change: what they are at is not taken for damage. They lock, since the guard makes them.
flagctl create lab --lab --shards 2 --max-size 64M && flagctl guard lab enforce && flagctl set lab this.is.overwritten true
slot=$(slot_of lab this.is.overwritten)
poke "$FLAGSTORE_DIR/flagstore.lab" $((slot + 24)) '\x00'
flaglab race lab --workers 3 --seconds 60 >race 2>&1 &
exact() {
	local n

	flaginspect repair lab --quarantine exact --json >exact.json
	n=$(wc -l <exact)
	jq -c '[.by_kind, .lost_keys, .lost_slots]' exact.json
	jq -c '[.what, .text, .key]' exact
	[ "$n" -eq 1 ] && jq -e '.by_kind.quarantined == 1 and .by_kind.dropped == 0 and .lost_keys == [] and (.lost_slots | length) == 1' exact.json
}
sleep 0.5
check "beside many workers the quarantine file has just what is given up" exact
check "what can't be repaired is said" fails 69 "can't be repaired" flaginspect repair sound
plan

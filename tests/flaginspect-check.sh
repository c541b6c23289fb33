#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-check.sh: check and dump on live segments, on copies, and on what no worker would attach to.
set -u
. "$(dirname "$0")/flaginspect.sh"

flagctl create t --shards 4 --max-size 2M --workers 4 || exit 1
long=$(printf 'l%.0s' $(seq 100))
flagctl batch t a=true 'odd\tkey=true' this.is.overwritten=true c=false "$long=true" >"$work/out"
file=$FLAGSTORE_DIR/flagstore.t
copy=$work/copy
cp "$file" "$copy"

check "a sound segment has no findings" ends 0 '0 findings' flaginspect check t
check "nor has a copy" ends 0 '0 findings' flaginspect check "$copy"
cd "$work" || exit 1
check "nor one in the working directory, without a slash" ends 0 '0 findings' flaginspect check copy
check "JSON says so, too" ends 0 '[[],0,0,"file",{}]' json '[.findings, .count, .skipped_shards, .source, .by_kind]' flaginspect check t
check "a missing one is missing" fails 3 'does not exist' flaginspect check nix
check "a file of something else is none" fails 69 'is not a flagstore segment' flaginspect check "$top_srcdir/README.md"
check "nor is a directory" fails 69 'not a regular file' flaginspect check "$work"
flagctl watch t >"$work/watched" 2>&1 &
watcher=$!
check "one with a writer is live" eventually says 0 '"live segment"' flaginspect check t --json
check "and sound" ends 0 '0 findings' flaginspect check t
kill $watcher

# Damage, each kind in a copy of its own.
damaged() {
	cp "$copy" "$work/$1"
	poke "$work/$1" "$2" "$3"
}
slot=$(slot_of "$copy" this.is.overwritten)
damaged key $((slot + 30)) Z
check "a changed key is a torn slot, with all about it" says 1 \
	"^check-value: shard [0-3], slot [0-9]+, offset $(printf %#x "$slot"): .*; key this.Zs.overwritten; last writer flagctl\[[0-9]+\]; likely cause: .*without the lock" \
	flaginspect check key
check "and once in the totals" says 1 '^ +1  check-value$' flaginspect check key
check "and in JSON" ends 0 "[\"check-value\",$slot,\"this.Zs.overwritten\",\"flagctl\"]" \
	json '.findings[0] | [.kind, .offset, .key, .writer.command]' flaginspect check key
check "with a total" ends 0 '{"check-value":1}' json .by_kind flaginspect check key
damaged flip $((slot + 30)) '\x68'
check "one flipped bit of it is still two parts that do not belong together" says 1 '^check-value: ' flaginspect check flip
damaged hash $((slot + 16)) "$(printf '\\x%02x' $((0x$(flaginspect dump "$copy" --slot "$slot" --json | jq -r '.bytes[32:34]') ^ 1)))"
check "a flipped bit is told from torn writes" says 1 'likely cause: a bit was flipped' flaginspect check hash
slot=$(slot_of "$copy" 'odd\tkey')
damaged odd "$slot" '\x06'
check "a frozen slot, its key as vis(3) has it" says 1 '^frozen: .*; key odd\\tkey;' flaginspect check odd
damaged count "$(offset live)" '\x63'
check "a wrong count" says 1 '^count: shard 0, offset 0x1000: .*says 99; likely cause: two writers without the lock counted' flaginspect check count

# Headers that keep every worker out.
damaged bit "$(offset shards)" '\x05'
check "a flipped bit of the header is undone, and said" says 1 "^header: offset 0: bit 0 of byte $(offset shards) of the header was flipped" flaginspect check bit
check "and the flags are there" ends 0 true json '[.shards[].buckets[].used[].key] | index("a") != null' flaginspect dump bit
damaged bytes "$(offset hash_seed)" 'XXXXXXXX'
check "a header that does not belong together is taken as it is" says 1 '^header: .*they are taken as they are' flaginspect check bytes
damaged geometry "$(offset shards)" 'XXXXXXXX'
check "one that can't be leaves the header alone" ends 0 '[0,"the constants in the header can'"'"'t be: where anything else is can'"'"'t be told"]' \
	json '[(.shards | length), .source.damage]' flaginspect dump geometry
check "which is the one finding" says 1 '^1 findings$' flaginspect check geometry
: >empty
check "an empty file is a beginning" says 1 'nothing but its beginning' flaginspect check empty
printf FLAGSTOR >magic
check "so is the magic alone" says 1 'nothing but its beginning' flaginspect check magic
damaged creating "$(offset state)" '\x00'
check "and one that was not finished" says 1 "^header: .*state is 0" flaginspect check creating
for size in 60 3000 5000 9000 20000 1048576; do
	head -c $size "$copy" >cut
	check "cut after $size bytes: findings and no crash" says 1 '^[0-9]+ findings$' flaginspect check cut
	check "and a dump" says 0 '"header"' flaginspect dump cut --json
done
damaged version "$(offset layout)" '\x02'
check "another layout is said to be one flipped bit or two" says 1 '^header: ' flaginspect check version
damaged boot "$(offset boot)" '00000000'
check "a copy of another boot is sound" ends 0 '0 findings' flaginspect check boot

# A bit in each 211th of the bytes that are in use: any number of findings, and no crash. tests/inspect-bits flips them all and counts.
used=$(($(flaginspect dump "$copy" --json | jq .header.heap_line) * 64))
no_crash() {
	local at byte status crashed=0

	cp "$copy" flipped
	for ((at = 0; at < used; at += 211)); do
		byte=$(od -An -tu1 -j $at -N 1 "$copy")
		poke flipped $at "$(printf '\\x%02x' $((byte ^ 1 << at % 8)))"
		flaginspect check flipped >out 2>&1
		status=$?
		poke flipped $at "$(printf '\\x%02x' "$byte")"
		[ $status -le 1 ] || { echo "bit $((at % 8)) of byte $at: status $status"; cat out; crashed=1; }
	done
	return $crashed
}
check "flipped bits" no_crash

# dump
check "dump has the slots" says 0 '^ +[0-9]+ +0x[0-9a-f]+ LIVE +true +1 +[0-9]+ +[0-9]+ sound odd\\tkey by flagctl' flaginspect dump copy
check "of a shard" ends 0 '[2]' json '[.shards[].shard]' flaginspect dump copy --shard 2
check "which must be there" fails 3 '4 shards' flaginspect dump copy --shard 9
check "without slots" ends 0 0 json '[.shards[].buckets[].used[]] | length' flaginspect dump copy --buckets
check "the same twice" cmp <(flaginspect dump copy) <(flaginspect dump copy)
check "a slot byte by byte" says 0 '^ +0x[0-9a-f]+ +09 +length +9?7 bytes$|^ +0x[0-9a-f]+ +07 +length +7 bytes$' \
	flaginspect dump copy --slot "$slot"
check "with its key" says 0 ' key +odd\\tkey$' flaginspect dump copy --slot "$slot"
check "and its check value" says 0 ' check +[0-9a-f]{8}, right$' flaginspect dump copy --slot "$slot"
check "a long key is in its cell" says 0 " key +$long \(in a key cell" flaginspect dump copy --slot "$(slot_of copy "$long")"
check "a slot that can't be" fails 3 "can't be a slot" flaginspect dump copy --slot 0x41
check "an offset that is none" fails 2 'an offset' flaginspect dump copy --slot x
plan

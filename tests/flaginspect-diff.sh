#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-diff.sh: what differs between two segments; and watch, which sees stores that bypass the library.
set -u
. "$(dirname "$0")/flaginspect.sh"

cd "$work" || exit 1
flagctl create t --shards 4 --max-size 8M && flagctl batch t a=true b=false c=true this.is.overwritten=true >out || exit 1
cp "$FLAGSTORE_DIR/flagstore.t" before
check "a segment is what its copy is" ends 0 '0 flags only in the first, 0 only in the second, 0 changed; one segment at two times' flaginspect diff t before
flagctl set t a false
flagctl delete t b
flagctl set t 'n\tew' true
flagctl set t c false
flagctl set t c true
cp "$FLAGSTORE_DIR/flagstore.t" after
check "a flag that changed" says 1 '^\+ a false +\(change 2, .*, by flagctl\[[0-9]+\]\)$' flaginspect diff before after
check "what it was" says 1 '^- a true ' flaginspect diff before after
check "one that went" says 1 '^- b false ' flaginspect diff before after
check "one that came" says 1 '^\+ n\\tew true ' flaginspect diff before after
check "one that changed and changed back" says 1 '^\+ c true +\(change 3' flaginspect diff before after
check "the sum" says 1 '^1 flags only in the first, 1 only in the second, 2 changed' flaginspect diff before after
check "structure" says 1 '^shard [0-3]: births [0-9] -> [0-9]$' flaginspect diff before after
check "not if it is not wanted" ends 1 '' grep '^shard' <(flaginspect diff before after --flags)
check "JSON" ends 0 '[true,1,1,2,["a","b","c","n\\tew"]]' json '[.same_segment, .only_before, .only_after, .changed, [.flags[].key]]' \
	flaginspect diff before after
flagctl create u --shards 8 --max-size 8M
flagctl export t | flagctl import u - --format tsv >out 2>&1 || flagctl import u <(flagctl export t) >out
check "another segment with the same flags" ends 0 '0 flags only in the first, 0 only in the second, 0 changed' flaginspect diff t u --flags
check "has another structure" says 1 '^header: shards 4 -> 8$' flaginspect diff t u
cp before damaged && poke damaged "$(offset hash_seed)" XXXXXXXX
check "a damaged one is compared as far as it goes" says 1 '^1 flags only in the first' flaginspect diff t damaged
check "a missing one" fails 3 nix flaginspect diff t nix

# watch
check "nobody bypasses the library" says 0 '^[0-9]+ looks, 0 stores' flaginspect watch t --seconds 100ms
(for i in $(seq 20); do flagctl batch t a=toggle x$i=true >out; flagctl delete t x$i; done) &
check "who goes through it is not taken for one" says 0 ' 0 stores' flaginspect watch t --seconds 500ms --every 1ms
wait
slot=$(slot_of t this.is.overwritten)
begin scribble t $((slot + 30)) || exit 1
check "a store into a key, and who may have made it" says 1 "may have stored it: culprit\[$culprit\]" flaginspect watch t --once --seconds 10s
check "where" says 1 "offset $(printf %#x $((slot + 30))): byte .* in the slot at $(printf %#x "$slot"), key this" flaginspect watch t --once --seconds 10s
check "in JSON" ends 0 "[$slot,$((slot + 30)),$culprit,\"culprit\"]" json '[.slot, .offset, .candidates[0].pid, .candidates[0].command]' \
	flaginspect watch t --once --seconds 10s
kill $culprit
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-segments.sh: create, unlink, info and check, and who may do what to a segment.
set -u
. "$(dirname "$0")/flagctl.sh"

file=$FLAGSTORE_DIR/flagstore.t

check "create is silent" ends 0 '' flagctl create t
check "the file is the owner's alone" ends 0 600 stat -c %a "$file"
flagctl set t a true
check "a second create is refused" unchanged t fails 73 "flagstore.t" flagctl create t
check "info of a new segment" says 0 '^flags +1, 1 of them true$' flagctl info t
check "info knows the path" says 0 "^path +$file\$" flagctl info t
check "info --json" ends 0 "1 1 1073741824 64 256 5000 0600 false" \
	jq -r '"\(.flags) \(.true_flags) \(.max_bytes) \(.shards) \(.workers_max) \(.lock_wait_ms) \(.mode) \(.laboratory)"' <(flagctl info t --json)
check "a name with a slash is a path" ends 0 true flagctl get "$file" a
check "create --json" ends 0 "$FLAGSTORE_DIR/flagstore.j" jq -r .path <(flagctl create j --json)

(umask 0; exec flagctl create wide)
check "the umask does not matter" ends 0 600 stat -c %a "$FLAGSTORE_DIR/flagstore.wide"
(umask 077; exec flagctl create group --mode 660)
check "--mode, whatever the umask" ends 0 660 stat -c %a "$FLAGSTORE_DIR/flagstore.group"
check "all options" \
	ends 0 '' flagctl create all --max-size 3M --shards 8 --workers 9 --lock-wait 1.5s --lab --group "$(id -g)"
check "take effect" ends 0 '3145728 8 9 1500 true' \
	jq -r '"\(.max_bytes) \(.shards) \(.workers_max) \(.lock_wait_ms) \(.laboratory)"' <(flagctl info all --json)

slots() {
	flagctl info "$1" --json | jq .slots
}
check "--reserve takes room" ends 0 '' flagctl create roomy --reserve 20000
check "for as many flags" [ "$(slots roomy)" -ge 20000 ]
check "not for more than fit, and then there is no segment" fails 74 'has no room for 20000 flags' flagctl create small --max-size 2M --reserve 20000
check "none at all" fails 3 'small' flagctl info small
check "reserve is silent" ends 0 '' flagctl reserve roomy 40000
check "and takes more room" [ "$(slots roomy)" -ge 40000 ]
check "reserve --json" ends 0 "[0,$(slots roomy)]" jq -c '[.flags, .slots]' <(flagctl reserve roomy 40000 --json)
check "reserve of no number" fails 2 'the number of flags is invalid' flagctl reserve roomy many
check "of none" fails 2 'the number of flags is too small' flagctl reserve roomy 0

for i in $(seq 8); do
	flagctl create race 2>/dev/null && echo won &
done >"$work/won"
wait
check "of eight creators one succeeds" ends 0 1 wc -l <"$work/won"
check "and the segment is good" ends 0 '0 findings' flagctl check race

check "unlink is silent" ends 0 '' flagctl unlink race
check "the file is gone" [ ! -e "$FLAGSTORE_DIR/flagstore.race" ]
check "unlink of what is gone" fails 3 'race' flagctl unlink race

# A living worker.
flagctl watch t >"$work/watched" 2>&1 &
watcher=$!
check "a watcher is a worker" eventually says 0 '^workers +1 living' flagctl info t
check "unlink names a living worker" fails 75 "flagctl\\[$watcher\\]" flagctl unlink t
check "and leaves the segment" ends 0 true flagctl get t a
kill -STOP $watcher
check "a stopped worker lives" fails 75 "1 living worker" flagctl unlink t
kill -CONT $watcher
kill -KILL $watcher
wait $watcher 2>/dev/null
check "a killed worker does not" ends 0 '{"unlinked": true}' flagctl unlink t --json
flagctl create t && flagctl set t a true

# Damage: one byte of a key. The check finds it, without a crash.
flagctl create damaged --shards 1 && flagctl batch damaged a=true this.is.overwritten=true c=true >"$work/out"
check "an undamaged segment has no findings" ends 0 '0 findings' flagctl check damaged
check "check --json" ends 0 '0 0' jq -r '"\(.count) \(.findings | length)"' <(flagctl check damaged --json)
key_at=$(grep -aob this.is.overwritten "$FLAGSTORE_DIR/flagstore.damaged" | head -n 1 | cut -d : -f 1)
printf Z | dd of="$FLAGSTORE_DIR/flagstore.damaged" bs=1 seek="$key_at" conv=notrunc 2>"$work/dd"
check "a byte of a key that was overwritten is found" says 1 '^[1-9][0-9]* findings$' flagctl check damaged
check "with its place" says 1 '^[a-z-]+, shard 0, offset 0x[0-9a-f]+: .' flagctl check damaged
check "also in JSON" \
	ends 0 true jq '.count == (.findings | length) and .count > 0 and (.findings[0].text | length > 5)' <(flagctl check damaged --json)

# Other users, as far as the test may try.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	# A copy of the command that a stranger can reach, wherever the build is; libtool keeps the real one in .libs.
	program=$(command -v flagctl)
	real=$(dirname "$program")/.libs/flagctl
	[ -x "$real" ] || real=$program
	cp "$real" "$work/flagctl"
	cp "${top_builddir:-.}"/.libs/libflagstore.so.* "$work" 2>/dev/null
	chmod 711 "$FLAGSTORE_DIR" "$work"
	other() {
		setpriv --reuid 65534 --regid 65534 --clear-groups env LD_LIBRARY_PATH="$work" "$work/flagctl" "$@"
	}
	flagctl create shared --mode 640 --group 65534 && flagctl set shared a true
	check "a stranger can't read" fails 77 'Permission denied' other get t a
	check "nor write" unchanged t fails 77 'Permission denied' other set t a false
	check "nor unlink" fails 77 '.' other unlink t
	check "one who may read reads" ends 0 true other get shared a
	check "but does not write" unchanged shared fails 77 'Permission denied' other set shared a false
	check "and can check" ends 0 '0 findings' other check shared
	other wait shared a false --timeout 10s &
	waiter=$!
	sleep 0.1
	flagctl set shared a false
	check "and wait" wait $waiter
else
	for what in "a stranger can't read" "nor write" "nor unlink" "one who may read reads" "but does not write" "and can check" "and wait"; do
		skip "$what" "this takes root and setpriv"
	done
fi
if unshare --pid --fork true 2>/dev/null; then
	flagctl set t a true
	check "from another PID namespace flags can be read" ends 0 true unshare --pid --fork flagctl get t a
	check "and not written" unchanged t fails 77 'namespace' unshare --pid --fork flagctl set t a false
	check "a wait goes on without the means of a writer" \
		fails 1 'in time' timeout 20 unshare --pid --fork flagctl wait t a false --timeout 0.1
else
	for what in "from another PID namespace flags can be read" "and not written" "a wait goes on without the means of a writer"; do
		skip "$what" "no PID namespace can be made here"
	done
fi
plan

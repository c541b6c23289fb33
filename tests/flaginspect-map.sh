#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect-map.sh: the picture of the table, on a terminal, as a page in a real browser, and as JSON.
set -u
. "$(dirname "$0")/flaginspect.sh"

cd "$work" || exit 1
flagctl create t --shards 4 --max-size 8M && flagctl import t "$top_srcdir/tests/data/postgresql.tsv" >out || exit 1
flagctl set t gone true && flagctl delete t gone
cp "$FLAGSTORE_DIR/flagstore.t" copy
# Within a key, not behind the end of a short one: that would be a second finding.
slot=$(flaginspect dump copy --json | jq '[.shards[2].buckets[].used[] | select(.state == "LIVE" and (.key | length) > 4) | .offset][3]')
poke copy $((slot + 27)) '<&'
# What is wrong with a bucket as a whole, and with its first slot: a file each.
bucket() {
	flaginspect dump t --json | jq ".shards[1].buckets[0] | $1"
}
cp "$FLAGSTORE_DIR/flagstore.t" whole && cp whole first
poke whole $(($(bucket '.offset + .slots * 64') + 8)) '\x7f'
poke first $(($(bucket .offset) + 7)) '\x90'

check "a row for each shard" ends 0 4 grep -cE '^ +[0-3]   [.0-9#x]+$' <(flaginspect map t)
check "none damaged" says 0 ' 1 dead, 0 findings$' flaginspect map t
check "damage stands where it is" says 0 '^ +2 ! [.0-9#x]*![.0-9#x]*$' flaginspect map copy
check "that of a bucket as a whole at its last slot" says 0 '^ +1 ! [.0-9#x]*!$' flaginspect map whole
check "and that of its first slot" says 0 '^ +1 ! ![.0-9#x]*$' flaginspect map first
check "in one row alone" ends 0 1 grep -c '^ *[0-3] !' <(flaginspect map copy)
widths() {
	flaginspect map t "$@" | awk '/^ +[0-3]/ {print length}' | sort -n | tail -n 1
}
check "no wider than asked for" ends 0 37 widths --width 30
check "or than the window" ends 0 50 env COLUMNS=50 bash -c "flaginspect map t | awk '/^ +[0-3]/ {print length}' | sort -n | tail -n 1"
check "no colours in a file" ends 1 '' grep $'\033' <(flaginspect map copy)
check "the same flags in JSON" ends 0 true json "([.shards[].cells[].flags] | add) == $(flagctl info t --json | jq .flags)" flaginspect map t
check "and the damage" ends 0 '[1,[2],1]' json '[.findings, [.shards[] | select(.findings > 0) | .shard], ([.shards[].cells[].damaged] | add)]' \
	flaginspect map copy --width 100
if command -v script >/dev/null; then
	widest() {
		on_terminal 'NO_COLOR=1 flaginspect map t' | tr -d '\r' | awk '/^ +[0-3]/ {print length}' | sort -n | tail -n 1
	}
	check "damage is red on a terminal" says 0 $'\033\[1;37;41m!' on_terminal 'NO_COLOR= flaginspect map copy'
	check "but for NO_COLOR" ends 1 '' grep $'\033\[[0-9;]*m' <(on_terminal 'NO_COLOR=1 flaginspect map copy')
	check "as wide as the terminal" ends 0 60 widest
else
	for what in "damage is red on a terminal" "but for NO_COLOR" "as wide as the terminal"; do
		skip "$what" "there is no script(1)"
	done
fi

check "a page is written" ends 0 '' flaginspect map copy --html map.html
check "or said as JSON" ends 0 '["map.html",1]' json '[.html, .findings]' flaginspect map copy --html map.html
check "with the damage, its key as text" grep -q 'check-value: .*; key [^ ]*&lt;&amp;' map.html
check "it needs nothing from elsewhere" ends 1 '' grep -E 'https?:|src=|url\(|@import' map.html
check "a page that can't be" fails 73 'nowhere' flaginspect map copy --html nowhere/map.html
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -n "$browser" ]; then
	in_browser() {
		timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" "$@" \
			"file://$work/map.html" 2>browser
	}
	# The document as the browser understood it, serialised anew.
	in_browser --dump-dom >dom
	cells=$(flaginspect map copy --json --width 128 | jq '[.shards[].cells[]] | length')
	check "a browser sees each cell and the legend" ends 0 $((cells + 6)) grep -o '<rect class' dom -c
	check "and a hover title on each" ends 0 "$cells" grep -c '<title>shard [0-9]*, from offset' dom
	check "it draws them" in_browser --window-size=1300,300 --screenshot="$work/map.png"
	check "into a picture" [ "$(stat -c %s map.png 2>/dev/null || echo 0)" -gt 5000 ]
else
	for what in "a browser sees each cell and the legend" "and a hover title on each" "it draws them" "into a picture"; do
		skip "$what" "there is no browser: apt-get install chromium"
	done
fi
plan

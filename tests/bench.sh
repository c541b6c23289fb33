#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# bench.sh: the benchmark works: flagstore and whichever peers have been built do all workloads for a moment, with every answer right. What it
# measures in so short a time says nothing, and is not looked at.
set -u
. "$(dirname "$0")/flagctl.sh"

run=$top_builddir/tests/bench/run
built() {
	local path

	for path in "$top_builddir"/tests/bench/peers/*; do
		[ -f "$path" ] && [ -x "$path" ] && basename "$path"
	done
}
fails_with() {
	local status=$1 seen=0

	shift
	"$@" || seen=$?
	[ "$seen" -eq "$status" ]
}

all_there() {
	local peer

	for peer in $(built); do
		jq -e --arg peer "$peer" '[.figures[] | select(.peer == $peer and .workload == "get" and .median > 0)] | length == 1' "$work/bench.json" ||
			{ echo "no figure of $peer"; return 1; }
	done
}

check "a round of all workloads, every answer right" "$run" -q -s 1000 -r 1 -m 1 -o "$work/bench.json" -g "$work/bench.svg"
check "each peer that is built has been measured" all_there
check "flagstore has done all workloads of that size" jq -e '[.figures[] | select(.peer == "flagstore") | .workload] | length == 16' "$work/bench.json"
check "targets are judged" jq -e '.targets | length >= 5 and all(.met | type == "boolean")' "$work/bench.json"
check "the plot is well-formed" grep -q '^</svg>$' "$work/bench.svg"
check "one work with keys of equal length" "$run" -q -p flagstore -s 1000 -r 1 -m 1 -w memory,experiment,longest
check "an unknown peer is refused" fails_with 2 "$run" -p nobody
check "nothing is left behind" test -z "$(ls "$FLAGSTORE_DIR")"
echo "1..$number"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-bench.sh: `flaglab bench` does all workloads with a segment's own flags, leaves the segment as it was and nothing else behind, and
# notices wrong answers. No figure is looked at: the time is too short for them to mean anything.
set -u
. "$(dirname "$0")/flaglab.sh"

flagctl create t && flagctl import t "$top_srcdir"/tests/data/*.tsv >/dev/null && flagctl create empty && flagctl create odd &&
	flagctl batch odd a=true 'd\001\377 x=true' "$(printf '%0255d' 0)=false" >/dev/null || exit 1

workloads=$(sed -nE 's/^	X\([A-Z0-9_]+, "([a-z0-9-]+)".*/\1/p' "$top_srcdir/shmtools/common/workloads.h")
bench() {
	flaglab bench "$@" --rounds 1 --time 1ms
}
all_workloads() {
	bench t --json >"$work/json" || return 1
	diff <(jq -r '.workloads[].workload' "$work/json") <(echo "$workloads")
}
all_right() {
	jq -e '.wrong_answers == 0 and .flags == 369 and all(.workloads[]; .operations > 0)' "$work/json" || { cat "$work/json"; return 1; }
}
page_workloads() {
	diff <(sed -n '/^\.Ss bench/,/^\.Sh/s/^\.It Cm //p' "$top_srcdir/man/flaglab.1") <(echo "$workloads")
}
only_segments() {
	[ "$(ls "$FLAGSTORE_DIR" | tr '\n' ' ')" = "flagstore.empty flagstore.odd flagstore.t " ] || { ls "$FLAGSTORE_DIR"; return 1; }
}

check "no operand" fails 2 'operand is missing' flaglab bench
check "an unknown workload" fails 2 'no workload .nonsense' flaglab bench t --workloads get,nonsense
check "no such segment" fails 3 'no such segment|does not exist' flaglab bench nowhere
check "a segment without flags" fails 3 'has no flags' flaglab bench empty
check "the page has all workloads" page_workloads
check "all workloads, the segment is as before" as_before t all_workloads
check "all answers were right" all_right
check "three odd keys" says 0 '^wrong answers  0$' bench odd
check "what the guard costs" jq -e '[.guards[].guard] == ["off", "detect", "audit", "enforce"] and all(.guards[]; .flip_ns > 0)' \
	<(bench t --workloads get --guard --json)
check "for people" says 0 '^detect +[0-9.]+ \([0-9.]+\)' bench t --workloads get --guard
check "one workload alone" says 0 '^get hit ' bench t --workloads get
stopped() {
	local status wait

	# On a busy machine it may not have measured anything by then.
	for wait in 0.3 1 3 9; do
		flaglab bench t --rounds 99 --workloads get >"$work/out" &
		sleep $wait
		status=0
		kill -TERM $!
		wait $! || status=$?
		[ $status -eq 143 ] && grep -q '^get hit ' "$work/out" && return 0
	done
	return 1
}
check "SIGTERM ends it early, with what there is" stopped
check "nothing is left behind" only_segments

# A library between the command and the store that gives each 1000th answer wrong.
if liars_work; then
	{
		liar_begins
		cat <<'END'
bool flagstore_get_n(const flagstore *store, const char *key, size_t length)
{
	static __typeof__(&flagstore_get_n) truth;

	if (!truth)
		truth = TRUTH(flagstore_get_n);
	return truth(store, key, length) ^ lie_once_in(1000, "get", "flaglab");
}
END
	} >"$work/liar.c"
	compile_liar || exit 1
	lied() {
		local status=0

		LIE=get LD_PRELOAD=$work/liar.so bench t --workloads get,miss >"$work/out" || status=$?
		cat "$work/out"
		[ $status -eq 1 ] && grep -qE '^wrong answers  [1-9]' "$work/out"
	}
	check "wrong answers are noticed" lied
else
	skip "wrong answers are noticed" "nothing can be preloaded here"
fi
echo "1..$number"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-crash.sh: `flaglab crash` kills in the middle of writes, its figures fit together, it leaves a segment as it was and no
# process behind, and it notices when something is lost: each kind of fault is planted once.
set -u
. "$(dirname "$0")/flaglab.sh"

flagctl create t --shards 4 && flagctl import t "$top_srcdir"/tests/data/*.tsv >/dev/null && flagctl create empty || exit 1

# Usage.
check "no segment" fails 2 'crash: an operand is missing' flaglab crash
check "two segments" fails 2 'too many' flaglab crash t empty
while read -r option value pattern; do
	check "$option $value" fails 2 "$pattern" flaglab crash t "$option" "$value"
done <<'END2'
--workers 0 from 1 to 64
--workers 65 from 1 to 64
--readers 0 from 1 to 64
--seconds 0 from 100 to
--kills -1 whole number
--kills 1001 from 0 to 1000
--flags 99 from 100 to 1000000
--flags many whole number
END2
check "--help" says 0 '^usage: flaglab crash \[options\] NAME' flaglab crash --help
check "a segment that does not exist" fails 3 'nix' flaglab crash nix

# The healthy case.
healthy_run() {
	flaglab crash t --seconds 1200ms --flags 2000 >"$work/out" || { cat "$work/out"; return 1; }
	cat "$work/out"
	[ "$(tail -n 1 "$work/out")" = healthy ] && grep -qE '^ +1\.[0-9] s  [0-9]+ kills  [0-9 ]+ recoveries ' "$work/out" &&
		grep -qE '^lost +0 ' "$work/out" && grep -qE '^half batches +0$' "$work/out" && grep -qE '^wrong answers +0$' "$work/out" &&
		grep -qE '^check +0 findings' "$work/out" && grep -qE '^kills +[1-9]' "$work/out" && grep -qE '^growth +[1-9]' "$work/out" &&
		! grep -q $'[\r\033]' "$work/out" && [ "$(awk '{if (length > most) most = length} END {print most}' "$work/out")" -le 110 ]
}
check "a run is healthy, and leaves the flags as they were" as_before t unchanged t healthy_run
check "the segment is clean" flagctl check t
check "nobody is attached any more" grep -qE '^workers +0 living' <(flagctl info t)

# wants FILTER [OPTION...]: of the JSON of a run
wants() {
	local filter=$1

	shift
	flaglab crash "$@" --json >"$work/json" 2>"$work/stderr"
	cat "$work/json" "$work/stderr"
	jq -e "$filter" "$work/json"
}
check "the figures of the JSON fit together" as_before t wants '
	.healthy and .segment == "t" and .flags == 369 and .workers == 3 and .readers == 2 and .flags_per_worker == 1000
	and .lost == 0 and .half_batches == 0 and .wrong_answers == 0 and .damaged == 0 and .died == 0 and .findings == 0
	and .changed_by_others == 0 and .refused == 0 and .compared > 3000 and .compared_all >= 1
	and .kills > 0 and .kills == ([.deeds[].kills] | add) and .kills_of_replacements <= .kills
	and .acknowledged > 0 and .acknowledged == ([.deeds[].acknowledged // 0] | add)
	and ([.deeds[] | select(.made) | .kills == .made + .not_made] | length == 7 and all)
	and .replaced_ns.count <= .kills
	and ([.times_ns[], .replaced_ns | .p50 <= .p99 and .p99 <= ."p99.9" and ."p99.9" <= .max] | length == 6 and all)
	and .times_ns.reads_quiet.count > 0 and .times_ns.reads_dead.count > 0 and .times_ns.writes_alive.count > 0
	' t --workers 3 --readers 2 --seconds 1 --flags 1000 --kills 100
told() {
	flaglab crash empty --seconds 700ms --flags 100 --kills 10 >"$work/out"
	cat "$work/out"
	[ "$(grep -cE '^ +[01]\.[0-9] s  worker [1-4] \(pid [0-9]+\) killed by SIGKILL: [a-z ]+$' "$work/out")" -ge 1 ]
}
check "few kills are told one by one" told
check "nobody is killed" wants '.healthy and .kills == 0 and .recoveries == 0 and .acknowledged > 0 and .times_ns.reads_dead.count == 0' \
	empty --seconds 300ms --flags 100 --kills 0
check "an empty segment, one worker" as_before empty wants '.healthy and .flags == 0' empty --seconds 300ms --workers 1 --flags 100

# A segment that is full, and then one with room for what is there from the beginning, and not much more.
flagctl create full --max-size 1M --shards 1
seq -f $'full.%.0f\tfalse' 1 20000 >"$work/many.tsv"
# What is too much as a batch may still find room bit by bit.
for lines in 512 64 8 1; do
	while head -n $lines "$work/many.tsv" | flagctl import full - --format tsv >"$work/import" 2>&1; do
		sed -i 1,${lines}d "$work/many.tsv"
	done
done
check "without room for the first flags" fails 74 'maximum size' flaglab crash full --seconds 100ms --flags 100
seq -f 'full.%.0f' 1 1600 | xargs flagctl delete full
check "a full segment: writes are refused, nothing is lost" as_before full \
	wants '.healthy and .refused > 0' full --seconds 300ms --workers 2 --flags 4000

working() {
	[ -n "$(members "$1" flaglab-writer)" ] && [ -n "$(members "$1" flaglab-reader)" ]
}

# What ends a run.
begin() {
	flaglab crash t --seconds 60 --flags 1000 "$@" >"$work/lab.out" 2>&1 &
	lab=$!
	eventually working "$lab" && crew=$(members "$lab")
}
stopped_by() {
	begin || return 1
	kill -s "$1" "$lab"
	ended "$2" && [ "$(tail -n 1 "$work/lab.out")" = healthy ]
}
check "SIGTERM: prints what there is, 143" as_before t stopped_by TERM 143
check "SIGHUP: 129" as_before t stopped_by HUP 129
strange_death() {
	begin --kills 0 || return 1
	kill -s KILL "$(members "$lab" "$1" | head -n 1)"
	sleep 0.1
	[ "$2" -eq 1 ] || kill -s TERM "$lab"
	ended "$2" && grep -qE '^died +1 processes' "$work/lab.out" && tail -n 1 "$work/lab.out" | grep -qx 'NOT healthy: 1 processes died'
}
check "somebody else kills a writer: the others go on, NOT healthy" as_before t strange_death flaglab-writer 143
check "somebody else kills the only reader: that is the end, NOT healthy" as_before t strange_death flaglab-reader 1
killed_parent() {
	begin || return 1
	kill -s KILL "$lab"
	ended 137 2>/dev/null
	flagctl check t && flagctl list t --prefix flaglab. | cut -f 1 >"$work/left" && [ -s "$work/left" ] || return 1
	xargs flagctl delete t <"$work/left"
}
check "the parent is killed: no process stays behind, and its flags can be deleted" as_before t killed_parent

# Planted faults: a library between flaglab and the store that lies now and then.
{ liar_begins; cat <<'END2'; } >"$work/liar.c"

static int is(const char *wanted)
{
	return getenv("LIE") && strcmp(getenv("LIE"), wanted) == 0;
}

/* Acknowledges a change that it has not made. */
int flagstore_set(flagstore *store, const char *key, bool value)
{
	return lie_once_in(20, "set", "flaglab-writer") ? FLAGSTORE_OK : TRUTH(flagstore_set)(store, key, value);
}

int flagstore_delete(flagstore *store, const char *key)
{
	return lie_once_in(20, "delete", "flaglab-writer") ? FLAGSTORE_OK : TRUTH(flagstore_delete)(store, key);
}

int flagstore_set_if_absent(flagstore *store, const char *key, bool value, bool *inserted)
{
	int error = TRUTH(flagstore_set_if_absent)(store, key, value, inserted);

	if (lie_once_in(20, "absent", "flaglab-writer"))
		*inserted = false;
	/* Two winners. */
	if (lie_once_in(20, "mark", "flaglab-writer") && !error && strstr(key, ".shared."))
		*inserted = true;
	return error;
}

int flagstore_toggle(flagstore *store, const char *key, bool *value)
{
	if (!value && lie_once_in(20, "shared", "flaglab-writer"))
		return FLAGSTORE_OK;
	if (!value && lie_once_in(20, "twice", "flaglab-writer"))
		TRUTH(flagstore_toggle)(store, key, value);
	return TRUTH(flagstore_toggle)(store, key, value);
}

/* A part of a batch: one change is left out. Or it dies half done. */
static flagstore *batch_store;
static char first_key[256];
static bool first_value;

int flagstore_batch_begin(flagstore *store, flagstore_batch **batch)
{
	batch_store = store;
	first_key[0] = '\0';
	return TRUTH(flagstore_batch_begin)(store, batch);
}

int flagstore_batch_set(flagstore_batch *batch, const char *key, bool value)
{
	if (strstr(key, is("group") ? ".group." : ".own.") && (lie_once_in(20, "batch", "flaglab-writer") || lie_once_in(20, "group", "flaglab-writer")))
		return FLAGSTORE_OK;
	if (strstr(key, ".own.")) {
		strcpy(first_key, key);
		first_value = value;
	}
	return TRUTH(flagstore_batch_set)(batch, key, value);
}

int flagstore_batch_commit(flagstore_batch *batch, size_t *changed)
{
	if (first_key[0] && lie_once_in(20, "torn", "flaglab-writer")) {
		TRUTH(flagstore_set)(batch_store, first_key, first_value);
		for (;;)
			pause();
	}
	return TRUTH(flagstore_batch_commit)(batch, changed);
}

/* A recovery that takes an acknowledged flag away, which the dead one has not touched for long. */
int flagstore_attach(const char *name, const struct flagstore_options *options, flagstore **store)
{
	int error = TRUTH(flagstore_attach)(name, options, store);
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	char who[16];

	prctl(PR_GET_NAME, who);
	if (error || !is("recovery") || strcmp(who, "flaglab-writer") != 0)
		return error;
	flagstore_cursor_open(*store, &cursor);
	while (flagstore_cursor_next(cursor, &entry) == FLAGSTORE_OK) {
		if (strstr(entry.key, ".own.")) {
			TRUTH(flagstore_delete)(*store, entry.key);
			break;
		}
	}
	flagstore_cursor_close(cursor);
	return error;
}

bool flagstore_get_n(const flagstore *store, const char *key, size_t length)
{
	return TRUTH(flagstore_get_n)(store, key, length) ^ lie_once_in(20, "get", "flaglab-reader");
}

int flagstore_snapshot(flagstore *store, const char *const *keys, const size_t *lengths, size_t count, struct flagstore_flag *flags)
{
	int error = TRUTH(flagstore_snapshot)(store, keys, lengths, count, flags);

	if (is("snapshot"))
		flags[0].exists ^= 1;
	return error;
}

int flagstore_lookup_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag)
{
	int error = TRUTH(flagstore_lookup_n)(store, key, length, flag);

	flag->value ^= lie_once_in(20, "damage", "flaglab");
	return error;
}

int flagstore_check(flagstore *store, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	static const struct flagstore_finding finding = {"bucket", 1, 4096, "a planted finding"};

	if (!is("check"))
		return TRUTH(flagstore_check)(store, found, argument, findings, skipped);
	found(&finding, argument);
	*findings = 1;
	return FLAGSTORE_OK;
}
END2
lied() {
	LIE=$1 LD_PRELOAD=$work/liar.so flaglab crash t --seconds 200ms --workers 2 --flags 300 --json >"$work/json" 2>"$work/stderr"
	[ $? -eq "$3" ] || { cat "$work/json" "$work/stderr"; return 1; }
	cat "$work/json"
	jq -e "$2" "$work/json"
}
lies=(
	set '.lost > 0'
	delete '.lost > 0'
	batch '.lost > 0'
	recovery '.lost > 0'
	shared '.lost > 0 and .wrong_answers == 0'
	group '.half_batches > 0 and .lost == 0'
	snapshot '.half_batches > 0'
	torn '.half_batches > 0 and .lost == 0'
	absent '.wrong_answers > 0'
	mark '.lost > 0 or .wrong_answers > 0'
	twice '.wrong_answers > 0 and .lost == 0'
	get '.wrong_answers > 0 and .lost == 0'
	damage '.damaged > 0 and .lost == 0'
	check '.findings == 1 and .lost == 0'
)
if ! liars_work; then
	skip "planted faults" "there is no shared library, or a sanitizer"
else
	check "the liar compiles" compile_liar
	check "no fault, no finding" as_before t lied none '.healthy' 0
	for ((i = 0; i < ${#lies[@]}; i += 2)); do
		check "a planted fault: ${lies[i]}" as_before t lied "${lies[i]}" "(.healthy | not) and (${lies[i + 1]})" 1
	done
	verdict() {
		LIE=set LD_PRELOAD=$work/liar.so flaglab crash t --seconds 300ms --workers 1 --flags 500 --kills 0 >"$work/out"
		[ $? -eq 1 ] && cat "$work/out" && tail -n 1 "$work/out" | grep -qE '^NOT healthy: [1-9][0-9 ]* acknowledged writes lost'
	}
	check "the last line says what is wrong" verdict
fi
plan

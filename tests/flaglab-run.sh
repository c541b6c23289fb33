#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-run.sh: what `flaglab run` prints is true, it leaves a segment as it was and no process behind, whatever happens to it,
# and it notices when something is wrong: each kind of wrong answer is planted once.
set -u
. "$(dirname "$0")/flaglab.sh"

working() {
	[ "$(members "$1" flaglab-worker | wc -l)" -eq "$2" ] && [ -n "$(members "$1" flaglab-flipper)" ]
}

# begin WORKERS COMMAND...: starts it, and waits until it is at work; sets $lab and $crew
begin() {
	local count=$1

	shift
	"$@" >"$work/lab.out" 2>&1 &
	lab=$!
	eventually grep -q '^segment' "$work/lab.out" && eventually working "$lab" "$count" && crew=$(members "$lab") && return
	# One that goes on would flip the flags of the tests that come.
	kill "$lab"
	wait "$lab"
	return 1
}

flagctl create t && flagctl import t "$top_srcdir"/tests/data/*.tsv >/dev/null && flagctl create empty &&
	flagctl create one && flagctl set one only true && flagctl create few &&
	flagctl batch few a=true b=false c=true 'd\001\377 x=true' >/dev/null || exit 1

# Usage.
check "no command" fails 2 'a command is missing' flaglab
check "an unknown command" fails 2 'no command .nonsense' flaglab nonsense t
check "no segment" fails 2 'run: an operand is missing' flaglab run
check "two segments" fails 2 'too many' flaglab run t one
check "an unknown option" fails 2 'unknown' flaglab run t --nonsense
while read -r option value pattern; do
	check "$option $value" unchanged t fails 2 "$pattern" flaglab run t "$option" "$value"
done <<'END'
--workers 0 from 1 to 256
--workers 257 from 1 to 256
--workers four whole number
--seconds 0 from 100 to
--seconds 25h from 100 to
--seconds long a duration
--rate -1 whole number
--rate 1000001 from 0 to 1000000
--kill 4 at least one of the 4 workers must be left
--kill 256 from 0 to 255
END
check "the last worker can't be killed" fails 2 'at least one' flaglab run t --workers 1 --kill 1
check "--version" says 0 '^flaglab \(flagstore\) [0-9]' flaglab --version
check "--help" says 0 '^usage: flaglab run \[options\] NAME' flaglab run --help

# Segments that will not do.
head -c 8192 /dev/urandom >"$FLAGSTORE_DIR/flagstore.noise"
check "a segment that does not exist" fails 3 'nix' flaglab run nix
check "a name that can't be one" fails 2 '' flaglab run ''
check "what is no segment" fails 69 'flagstore.noise' flaglab run noise
check "an empty segment" fails 3 'segment empty has no flags' flaglab run empty
flagctl set empty flaglab.77.1 true
check "one with nothing but what a killed run left" fails 3 'segment empty has no flags' flaglab run empty
json_failure() {
	flaglab run nix --json 2>"$work/stderr"
	[ $? -eq 3 ] && jq -e '.error.name == "ENOSEGMENT"' "$work/stderr"
}
check "--json: a failure" json_failure

# The healthy case.
healthy_run() {
	flaglab run t --workers 4 --seconds 2 --rate 200 --kill 2 >"$work/out" || { cat "$work/out"; return 1; }
	cat "$work/out"
	[ "$(tail -n 1 "$work/out")" = healthy ] &&
		[ "$(grep -c 'killed by SIGKILL while' "$work/out")" -eq 2 ] &&
		[ "$(grep -cE '^ +[1-4] .* (ran to the end|killed at [0-9.]+ s, [a-z]+)$' "$work/out")" -eq 4 ] &&
		grep -qE '^wrong answers +0$' "$work/out" && grep -qE '^check +0 findings' "$work/out" &&
		grep -qE '^seen by all +p50 .*, p99 .*, max ' "$work/out" && grep -qE '^ +1\.[0-9] s  [0-9] workers ' "$work/out" &&
		! grep -q $'[\r\033]' "$work/out" && [ "$(awk '{if (length > most) most = length} END {print most}' "$work/out")" -le 100 ]
}
check "a run with two killed workers is healthy, and leaves the flags as they were" as_before t healthy_run
check "the segment is clean" flagctl check t

# wants FILTER [OPTION...]: of the JSON of a run
wants() {
	local filter=$1

	shift
	flaglab run "$@" --json >"$work/json" 2>"$work/stderr"
	cat "$work/json" "$work/stderr"
	jq -e "$filter" "$work/json"
}
check "the JSON of a run" as_before t wants '
	.healthy and .segment == "t" and .flags == 369 and .wrong_answers == 0 and .findings == 0 and .restored
	and .seconds >= 1 and .seconds < 3 and (.workers | length) == 3
	and .flips > 0 and .flips <= 101 and .flips_unseen == 0 and .changed_by_others == 0
	and (.flip_seen_by_all_ns | .p50 > 0 and .p50 <= .p99 and .p99 <= .max)
	and (.flips as $flips | [.workers[] | select(.state == "ended") | .flips_seen == $flips] | length == 2 and all)
	and ([.workers[] | .reads > 0 and .writes > 0 and .pid > 1 and (.ns_per_read | .point > 0 and .handle > 0 and .batch > 0 and .lookup > 0)] | all)
	and ([.workers[].pid] | unique | length == 3)
	and .workers[0].state == "killed" and (.workers[0].ended_after_s | . >= 0.5 and . < 1.5)
	and (.workers[0].while | IN("inserting", "toggling", "setting", "deleting"))' t --workers 3 --seconds 1 --kill 1
check "no flips" wants '.healthy and .flips == 0 and .flip_seen_by_all_ns == null' t --workers 1 --seconds 300ms --rate 0
check "a segment of one flag" as_before one wants '.healthy and .flips > 1' one --workers 2 --seconds 500ms --rate 1000000
check "keys of any bytes" as_before few wants '.healthy and .flips > 1' few --workers 2 --seconds 300ms
check "more workers than processors, all but one killed" as_before t \
	wants '.healthy and ([.workers[] | select(.state == "killed")] | length) == 23' t --workers 24 --seconds 1 --kill 23

keep() {
	local before after

	before=$(flagctl get one only)
	wants '.healthy and .flips > 1 and (.restored | not)' one --seconds 300ms --workers 1 --keep || return 1
	after=$(flagctl get one only)
	if [ $(($(jq .flips "$work/json") % 2)) -eq 1 ]; then [ "$before" != "$after" ]; else [ "$before" = "$after" ]; fi
}
check "--keep: the flag is as the last flip made it" keep
check "--keep once more" keep

# On a segment many of whose buckets are full, and can't grow, workers can't insert some of their flags, and go on. Which buckets is chance:
# flags are inserted many at a time, then few, until several times in a row one of them finds no room.
flagctl create full --max-size 1M --shards 1
seq -f $'full.%.0f\tfalse' 1 100000 >"$work/many.tsv"
for count in 512 64 8; do
	for ((refused = 0; refused < 4; refused++)); do
		head -n $count "$work/many.tsv" | flagctl import full - --format tsv >"$work/import" 2>&1 && refused=-1
		sed -i 1,${count}d "$work/many.tsv"
	done
done
check "a full segment: writes are refused, all else goes on" as_before full \
	wants '.healthy and .flips > 0 and .refused_writes > 0' full --workers 8 --seconds 500ms

# Somebody else is at work too.
disturbed() {
	begin 2 flaglab run few --workers 2 --seconds 3 --rate "$1" || return 1
	flagctl batch few a=toggle b=toggle c=toggle && flagctl delete few b && flagctl set few b true
	ended 0 && grep -qE '^disturbed +3 flags' "$work/lab.out" && grep -qE '^wrong answers +0$' "$work/lab.out"
}
disturbed_once() {
	flagctl batch few a=true b=false c=true && disturbed 0 && [ "$(flagctl get few a b c)" = $'a\tfalse\nb\ttrue\nc\tfalse' ]
}
check "changes by others are told from wrong answers, and left alone" disturbed_once
check "also those of flipped flags" disturbed 1000
rate_of_one() {
	wants '.flips <= 11 and .flips >= 5' one --workers 1 --seconds 1 --rate 10
}
check "one flag is not flipped more often than wanted" rate_of_one

# What ends a run.
stopped_by() {
	begin 4 env --default-signal=INT flaglab run t --workers 4 --seconds 60 || return 1
	kill -s "$1" "$lab"
	ended "$2" && grep -qx healthy "$work/lab.out"
}
check "SIGTERM: prints what there is, 143" as_before t stopped_by TERM 143
check "SIGINT: 130" as_before t stopped_by INT 130
check "SIGHUP: 129" as_before t stopped_by HUP 129
without_hangup() {
	begin 2 env --ignore-signal=HUP flaglab run t --workers 2 --seconds 2 && kill -s HUP "$lab" && ended 0
}
check "SIGHUP when it is ignored, as nohup does it" without_hangup
killed_parent() {
	begin 4 flaglab run t --workers 4 --seconds 60 || return 1
	kill -s KILL "$lab"
	ended 137 2>/dev/null
	flagctl check t
}
check "the parent is killed: no process stays behind" killed_parent
flagctl import t "$top_srcdir"/tests/data/*.tsv >/dev/null
flagctl list t --prefix flaglab. | cut -f 1 | xargs -r flagctl delete t

strange_death() {
	begin 3 flaglab run t --workers 3 --seconds 2 || return 1
	kill -s KILL "$(members "$lab" "$1" | head -n 1)"
	ended 1 && grep -qE "$2" "$work/lab.out" && [ "$(tail -n 1 "$work/lab.out")" = unhealthy ]
}
check "a worker dies: the others go on, unhealthy" as_before t strange_death flaglab-worker '^ +[1-3] .* died at [0-9.]+ s by signal 9'
check "the flipper dies: unhealthy" as_before t strange_death flaglab-flipper '^flipper +died at [0-9.]+ s by signal 9'
stuck() {
	begin 2 flaglab run t --workers 2 --seconds 2 || return 1
	kill -s STOP "$(members "$lab" flaglab-worker | head -n 1)"
	ended 1 && grep -q 'do not end and are killed' "$work/lab.out" && grep -qE '^ +[12] .* died at .* by signal 9' "$work/lab.out"
}
check "a worker that is stopped does not hold up the end" as_before t stuck
full_output() {
	flaglab run t --workers 1 --seconds 200ms >/dev/full 2>"$work/stderr"
	[ $? -eq 74 ] && grep -q 'standard output' "$work/stderr"
}
check "output that can't be written" as_before t full_output
drawn_again() {
	on_terminal 'flaglab run t --workers 1 --seconds 1500ms' >"$work/typescript" || return 1
	grep -q $'\r\033\\[K' "$work/typescript" && grep -q healthy "$work/typescript"
}
if command -v script >/dev/null; then
	check "on a terminal the line is drawn again" drawn_again
else
	skip "on a terminal the line is drawn again" "there is no script(1)"
fi

# Planted faults: a library between flaglab and the store that lies to workers, or to the flipper, now and then.
{ liar_begins; cat <<'END'; } >"$work/liar.c"

bool flagstore_get_n(const flagstore *store, const char *key, size_t length)
{
	return TRUTH(flagstore_get_n)(store, key, length) ^ lie_once_in(50, "get", "flaglab-worker");
}

int flagstore_lookup_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag)
{
	int error = TRUTH(flagstore_lookup_n)(store, key, length, flag);

	if (!lie_once_in(50, "miss", "flaglab-worker"))
		return error;
	memset(flag, 0, sizeof *flag);
	return FLAGSTORE_ENOTFOUND;
}

void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	TRUTH(flagstore_get_many)(store, keys, lengths, count, values);
	values[count - 1] ^= lie_once_in(50, "many", "flaglab-worker");
}

/* There are few handles, and a lie about a flag that is false anyway is none. */
int flagstore_handle_open_n(const flagstore *store, const char *key, size_t length, flagstore_handle **handle)
{
	return TRUTH(flagstore_handle_open_n)(store, key, lie_once_in(5, "handle", "flaglab-worker") ? length - 1 : length, handle);
}

int flagstore_toggle_n(flagstore *store, const char *key, size_t length, bool *value)
{
	if (!lie_once_in(50, "toggle", "flaglab-flipper"))
		return TRUTH(flagstore_toggle_n)(store, key, length, value);
	*value = !TRUTH(flagstore_get_n)(store, key, length);
	return FLAGSTORE_OK;
}

int flagstore_set_if_absent(flagstore *store, const char *key, bool value, bool *inserted)
{
	int error = TRUTH(flagstore_set_if_absent)(store, key, value, inserted);

	if (lie_once_in(50, "insert", "flaglab-worker"))
		*inserted = false;
	return error;
}

int flagstore_check(flagstore *store, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	static const struct flagstore_finding finding = {"bucket", 1, 4096, "a planted finding"};

	if (!getenv("LIE") || strcmp(getenv("LIE"), "check") != 0)
		return TRUTH(flagstore_check)(store, found, argument, findings, skipped);
	*findings = 12;
	for (int i = 0; i < 12; i++)
		found(&finding, argument);
	return FLAGSTORE_OK;
}
END
lied() {
	LIE=$1 LD_PRELOAD=$work/liar.so flaglab run t --workers 2 --seconds 1 --json >"$work/json" 2>"$work/stderr"
	[ $? -eq "$3" ] || { cat "$work/json" "$work/stderr"; return 1; }
	cat "$work/json"
	jq -e "$2" "$work/json"
}
lies=(
	get '(.healthy | not) and .wrong_answers > 100'
	miss '(.healthy | not) and .wrong_answers > 100'
	many '(.healthy | not) and .wrong_answers > 100'
	handle '(.healthy | not) and .wrong_answers > 100'
	toggle '(.healthy | not) and .wrong_answers > 2'
	insert '(.healthy | not) and .wrong_answers > 10'
	check '(.healthy | not) and .wrong_answers == 0 and .findings == 12'
)
if ! liars_work; then
	skip "planted faults" "there is no shared library, or a sanitizer"
else
	check "the liar compiles" compile_liar
	check "no fault, no finding" lied none '.healthy' 0
	for ((i = 0; i < ${#lies[@]}; i += 2)); do
		check "a planted fault: ${lies[i]}" lied "${lies[i]}" "${lies[i + 1]}" 1
	done
	check "ten findings are printed" [ "$(grep -c 'a planted finding' "$work/stderr")" -eq 10 ]
fi
plan

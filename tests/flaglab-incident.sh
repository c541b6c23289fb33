#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-incident.sh: the incident is played to its end, leaves nothing behind, and fails when a step of it does not hold.
set -u
. "$(dirname "$0")/flaglab.sh"
export TMPDIR=$work/files
mkdir "$TMPDIR" "$work/fake"

nothing_left() {
	ls "$FLAGSTORE_DIR" "$TMPDIR"
	[ -z "$(ls "$FLAGSTORE_DIR")" ] && [ -z "$(ls "$TMPDIR")" ]
}
plays() {
	flaglab incident --flags "$top_srcdir/tests/data/grafana.tsv" --json >"$work/incident.json" || { cat "$work/incident.json"; return 1; }
}
tells() {
	jq -e "$1" "$work/incident.json" >/dev/null || { cat "$work/incident.json"; return 1; }
}
# step NAME PATTERN: a command of the step said that
step() {
	tells '.steps | any(.name == "'"$1"'" and any(.summary[]; test("'"$2"'")))'
}

check "all of it holds" plays
check "each step is there, in its order" tells '[.steps[].name] as $names | reduce $names[] as $n ([]; if .[-1] == $n then . else . + [$n] end) == ["break", "detect", "locate", "hot-fix", "repair", "verify", "report"]'
check "each command has its time and its status" tells 'all(.steps[]; .ms > 0 and (.exit | type == "number") and (.command | test("^flag(ctl|inspect) ")))'
check "the times add up" tells '(.tools_ms - ([.steps[].ms] | add)) > -0.001 and .tools_ms < .total_ms'
check "the flags are those of the file" tells ".flags == $(wc -l <"$top_srcdir/tests/data/grafana.tsv")"
check "health says CORRUPT" step detect '^CORRUPT '
check "the culprit is named, with function and line" step locate 'WITHOUT THE LOCK, at write_without_lock at incidentwork\\.c:[0-9]+'
check "no more conflicts after the hot-fix" step hot-fix '^no more in [0-9]+ writes'
check "the repair leaves nothing" step repair '; 0 findings left$'
check "nothing is damaged in the end" step verify '^0 findings$'
check "health says HEALTHY" step verify '^HEALTHY '
check "all workers have run all the time" tells '.running == .workers and .workers == 4'
check "what they wrote afterwards is as they wrote it" tells '.compared > 100 and .wrong == 0'
check "no flag is lost silently" tells '.held and .failed_step == null and (.flags - (.lost | length) > 0)'
check "nothing is left behind" nothing_left

# Planted: the hot-fix is not made. The commands beside flaglab go before those of PATH, so this is a flaglab without any beside it.
program=$(command -v flaglab)
cp "$program" "$work/fake/flaglab"
real=$(command -v flagctl)
cat >"$work/fake/flagctl" <<END_OF_FAKE
#!/bin/sh
[ "\$1 \${3-}" = "guard enforce" ] && exit 0
exec "$real" "\$@"
END_OF_FAKE
chmod +x "$work/fake/flagctl"
not_fixed() {
	"$work/fake/flaglab" incident >"$work/out" 2>"$work/stderr"
	[ $? -eq 1 ] && cat "$work/stderr" && grep -qE "^flaglab: incident: the step .hot-fix. did not hold: [0-9]+ more conflicts" "$work/stderr"
}
check "without the hot-fix it fails, and says so" not_fixed
check "nothing is left behind by that either" nothing_left
rm "$work/fake/flagctl"
missing() {
	fails 71 'flagctl is needed, and is neither beside .* nor in PATH' env PATH=/nowhere "$work/fake/flaglab" incident
}
check "a missing command is said" missing

keeps() {
	flaglab incident --workers 2 --keep >"$work/out" || { cat "$work/out"; return 1; }
	cat "$work/out"
	grep -q '^all held' "$work/out"
}
check "with two workers, and all is kept" keeps
kept_segment=$(sed -n 's/^kept *segment \([^,]*\),.*/\1/p' "$work/out")
kept_files=$(sed -n 's/^kept .* and in \([^ ]*\) what.*/\1/p' "$work/out")
check "the segment" ends 0 '0 findings' flaginspect check "$kept_segment"
check "the flags, which are those of the file that they are from" diff "$top_srcdir/tests/data/postgresql.tsv" "$kept_files/flags.tsv"
check "and the evidence" says 1 'WITHOUT THE LOCK, at write_without_lock' flaginspect conflicts "$kept_files/evidence"
flagctl unlink "$kept_segment" && rm -r "$kept_files"

stops() {
	env --default-signal=INT flaglab incident >"$work/lab.out" 2>&1 &
	lab=$!
	eventually grep -q 'write now' "$work/lab.out" || return 1
	crew=$(members "$lab")
	kill -INT "$lab"
	ended 130
}
check "an interrupt ends it" stops
check "and leaves nothing behind" nothing_left
no_flags() {
	local status=0

	flaglab incident --flags "$1" --json >"$work/out" 2>"$work/stderr" || status=$?
	cat "$work/stderr"
	[ "$status" -eq "$2" ] && jq -e '.failed_step == "break" and (.held | not)' "$work/out" >/dev/null
}
check "a file without flags is no table" no_flags /dev/null 3
check "nor one that does not exist" no_flags /nowhere/flags.tsv 66
check "nor do these leave anything" nothing_left
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagtop.sh: what flagtop prints, and what it shows in a terminal of 80 by 24 and of 40 by 10.
set -u
. "$(dirname "$0")/flagctl.sh"
tool=flagtop

printf 'alpha\ttrue\nbeta\tfalse\ngamma\ttrue\n' >"$work/flags.tsv"
flagctl create t --shards 4 && flagctl import t "$work/flags.tsv" >/dev/null || exit 1
flagctl set t "$(printf '%s' 'x\033[2J\303\251')" true || exit 1

# A thread that lives on and changes flags, the hostile one too, some hundred times a second.
cat >"$work/writer.c" <<'END'
#include <flagstore.h>
#include <time.h>
int main(int count, char **arguments)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	options.flags = count > 2 ? FLAGSTORE_UNLOCKED : 0;
	if (count < 2 || flagstore_attach(arguments[1], &options, &store))
		return 1;
	/* Without the lock, and a rest: some of these meet. */
	for (int i = 0; count > 2; i++) {
		flagstore_set(store, "gamma", i % 2);
		flagstore_delete(store, "gamma");
	}
	for (int i = 0; i < 60000; i++) {
		if (flagstore_toggle(store, "beta", NULL) || (i % 2 == 0 && flagstore_toggle(store, "x\033[2J\303\251", NULL)))
			return 1;
		nanosleep(&(struct timespec){0, 2000000}, NULL);
	}
	return 0;
}
END
${CC:-cc} -std=gnu11 ${CFLAGS-} -I"$top_srcdir/include" -o "$work/writer" "$work/writer.c" -L"$top_builddir/.libs" -lflagstore || exit 1

json() {
	flagtop --json --once --interval 300ms t >"$work/frame" && jq -e "$1" "$work/frame" || { jq -c 'del(.events)' "$work/frame"; return 1; }
}
unwritten() {
	local before after

	before=$(md5sum <"$FLAGSTORE_DIR/flagstore.t")
	flagtop --once --interval 50ms t || return 1
	after=$(md5sum <"$FLAGSTORE_DIR/flagstore.t")
	[ "$before" = "$after" ]
}
check "it writes nothing into the segment" unwritten
check "a segment at rest: counts, and no rates" json \
	'.flags == 4 and .true_flags == 3 and .changes_per_s == 0 and .health == "HEALTHY" and (.shards | length) == 4 and .hottest == []'
many() {
	flagctl create many --shards 2 && awk 'BEGIN {for (i = 0; i < 6000; i++) print "key." i "\t" (i % 3 ? "true" : "false")}' >"$work/many.tsv" &&
		flagctl import many "$work/many.tsv" && flagtop --json --once --interval 50ms many >"$work/frame" &&
		jq -e '.flags == 6000 and .true_flags == 4000 and .health == "HEALTHY" and .growths > 10' "$work/frame"
}
check "a table of many buckets is counted, and is healthy" many
check "every view has its columns" says 0 '^SHARD  CHANGES|^no change was seen' flagtop --once --view hottest --interval 50ms t
check "an unknown view is refused" fails 2 'shards, threads' flagtop --view nonsense t
check "an unknown column is refused, and the columns are named" fails 2 'PID, THREAD' flagtop --view threads --sort nonsense t
check "without a terminal it says what to do" fails 2 'no terminal: --batch' flagtop t
check "a missing segment is 3" fails 3 'missing' flagtop --once missing
check "a name is needed" fails 2 'operand is missing' flagtop --once

"$work/writer" t &
writer=$!
eventually sh -c "flagctl info t --json | jq -e '.workers == 1'" >/dev/null
check "a writer: changes a second, its thread, who it is" json \
	'.changes_per_s > 0 and .workers == 1 and (.threads | any(.who.pid == '$writer' and .seated and .changes_per_s > 0))'
check "all of its events were seen" json '.events_seen == .events_written and .events_seen > 0'
check "the hottest flag is the one that changes most" json '.hottest[0].key == "beta" and .hottest[0].changes > .hottest[1].changes'
check "hostile keys are encoded" json '.hottest[1].key == "x\\033[2J\\303\\251"'
check "as text too" says 0 'x\\033\[2J\\303\\251$' flagtop --once --view hottest --interval 200ms t
no_escapes() {
	flagtop --batch --count 2 --view events --interval 100ms t >"$work/text" && ! LC_ALL=C grep -q "[^ -~]" "$work/text"
}
check "text is printable ASCII" no_escapes
frames() {
	[ "$(flagtop --json --count 3 --interval 50ms t | jq -s length)" -eq 3 ]
}
check "--count 3 prints three frames" frames
sorted() {
	flagtop --json --once t --interval 50ms >/dev/null && flagtop --once --sort shard --interval 50ms t | sed -n '/^SHARD/,$p' | sed 1d |
		awk '{print $1}' | diff - <(printf '3\n2\n1\n0\n') && flagtop --once --sort SHARD --reverse --interval 50ms t | sed -n '/^SHARD/{n;p}' | grep -q '^ *0 '
}
check "--sort and --reverse" sorted

# Counts that writers without the lock have brought below 0: what is shown is 0.
below_zero() {
	flagctl create below --shards 2 && printf '\377\377\377\377' | dd of="$FLAGSTORE_DIR/flagstore.below" bs=1 conv=notrunc 2>/dev/null \
		seek="$("$top_builddir/tests/culprit" offset live)" && flagtop --json --once --interval 50ms below >"$work/frame" &&
		jq -e '.flags == 0 and .shards[0].flags == 0 and .health == "CORRUPT" and (.reason | test("has 0 flags and says -1"))' "$work/frame"
}
check "a count below 0 does not wrap around" below_zero

# Writers without the lock, which meet now and then.
flagctl create lab --lab --shards 4 && flagctl guard lab detect >/dev/null || exit 1
# What they do in a conflict, and where.
party='writer\[[0-9]+\] [a-z]+!? \+0x[0-9a-f]+'
steady() {
	local others i

	for i in 1 2; do
		"$work/writer" lab unlocked >/dev/null 2>&1 &
		others="${others-} $!"
	done
	flagtop --json --count 20 --interval 60ms lab | jq -r .health | uniq >"$work/health"
	kill $others
	wait $others 2>/dev/null
	cat "$work/health"
	[ "$(tail -n 1 "$work/health")" = CORRUPT ] && [ "$(wc -l <"$work/health")" -le 2 ]
}
check "health does not change to and fro" steady

# In a terminal.
screen() {
	tmux -L "flagtop-$$" "$@"
}
# shows PATTERN: the screen comes to show it
shows() {
	eventually shown "$1" || { screen capture-pane -p -t flagtop; return 1; }
}
shown() {
	screen capture-pane -p -t flagtop | grep -qE -e "$1"
}
# press KEY PATTERN: then the screen comes to show it
press() {
	screen send-keys -t flagtop "$1" && shows "$2"
}
begin() {
	# The shell stays, so that the terminal can be looked at afterwards.
	screen -f /dev/null new-session -d -s flagtop -x 80 -y 24 "sh" || return 1
	screen send-keys -t flagtop "PS1='> '; clear; stty -a | sed 's/;* *rows.*columns [0-9]*//' >$work/before" Enter
	eventually test -s "$work/before"
	start
}
start() {
	screen send-keys -t flagtop "flagtop --interval 100ms t; echo status \$?; stty -a | sed 's/;* *rows.*columns [0-9]*//' >$work/after" Enter
	shows '^flagtop t  HEALTHY'
}
is_wide() {
	[ "$(screen capture-pane -p -t flagtop | awk '{if (length > longest) longest = length} END {print longest}')" -le "$1" ]
}
restored() {
	shows "^status $1" && eventually diff "$work/before" "$work/after" && ! shown 'HEALTHY'
}
guard_is() {
	flagtop --json --once --interval 50ms t | jq -e ".guard == \"$1\""
}
in_terminal() {
	trap 'screen kill-server 2>/dev/null; jobs -p | xargs -r kill 2>/dev/null; rm -rf "$work" "$FLAGSTORE_DIR"' EXIT
	check "it starts at 80 by 24" begin
	check "shards first, with keys at the bottom" shows '^1-5 view .* q quit$'
	check "2: threads" press 2 "^ *$writer +$writer +writer"
	check "3: hottest" press 3 ' beta *$'
	check "hostile keys are encoded" shows 'x\\033\[2J\\303\\251'
	check "4: conflicts" press 4 'has recorded no conflict'
	check "5: events" press 5 ' change .*flip beta'
	check "tab goes on to the first" press Tab '^SHARD +LOCKS/S'
	check "s: the next column" press s 'sorted by WAITED'
	check "r: reversed" press r 'by WAITED, reversed'
	check "space: paused" press Space 'PAUSED'
	check "and on" press Space '100 ms  [0-9][0-9]:'
	check "+: a longer interval" press + '200 ms'
	check "-: a shorter one" press - '100 ms'
	check "?: help" press '?' 'after a question'
	check "any key ends it" press x '^SHARD'
	check "g asks" press g 'guard off -> detect .*y/n'
	check "another key than y is no" press n 'the guard stays as it is'
	check "and nothing has been changed" guard_is off
	check "g and y: the guard is set" eval 'press g "y/n" && press y "guard detect"'
	check "in the segment" guard_is detect
	screen resize-window -t flagtop -x 40 -y 10
	check "40 by 10: the title, a table, the keys" eval 'shows "^1-5 view  s sort  . help  q quit" && shown "^flagtop t  HEALTHY" && shown "^SHARD" && is_wide 40'
	check "and help fits" eval 'press "?" "any key ends" && press x "^SHARD"'
	screen resize-window -t flagtop -x 80 -y 24
	check "back at 80 by 24" shows '^1-5 view .* q quit$'
	check "q: the terminal is as before" eval 'screen send-keys -t flagtop q && restored 0'
	rm -f "$work/after"; screen send-keys -t flagtop clear Enter
	check "it starts again" start
	check "SIGTERM: the terminal is as before" eval 'screen send-keys -t flagtop "" && kill -TERM $(members_of_terminal) && restored 143'
	rm -f "$work/after"; screen send-keys -t flagtop clear Enter
	check "and once more" start
	check "SIGSEGV: so it is" eval 'kill -SEGV $(members_of_terminal) && restored 139'
	rm -f "$work/after"; screen send-keys -t flagtop clear Enter
	for signal in BUS:135 TRAP:133 SYS:159; do
		check "and again" start
		check "SIG${signal%:*}: so it is" eval "kill -${signal%:*} \$(members_of_terminal) && restored ${signal#*:}"
		rm -f "$work/after"; screen send-keys -t flagtop clear Enter
	done
	screen send-keys -t flagtop "flagtop --interval 100ms --view conflicts lab" Enter
	check "both parties of a conflict, and where they called the library, in 80 columns" shows \
		"^[ 0-9]+  $party  +$party  +[^ ]"
	check "q ends that, too" eval 'screen send-keys -t flagtop q && eventually eval "! shown COUNT"'
	screen send-keys -t flagtop clear Enter
	check "and once again" start
	kill "$writer"
	flagctl unlink t
	check "an unlinked segment is said to be so" shows 'UNLINKED'
	flagctl create t
	screen send-keys -t flagtop g
	check "another one of its name is asked about" shows 'y/n'
	screen send-keys -t flagtop y
	check "and is not touched" shows 'has been unlinked'
	check "which its guard shows" ends 0 'off' flagctl guard t
	flagctl unlink t
	check "q still works" eval 'screen send-keys -t flagtop q && restored 0'
}
members_of_terminal() {
	local shell pid

	shell=$(screen display-message -p -t flagtop '#{pane_pid}')
	for pid in $(cat "/proc/$shell/task/$shell/children"); do
		grep -q flagtop "/proc/$pid/comm" && echo "$pid"
	done
}
if command -v tmux >/dev/null; then
	in_terminal
else
	skip "what it shows in a terminal" "there is no tmux: apt-get install tmux"
	kill "$writer"
fi

cut_short() {
	flagctl create cut || return 1
	flagtop --batch --interval 50ms cut >"$work/cut" 2>"$work/err" &
	local top=$! status=0
	eventually test -s "$work/cut"
	truncate -s 4096 "$FLAGSTORE_DIR/flagstore.cut"
	wait $top || status=$?
	cat "$work/err"
	[ $status -eq 69 ] && grep -q 'has been cut short' "$work/err"
}
check "a segment that is cut short ends it with a message" cut_short
removed() {
	flagctl create gone || return 1
	flagtop --batch --interval 50ms gone >"$work/gone" 2>"$work/err" &
	local top=$! status=0
	eventually test -s "$work/gone"
	rm "$FLAGSTORE_DIR/flagstore.gone"
	wait $top || status=$?
	cat "$work/err"
	[ $status -eq 3 ] && grep -q 'has been unlinked' "$work/err"
}
check "a segment that is removed ends --batch with a message" removed
plan

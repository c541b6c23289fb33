#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# demo.sh: the main job in one minute: worker processes read and flip real flags in shared memory, and go on when one of them is
# killed. To be called with the build directory. Uses a segment directory of its own, and leaves nothing behind.
set -eu

[ $# -eq 1 ] || { echo "usage: demo.sh BUILD-DIRECTORY" >&2; exit 2; }
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
PATH=$build/shmtools/flagctl:$build/shmtools/flaglab:$PATH
for command in flagctl flaglab; do
	[ -x "$build/shmtools/$command/$command" ] || { echo "demo.sh: $command has not been built in $build" >&2; exit 1; }
done

parent=${FLAGSTORE_DIR:-/dev/shm}
[ -w "$parent" ] || parent=${TMPDIR:-/tmp}
FLAGSTORE_DIR=$(mktemp -d "$parent/flagstore-demo.XXXXXX")
export PATH FLAGSTORE_DIR
trap 'rm -rf "$FLAGSTORE_DIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

# say TEXT: what comes next
say() {
	printf '\n%s# %s%s\n' "$bold" "$1" "$plain"
}

# run COMMAND-LINE: shows it as somebody would type it, and runs it
run() {
	printf '%s$ %s%s\n' "$bold" "$1" "$plain"
	eval "$1" || {
		status=$?
		echo "demo.sh: this ended with status $status: $1" >&2
		exit 1
	}
}

say 'A segment in shared memory, filled with the real flags of two projects'
run 'flagctl create demo'
run 'flagctl import demo tests/data/grafana.tsv tests/data/postgresql.tsv'
run 'flagctl info demo'

say 'Four worker processes read all of them, a fifth flips some; one worker is killed in a write'
run 'flaglab run demo --workers 4 --seconds 5 --kill 1'

say 'What you might type next: look, flip, and see who did it'
run 'flagctl get demo autovacuum'
run 'flagctl toggle demo autovacuum'
run 'flagctl test demo autovacuum || echo "autovacuum is off"'
run 'flagctl list demo --long --prefix autovacuum'

say 'Several changes as one, whoever is killed'
run 'flagctl batch demo autovacuum=true log_checkpoints=toggle my.feature=true'
run 'flagctl list demo --glob "*checkpoint*"'

say 'Every invariant of the segment, checked'
run 'flagctl check demo && echo healthy'

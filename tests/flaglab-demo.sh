#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-demo.sh: the demonstration shows what it promises, leaves nothing behind, and fails when anything in it fails.
set -u
. "$(dirname "$0")/flagctl.sh"

demo=$top_srcdir/shmtools/demo.sh
shows() {
	sh "$demo" "$top_builddir" >"$work/out" 2>"$work/stderr" || { cat "$work/out" "$work/stderr"; return 1; }
	cat "$work/out" "$work/stderr"
	[ "$(tail -n 1 "$work/out")" = healthy ] && [ ! -s "$work/stderr" ] && ! grep -q $'[\r\033]' "$work/out"
}
check "it ends with healthy" shows
check "it imports the flags of two projects" grep -qE '^369 flags: 369 inserted' "$work/out"
check "a worker is killed" grep -qE '^ +1 .* killed at [0-9.]+ s, [a-z]+' "$work/out"
check "the others run to the end" [ "$(grep -cE '^ +[2-4] .* ran to the end$' "$work/out")" -eq 3 ]
check "no line is longer than 100 columns, but for a path" ends 0 '' awk '!/^path / && length > 100' "$work/out"
check "it leaves nothing behind" [ -z "$(ls "$FLAGSTORE_DIR")" ]

# A build in which something is broken.
mkdir -p "$work/build/shmtools/flagctl" "$work/build/shmtools/flaglab"
ln -s "$(command -v flagctl)" "$work/build/shmtools/flagctl/flagctl"
printf '#!/bin/sh\necho unhealthy\nexit 1\n' >"$work/build/shmtools/flaglab/flaglab"
chmod +x "$work/build/shmtools/flaglab/flaglab"
demo_fails() {
	local pattern=$1 status=0

	shift
	sh "$demo" "$@" >"$work/out" 2>"$work/stderr" || status=$?
	cat "$work/stderr"
	[ "$status" -ne 0 ] && grep -qE "$pattern" "$work/stderr"
}
check "an unhealthy run fails it" demo_fails 'ended with status 1: flaglab run' "$work/build"
rm "$work/build/shmtools/flaglab/flaglab"
check "so does a missing command" demo_fails 'flaglab has not been built' "$work/build"
check "and no build directory" demo_fails '^usage'
check "a failed one leaves nothing behind either" [ -z "$(ls "$FLAGSTORE_DIR")" ]
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# planted-durable.sh: the test of tests/durable-deaths, tests/durable-power and tests/durable-faults, as planted.sh is that of
# tests/instructions: versions of the library with a mistake in what makes changes durable must be caught by them.
set -u
. "$top_srcdir/tests/tap.sh"
flags="-std=c11 -D_GNU_SOURCE -O2 -isystem /usr/include/bsd -DLIBBSD_OVERLAY -I$top_srcdir/include -I$top_srcdir/src -I$top_srcdir/tests
	-DFLAGSTORE_VERSION=\"0\" ${CMOCKA_CFLAGS:-}"

# build PROGRAM TEST SOURCE: with the library, but for the source file that is named
build() {
	$CC $flags ${CFLAGS:-} -Wl,-z,now "$top_srcdir/tests/$2.c" "$top_srcdir"/tests/{durability,stepper,residue,support}.c "$3" \
		"$top_builddir/.libs/libflagstore-internal.a" ${CMOCKA_LIBS:--lcmocka} -llmdb -lbsd -o "$1"
}

# plant FILE OLD NEW: a copy of src/FILE in which NEW stands for OLD, which must be there once
plant() {
	local text rest

	text=$(cat "$top_srcdir/src/$1")
	rest=${text#*"$2"}
	[ "$rest" != "$text" ] && [ "${rest#*"$2"}" = "$rest" ] || { echo "src/$1 does not have once: $2"; return 1; }
	printf '%s\n' "${text%%"$2"*}$3$rest" >"$work/$1"
}

# catches FILE OLD NEW TEST [VARIABLE=VALUE...]: the test, run so, finds the mistake
catches() {
	plant "$1" "$2" "$3" && build "$work/mistaken" "$4" "$work/$1" || return 1
	env "${@:5}" CMOCKA_MESSAGE_OUTPUT=TAP timeout 100 "$work/mistaken" >"$work/out" 2>&1 && { cat "$work/out"; return 1; }
	grep -a '^not ok' "$work/out" || { cat "$work/out"; return 1; }
}

echo 1..6
check 'the journal ends behind a flip that is not made yet' catches journal.c \
	'	FS_NOTE(&store->journal->intent, (uint64_t)FS_INTENT_SLOT << FS_INTENT_KIND_SHIFT | fs_line_of(store, slot));' \
	'	atomic_store(&store->journal->head, atomic_load(&store->journal->next));' \
	durable-deaths ONLY='a_writer*' KILL_ONLY='a flip'
check 'changes are said to be durable before they are written' catches persist.c \
	'	error = fs_flush_commit(persister, &use, &meta, reached);
	if (!error)
		fs_journal_durable(store, reached);' \
	'	fs_journal_durable(store, reached);
	error = fs_flush_commit(persister, &use, &meta, reached);' \
	durable-deaths ONLY='one_that*' KILL_ONLY='a flush' KILL_ALL=1
check 'a comparison does not wait for the batches that the journal has' catches section.c \
	'		if (!atomic_load_explicit(&store->shards[i].batch, memory_order_acquire))
			continue;' \
	'		if (store->shards)
			continue;' \
	durable-deaths ONLY='a_writer*' KILL_ONLY='a batch'
check 'LMDB does not wait for the disk' catches disk.c \
	'	unsigned flags = MDB_NOTLS |' \
	'	unsigned flags = MDB_NOTLS | MDB_NOSYNC |' \
	durable-power
check 'a batch is cut between two transactions' catches persist.c \
	'	while (!error && position < end && (more || position - begin < most)) {' \
	'	while (!error && position < end && position - begin < (more ? 64u : 64u)) {' \
	durable-power
check 'a change that could not be made durable is acknowledged' catches persist.c \
	'	return error && store->persistence.on_failure == FLAGSTORE_DEGRADE ? FLAGSTORE_OK : error;' \
	'	return FLAGSTORE_OK;' \
	durable-faults ONLY='a_disk*' FAULT='syncs: I/O error (sync'

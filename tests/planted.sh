#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# planted.sh: the test of tests/instructions and tests/hostile. Versions of the library in which two stores stand in the wrong order
# must be caught by the one, and one that does not look at line numbers by the other. Each mistake is planted into a copy of one source file; should the lines that it turns round not be there any more, the
# test fails.
set -u
. "$top_srcdir/tests/tap.sh"
flags="-std=c11 -D_GNU_SOURCE -O2 -I$top_srcdir/include -I$top_srcdir/src -I$top_srcdir/tests ${CMOCKA_CFLAGS:-}"

# build PROGRAM SOURCE...: with the library, but for the source files that are named
build() {
	local program=$1

	shift
	$CC $flags ${CFLAGS:-} -Wl,-z,now "$top_srcdir"/tests/{instructions,stepper,residue,afterlife,operations,support}.c "$@" \
		"$top_builddir/.libs/libflagstore-internal.a" ${CMOCKA_LIBS:--lcmocka} ${LMDB_LIBS:--llmdb} -o "$program"
}

# plant FILE OLD NEW: a copy of src/FILE in which NEW stands for OLD, which must be there once
plant() {
	local text rest

	text=$(cat "$top_srcdir/src/$1")
	rest=${text#*"$2"}
	[ "$rest" != "$text" ] && [ "${rest#*"$2"}" = "$rest" ] || { echo "src/$1 does not have once: $2"; return 1; }
	printf '%s\n' "${text%%"$2"*}$3$rest" >"$work/$1"
}

# catches FILE OLD NEW OPERATION: killing the operation finds the mistake
catches() {
	plant "$1" "$2" "$3" && build "$work/mistaken" "$work/$1" || return 1
	KILL_ONLY=$4 "$work/mistaken" >"$work/out" 2>&1 && { cat "$work/out"; return 1; }
	grep -E '[^0-9]0 violations' "$work/out" && return 1
	grep -qE ' [1-9][0-9]* violations' "$work/out"
}

# crashes FILE OLD NEW SOURCE: with the mistake in a header that the source file includes, somebody crashes
crashes() {
	plant "$1" "$2" "$3" && $CC $flags ${CFLAGS:-} -include "$work/$1" "$top_srcdir"/src/"$4" \
		"$top_srcdir"/tests/{hostile,afterlife,operations,support}.c "$top_builddir/.libs/libflagstore-internal.a" \
		${CMOCKA_LIBS:--lcmocka} ${LMDB_LIBS:--llmdb} -o "$work/hostile" || return 1
	SOAK=60 "$work/hostile" >"$work/out" 2>&1 && { cat "$work/out"; return 1; }
	grep -E ' [1-9][0-9]* crashes' "$work/out"
}

echo 1..4
check 'line numbers are not looked at' crashes segment.h \
	'return __builtin_expect(offset < fs_backed_bytes(store), 1);' \
	'return store && offset + 1;' table.c
check 'a bucket is said to be complete before it is filled' catches grow.c \
	'	move_flags(store, old, fs_dir_depth(old_word), fresh, split);
	/* Whoever' \
	'	FS_NOTE(&shard->phase, FS_PUBLISHING);
	move_flags(store, old, fs_dir_depth(old_word), fresh, split);
	/* Whoever' \
	'an insert that grows a bucket'
check 'a batch is applied before it is said to be committed' catches batch.c \
	'	FS_NOTE(&redo->committed, 1);
	FS_POINT("committed");
	fs_journal_unlock(store, true);
	apply(commit);' \
	'	apply(commit);
	FS_NOTE(&redo->committed, 1);' \
	'a later batch of inserts'
check 'a flag is deleted after its slot was given away' catches change.c \
	'	do
		dead = fs_word_dead(word);
	while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, dead, memory_order_seq_cst, memory_order_relaxed));' \
	'	fs_bury(store, shard, found->slot);
	do
		dead = fs_word_dead(word);
	while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, dead, memory_order_seq_cst, memory_order_relaxed));
	if (dead)
		return;' \
	'a delete of a long key'

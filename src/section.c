/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * section.c: a write section. Nothing is called back, and nobody waits for anything but a further shard, inside of one. */
#include "section.h"

#include "event.h"
#include "fence.h"
#include "point.h"
#include "recover.h"

/* The lock's last owner died in it. Only who has the lock leaves a mark that says so; so that mark, if there is one, is the dead
 * thread's. A death in here leaves the lock as it was found, for the next one. */
static void recover(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t mark = atomic_load_explicit(&shard->mark, memory_order_relaxed), began = fs_monotonic_ns();
	uint64_t dead = mark & FS_MARK_LOCKED ? mark & ~FS_MARK_LOCKED : 0;

	fs_event_note(store, FLAGSTORE_DEATH, index, dead, 0);
	fs_seat_vacate(store, dead);
	fs_seat_turns_to(store, FLAGSTORE_RECOVERING);
	FS_NOTE(&shard->mark, fs_own_mark(store) | FS_MARK_LOCKED);
	fs_recover(store, index);
	fs_seat_turns_to(store, FLAGSTORE_HOLDING);
	fs_event_note(store, FLAGSTORE_RECOVERY, index, dead, fs_monotonic_ns() - began);
	fs_lock_recovered(shard);
}

int fs_enter(flagstore *store, uint32_t index, struct fs_deadline *deadline)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	int locked = fs_lock(store, index, deadline);

	if (locked < 0)
		return locked;
	/* Odd already when the last writer died. The fence pairs with the one in snapshot.c: who sees a change that is made in
	 * here, and then looks at the count again, sees that it is not what it was. */
	atomic_store_explicit(&shard->sequence, atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1, memory_order_relaxed);
	fs_release_fence();
	if (locked == FS_LOCKED_DEAD)
		recover(store, index);
	else
		FS_NOTE(&shard->mark, fs_own_mark(store) | FS_MARK_LOCKED);
	FS_POINT("entered");
	return FLAGSTORE_OK;
}

void fs_leave(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);

	FS_POINT("leaving");
	/* The mark before the count: with an even count, nobody is marked. */
	atomic_store_explicit(&shard->left, fs_own_mark(store) | FS_MARK_LOCKED, memory_order_relaxed);
	atomic_store_explicit(&shard->mark, 0, memory_order_relaxed);
	/* release: pairs with the acquire load in snapshot.c; who sees it even sees all that was changed */
	atomic_store_explicit(&shard->sequence, (atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1) + 1, memory_order_release);
	fs_seat_rests(store);
	fs_unlock(shard);
}

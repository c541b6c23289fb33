/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * section.c: a write section. Nothing is called back, and nobody waits for anything but a further shard, inside of one. */
#include "section.h"

#include "event.h"
#include "fence.h"
#include "guard.h"
#include "point.h"
#include "probe.h"
#include "recover.h"

/* The lock's last owner died in it. Only who has the lock leaves a mark that says so; so that mark, if there is one, is the dead
 * thread's. A death in here leaves the lock as it was found, for the next one. */
static void recover(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t mark = atomic_load_explicit(&shard->mark, memory_order_relaxed), began = fs_monotonic_ns();
	uint64_t dead = mark & FS_MARK_LOCKED ? mark & ~FS_MARK_LOCKED : 0;

	fs_event_note(store, FLAGSTORE_DEATH, index, dead, 0);
	FS_PROBE4(death, store->path, index, fs_mark_worker(dead), fs_mark_thread(dead));
	fs_seat_vacate(store, dead);
	fs_seat_turns_to(store, FLAGSTORE_RECOVERING);
	FS_NOTE(&shard->mark, fs_own_mark(store) | FS_MARK_LOCKED);
	fs_recover(store, index);
	fs_seat_turns_to(store, FLAGSTORE_HOLDING);
	fs_event_note(store, FLAGSTORE_RECOVERY, index, dead, fs_monotonic_ns() - began);
	fs_lock_recovered(shard);
	FS_PROBE4(recovery, store->path, index, fs_mark_worker(dead), fs_mark_thread(dead));
}

/* In a laboratory: as if one had the lock. Nobody is waited for, and nobody is told of a death. */
static void enter_unlocked(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);

	fs_seat_does(fs_own_seat(store), FLAGSTORE_HOLDING, index, 0);
	atomic_store_explicit(&shard->sequence, atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1, memory_order_relaxed);
	fs_release_fence();
	fs_guard_enter(store, index, fs_own_mark(store));
}

static int enter(flagstore *store, uint32_t index, struct fs_deadline *deadline, bool unlocked)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	int locked;

	/* What was decided for the first of several shards holds for all. */
	if (!fs_thread.sections)
		fs_thread.unlocked = unlocked;
	if (__builtin_expect(fs_thread.unlocked, 0)) {
		enter_unlocked(store, index);
		fs_thread.sections++;
		return FLAGSTORE_OK;
	}
	locked = fs_lock(store, index, deadline);
	if (locked < 0)
		return locked;
	/* Odd already when the last writer died. The fence pairs with the one in snapshot.c: who sees a change that is made in
	 * here, and then looks at the count again, sees that it is not what it was. */
	atomic_store_explicit(&shard->sequence, atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1, memory_order_relaxed);
	fs_release_fence();
	if (locked == FS_LOCKED_DEAD)
		recover(store, index);
	else
		fs_guard_enter(store, index, fs_own_mark(store) | FS_MARK_LOCKED);
	fs_thread.sections++;
	FS_POINT("entered");
	return FLAGSTORE_OK;
}

int fs_enter(flagstore *store, uint32_t index, struct fs_deadline *deadline)
{
	return enter(store, index, deadline, fs_goes_unlocked(store));
}

int fs_enter_locked(flagstore *store, uint32_t index, struct fs_deadline *deadline)
{
	if (!fs_thread.sections) {
		fs_thread.key = NULL;
		fs_thread.operation = FLAGSTORE_MAINTENANCE;
	}
	return enter(store, index, deadline, false);
}

void fs_leave(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	bool unlocked = fs_thread.unlocked;

	FS_POINT("leaving");
	fs_thread.sections--;
	/* The mark before the count: with an even count, nobody is marked. */
	fs_guard_leave(store, index, fs_own_mark(store) | (unlocked ? 0 : FS_MARK_LOCKED));
	/* release: pairs with the acquire load in snapshot.c; who sees it even sees all that was changed */
	atomic_store_explicit(&shard->sequence, (atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1) + 1, memory_order_release);
	fs_seat_rests(store);
	if (!unlocked)
		fs_unlock(shard);
}

int fs_batches_settle(flagstore *store)
{
	struct fs_deadline deadline = {.set = false};

	/* A batch is noted before its commit and until it is applied, under the shards' locks. acquire: after the load by which the caller has
	 * seen the commit. */
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		int error;

		if (!atomic_load_explicit(&store->shards[i].batch, memory_order_acquire))
			continue;
		error = fs_enter_locked(store, i, &deadline);
		if (error)
			return error;
		fs_leave(store, i);
	}
	return FLAGSTORE_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * section.c: a write section. Nothing is called back, and nobody waits for anything but a further shard, inside of one. */
#include "section.h"

#include "fence.h"
#include "point.h"
#include "recover.h"

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
	if (locked == FS_LOCKED_DEAD) {
		fs_recover(store, index);
		fs_lock_recovered(shard);
	}
	FS_POINT("entered");
	return FLAGSTORE_OK;
}

void fs_leave(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);

	FS_POINT("leaving");
	/* release: pairs with the acquire load in snapshot.c; who sees it even sees all that was changed */
	atomic_store_explicit(&shard->sequence, (atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1) + 1, memory_order_release);
	fs_unlock(shard);
}

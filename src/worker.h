/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * worker.h: an attached process's entry in the segment. */
#ifndef FS_WORKER_H
#define FS_WORKER_H

#include "segment.h"

/* Enters this process as a worker, with an entry if one is free. Sets store->worker and marks the store entered. */
void fs_worker_enter(flagstore *store);

/* Gives the entry back; who it was stays readable until it is used again. */
void fs_worker_leave(flagstore *store);

/* The slow path of fs_entered(): a forked child enters by itself. */
void fs_worker_enter_child(flagstore *store);

/* Living workers that have an entry. */
uint32_t fs_workers_alive(const flagstore *store);

/* Every write calls this first: true when the store may write. One load in the usual case. */
static inline bool fs_entered(flagstore *store)
{
	if (!store->write_map)
		return false;
	/* acquire: pairs with the release by the thread that entered; its store->fd and store->worker are seen */
	if (__builtin_expect(atomic_load_explicit(store->entered, memory_order_acquire) != 1, 0))
		fs_worker_enter_child(store);
	return true;
}

#endif

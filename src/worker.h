/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * worker.h: an attached process's entry in the segment. */
#ifndef FS_WORKER_H
#define FS_WORKER_H

#include "seat.h"

/* Enters this process as a worker, with an entry if one is free. Notes its id and marks the store entered. */
void fs_worker_enter(flagstore *store);

/* Gives the entry back; who it was stays readable until it is used again. */
void fs_worker_leave(flagstore *store);

/* Living workers that have an entry. */
uint32_t fs_workers_alive(const flagstore *store);

/* Whether a worker, whose id is in the low bits of a writer mark, lives. */
bool fs_worker_lives(const flagstore *store, uint32_t id);

/* The process has entered; a child that was forked from one that had enters by itself. */
void fs_worker_see_to(flagstore *store);

/* The process has entered, and the calling thread has its seat. */
static inline bool fs_entered_before(const flagstore *store)
{
	/* acquire: pairs with the release by the thread that entered; its store->fd and worker id are seen */
	return store->entered && atomic_load_explicit(&store->entered->life, memory_order_acquire) == fs_thread.life;
}

/* Every write calls this first: true when the store may write. Sees to it that the process has entered the segment, and that the calling
 * thread has its seat in it; one load and one compare in the usual case. */
static inline bool fs_entered(flagstore *store)
{
	if (!store->write_map)
		return false;
	if (__builtin_expect(!fs_entered_before(store), 0)) {
		fs_worker_see_to(store);
		fs_seat_take(store);
	}
	return true;
}

#endif

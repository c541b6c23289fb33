/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * seat.h: the calling thread's seat in a segment: who it is, and what it does. */
#ifndef FS_SEAT_H
#define FS_SEAT_H

#include "segment.h"

struct fs_key;

/* The calling thread in the store that it wrote to last. What is kept here belongs to the store whose life this is, and means nothing for
 * any other. */
struct fs_thread {
	uint64_t life;        /* struct fs_entered */
	struct fs_seat *seat; /* in the writable mapping; NULL: none was left */
	uint64_t mark;        /* writer mark */
	/* the write under way, for the guard; a flip that takes no lock is noted when the guard audits */
	const void *site;     /* where the library was called */
	const struct fs_key *key; /* NULL: several, or none */
	enum flagstore_operation operation;
	uint32_t sections;    /* shards entered */
	bool unlocked;        /* without their locks */
};


/* initial-exec: one load instead of a call on the way of every write; a few bytes, so that the library can be loaded late all the same. */
extern _Thread_local struct fs_thread fs_thread __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* Makes fs_thread the calling thread's in this store, and gives it a seat if one is left. The process has entered. */
void fs_seat_take(flagstore *store);

/* The process leaves the segment: its threads' seats become free. Waits for threads that are just ending. */
void fs_seats_leave(flagstore *store);

/* Nobody is attached: all seats become free. */
void fs_seats_clear(flagstore *store);

/* Recovery: the thread with that mark died. Its seat becomes free, unless somebody else has it by now. */
void fs_seat_vacate(flagstore *store, uint64_t mark);

/* Seats that belong to somebody who lives. */
uint32_t fs_seats_taken(const flagstore *store);

static inline bool fs_seat_is_current(const flagstore *store)
{
	return store->entered && atomic_load_explicit(&store->entered->life, memory_order_relaxed) == fs_thread.life;
}

/* The calling thread's seat; NULL when it has none in this store. */
static inline struct fs_seat *fs_own_seat(const flagstore *store)
{
	return fs_seat_is_current(store) ? fs_thread.seat : NULL;
}

/* The calling thread's writer mark; that of an unknown thread while the process has not entered. */
static inline uint64_t fs_own_mark(const flagstore *store)
{
	return fs_seat_is_current(store) ? fs_thread.mark : fs_own_worker(store);
}

static inline uint32_t fs_mark_worker(uint64_t mark)
{
	return (uint32_t)(mark & ((1u << FS_MARK_WORKER_BITS) - 1));
}

static inline int32_t fs_mark_thread(uint64_t mark)
{
	return (int32_t)(mark >> FS_MARK_WORKER_BITS & ((1u << FS_MARK_THREAD_BITS) - 1));
}

/* Whether there can be such a writer in the segment. */
static inline bool fs_mark_can_be(const flagstore *store, uint64_t mark)
{
	return (mark & ((1u << FS_WORKER_INDEX_BITS) - 1)) <= store->constants.workers && mark >> FS_MARK_SEAT_SHIFT <= store->constants.seats;
}

/* Notes what the thread does. relaxed: each field is news by itself; a reader may see one of two that belong together a moment earlier. */
static inline void fs_seat_does(struct fs_seat *seat, enum flagstore_activity activity, uint32_t shard, uint64_t since_ns)
{
	if (!seat)
		return;
	atomic_store_explicit(&seat->since_ns, since_ns, memory_order_relaxed);
	atomic_store_explicit(&seat->activity, (uint64_t)shard << FS_ACTIVITY_SHARD_SHIFT | activity, memory_order_relaxed);
}

/* The same shard, another activity. */
static inline void fs_seat_turns_to(const flagstore *store, enum flagstore_activity activity)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (seat)
		atomic_store_explicit(&seat->activity,
		                      (atomic_load_explicit(&seat->activity, memory_order_relaxed) & ~UINT64_C(0xff)) | activity, memory_order_relaxed);
}

static inline void fs_seat_rests(const flagstore *store)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (seat)
		atomic_store_explicit(&seat->activity, FLAGSTORE_IDLE, memory_order_relaxed);
}

/* Counts that one thread writes. */
static inline void fs_count(_Atomic uint64_t *count, uint64_t difference)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + difference, memory_order_relaxed);
}

#endif

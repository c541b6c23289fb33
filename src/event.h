/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * event.h: writing to the event ring of the calling thread's seat. Nobody waits, nothing is allocated, and a thread without a seat writes
 * nothing.
 *
 * A record's stamp is odd while the record is written, and names it afterwards; so a reader who finds the same stamp before and after,
 * and the one that he expects, has read that record whole. The fences pair with those of the reader (events.c). */
#ifndef FS_EVENT_H
#define FS_EVENT_H

#include "fence.h"
#include "guard.h"

struct fs_news {
	int64_t time_ns;
	uint64_t what, slot, identity, before, after;
};

static inline uint64_t fs_event_what(enum flagstore_event_kind kind, uint32_t shard)
{
	return (uint64_t)shard << FS_EVENT_SHARD_SHIFT | kind;
}

/* By the seat's thread alone; inline, since a flip of a flag is hardly more than this. */
static inline void fs_event_write(struct fs_seat *seat, uint64_t who, const struct fs_news *news)
{
	uint64_t number = atomic_load_explicit(&seat->next, memory_order_relaxed);
	struct fs_event *event = &seat->events[number % FS_SEAT_EVENTS];

	atomic_store_explicit(&event->stamp, number * 2 + 1, memory_order_relaxed);
	fs_release_fence();
	atomic_store_explicit(&event->time_ns, news->time_ns, memory_order_relaxed);
	atomic_store_explicit(&event->what, news->what, memory_order_relaxed);
	atomic_store_explicit(&event->who, who, memory_order_relaxed);
	atomic_store_explicit(&event->slot, news->slot, memory_order_relaxed);
	atomic_store_explicit(&event->identity, news->identity, memory_order_relaxed);
	atomic_store_explicit(&event->before, news->before, memory_order_relaxed);
	atomic_store_explicit(&event->after, news->after, memory_order_relaxed);
	atomic_store_explicit(&event->stamp, number * 2 + 2, memory_order_release);
	/* A death before this store leaves a record whose place the next owner of the seat uses again. release: pairs with the reader's
	 * acquire load; records before it are seen */
	atomic_store_explicit(&seat->next, number + 1, memory_order_release);
}

/* What is to be said of a change. */
static inline uint64_t fs_change_what(enum flagstore_operation operation, uint32_t shard, bool batch)
{
	return (uint64_t)shard << FS_EVENT_SHARD_SHIFT | (uint64_t)(fs_thread.sections && fs_thread.unlocked) << FS_EVENT_UNLOCKED_BIT |
	       (uint64_t)batch << FS_EVENT_BATCH_BIT | (uint64_t)operation << 8;
}

/* The same of a flip outside of any write section. */
static inline uint64_t fs_flip_what(uint32_t shard)
{
	return (uint64_t)shard << FS_EVENT_SHARD_SHIFT | (uint64_t)FLAGSTORE_FLIP << 8;
}

static inline void fs_event_write_change(struct fs_seat *seat, const struct fs_slot *slot, fs_line line, uint64_t what, uint64_t before,
                                         uint64_t after, int64_t now_ms)
{
	fs_event_write(seat, fs_thread.mark, &(struct fs_news){
		.time_ns = now_ms * 1000000,
		.what = what | FLAGSTORE_CHANGE,
		.slot = line,
		.identity = atomic_load_explicit(&slot->identity, memory_order_relaxed),
		.before = before,
		.after = after,
	});
}

/* A flag has been changed by the calling thread. */
static inline void fs_event_change(flagstore *store, const struct fs_slot *slot, uint64_t what, uint64_t before, uint64_t after,
                                   int64_t now_ms)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (__builtin_expect(fs_guard_audits(store), 0))
		fs_guard_pass(store, fs_line_of(store, slot), what, now_ms);
	if (seat)
		fs_event_write_change(seat, slot, fs_line_of(store, slot), what, before, after, now_ms);
}

/* Something else has happened, now. other: writer mark of another thread, or a line. */
void fs_event_note(const flagstore *store, enum flagstore_event_kind kind, uint32_t shard, uint64_t other, uint64_t duration_ns);

/* Two writers met, at a slot if that is known. */
void fs_event_conflict(const flagstore *store, uint32_t shard, uint64_t other, fs_line slot);

/* The guard's mode, or the breaker's state, has been changed. */
void fs_event_guard(const flagstore *store, uint64_t from, uint64_t to);
void fs_event_breaker(const flagstore *store, uint64_t from, uint64_t to);

#endif

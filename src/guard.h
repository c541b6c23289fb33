/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.h: seeing writers that do not wait for each other. */
#ifndef FS_GUARD_H
#define FS_GUARD_H

#include "seat.h"

#define FS_GUARD_WINDOW_MAX_MS 60000

/* relaxed: a mode that was just set is obeyed with the next write that sees it */
static inline uint64_t fs_guard_word(const flagstore *store)
{
	return atomic_load_explicit(&fs_header(store)->guard, memory_order_relaxed);
}

static inline uint32_t fs_guard_mode(uint64_t word)
{
	return (uint32_t)(word & 0xff);
}

static inline bool fs_guard_audits(const flagstore *store)
{
	return fs_guard_mode(fs_guard_word(store)) == FLAGSTORE_GUARD_AUDIT;
}

/* Whether a write that begins now is to be done without the lock. */
static inline bool fs_goes_unlocked(const flagstore *store)
{
	return __builtin_expect(store->unlocked, 0) && fs_guard_mode(fs_guard_word(store)) != FLAGSTORE_GUARD_ENFORCE;
}

/* The calling thread, with that mark, begins (or ends) a write section of the shard: marks it, and, if the guard is on, looks whether
 * somebody else is (or has been) in it. */
void fs_guard_enter(flagstore *store, uint32_t index, uint64_t mark);
void fs_guard_leave(flagstore *store, uint32_t index, uint64_t mark);

/* Audit: the calling thread has just changed the slot. what is that of its event. */
void fs_guard_pass(flagstore *store, fs_line slot, uint64_t what, int64_t now_ms);

/* Two writers met. */
struct fs_meeting {
	enum flagstore_conflict_kind kind;
	uint32_t shard;
	fs_line slot;        /* 0: unknown */
	uint64_t other;      /* shard mark: writer mark and FS_MARK_LOCKED */
	uint64_t other_site; /* an address in its process */
	uint32_t other_operation;
	enum flagstore_operation operation; /* of who noticed */
	bool unlocked;
};

/* The calling thread ends. */
void fs_conflict_forget(void);

/* Records it (conflict.c), or counts it, if the same two have met like that before. */
void fs_conflict_record(flagstore *store, const struct fs_meeting *meeting);

#endif

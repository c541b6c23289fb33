/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * breaker.h: the circuit breaker between the table and LMDB (Nygard, "Release It!", 2007). Its state stands in the journal and is the same
 * for all processes. It opens when commits fail, or take too long; while it is open nobody touches the directory, but for one process
 * that tries, now and then. */
#ifndef FS_BREAKER_H
#define FS_BREAKER_H

#include "segment.h"

/* What the limits are in a new segment. */
void fs_breaker_init(struct fs_journal *journal);

static inline enum flagstore_breaker_state fs_breaker_state(const flagstore *store)
{
	/* relaxed: who sees the old state for a moment longer does what was right a moment ago */
	uint64_t word = atomic_load_explicit(&store->journal->breaker, memory_order_relaxed) & 0xff;

	return word <= FLAGSTORE_BREAKER_HALF_OPEN ? (enum flagstore_breaker_state)word : FLAGSTORE_BREAKER_OPEN;
}

/* Whether the caller, who has the flush lock, may touch the directory now. When it is time to try, the breaker is half-open after that. */
bool fs_breaker_allows(flagstore *store);

/* A commit succeeded, or failed; it took so long. By who has the flush lock. */
void fs_breaker_committed(flagstore *store, bool success, uint64_t took_ns);

/* The same of an attempt to open the environment, or to read from it. */
void fs_breaker_opened(flagstore *store, bool success);

/* Everything is in LMDB that is in the table: the breaker closes, if it was half-open. */
void fs_breaker_caught_up(flagstore *store);

/* Anybody: opens the breaker if whoever writes has stood still for longer than the limit. True when the breaker is open now. */
bool fs_breaker_watch(flagstore *store);

/* The error of a change that is refused while the breaker is open. */
int fs_breaker_refused(const flagstore *store);

/* Notes what failed, for people. */
void fs_breaker_note_failure(flagstore *store, const char *sentence);

/* What was noted last; empty: nothing. */
void fs_breaker_failure(const struct fs_journal *journal, char text[FS_FAILURE_TEXT]);

/* Adds up the last minute. */
void fs_breaker_minute(const flagstore *store, struct flagstore_persistence *persistence);

#endif

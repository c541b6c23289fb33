/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * recover.h: a shard after the death of its writer. */
#ifndef FS_RECOVER_H
#define FS_RECOVER_H

#include "table.h"

/* Restores the shard's invariants, whatever its writer was in the middle of. Expects the shard's lock. May be repeated, and may
 * be killed anywhere. */
void fs_recover(flagstore *store, uint32_t index);

/* Makes slots, tags and counts of the shard agree again: thaws what is FROZEN, drops what was planted and does not live. Part of
 * fs_recover(), and how a batch that can't go on is taken back. */
void fs_tidy(flagstore *store, struct fs_shard *shard);

/* A walk over buckets. All zero at its start; for the next shard the position is 0 again. */
struct fs_walk {
	uint64_t position; /* the 32 hash bits below which everything in the shard has been seen: right also when the directory doubles */
	uint64_t lines;    /* of all buckets so far; in a sound table hardly more than the heap has */
};

/* Walks over a shard's buckets in the order of their hash bits, as the directory word leads to them; false at the end. *word is 0 for a
 * part of the directory that can't be walked, or that leads to the same buckets again and again. With the shard's lock each bucket comes
 * once. Without it, give the directory word as it is now, look at both words again afterwards, and pass over flags whose hash lies before
 * the position that the bucket was found at: it may be the old one of a half published split. */
bool fs_next_bucket(const flagstore *store, uint64_t directory_word, struct fs_walk *walk, uint64_t *word);

static inline uint64_t fs_directory_word(const struct fs_shard *shard)
{
	return atomic_load_explicit(&shard->directory, memory_order_acquire);
}

#endif

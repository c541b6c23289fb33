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

/* Walks over a shard's buckets in the order of their hash bits. Start with *position 0; false at the end. *word is 0 for a part of the
 * directory that can't be walked. With the shard's lock each bucket comes once. Without it, look at the words again afterwards, and pass
 * over flags whose hash lies before the position that the bucket was found at: it may be the old one of a half published split. */
bool fs_next_bucket(const flagstore *store, const struct fs_shard *shard, uint64_t *position, uint64_t *word);

#endif

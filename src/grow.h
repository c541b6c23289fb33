/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * grow.h: room for more keys. Expects the shard's lock. */
#ifndef FS_GROW_H
#define FS_GROW_H

#include "table.h"

/* The tag word byte of one slot; keeps the bucket's count of tags that are not EMPTY. */
void fs_tag_store(struct fs_bucket *bucket, uint32_t slot, uint8_t tag);

/* Makes a taken bucket look never used: EMPTY. Late readers may still be looking at it: those see words that hold no flag before they
 * can see other keys (fence), and find by the bucket word that they must start again. */
void fs_bucket_clean(flagstore *store, const struct fs_bucket_view *view);

/* The place in the bucket where a key with this hash goes: its preferred slot if free, else the first free one on its way. view->count
 * when there is none. */
uint32_t fs_place_for(const struct fs_bucket_view *view, uint64_t hash);

/* Fetches the slot in which a key that is missing will be put, while its writer is still on his way to the lock. A hint. */
void fs_expect_insert(const flagstore *store, uint64_t hash);

/* Sees to it that the bucket in charge of hash can take count more keys. The bucket grows, is rebuilt or splits, alone, while
 * readers go on. Errors: ENOSPACE, EFULL, ECORRUPT, ESYSTEM. */
int fs_make_room(flagstore *store, struct fs_shard *shard, uint64_t hash, uint32_t count);

/* The same, one step at a time: *fits when nothing was left to do. */
int fs_make_room_step(flagstore *store, struct fs_shard *shard, uint64_t hash, uint32_t count, bool *fits);

#endif

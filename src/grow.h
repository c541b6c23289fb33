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

/* The smallest class for so many flags, so that it has room for some more; FS_BUCKET_CLASSES when none is large enough. */
uint32_t fs_class_for(uint64_t flags);

/* Whether the bucket can take count more flags as it is. */
bool fs_has_room(const struct fs_bucket_view *view, uint64_t count);

/* Where a key that is missing goes: a slot of the bucket that is in charge of it. */
struct fs_spot {
	struct fs_bucket_view view;
	uint32_t place; /* its preferred slot if that is free, else the first free one on its way; view.count when there is none */
};

/* False, and a spot without slots, when there is no such bucket: the shard has seen no insert yet, or the table leads nowhere. */
bool fs_spot_for(const flagstore *store, const struct fs_shard *shard, uint64_t hash, struct fs_spot *spot);

/* Whether the tags alone tell that the bucket has no key with that hash: a search for it would compare nothing. */
bool fs_spot_is_missed(const struct fs_spot *spot, uint64_t hash);

/* Sees to it that there is room at the spot, which is the one for the hash now; afterwards it may be another one. The bucket grows, is
 * rebuilt or splits, alone, while readers go on. Errors: ENOSPACE, EFULL, ECORRUPT, ESYSTEM. */
int fs_make_room(flagstore *store, struct fs_shard *shard, uint64_t hash, struct fs_spot *spot);

/* One step on the way to room for count more keys, of which one has that hash: *fits when nothing was left to do. */
int fs_make_room_step(flagstore *store, struct fs_shard *shard, uint64_t hash, uint32_t count, bool *fits);

/* Makes room for so many flags in all, the same number in each shard, rounded down; reserve.c. Errors as of flagstore_reserve(). */
int fs_reserve(flagstore *store, uint64_t flags);

#endif

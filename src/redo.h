/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * redo.h: the redo record of a batch.
 *
 * A batch that is prepared, all its slots FROZEN or planted, writes here which word each slot is to get, then says
 * committed: that store is the moment of the batch. After it the batch is carried out by its writer or, shard by shard, by whoever
 * recovers that shard.
 *
 * The record belongs to the lowest shard of the batch, its leader. Each shard of the batch notes the leader before the commit,
 * and forgets it when its own part is done. A leader's record is written again only when no shard notes it any more. */
#ifndef FS_REDO_H
#define FS_REDO_H

#include "table.h"

/* The leader's record, if it has one that exists; *room is how many changes it can hold. */
const struct fs_redo *fs_redo_of(const flagstore *store, const struct fs_shard *leader, uint32_t *room);

/* Sees to it that the leader has a record for count changes. Expects the leader's lock. Errors: ENOSPACE, EFULL, ECORRUPT. */
int fs_redo_reserve(flagstore *store, struct fs_shard *leader, uint32_t count);

/* Stores the word of one change, if its slot still has the word before. May be repeated: a word never comes back. */
void fs_redo_apply(flagstore *store, const struct fs_slot *slot, uint64_t before, uint64_t after);

/* Recovery: carries out this shard's part of the batch that it was in, if that was committed, and forgets the batch. Expects the
 * shard's lock. */
void fs_redo_finish(flagstore *store, uint32_t index);

#endif

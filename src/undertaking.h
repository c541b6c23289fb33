/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * undertaking.h: changes of a shard's structure that take several stores. All functions expect the shard's lock. */
#ifndef FS_UNDERTAKING_H
#define FS_UNDERTAKING_H

#include "table.h"

/* Opens an undertaking: the notes are clean before the phase says that there is one. */
void fs_undertake(struct fs_shard *shard, enum fs_phase phase, uint64_t outgoing, uint32_t where);

/* Closes it. */
void fs_undertaken(struct fs_shard *shard);

/* Brings the undertaking that is open to its end, by finishing it or giving it up: after the death of the one who began it (his
 * fs_block_settle() done), or when he could not go on for want of room. May be repeated. */
void fs_undertaking_resolve(flagstore *store, struct fs_shard *shard);

/* PUBLISHING: makes the fresh buckets the table's, thaws them, puts the outgoing one on the free list and closes. */
void fs_publish(flagstore *store, struct fs_shard *shard);

/* Gives a slot's key cell, if it has one, to the free list; the slot must not live. May be repeated. */
void fs_cell_release(flagstore *store, struct fs_shard *shard, struct fs_slot *slot);

#endif

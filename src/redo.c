/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * redo.c: the redo record of a batch (redo.h says when it is whose). */
#include "redo.h"

#include "error.h"
#include "point.h"
#include "undertaking.h"

static uint32_t room_of(uint32_t kind)
{
	uint32_t bytes = fs_kind_lines(kind) * FS_LINE - (uint32_t)sizeof(struct fs_redo);

	return bytes / (uint32_t)sizeof(struct fs_redo_change);
}

const struct fs_redo *fs_redo_of(const flagstore *store, const struct fs_shard *leader, uint32_t *room)
{
	fs_block block = atomic_load_explicit(&leader->redo, memory_order_acquire);
	uint32_t kind = fs_block_kind(block);

	if (!block || kind < FS_KIND_REDO || kind >= FS_KINDS)
		return NULL;
	*room = room_of(kind);
	return fs_at(store, fs_block_line(block), fs_kind_lines(kind));
}

int fs_redo_reserve(flagstore *store, struct fs_shard *leader, uint32_t count)
{
	uint32_t room, kind = FS_KIND_REDO;
	const struct fs_redo *had = fs_redo_of(store, leader, &room);
	struct fs_redo *redo;
	const void *place;
	fs_block block;
	int error;

	if (had && room >= count)
		return FLAGSTORE_OK;
	while (kind < FS_KINDS - 1 && room_of(kind) < count)
		kind++;
	fs_undertake(leader, FS_ENLARGING, had ? atomic_load_explicit(&leader->redo, memory_order_relaxed) : 0, 0);
	error = fs_block_take(store, leader, kind, 0, &block);
	place = error ? NULL : fs_at(store, fs_block_line(block), fs_kind_lines(kind));
	if (!place) {
		fs_undertaking_resolve(store, leader);
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free redo record does not exist", store->path);
	}
	redo = fs_writable(store, place);
	atomic_store_explicit(&redo->committed, 0, memory_order_relaxed);
	FS_NOTE(&leader->redo, block);
	FS_POINT("redo record enlarged");
	fs_block_give(store, leader, atomic_load_explicit(&leader->outgoing, memory_order_relaxed));
	fs_undertaken(leader);
	return FLAGSTORE_OK;
}

void fs_redo_apply(flagstore *store, const struct fs_slot *slot, uint64_t before, uint64_t after)
{
	/* A FROZEN word, or that of a slot planted for this batch, is changed by this store alone; so a word that is no longer the one
	 * before has had its change, and perhaps flips since. seq_cst as in fs_flip(). */
	atomic_compare_exchange_strong_explicit(&((struct fs_slot *)fs_writable(store, slot))->word, &before, after, memory_order_seq_cst,
	                                        memory_order_relaxed);
	FS_POINT("change applied");
}

void fs_redo_finish(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint32_t leader = atomic_load_explicit(&shard->batch, memory_order_relaxed), room = 0, count;
	const struct fs_redo *redo = NULL;

	if (!leader)
		return;
	if (leader <= store->constants.shards)
		redo = fs_redo_of(store, fs_shard_writable(store, leader - 1), &room);
	/* The batch's writer is dead, and nobody writes the record as long as this shard notes its leader. */
	if (redo && atomic_load_explicit(&redo->committed, memory_order_acquire)) {
		count = atomic_load_explicit(&redo->count, memory_order_relaxed);
		for (uint32_t i = 0; i < count && i < room; i++) {
			const struct fs_slot *slot = fs_at(store, atomic_load_explicit(&redo->changes[i].slot, memory_order_relaxed), 1);

			if (slot && atomic_load_explicit(&redo->changes[i].shard, memory_order_relaxed) == index)
				fs_redo_apply(store, slot, atomic_load_explicit(&redo->changes[i].before, memory_order_relaxed),
				              atomic_load_explicit(&redo->changes[i].after, memory_order_relaxed));
		}
	}
	FS_NOTE(&shard->batch, 0);
	FS_POINT("batch forgotten");
}

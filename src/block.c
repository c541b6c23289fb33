/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * block.c: heap blocks. A shard recycles its own blocks through free lists that its lock guards; a new block is cut off the
 * end of the heap by a compare-and-swap, without any lock, so that nobody who stands still can stop the growth of others.
 *
 * No block is ever lost to a death. For a free list the block is noted in fresh[] before the list's head moves on, and "the
 * noted block is still the head" tells whether it did. For the end of the heap the shard first claims [next, next + lines),
 * then swaps the heap word, which names the shard that took last. Whoever takes next first confirms that shard's claim.
 * So a claim was successful if it has been confirmed, or if the heap word still names its shard and ends where it ends. */
#include "block.h"

#include "error.h"
#include "fence.h"
#include "point.h"

static const uint16_t redo_changes[FS_REDO_KINDS] = {64, 512, FLAGSTORE_BATCH_MAX};

uint32_t fs_kind_lines(uint32_t kind)
{
	if (kind < FS_KIND_CELL)
		return fs_bucket_classes[kind - FS_KIND_BUCKET].lines;
	if (kind < FS_KIND_DIRECTORY)
		return kind - FS_KIND_CELL + 1;
	if (kind < FS_KIND_REDO)
		return 1u << (kind - FS_KIND_DIRECTORY);
	return (uint32_t)((sizeof(struct fs_redo) + redo_changes[kind - FS_KIND_REDO] * sizeof(struct fs_redo_change) + FS_LINE - 1) / FS_LINE);
}

const _Atomic uint32_t *fs_block_link(const flagstore *store, fs_line line, uint32_t kind)
{
	const char *place = fs_at(store, line, fs_kind_lines(kind));

	if (place && kind < FS_KIND_CELL)
		place += fs_bucket_classes[kind - FS_KIND_BUCKET].slots * sizeof(struct fs_slot);
	return (const void *)place;
}

static _Atomic uint32_t *link_of(flagstore *store, fs_block block)
{
	const _Atomic uint32_t *link = fs_block_link(store, fs_block_line(block), fs_block_kind(block));

	return link ? fs_writable(store, link) : NULL;
}

/* Confirms the claim of the shard that took last, if it has not seen to that itself. */
static void confirm_last(flagstore *store, uint64_t heap)
{
	uint64_t owner = heap >> FS_HEAP_OWNER_SHIFT;
	struct fs_shard *last;
	uint64_t claim;

	if (owner == 0 || owner > store->constants.shards)
		return;
	last = fs_shard_writable(store, (uint32_t)owner - 1);
	/* acquire: pairs with the claim's release store; the claim that led to this heap word, or a later one, is seen */
	claim = atomic_load_explicit(&last->claim, memory_order_acquire);
	if (claim & FS_BLOCK_CONFIRMED || fs_block_kind(claim) >= FS_KINDS ||
	    fs_block_line(claim) + fs_kind_lines(fs_block_kind(claim)) != (fs_line)heap)
		return;
	/* Fails when the shard has gone on: then it needs no confirmation. */
	atomic_compare_exchange_strong_explicit(&last->claim, &claim, claim | FS_BLOCK_CONFIRMED, memory_order_relaxed,
	                                        memory_order_relaxed);
}

static int cut_off(flagstore *store, struct fs_shard *shard, uint32_t kind, uint32_t index, fs_block *block)
{
	struct fs_header *header = fs_header_writable(store);
	uint32_t lines = fs_kind_lines(kind);
	uint64_t owner = (uint64_t)(shard - fs_shard_writable(store, 0)) + 1;

	for (;;) {
		/* acquire: pairs with the swap by the shard that took last; its claim is seen */
		uint64_t heap = atomic_load_explicit(&header->heap, memory_order_acquire);
		fs_line line = (fs_line)heap;
		int error;

		if (line < store->heap_start || line > store->max_lines)
			return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the end of its heap is noted as line %u; check it, and create it anew",
			               store->path, line);
		error = fs_room_take(store, (uint64_t)line + lines);
		if (error)
			return error;
		confirm_last(store, heap);
		*block = fs_block_make(line, kind);
		/* Pairs with confirm_last(). A death before the swap leaves a claim that proves wrong; one after it, a claim that
		 * proves right. */
		FS_NOTE(&shard->claim, *block | (uint64_t)index << FS_BLOCK_INDEX_SHIFT);
		FS_POINT("block claimed");
		if (!atomic_compare_exchange_strong_explicit(&header->heap, &heap, owner << FS_HEAP_OWNER_SHIFT | (line + lines),
		                                             memory_order_acq_rel, memory_order_relaxed))
			continue;
		FS_POINT("block cut off");
		FS_NOTE(&shard->fresh[index], *block);
		FS_POINT("block noted");
		FS_NOTE(&shard->claim, 0);
		return FLAGSTORE_OK;
	}
}

int fs_block_take(flagstore *store, struct fs_shard *shard, uint32_t kind, uint32_t index, fs_block *block)
{
	fs_line first = atomic_load_explicit(&shard->free[kind], memory_order_relaxed);
	_Atomic uint32_t *link;
	int error;

	if (first) {
		*block = fs_block_make(first, kind);
		link = link_of(store, *block);
		if (link) {
			FS_NOTE(&shard->fresh[index], *block);
			FS_POINT("free block noted");
			FS_NOTE(&shard->free[kind], atomic_load_explicit(link, memory_order_relaxed));
			FS_POINT("free block taken");
			return FLAGSTORE_OK;
		}
		/* A damaged list: what is on it is lost, the shard goes on. */
		FS_NOTE(&shard->free[kind], 0);
	}
	error = cut_off(store, shard, kind, index, block);
	if (error)
		FS_NOTE(&shard->claim, 0);
	return error;
}

void fs_block_give(flagstore *store, struct fs_shard *shard, fs_block block)
{
	uint32_t kind = fs_block_kind(block);
	_Atomic uint32_t *link;
	fs_line first;

	if (kind >= FS_KINDS)
		return;
	first = atomic_load_explicit(&shard->free[kind], memory_order_relaxed);
	if (first == fs_block_line(block))
		return;
	link = link_of(store, block);
	if (!link)
		return;
	atomic_store_explicit(link, first, memory_order_relaxed);
	FS_POINT("block linked");
	/* A death before this store leaves the block noted by who gives it. */
	FS_NOTE(&shard->free[kind], fs_block_line(block));
	FS_POINT("block given");
}

void fs_block_settle(flagstore *store, struct fs_shard *shard)
{
	uint64_t claim = atomic_load_explicit(&shard->claim, memory_order_acquire);
	uint64_t heap = atomic_load_explicit(&fs_header(store)->heap, memory_order_acquire);
	uint64_t owner = (uint64_t)(shard - fs_shard_writable(store, 0)) + 1;
	uint32_t kind = fs_block_kind(claim), index = claim >> FS_BLOCK_INDEX_SHIFT & 1;

	if (claim && kind < FS_KINDS) {
		/* The heap word is read after the claim: if somebody took behind us meanwhile, he has confirmed the claim first, and that
		 * is seen by reading it again. */
		bool last = heap >> FS_HEAP_OWNER_SHIFT == owner && (fs_line)heap == fs_block_line(claim) + fs_kind_lines(kind);

		claim = atomic_load_explicit(&shard->claim, memory_order_acquire);
		if (last || claim & FS_BLOCK_CONFIRMED)
			FS_NOTE(&shard->fresh[index], fs_block_make(fs_block_line(claim), kind));
	}
	FS_POINT("claim settled");
	FS_NOTE(&shard->claim, 0);
}

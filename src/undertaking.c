/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * undertaking.c: how a change of a shard's structure is noted, so that a death in its middle is found and brought to an end.
 *
 * An undertaking stands in the shard: its phase, the block that goes (outgoing), the blocks that come (fresh), and where. For each phase
 * there is one store after which it is finished, and before which it is given up; which of the two holds can be seen from the
 * table itself. The steps may be repeated any number of times, by any number of recoverers that die one after the other. */
#include "undertaking.h"

#include "point.h"

void fs_undertake(struct fs_shard *shard, enum fs_phase phase, uint64_t outgoing, uint32_t where)
{
	atomic_store_explicit(&shard->fresh[0], 0, memory_order_relaxed);
	atomic_store_explicit(&shard->fresh[1], 0, memory_order_relaxed);
	atomic_store_explicit(&shard->outgoing, outgoing, memory_order_relaxed);
	atomic_store_explicit(&shard->where, where, memory_order_relaxed);
	FS_NOTE(&shard->phase, phase);
	FS_POINT("undertaken");
}

void fs_undertaken(struct fs_shard *shard)
{
	FS_NOTE(&shard->phase, FS_IDLE);
	FS_POINT("undertaking closed");
}

static fs_block fresh_of(const struct fs_shard *shard, int index)
{
	return atomic_load_explicit(&shard->fresh[index], memory_order_relaxed);
}

/* The last first: only that one may still be on its list, as the list's head, which must not be hidden behind the other. */
static void give_up(flagstore *store, struct fs_shard *shard)
{
	for (int i = 1; i >= 0; i--) {
		if (!fresh_of(shard, i))
			continue;
		fs_block_give(store, shard, fresh_of(shard, i));
		/* Noted before the next is given, so that "is the first on its list" keeps telling whether it was given. */
		FS_NOTE(&shard->fresh[i], 0);
		FS_POINT("fresh block given up");
	}
	fs_undertaken(shard);
}

static void thaw(flagstore *store, const struct fs_bucket_view *view)
{
	for (uint32_t i = 0; i < view->count; i++) {
		struct fs_slot *slot = fs_writable(store, &view->slots[i]);
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);

		/* A FROZEN word changes under the lock alone, so a plain store is enough. release: pairs with the readers' and the
		 * handles' acquire loads of the word; they see the key. From here on a flip needs no lock. */
		if (fs_word_state(word) == FS_FROZEN)
			atomic_store_explicit(&slot->word, fs_word_with_state(word, FS_LIVE), memory_order_release);
	}
}

/* What was noted leads to buckets. */
static bool has_buckets(const struct fs_shard *shard, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!fresh_of(shard, (int)i) || fs_block_kind(fresh_of(shard, (int)i)) >= FS_KIND_BUCKET + FS_BUCKET_CLASSES)
			return false;
	return true;
}

void fs_publish(flagstore *store, struct fs_shard *shard)
{
	uint64_t outgoing = atomic_load_explicit(&shard->outgoing, memory_order_relaxed);
	uint64_t directory_word = atomic_load_explicit(&shard->directory, memory_order_relaxed);
	const _Atomic uint64_t *directory = fs_directory(store, directory_word);
	uint32_t where = atomic_load_explicit(&shard->where, memory_order_relaxed);
	uint32_t depth = fs_dir_depth(outgoing), above = fs_dir_depth(directory_word), span, halves = fresh_of(shard, 1) ? 2 : 1;

	/* Untrue only of a damaged segment: nothing is touched then. */
	if (directory && depth <= above && where < 1u << above && fs_dir_class(outgoing) < FS_BUCKET_CLASSES && has_buckets(shard, halves)) {
		span = 1u << (above - depth);
		where &= ~(span - 1);
		for (uint32_t i = 0; i < span; i++) {
			_Atomic uint64_t *entry = fs_writable(store, &directory[where + i]);
			fs_block fresh = fresh_of(shard, halves == 2 && i >= span / 2);

			/* release: pairs with the readers' acquire load; they see the bucket filled. Until the last entry is stored both
			 * buckets are FROZEN and alike. */
			atomic_store_explicit(entry,
			                      fs_bucket_word_after(outgoing, fs_block_line(fresh), fs_block_kind(fresh) - FS_KIND_BUCKET, depth + halves - 1),
			                      memory_order_release);
			FS_POINT("bucket word published");
		}
		fs_release_fence();
		for (uint32_t i = 0; i < halves; i++) {
			struct fs_bucket_view view;
			fs_block fresh = fresh_of(shard, (int)i);

			if (fs_bucket_at(store, fs_block_line(fresh), fs_block_kind(fresh) - FS_KIND_BUCKET, &view))
				thaw(store, &view);
			FS_POINT("bucket thawed");
		}
		fs_block_give(store, shard, fs_block_make(fs_dir_line(outgoing), FS_KIND_BUCKET + fs_dir_class(outgoing)));
	}
	atomic_fetch_add_explicit(&shard->growths, 1, memory_order_relaxed);
	fs_undertaken(shard);
}

static void resolve_replaced(flagstore *store, struct fs_shard *shard, bool in_use)
{
	if (!in_use) {
		give_up(store, shard);
		return;
	}
	fs_block_give(store, shard, atomic_load_explicit(&shard->outgoing, memory_order_relaxed));
	fs_undertaken(shard);
}

/* The slot of the undertaking names no key, and so no cell, any more. */
static void forget_key(flagstore *store, struct fs_shard *shard)
{
	const struct fs_slot *slot = fs_at(store, atomic_load_explicit(&shard->where, memory_order_relaxed), 1);

	if (slot && !fs_word_holds(atomic_load_explicit(&slot->word, memory_order_relaxed)))
		FS_NOTE(&((struct fs_slot *)fs_writable(store, slot))->key[0], 0);
	FS_POINT("key forgotten");
}

static void release(flagstore *store, struct fs_shard *shard)
{
	forget_key(store, shard);
	fs_block_give(store, shard, atomic_load_explicit(&shard->outgoing, memory_order_relaxed));
	fs_undertaken(shard);
}

void fs_cell_release(flagstore *store, struct fs_shard *shard, struct fs_slot *slot)
{
	size_t length = fs_slot_key_length(slot);

	if (length <= FS_KEY_INLINE)
		return;
	fs_undertake(shard, FS_RELEASING,
	             fs_block_make((fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed),
	                           FS_KIND_CELL + fs_cell_lines(length) - 1),
	             (fs_line)(((char *)slot - store->write_map) / FS_LINE));
	release(store, shard);
}

/* The slot may name the cell already, and does not live. */
static void resolve_keying(flagstore *store, struct fs_shard *shard)
{
	forget_key(store, shard);
	give_up(store, shard);
}

void fs_undertaking_resolve(flagstore *store, struct fs_shard *shard)
{
	uint64_t directory_word = atomic_load_explicit(&shard->directory, memory_order_relaxed);
	uint32_t phase = atomic_load_explicit(&shard->phase, memory_order_relaxed);

	switch (phase) {
	case FS_IDLE:
		break;
	case FS_PUBLISHING:
		fs_publish(store, shard);
		break;
	case FS_FOUNDING:
		if (directory_word)
			fs_undertaken(shard);
		else
			give_up(store, shard);
		break;
	case FS_DOUBLING:
		resolve_replaced(store, shard, fresh_of(shard, 0) && fs_dir_line(directory_word) == fs_block_line(fresh_of(shard, 0)));
		break;
	case FS_ENLARGING:
		resolve_replaced(store, shard,
		                 fresh_of(shard, 0) && atomic_load_explicit(&shard->redo, memory_order_relaxed) == fresh_of(shard, 0));
		break;
	case FS_RELEASING:
		release(store, shard);
		break;
	case FS_KEYING:
		resolve_keying(store, shard);
		break;
	case FS_FILLING:
	default:
		give_up(store, shard);
		break;
	}
}

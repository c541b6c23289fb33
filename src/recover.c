/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * recover.c: a shard after the death of its writer. In this order, each step repeatable:
 * 1. a block that he was cutting off the heap is noted, or found not to be his
 * 2. his undertaking is finished or given up
 * 3. his batch is carried out if it was committed
 * 4. every slot is looked at: nothing stays FROZEN, nothing half planted keeps a tag or a key cell; tags and counts are
 *    made anew from the slot words
 * Readers go on meanwhile: no slot word that they may rely on changes but from FROZEN to LIVE, no tag of a flag that lives
 * disappears. */
#include "recover.h"

#include "journal.h"

#include "grow.h"
#include "point.h"
#include "redo.h"
#include "undertaking.h"

/* How often the heap may be walked over. Once, but for buckets whose memory was recycled for others further on. */
#define ROUNDS_MAX 4

static void end_walk(struct fs_walk *walk, uint64_t *word)
{
	walk->position = (uint64_t)UINT32_MAX + 1;
	*word = 0;
}

bool fs_next_bucket(const flagstore *store, uint64_t directory_word, struct fs_walk *walk, uint64_t *word)
{
	const _Atomic uint64_t *directory;
	uint32_t above = fs_dir_depth(directory_word), depth, class;

	*word = 0;
	if (!directory_word || walk->position > UINT32_MAX)
		return false;
	directory = fs_directory(store, directory_word);
	/* A damaged directory may name one bucket a million times. */
	if (!directory || walk->lines / ROUNDS_MAX > fs_room(store)) {
		end_walk(walk, word);
		return true;
	}
	*word = atomic_load_explicit(&directory[walk->position >> (32 - above)], memory_order_acquire);
	depth = fs_dir_depth(*word);
	class = fs_dir_class(*word);
	if (depth > above || class >= FS_BUCKET_CLASSES) {
		*word = 0;
		depth = above;
	} else {
		walk->lines += fs_kind_lines(FS_KIND_BUCKET + class);
	}
	walk->position = ((walk->position >> (32 - depth)) + 1) << (32 - depth);
	return true;
}

static void tidy_slot(flagstore *store, struct fs_shard *shard, const struct fs_bucket_view *view, uint32_t place)
{
	struct fs_slot *slot = fs_writable(store, &view->slots[place]);
	struct fs_bucket *bucket = fs_writable(store, view->bucket);
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
	uint8_t tag = fs_tag_at(bucket, place);

	if (fs_word_holds(word)) {
		uint8_t right = fs_slot_tag(store, slot);

		if (tag != right)
			fs_tag_store(bucket, place, right);
		/* The tag before the thaw: a LIVE slot always has its tag. */
		if (fs_word_state(word) == FS_FROZEN)
			atomic_store_explicit(&slot->word, fs_word_with_state(word, FS_LIVE), memory_order_release);
		return;
	}
	if (fs_word_state(word) == FS_DEAD)
		fs_cell_release(store, shard, slot);
	/* A TOMBSTONE is right whether searches went past this slot or not. */
	if (tag >= FS_TAG_FIRST)
		fs_tag_store(bucket, place, FS_TAG_TOMBSTONE);
}

static uint32_t tidy_bucket(flagstore *store, struct fs_shard *shard, const struct fs_bucket_view *view)
{
	struct fs_bucket *bucket = fs_writable(store, view->bucket);
	uint32_t live = 0, occupied = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		tidy_slot(store, shard, view, i);
		live += fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed));
		occupied += fs_tag_at(bucket, i) != FS_TAG_EMPTY;
	}
	atomic_store_explicit(&bucket->live, live, memory_order_relaxed);
	atomic_store_explicit(&bucket->occupied, occupied, memory_order_relaxed);
	FS_POINT("bucket tidied");
	return live;
}

void fs_tidy(flagstore *store, struct fs_shard *shard)
{
	struct fs_walk walk = {0, 0};
	uint32_t live = 0;
	uint64_t word;

	while (fs_next_bucket(store, fs_directory_word(shard), &walk, &word)) {
		struct fs_bucket_view view;

		if (word && fs_bucket_view(store, word, &view))
			live += tidy_bucket(store, shard, &view);
	}
	atomic_store_explicit(&shard->live, live, memory_order_relaxed);
}

void fs_recover(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);

	FS_POINT("recovery begins");
	/* Before any slot becomes another flag's: the dead writer may have left an intent that names it. */
	fs_journal_recover(store);
	fs_block_settle(store, shard);
	fs_undertaking_resolve(store, shard);
	fs_redo_finish(store, index);
	fs_tidy(store, shard);
	atomic_fetch_add_explicit(&shard->recoveries, 1, memory_order_relaxed);
	FS_POINT("recovered");
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mendshard.c: a shard: its directory, whose entries that can't be are cut out, its redo record, its words and its count of flags. */
#include "mend.h"
#include "recover.h"
#include "redo.h"
#include "seat.h"

/* -------------------------------------------------------------------------------------------------- directories */

/* How many entries, from the first on, the bucket word is right for: all that it says, or as many as agree. */
static uint32_t agreeing(const _Atomic uint64_t *directory, uint32_t first, uint32_t above, uint64_t word, uint32_t *depth)
{
	for (*depth = fs_dir_depth(word); *depth < above; ++*depth) {
		uint32_t span = 1u << (above - *depth), i = 1;

		while (i < span && atomic_load_explicit(&directory[first + i], memory_order_relaxed) == word)
			i++;
		if (i == span)
			return span;
	}
	return 1;
}

/* Marks an entry that leads nowhere: it gets a fresh bucket when blocks can be taken. */
static void cut_out(struct fs_mend *repair, const _Atomic uint64_t *entry)
{
	fs_mend_fixed(repair, entry, "a directory entry led nowhere, or to what is something else's");
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(repair->store, entry), 0, memory_order_release);
}

/* One bucket with all its entries; returns how many these are. */
static uint32_t mend_entry(struct fs_mend *repair, const struct fs_shard *shard, const _Atomic uint64_t *directory, uint32_t first, uint32_t above)
{
	uint64_t word = atomic_load_explicit(&directory[first], memory_order_relaxed), right, growths, count;
	struct fs_bucket_view view;
	uint32_t depth, span;

	if (!word || fs_dir_depth(word) > above || (first & ((1u << (above - fs_dir_depth(word))) - 1)) ||
	    !fs_bucket_view(repair->store, word, &view) || !fs_mend_meet(repair, fs_dir_line(word), fs_kind_lines(FS_KIND_BUCKET + fs_dir_class(word)))) {
		cut_out(repair, &directory[first]);
		return 1;
	}
	span = agreeing(directory, first, above, word, &depth);
	count = fs_dir_count(word);
	right = fs_dir_word(fs_dir_line(word), count ? count : 1, fs_dir_slots(word), depth);
	growths = atomic_load_explicit(&shard->growths, memory_order_relaxed);
	if (count > growths + 1)
		fs_mend_set64(repair, &shard->growths, count - 1, "the shard's count of growths");
	for (uint32_t i = 0; i < span && right != word; i++)
		fs_mend_set64(repair, &directory[first + i], right, "a bucket word");
	fs_mend_bucket(repair, shard, &view, (uint64_t)first << (32 - above), depth);
	return span;
}

static void mend_table(struct fs_mend *repair, const struct fs_shard *shard)
{
	uint64_t word = fs_directory_word(shard), right;
	uint32_t depth = fs_dir_depth(word), lines;
	const _Atomic uint64_t *directory = word ? fs_directory(repair->store, word) : NULL;

	if (!word)
		return;
	lines = directory ? fs_kind_lines(fs_directory_kind(depth)) : 0;
	if (!directory || !fs_mend_meet(repair, fs_dir_line(word), lines)) {
		fs_mend_set64(repair, &shard->directory, 0, "the directory word, which led nowhere,");
		return;
	}
	right = fs_dir_word(fs_dir_line(word), depth + 1, 0, depth);
	fs_mend_set64(repair, &shard->directory, right, "the directory word");
	fs_mend_zero(repair, directory + (1u << depth), (const char *)directory + (size_t)lines * FS_LINE, "directory");
	for (uint32_t first = 0; first < 1u << depth;)
		first += mend_entry(repair, shard, directory, first, depth);
}

/* ------------------------------------------------------------------------------------------------- whole shard */

static void mend_redo(struct fs_mend *repair, const struct fs_shard *shard)
{
	fs_block block = atomic_load_explicit(&shard->redo, memory_order_relaxed);
	uint32_t room;
	const struct fs_redo *redo = fs_redo_of(repair->store, shard, &room);

	if (!block)
		return;
	if (!redo || block != fs_block_make(fs_block_line(block), fs_block_kind(block)) ||
	    !fs_mend_meet(repair, fs_block_line(block), fs_kind_lines(fs_block_kind(block)))) {
		fs_mend_set64(repair, &shard->redo, 0, "the redo record, which led nowhere,");
		return;
	}
	FS_MEND_ZERO(repair, redo, reserved, "redo record");
	if (atomic_load_explicit(&redo->committed, memory_order_relaxed) > 1 || atomic_load_explicit(&redo->count, memory_order_relaxed) > room) {
		fs_mend_set32(repair, &redo->committed, 0, "whether the redo record was committed");
		fs_mend_set32(repair, &redo->count, 0, "the redo record's count");
	}
}

/* With the lock, which was not left by a dead one: nothing is under way, whatever the notes say. */
static void mend_words(struct fs_mend *repair, const struct fs_shard *shard)
{
	uint32_t wanted = atomic_load_explicit(&shard->wanted, memory_order_relaxed);

	FS_MEND_ZERO(repair, shard, line0, "shard");
	FS_MEND_ZERO(repair, shard, line2, "shard");
	FS_MEND_ZERO(repair, shard, line3, "shard");
	fs_mend_set32(repair, &shard->phase, FS_IDLE, "what was under way");
	fs_mend_set32(repair, &shard->batch, 0, "the batch under way");
	fs_mend_set64(repair, &shard->claim, 0, "the block that was being taken");
	fs_mend_set32(repair, &shard->wanted, wanted & (FS_WANTED_SHARD | FS_WANTED_ANY), "what is waited for");
	if (!fs_mark_can_be(repair->store, atomic_load_explicit(&shard->holder, memory_order_relaxed)))
		fs_mend_set64(repair, &shard->holder, 0, "the last holder of the lock");
	if (!fs_mark_can_be(repair->store, atomic_load_explicit(&shard->left, memory_order_relaxed) & ~FS_MARK_LOCKED))
		fs_mend_set64(repair, &shard->left, 0, "the last that wrote");
}

void fs_mend_shard(struct fs_mend *repair, const struct fs_shard *shard)
{
	mend_words(repair, shard);
	mend_table(repair, shard);
	mend_redo(repair, shard);
}

void fs_mend_recount(struct fs_mend *repair, const struct fs_shard *shard)
{
	struct fs_walk walk = {0, 0};
	struct fs_bucket_view view;
	uint64_t word;
	uint32_t live = 0;

	while (fs_next_bucket(repair->store, fs_directory_word(shard), &walk, &word))
		if (word && fs_bucket_view(repair->store, word, &view))
			live += fs_mend_count(repair, &view);
	fs_mend_set32(repair, &shard->live, live, "the shard's count of flags");
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mendheap.c: the heap, when it is known what is in use: free lists are cut where they go wrong, and what belongs to nothing becomes free. */
#include "mend.h"

/* ---------------------------------------------------------------------------------------------------- free lists */

static void mend_free_bucket(struct fs_mend *repair, fs_line line, uint32_t class)
{
	struct fs_bucket_view view;

	if (!fs_bucket_at(repair->store, line, class, &view))
		return;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t word = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);

		if (fs_word_state(word) == FS_LIVE || fs_word_senseless(word) || word & FS_RESERVED_MASK)
			fs_mend_set64(repair, &view.slots[i].word, 0, "the word of a slot of a free bucket");
	}
}

/* What is on it stays on it up to the first block that can't be; the rest is found as lines that belong to nothing. */
void fs_mend_free_lists(struct fs_mend *repair, const struct fs_shard *shard)
{
	for (uint32_t kind = 0; kind < sizeof shard->free / sizeof *shard->free; kind++) {
		const _Atomic uint32_t *link = &shard->free[kind];

		for (;;) {
			fs_line line = atomic_load_explicit(link, memory_order_relaxed);
			const _Atomic uint32_t *next = line && kind < FS_KINDS ? fs_block_link(repair->store, line, kind) : NULL;

			if (!line)
				break;
			if (!next || !fs_mend_meet(repair, line, fs_kind_lines(kind))) {
				fs_mend_set32(repair, link, 0, "a link of a free list");
				break;
			}
			if (kind < FS_KIND_CELL)
				mend_free_bucket(repair, line, kind - FS_KIND_BUCKET);
			link = next;
		}
	}
}

/* -------------------------------------------------------------------------------------- lines that belong to nothing */

/* How well the lines are a bucket: its slots that prove themselves, with the tag that says so. 0: they are none. */
static uint32_t proofs(const struct fs_mend *repair, const struct fs_bucket_view *view, uint32_t *shard)
{
	const flagstore *store = repair->store;
	uint32_t right = 0, wrong = 0, occupied = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		const struct fs_slot *slot = &view->slots[i];
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), hash;
		uint8_t tag = fs_tag_at(view->bucket, i);
		char key[FLAGSTORE_KEY_MAX];
		size_t length;

		occupied += tag != FS_TAG_EMPTY;
		if (!fs_word_holds(word)) {
			wrong += tag >= FS_TAG_FIRST || fs_word_senseless(word);
			continue;
		}
		length = fs_slot_copy_key(store, slot, key);
		hash = fs_key_valid(key, length) ? fs_hash(store->seed, key, length) : 0;
		if (!hash || fs_identity(hash, word) != atomic_load_explicit(&slot->identity, memory_order_relaxed) || tag != fs_hash_tag(hash)) {
			wrong++;
			continue;
		}
		*shard = fs_hash_shard(hash, store->shard_mask);
		right++;
	}
	return right > wrong && atomic_load_explicit(&view->bucket->occupied, memory_order_relaxed) == occupied ? right : 0;
}

/* The bucket that stands at the line and ends before the other one, as a block; 0: none does. */
static fs_block bucket_at(const struct fs_mend *repair, fs_line line, fs_line end, uint32_t *shard)
{
	fs_block found = 0;
	uint32_t most = 0;

	for (uint32_t class = 0; class < FS_BUCKET_CLASSES; class++) {
		struct fs_bucket_view view;
		uint32_t occupied, owner = 0, seen;

		if (fs_bucket_classes[class].lines > end - line || !fs_bucket_at(repair->store, line, class, &view))
			break;
		occupied = atomic_load_explicit(&view.bucket->occupied, memory_order_relaxed);
		if (__atomic_load_n(&view.bucket->reserved, __ATOMIC_RELAXED) || !occupied || occupied > view.count)
			continue;
		seen = proofs(repair, &view, &owner);
		if (seen <= most)
			continue;
		most = seen;
		found = fs_block_make(line, FS_KIND_BUCKET + class);
		*shard = owner;
	}
	return found;
}

static void note_flags(struct fs_mend *repair, fs_line from, fs_line to)
{
	for (fs_line line = from; line < to; line++) {
		const struct fs_slot *slot = fs_at(repair->store, line, 1);
		uint64_t word = slot ? atomic_load_explicit(&slot->word, memory_order_relaxed) : 0;
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_word_state(word) == FS_LIVE ? fs_slot_copy_key(repair->store, slot, key) : 0;

		if (fs_key_valid(key, length) &&
		    fs_identity(fs_hash(repair->store->seed, key, length), word) == atomic_load_explicit(&slot->identity, memory_order_relaxed))
			fs_mend_note(repair, slot, key, length, fs_word_value(word));
	}
}

static void zero_lines(struct fs_mend *repair, fs_line from, fs_line to)
{
	_Atomic uint64_t *words = fs_writable(repair->store, repair->store->map + (size_t)from * FS_LINE);

	for (size_t i = 0; i < (size_t)(to - from) * (FS_LINE / 8); i++)
		atomic_store_explicit(&words[i], 0, memory_order_relaxed);
}

static void give(struct fs_mend *repair, uint32_t shard, fs_block block)
{
	zero_lines(repair, fs_block_line(block), fs_block_line(block) + fs_kind_lines(fs_block_kind(block)));
	(void)fs_mend_meet(repair, fs_block_line(block), fs_kind_lines(fs_block_kind(block)));
	fs_block_give(repair->store, fs_shard_writable(repair->store, shard), block);
}

/* By turns, so that all shards have some. */
static void give_cells(struct fs_mend *repair, fs_line from, fs_line to)
{
	if (from < to)
		fs_mend_fixed(repair, repair->store->map + (size_t)from * FS_LINE, "%u lines belonged to nothing; they are free for keys now", to - from);
	while (from < to) {
		uint32_t lines = to - from < FS_CELL_KINDS ? to - from : FS_CELL_KINDS;

		give(repair, from % repair->store->constants.shards, fs_block_make(from, FS_KIND_CELL + lines - 1));
		from += lines;
	}
}

/* Lines that belong to nothing. */
static void free_gap(struct fs_mend *repair, fs_line from, fs_line to)
{
	fs_line rest = from;

	note_flags(repair, from, to);
	for (fs_line line = from; line < to;) {
		uint32_t shard = 0;
		fs_block block = bucket_at(repair, line, to, &shard);

		if (!block) {
			line++;
			continue;
		}
		give_cells(repair, rest, line);
		fs_mend_fixed(repair, repair->store->map + (size_t)line * FS_LINE, "a bucket belonged to nothing; it is free for shard %u now", shard);
		give(repair, shard, block);
		rest = line += fs_kind_lines(fs_block_kind(block));
	}
	give_cells(repair, rest, to);
}

static bool is_unused(const struct fs_mend *repair, fs_line line)
{
	const _Atomic uint64_t *words = (const void *)(repair->store->map + (size_t)line * FS_LINE);

	for (size_t i = 0; i < FS_LINE / 8; i++)
		if (atomic_load_explicit(&words[i], memory_order_relaxed))
			return false;
	return true;
}

void fs_mend_heap(struct fs_mend *repair)
{
	flagstore *store = repair->store;
	const struct fs_header *header = fs_header(store);
	uint64_t heap = atomic_load_explicit(&header->heap, memory_order_relaxed), owner = heap >> FS_HEAP_OWNER_SHIFT;
	fs_line end = (fs_line)heap, room = fs_room(store);

	repair->shard = UINT32_MAX;
	/* What is in use is not behind the end; how much was taken beyond that, nobody knows if the word is wrong. */
	if (end < repair->end || end > room || end > store->max_lines)
		end = repair->end;
	while (end > repair->end && is_unused(repair, end - 1))
		end--;
	if (owner > store->constants.shards || !owner != (end == store->heap_start))
		owner = end == store->heap_start ? 0 : 1;
	fs_mend_set64(repair, &header->heap, owner << FS_HEAP_OWNER_SHIFT | end, "the end of the heap");
	for (fs_line line = store->heap_start; line < end;) {
		fs_line from = line;

		while (line < end && !fs_mend_is_met(repair, line))
			line++;
		if (line > from)
			free_gap(repair, from, line);
		while (line < end && fs_mend_is_met(repair, line))
			line++;
	}
}

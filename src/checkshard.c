/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * checkshard.c: a shard's invariants: what stands in its slots, tags, buckets, directory, free lists, redo record and words. */
#include "checkfind.h"
#include "lock.h"
#include "recover.h"
#include "redo.h"
#include "seat.h"

/* --------------------------------------------------------------------------------------------------- slots */

struct bucket_at {
	struct fs_bucket_view view;
	uint64_t position; /* hash bits of its range */
	uint32_t depth;
};

/* The word, the identity and the key of a slot are of one writer, unless two filled it at the same time: then each of the three may be
 * of another one. */
static const char *cause_of_identity(uint64_t hash, uint64_t word, uint64_t identity)
{
	uint64_t differ = fs_identity(hash, word) ^ identity;

	if (__builtin_popcountll(differ) <= 2)
		return "a bit was flipped, in memory or by a store that bypassed the library";
	if (!(uint32_t)differ)
		return "two writers without the lock claimed the slot: word and key are of different lives";
	return "two writers without the lock claimed the slot, or a store that bypassed the library changed its key";
}

static void check_key(struct fs_check *check, const struct bucket_at *at, uint32_t place, uint64_t word)
{
	const flagstore *store = check->store;
	const struct fs_slot *slot = &at->view.slots[place];
	uint64_t identity = atomic_load_explicit(&slot->identity, memory_order_relaxed), hash, births;
	char bytes[FLAGSTORE_KEY_MAX];
	fs_line cell = (fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed);
	size_t length = fs_slot_copy_key(store, slot, bytes);
	uint8_t tag = fs_tag_at(at->view.bucket, place);
	struct fs_found found;

	if (!fs_key_valid(bytes, length)) {
		fs_check_find(check, "slot", slot, "the flag's key of %zu bytes is not valid", fs_slot_key_length(slot));
		return;
	}
	/* Checked once more: it may have changed since the key was copied. */
	if (length > FS_KEY_INLINE && fs_at(store, cell, fs_cell_lines(length)))
		fs_check_meet(check, cell, fs_cell_lines(length), "key cell");
	/* Until the count comes round: an incarnation that is yet to be given out would be given out twice. */
	births = atomic_load_explicit(&store->shards[check->shard].births, memory_order_relaxed);
	if (births <= FS_INCARNATION_MASK >> FS_INCARNATION_SHIFT && (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT > births)
		fs_check_find(check, "count", slot, "the flag's incarnation is later than the last of its shard, %llu", (unsigned long long)births);
	hash = fs_hash(store->seed, bytes, length);
	if (fs_identity(hash, word) != identity) {
		check->cause = cause_of_identity(hash, word, identity);
		fs_check_find(check, "check-value", slot, "key, hash and incarnation do not belong together: the slot was written "
		              "by somebody who did not keep the rules");
		return;
	}
	if (tag != fs_hash_tag(hash))
		fs_check_find(check, "tag", slot, "the tag of slot %u is %u, and should be %u", place, tag, fs_hash_tag(hash));
	if (fs_hash_shard(hash, store->shard_mask) != check->shard ||
	    fs_hash_index(hash, at->depth) != at->position >> (32 - at->depth)) {
		fs_check_find(check, "unreachable", slot, "the flag lies in a bucket that is not in charge of its key");
		return;
	}
	if (fs_find(store, &(struct fs_key){bytes, length, hash}, &found) != FS_FOUND)
		fs_check_find(check, "unreachable", slot, "a search for the flag's key does not find it");
	else if (found.slot != slot)
		fs_check_find(check, "duplicate", slot, "the flag exists a second time, at line %u", fs_line_of(store, found.slot));
}

/* What the slot has behind its key, or beside the cell that holds the key. */
static void check_key_rest(struct fs_check *check, const struct fs_slot *slot)
{
	size_t length = fs_slot_key_length(slot);
	const char *key = (const char *)slot->key;

	if (length <= FS_KEY_INLINE) {
		fs_check_zero(check, "slot", key + 1 + length, slot + 1, "slot");
		return;
	}
	fs_check_zero(check, "slot", key + 1, &slot->key[FS_KEY_CELL], "slot");
	fs_check_zero(check, "slot", (const char *)&slot->key[FS_KEY_CELL] + sizeof(fs_line), slot + 1, "slot");
}

static void check_author(struct fs_check *check, const struct fs_slot *slot)
{
	uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	uint32_t index = (uint32_t)(stamp >> FS_STAMP_VERSION_BITS) & ((1u << FS_WORKER_INDEX_BITS) - 1);

	if (index > check->store->constants.workers)
		fs_check_find(check, "slot", slot, "the flag was changed last by worker entry %u, and there are %u", index, check->store->constants.workers);
}

static void check_slot(struct fs_check *check, const struct bucket_at *at, uint32_t place)
{
	const struct fs_slot *slot = &at->view.slots[place];
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
	uint8_t tag = fs_tag_at(at->view.bucket, place);

	check->slot = slot;
	check->place = place;
	if (fs_word_senseless(word))
		fs_check_find(check, "slot", slot, "the word of slot %u is neither that of a flag nor that of a slot without one", place);
	if (fs_word_state(word) != FS_EMPTY && word & FS_RESERVED_MASK)
		fs_check_find(check, "slot", slot, "reserved bits of the word of slot %u are not 0", place);
	if (fs_word_holds(word)) {
		check_key_rest(check, slot);
		check_author(check, slot);
	}
	if (fs_word_state(word) == FS_FROZEN)
		fs_check_find(check, "frozen", slot, "slot %u is frozen, and nobody is at work", place);
	if (fs_word_holds(word))
		check_key(check, at, place, word);
	else if (tag >= FS_TAG_FIRST)
		fs_check_find(check, "tag", slot, "slot %u holds no flag, and has a tag", place);
	else if (fs_word_state(word) == FS_DEAD && fs_slot_key_length(slot) > FS_KEY_INLINE)
		fs_check_find(check, "slot", slot, "slot %u is dead, and still names a key cell", place);
	check->slot = NULL;
}

static uint32_t check_bucket(struct fs_check *check, const struct bucket_at *at)
{
	const struct fs_bucket *bucket = at->view.bucket;
	uint32_t live = 0, occupied = 0;

	for (uint32_t i = 0; i < at->view.count; i++) {
		check_slot(check, at, i);
		live += fs_word_holds(atomic_load_explicit(&at->view.slots[i].word, memory_order_relaxed));
		occupied += fs_tag_at(bucket, i) != FS_TAG_EMPTY;
	}
	fs_check_zero(check, "bucket", &bucket->next, &bucket->occupied, "bucket");
	fs_check_zero(check, "bucket", &bucket->reserved, bucket->tags, "bucket");
	fs_check_zero(check, "bucket", (const char *)bucket->tags + at->view.count, fs_bucket_end(&at->view), "bucket");
	if (atomic_load_explicit(&bucket->live, memory_order_relaxed) != live)
		fs_check_find(check, "count", bucket, "the bucket has %u flags, and its count says %u", live,
		              atomic_load_explicit(&bucket->live, memory_order_relaxed));
	if (atomic_load_explicit(&bucket->occupied, memory_order_relaxed) != occupied)
		fs_check_find(check, "count", bucket, "the bucket has %u tags in use, and its count says %u", occupied,
		              atomic_load_explicit(&bucket->occupied, memory_order_relaxed));
	return live;
}

/* -------------------------------------------------------------------------------------------------- shards */

/* All the directory's entries for one bucket hold the same word. */
static void check_entries(struct fs_check *check, const _Atomic uint64_t *directory, uint32_t above, uint64_t position, uint64_t word)
{
	uint32_t depth = fs_dir_depth(word), first = (uint32_t)(position >> (32 - above));

	for (uint32_t i = 0; i < 1u << (above - depth); i++)
		if (atomic_load_explicit(&directory[first + i], memory_order_relaxed) != word)
			fs_check_find(check, "directory", &directory[first + i], "directory entry %u differs from the others of its bucket", first + i);
}

/* A directory word is replaced when the directory is founded, and each time it doubles: its count is known. That of a bucket word is
 * bounded, as long as the shard's own count has not come round. */
static void check_replacements(struct fs_check *check, const struct fs_shard *shard, uint64_t directory_word, const _Atomic uint64_t *entry,
                               uint64_t word)
{
	uint64_t growths = atomic_load_explicit(&shard->growths, memory_order_relaxed);
	uint64_t count = fs_dir_count(word), most = UINT64_C(1) << FS_WORD_COUNT_BITS;

	if (!entry && (fs_dir_count(directory_word) != fs_dir_depth(directory_word) + 1 || fs_dir_slots(directory_word)))
		fs_check_find(check, "directory", shard, "the directory word does not have the count that belongs to its depth, or has slots");
	if (entry && growths < most - 1 && (count == 0 || count > growths + 1))
		fs_check_find(check, "directory", entry, "a bucket word has been replaced %llu times, and its shard has seen %llu growths",
		              (unsigned long long)count, (unsigned long long)growths);
}

static void check_table(struct fs_check *check, const struct fs_shard *shard)
{
	const flagstore *store = check->store;
	uint64_t directory_word = fs_directory_word(shard), position = 0, word;
	struct fs_walk walk = {0, 0};
	const _Atomic uint64_t *directory = directory_word ? fs_directory(store, directory_word) : NULL;
	uint32_t above = fs_dir_depth(directory_word), live = 0;

	if (directory_word && !directory)
		fs_check_find(check, "directory", shard, "the directory word leads nowhere");
	if (directory) {
		uint32_t lines = fs_kind_lines(fs_directory_kind(above));

		fs_check_meet(check, fs_dir_line(directory_word), lines, "directory");
		fs_check_zero(check, "directory", directory + (1u << above), (const char *)directory + (size_t)lines * FS_LINE, "directory");
		check_replacements(check, shard, directory_word, NULL, 0);
	}
	/* All by one directory word: its depth bounds what is read below. */
	for (; directory && fs_next_bucket(store, directory_word, &walk, &word); position = walk.position) {
		struct bucket_at at = {.position = position, .depth = fs_dir_depth(word)};

		if (!word || !fs_bucket_view(store, word, &at.view)) {
			fs_check_find(check, "bucket", &directory[position >> (32 - above)], "the bucket word of directory entry %llu leads nowhere",
			              (unsigned long long)(position >> (32 - above)));
			continue;
		}
		check_entries(check, directory, above, position, word);
		check_replacements(check, shard, directory_word, &directory[position >> (32 - above)], word);
		if (fs_check_meet(check, fs_dir_line(word), fs_kind_lines(FS_KIND_BUCKET + fs_dir_class(word)), "bucket"))
			live += check_bucket(check, &at);
	}
	if (atomic_load_explicit(&shard->live, memory_order_relaxed) != live)
		fs_check_find(check, "count", shard, "the shard has %u flags, and its count says %u", live,
		              atomic_load_explicit(&shard->live, memory_order_relaxed));
}

/* A handle that was made long ago may still look at a slot of a free bucket: none must live. */
static void check_free_bucket(struct fs_check *check, fs_line line, uint32_t class)
{
	struct fs_bucket_view view;

	if (!fs_bucket_at(check->store, line, class, &view))
		return;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t word = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);

		if (fs_word_state(word) == FS_LIVE)
			fs_check_find(check, "free-list", &view.slots[i], "slot %u of a free bucket lives", i);
		else if (fs_word_senseless(word) || word & FS_RESERVED_MASK)
			fs_check_find(check, "free-list", &view.slots[i], "the word of slot %u of a free bucket is none", i);
	}
}

static void check_free_lists(struct fs_check *check, const struct fs_shard *shard)
{
	for (uint32_t kind = 0; kind < FS_KINDS; kind++) {
		fs_line line = atomic_load_explicit(&shard->free[kind], memory_order_relaxed);

		while (line) {
			const _Atomic uint32_t *link = fs_block_link(check->store, line, kind);

			if (!link) {
				fs_check_find(check, "free-list", &shard->free[kind], "the free list of blocks of kind %u leads nowhere", kind);
				break;
			}
			/* Met before: it may be a circle. */
			if (!fs_check_meet(check, line, fs_kind_lines(kind), "free block"))
				break;
			if (kind < FS_KIND_CELL)
				check_free_bucket(check, line, kind - FS_KIND_BUCKET);
			line = atomic_load_explicit(link, memory_order_relaxed);
		}
	}
	for (uint32_t kind = FS_KINDS; kind < sizeof shard->free / sizeof *shard->free; kind++)
		fs_check_zero(check, "free-list", &shard->free[kind], &shard->free[kind] + 1, "free list heads");
}

static void check_redo(struct fs_check *check, const struct fs_shard *shard)
{
	fs_block block = atomic_load_explicit(&shard->redo, memory_order_relaxed);
	uint32_t kind = fs_block_kind(block), room;
	const struct fs_redo *redo = fs_redo_of(check->store, shard, &room);

	if (!block)
		return;
	if (!redo || block != fs_block_make(fs_block_line(block), kind)) {
		fs_check_find(check, "room", &shard->redo, "the redo record leads nowhere");
		return;
	}
	fs_check_meet(check, fs_block_line(block), fs_kind_lines(kind), "redo record");
	FS_CHECK_UNUSED(check, "room", redo, reserved, "redo record");
	if (atomic_load_explicit(&redo->committed, memory_order_relaxed) > 1 || atomic_load_explicit(&redo->count, memory_order_relaxed) > room)
		fs_check_find(check, "room", redo, "the redo record says that %u changes were committed (%u), and has room for %u",
		              atomic_load_explicit(&redo->count, memory_order_relaxed), atomic_load_explicit(&redo->committed, memory_order_relaxed), room);
}

/* What the lock's owner, who is gone or is we, does not change: the words that the C library set when the lock was made. */
static void check_mutex(struct fs_check *check, const struct fs_shard *shard)
{
	pthread_mutex_t made;

	if (fs_lock_init(&made) == 0 && (shard->mutex.__data.__kind != made.__data.__kind ||
	                                 shard->mutex.__data.__spins != made.__data.__spins ||
	                                 shard->mutex.__data.__elision != made.__data.__elision))
		fs_check_find(check, "lock", &shard->mutex, "the lock is not of the kind that it was made");
	pthread_mutex_destroy(&made);
}

static void check_shard_words(struct fs_check *check, const struct fs_shard *shard)
{
	uint64_t holder = atomic_load_explicit(&shard->holder, memory_order_relaxed);
	uint64_t mark = atomic_load_explicit(&shard->mark, memory_order_relaxed);
	uint64_t left = atomic_load_explicit(&shard->left, memory_order_relaxed);

	FS_CHECK_UNUSED(check, "lock", shard, line0, "shard");
	FS_CHECK_UNUSED(check, "lock", shard, line2, "shard");
	FS_CHECK_UNUSED(check, "lock", shard, line3, "shard");
	if (!fs_mark_can_be(check->store, holder))
		fs_check_find(check, "lock", &shard->holder, "the last holder of the lock is a worker that can't be");
	/* A look with the lock is a write section like any other. */
	if (mark != (check->store->write_map ? fs_own_mark(check->store) | FS_MARK_LOCKED : 0))
		fs_check_find(check, "lock", &shard->mark, "the shard is marked as being written by worker %u, and nobody has the lock", fs_mark_worker(mark));
	if (!fs_mark_can_be(check->store, left & ~FS_MARK_LOCKED))
		fs_check_find(check, "lock", &shard->left, "the last that wrote to the shard is a worker that can't be");
	if (atomic_load_explicit(&shard->wanted, memory_order_relaxed) & ~(uint32_t)(FS_WANTED_SHARD | FS_WANTED_ANY))
		fs_check_find(check, "lock", &shard->wanted, "wishes that nobody can have are noted");
	if (atomic_load_explicit(&shard->claim, memory_order_relaxed) && atomic_load_explicit(&shard->phase, memory_order_relaxed) == FS_IDLE)
		fs_check_find(check, "lock", &shard->claim, "a block is being taken off the heap, and nobody is at work");
}

void fs_check_shard(struct fs_check *check, const struct fs_shard *shard)
{
	check_table(check, shard);
	check_free_lists(check, shard);
	check_redo(check, shard);
	check_mutex(check, shard);
	check_shard_words(check, shard);
	if (atomic_load_explicit(&shard->phase, memory_order_relaxed) != FS_IDLE)
		fs_check_find(check, "lock", &shard->phase, "an undertaking is open, and nobody is at work");
	if (atomic_load_explicit(&shard->batch, memory_order_relaxed))
		fs_check_find(check, "lock", &shard->batch, "a batch is noted, and nobody is at work");
}

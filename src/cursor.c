/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * cursor.c: a walk over all flags, bucket by bucket in the order of their hash bits. A bucket is copied whole, and the copy counts
 * only if the bucket was not replaced meanwhile. The position is the place (key.h) below which everything has been seen: buckets
 * grow or split, but never reach across a position once passed. So a flag that exists throughout is seen exactly once. */
#include "cursor.h"

#include <stdlib.h>

#include "error.h"
#include "recover.h"
#include "sigbus.h"

#define TRIES_MAX 10000

/* A slot whose flag goes and comes again every time it is looked at is no flag. */
#define LOOKS_MAX 10000

/* One flag of the copy; its key stands in the copy's text. */
struct copied {
	size_t key;
	size_t length;
	struct flagstore_flag flag;
};

struct flagstore_cursor {
	const flagstore *store;
	uint32_t shard, last_shard;
	struct fs_walk walk;
	size_t count, next;
	bool told; /* that the store is lost */
	struct copied copied[FS_BUCKET_SLOTS_MAX];
	char text[FS_BUCKET_SLOTS_MAX * (FLAGSTORE_KEY_MAX + 1)];
};

int fs_cursor_open(const flagstore *store, uint32_t first, uint32_t last, flagstore_cursor **cursor)
{
	*cursor = malloc(sizeof **cursor);
	if (!*cursor)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for a cursor");
	(*cursor)->store = store;
	fs_cursor_rewind(*cursor, first, last);
	return FLAGSTORE_OK;
}

void fs_cursor_rewind(flagstore_cursor *cursor, uint32_t first, uint32_t last)
{
	cursor->shard = first;
	cursor->last_shard = last;
	cursor->walk = (struct fs_walk){0, 0};
	cursor->count = cursor->next = 0;
	cursor->told = false;
}

int flagstore_cursor_open(const flagstore *store, flagstore_cursor **cursor)
{
	return fs_cursor_open(store, 0, store->constants.shards - 1, cursor);
}

void flagstore_cursor_close(flagstore_cursor *cursor)
{
	free(cursor);
}

/* Copies one slot, under the protection of its word (slot.h). False when it never stands still. */
static bool copy_slot(flagstore_cursor *cursor, const struct fs_slot *slot, uint64_t end, size_t *text_length)
{
	uint64_t first = atomic_load_explicit(&slot->word, memory_order_acquire), second;
	struct copied *copied = &cursor->copied[cursor->count];

	for (int looks = 0; fs_word_holds(first); first = second) {
		uint32_t place = fs_hash_place(atomic_load_explicit(&slot->identity, memory_order_relaxed));

		copied->key = *text_length;
		copied->length = fs_slot_copy_key(cursor->store, slot, cursor->text + *text_length);
		fs_acquire_fence();
		second = atomic_load_explicit(&slot->word, memory_order_acquire);
		if ((first ^ second) & FS_INCARNATION_MASK || !fs_word_holds(second)) {
			if (++looks == LOOKS_MAX)
				return false;
			continue;
		}
		/* While a split is being published the old bucket may still stand for its second half, with the first half's flags in it. And
		 * a damaged directory may name a bucket in many places, in one of which the flag is looked for. */
		if (!fs_key_valid(cursor->text + copied->key, copied->length) || place < cursor->walk.position || place >= end)
			return true;
		fs_slot_describe(cursor->store, slot, second, &copied->flag);
		cursor->text[*text_length + copied->length] = 0;
		*text_length += copied->length + 1;
		cursor->count++;
		return true;
	}
	return true;
}

/* The next bucket of the shard into the copy. False at the shard's end. */
static bool copy_bucket(flagstore_cursor *cursor, bool *damaged)
{
	const struct fs_shard *shard = &cursor->store->shards[cursor->shard];

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		uint64_t directory_word = fs_directory_word(shard);
		struct fs_walk walk = cursor->walk, same = walk;
		struct fs_bucket_view view;
		size_t text_length = 0;
		uint64_t word, again;
		bool sound;

		cursor->count = cursor->next = 0;
		if (!fs_next_bucket(cursor->store, directory_word, &walk, &word))
			return false;
		sound = word && fs_bucket_view(cursor->store, word, &view);
		for (uint32_t i = 0; sound && i < view.count; i++)
			sound = copy_slot(cursor, &view.slots[i], walk.position, &text_length);
		fs_acquire_fence();
		/* Both words are looked at again, as in fs_find(). */
		if (atomic_load_explicit(&shard->directory, memory_order_relaxed) == directory_word) {
			fs_next_bucket(cursor->store, directory_word, &same, &again);
			if (again == word && same.position == walk.position) {
				cursor->walk = walk;
				*damaged = !sound;
				return true;
			}
		}
	}
	cursor->walk.position = (uint64_t)UINT32_MAX + 1;
	*damaged = true;
	return true;
}

/* Once: who walks until there are no more flags must come to an end. */
static int at_end(flagstore_cursor *cursor)
{
	bool told = cursor->told;

	cursor->told = fs_lost(cursor->store);
	return told ? FLAGSTORE_ENOTFOUND : fs_unless_lost(cursor->store, FLAGSTORE_ENOTFOUND);
}

int flagstore_cursor_next(flagstore_cursor *cursor, struct flagstore_entry *entry)
{
	while (cursor->next == cursor->count) {
		bool damaged = false;

		if (cursor->shard > cursor->last_shard)
			return at_end(cursor);
		if (!copy_bucket(cursor, &damaged)) {
			cursor->shard++;
			cursor->walk.position = 0;
		}
		if (damaged)
			return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: part of shard %u can't be walked; check the segment", cursor->store->path,
			               cursor->shard);
	}
	*entry = (struct flagstore_entry){
		.key = cursor->text + cursor->copied[cursor->next].key,
		.length = cursor->copied[cursor->next].length,
		.flag = cursor->copied[cursor->next].flag,
	};
	cursor->next++;
	return FLAGSTORE_OK;
}

int fs_visit_all(const flagstore *store, fs_visit *visit, void *argument)
{
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	int error = flagstore_cursor_open(store, &cursor);

	if (error)
		return error;
	while ((error = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK)
		if ((error = visit(argument, &entry)))
			break;
	flagstore_cursor_close(cursor);
	return error == FLAGSTORE_ENOTFOUND ? FLAGSTORE_OK : error;
}

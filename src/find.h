/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * find.h: finding a flag without a lock. Extendible hashing (Fagin, Nievergelt, Pippenger, Strong: "Extendible hashing, a fast access
 * method for dynamic files", ACM TODS 4(3), 1979) with small open-addressing buckets whose tags are probed eight at a time.
 *
 * Why an answer is right, as of one moment of the call:
 * - the bucket may have been replaced before or while it was searched. If directory word and bucket word are still the same after the
 *   search (they count their replacements), it had not been, and the answer is the bucket's.
 * - a LIVE hit is no exception. A slot is LIVE only while it is its flag's one place, but between the two loads of its word the bucket
 *   may have gone, come back for another key, which is the one compared, and come back once more with the first flag, whose
 *   incarnation went along.
 * - a FROZEN hit in a bucket that is just being left: all directory entries of a new bucket are published before any of its slots
 *   can change.
 * Pairing: acquire loads of directory and bucket word pair with the release stores that publish them (grow.c); the acquire load of
 * the slot word pairs with its release store (change.c, grow.c, batch.c, recover.c); fences as in slot.h.
 *
 * fs_find_usual() is the search in the usual case, in one piece; whatever is not usual is left to fs_find() in table.c. */
#ifndef FS_FIND_H
#define FS_FIND_H

#include "table.h"

/* What fs_find_usual() says when it does not know. */
#define FS_UNUSUAL 3

/* Whether the slot has that usual key. FS_UNUSUAL: it goes to another key at this moment, or to none, or is just frozen or thawed. */
static inline __attribute__((always_inline)) int fs_look_at_usual(const struct fs_slot *slot, struct fs_key key, struct fs_found *found)
{
	uint64_t first = atomic_load_explicit(&slot->word, memory_order_acquire), second;

	*found = (struct fs_found){NULL, 0};
	/* A key that differs while the slot is taken over by another one was deleted meanwhile: missing is right. */
	if (!fs_slot_has_usual_key(slot, key.bytes, key.length))
		return FS_MISSING;
	fs_acquire_fence();
	second = atomic_load_explicit(&slot->word, memory_order_acquire);
	if (__builtin_expect(((first ^ second) & (FS_INCARNATION_MASK | FS_STATE_MASK)) || !fs_word_holds(second), 0))
		return FS_UNUSUAL;
	*found = (struct fs_found){slot, second};
	return FS_FOUND;
}

/* Looks for a usual key in all of a bucket whose word was checked. The parts of the key one by one: so all go in registers. */
int fs_search_bucket(const flagstore *store, uint64_t bucket_word, const char *bytes, size_t length, uint64_t hash, struct fs_found *found);

/* The way to a key's slot, in three steps; who looks for many keys takes each step with all of them before the next one, so that they wait
 * for memory side by side. */
struct fs_way {
	const struct fs_shard *shard;
	const _Atomic uint64_t *entry;    /* of the directory */
	uint64_t directory_word, bucket_word;
	const struct fs_slot *slots;      /* of the group that the key prefers */
	const _Atomic uint64_t *group;    /* their tags */
	uint64_t tags, marks;             /* as they were, and which of them are the key's */
};

/* Loads what leads to the tags, and fetches the slot where the key most likely is. False: the way ends here; there is no flag in the shard
 * when directory_word is 0.
 *
 * What is loaded from the segment is checked as far as reading goes: each place is backed. In a damaged table it may lie before the heap,
 * and the answer be wrong; who writes there looks at that first (change.h). A shard without a directory has word 0, which leads to the
 * header's magic, and that is no bucket word: its size class would be 13. */
static inline __attribute__((always_inline)) bool fs_set_out(const flagstore *store, uint64_t hash, struct fs_way *way)
{
	struct fs_bucket_view view;
	size_t preferred, first;
	uint32_t index;

	way->shard = fs_shard_of(store, hash);
	way->directory_word = atomic_load_explicit(&way->shard->directory, memory_order_acquire);
	index = fs_hash_index(hash, fs_dir_depth(way->directory_word));
	/* Of a directory, only the entry has to be there, whatever its depth. */
	if (!fs_backed(store, fs_dir_line(way->directory_word) + index / FS_LINE_ENTRIES, 1))
		return false;
	way->entry = (const _Atomic uint64_t *)fs_address(store, fs_dir_line(way->directory_word)) + index;
	way->bucket_word = atomic_load_explicit(way->entry, memory_order_acquire);
	if (!fs_bucket_view_backed(store, way->bucket_word, &view))
		return false;
	preferred = fs_hash_slot(hash, view.count);
	__builtin_prefetch(&view.slots[preferred]);
	first = preferred - preferred % FS_GROUP;
	way->slots = &view.slots[first];
	way->group = &view.bucket->tags[first / FS_GROUP];
	return true;
}

/* Loads the tags, and looks which are the key's. */
static inline __attribute__((always_inline)) void fs_come_near(struct fs_way *way, uint64_t hash)
{
	way->tags = atomic_load_explicit(way->group, memory_order_relaxed);
	way->marks = fs_tags_equal(way->tags, fs_hash_tag(hash));
}

/* Looks whether the key is there, and, as fs_find() does, whether this was the way all the time; FS_UNUSUAL if not.
 * Mostly the key is in the first slot that is marked, and that is all that is looked at here. The rest is apart, so that this has the
 * registers for itself. */
static inline __attribute__((always_inline)) int fs_arrive(const flagstore *store, const struct fs_way *way, struct fs_key key,
                                                           struct fs_found *found)
{
	int outcome = FS_MISSING;

	*found = (struct fs_found){NULL, 0};
	if (__builtin_expect(way->marks != 0, 1))
		outcome = fs_look_at_usual(fs_slot_marked(way->slots, way->marks), key, found);
	if (outcome == FS_MISSING && (way->marks || !fs_tags_any_empty(way->tags))) {
		struct fs_found rest;

		outcome = fs_search_bucket(store, way->bucket_word, key.bytes, key.length, key.hash, &rest);
		*found = rest;
	}
	if (outcome == FS_UNUSUAL)
		return FS_UNUSUAL;
	fs_acquire_fence();
	if (__builtin_expect(atomic_load_explicit(way->entry, memory_order_relaxed) != way->bucket_word ||
	                             atomic_load_explicit(&way->shard->directory, memory_order_relaxed) != way->directory_word, 0))
		return FS_UNUSUAL;
	return outcome;
}

/* Finds a key that is fs_key_usual(), as fs_find() does; a missing one has word 0. FS_UNUSUAL: ask fs_find(). */
static inline __attribute__((always_inline)) int fs_find_usual(const flagstore *store, struct fs_key key, struct fs_found *found)
{
	struct fs_way way;

	if (!fs_set_out(store, key.hash, &way)) {
		*found = (struct fs_found){NULL, 0};
		return way.directory_word ? FS_UNUSUAL : FS_MISSING;
	}
	fs_come_near(&way, key.hash);
	return fs_arrive(store, &way, key, found);
}

#endif

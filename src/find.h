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
	/* A flip in between does no harm. */
	if (__builtin_expect(first != second, 0) && (first ^ second) & (FS_INCARNATION_MASK | FS_STATE_MASK))
		return FS_UNUSUAL;
	if (__builtin_expect(!fs_word_holds(second), 0))
		return FS_UNUSUAL;
	*found = (struct fs_found){slot, second};
	return FS_FOUND;
}

/* The way to a key's slot, in three steps; who looks for many keys takes each step with all of them before the next one, so that they wait
 * for memory side by side. */
struct fs_way {
	const struct fs_shard *shard;
	const _Atomic uint64_t *entry;    /* of the directory */
	uint64_t directory_word, bucket_word;
	const struct fs_slot *slots;      /* of the group that the key prefers */
	const _Atomic uint64_t *group;    /* their tags; NULL: the way ends before */
	uint64_t tags, marks;             /* as they were, and which of them are the key's */
};

/* Loads what leads to the tags, and fetches the slot where the key most likely is. False: the way ends here; there is no flag in the shard
 * when directory_word is 0.
 *
 * What is loaded from the segment is checked as far as reading goes: the directory's entry, the group's tags, and its slots, which lie
 * before them if there are any, are backed. In a damaged table they may lie before the heap, and the answer be wrong; who writes there
 * looks at that first (change.h). */
static inline __attribute__((always_inline)) bool fs_set_out(const flagstore *store, uint64_t hash, struct fs_way *way)
{
	uint64_t place, slots, preferred, first, tags;

	way->shard = fs_shard_of(store, hash);
	way->directory_word = atomic_load_explicit(&way->shard->directory, memory_order_acquire);
	place = fs_dir_offset(way->directory_word) + (uint64_t)fs_hash_index(hash, fs_dir_depth(way->directory_word)) * sizeof(uint64_t);
	way->group = NULL;
	if (!way->directory_word || !fs_backed(store, place))
		return false;
	way->entry = (const _Atomic uint64_t *)(const void *)(store->map + place);
	way->bucket_word = atomic_load_explicit(way->entry, memory_order_acquire);
	place = fs_dir_offset(way->bucket_word);
	slots = fs_dir_slots(way->bucket_word);
	preferred = fs_hash_slot(hash, (uint32_t)slots);
	first = preferred & ~(uint64_t)(FS_GROUP - 1);
	tags = place + slots * sizeof(struct fs_slot) + sizeof(struct fs_bucket) + first;
	if (!slots || !fs_backed(store, tags))
		return false;
	way->group = (const _Atomic uint64_t *)(const void *)(store->map + tags);
	way->slots = (const struct fs_slot *)(const void *)(store->map + place);
	__builtin_prefetch(way->slots + preferred);
	way->slots += first;
	return true;
}

/* Loads the tags, and looks which are the key's. */
static inline __attribute__((always_inline)) void fs_come_near(struct fs_way *way, uint64_t hash)
{
	way->tags = atomic_load_explicit(way->group, memory_order_relaxed);
	way->marks = fs_tags_equal(way->tags, fs_hash_tag(hash));
}

/* The way leads to a bucket of the heap, and all of it is known to be backed. */
static inline bool fs_way_is_known(const flagstore *store, const struct fs_way *way)
{
	uint32_t slots = fs_dir_slots(way->bucket_word);

	return fs_slots_can_be(slots) && fs_known(store, fs_dir_line(way->bucket_word), FS_BUCKET_LINES(slots));
}

/* On to the next group of a known bucket, behind the last one the first. */
static inline void fs_go_on(const flagstore *store, struct fs_way *way)
{
	uint32_t slots = fs_dir_slots(way->bucket_word);
	const struct fs_slot *first = (const void *)(store->map + fs_dir_offset(way->bucket_word));

	way->slots += FS_GROUP;
	way->group++;
	if (way->slots == first + slots) {
		way->slots = first;
		way->group -= slots / FS_GROUP;
	}
}

/* Whether this was the way all the time. */
static inline __attribute__((always_inline)) bool fs_way_leads_on(const struct fs_way *way)
{
	fs_acquire_fence();
	return __builtin_expect(atomic_load_explicit(way->entry, memory_order_relaxed) == way->bucket_word &&
	                                atomic_load_explicit(&way->shard->directory, memory_order_relaxed) == way->directory_word, 1);
}

/* Looks whether the key is in the first slot that is marked, or surely nowhere, as nearly always. FS_UNUSUAL: not known. */
static inline __attribute__((always_inline)) int fs_arrive(const struct fs_way *way, struct fs_key key, struct fs_found *found)
{
	*found = (struct fs_found){NULL, 0};
	if (__builtin_expect(way->marks != 0, 1)) {
		if (__builtin_expect(fs_look_at_usual(fs_slot_marked(way->slots, way->marks), key, found) != FS_FOUND, 0))
			return FS_UNUSUAL;
	} else if (__builtin_expect(!fs_tags_any_empty(way->tags), 0)) {
		return FS_UNUSUAL;
	}
	if (!fs_way_leads_on(way))
		return FS_UNUSUAL;
	return found->slot ? FS_FOUND : FS_MISSING;
}

/* Finds a key that is fs_key_usual(), as fs_find() does; a missing one has word 0. FS_UNUSUAL: ask fs_find(). */
static inline __attribute__((always_inline)) int fs_find_usual(const flagstore *store, struct fs_key key, struct fs_way *way,
                                                               struct fs_found *found)
{
	if (!fs_set_out(store, key.hash, way)) {
		*found = (struct fs_found){NULL, 0};
		return way->directory_word ? FS_UNUSUAL : FS_MISSING;
	}
	fs_come_near(way, key.hash);
	return fs_arrive(way, key, found);
}

/* fs_find_further() for who has gone that way so far; in it, too. */
struct fs_found fs_find_on(const flagstore *store, struct fs_way way, const char *key, size_t length, uint64_t hash);

/* Fetches the slot where the key to which this was the way, and which was missing at its end, will be put. A hint. */
static inline void fs_expect_insert(const struct fs_way *way, uint64_t hash)
{
	if (way->directory_word)
		__builtin_prefetch(way->slots + fs_tags_free(way->tags, fs_hash_slot(hash, fs_dir_slots(way->bucket_word)) % FS_GROUP), 1);
}

#endif

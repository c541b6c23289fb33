/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.h: finding a flag. Directory words, bucket words, tags; read only, no lock. */
#ifndef FS_TABLE_H
#define FS_TABLE_H

#include "block.h"
#include "slot.h"

/* ------------------------------------------------------------------------------- directory and bucket words */

static inline fs_line fs_dir_line(uint64_t word)
{
	return (fs_line)(word >> FS_WORD_LINE_SHIFT);
}

/* Where in the file that line begins. */
static inline uint64_t fs_dir_offset(uint64_t word)
{
	return word >> (FS_WORD_LINE_SHIFT - __builtin_ctz(FS_LINE)) & ~(uint64_t)(FS_LINE - 1);
}

static inline uint32_t fs_dir_depth(uint64_t word)
{
	return (uint32_t)(word & FS_WORD_DEPTH_MASK);
}

/* How many times it has been replaced. */
static inline uint64_t fs_dir_count(uint64_t word)
{
	return word >> FS_WORD_COUNT_SHIFT & ((UINT64_C(1) << FS_WORD_COUNT_BITS) - 1);
}

/* The bucket's slots; perhaps no bucket has that many. */
static inline uint32_t fs_dir_slots(uint64_t word)
{
	return (uint32_t)(word & FS_WORD_SLOTS_MASK) >> FS_WORD_SLOTS_SHIFT;
}

/* The bucket's size class; FS_BUCKET_CLASSES when there is none with that many slots. */
static inline uint32_t fs_dir_class(uint64_t word)
{
	uint32_t class = 0;

	while (class < FS_BUCKET_CLASSES && fs_bucket_classes[class].slots != fs_dir_slots(word))
		class++;
	return class;
}

static inline uint64_t fs_dir_word(fs_line line, uint64_t count, uint32_t slots, uint32_t depth)
{
	return (uint64_t)line << FS_WORD_LINE_SHIFT | (count & ((UINT64_C(1) << FS_WORD_COUNT_BITS) - 1)) << FS_WORD_COUNT_SHIFT |
	       slots << FS_WORD_SLOTS_SHIFT | depth;
}

/* The word that replaces old: its count of replacements is one more. */
static inline uint64_t fs_directory_word_after(uint64_t old, fs_line line, uint32_t depth)
{
	return fs_dir_word(line, fs_dir_count(old) + 1, 0, depth);
}

static inline uint64_t fs_bucket_word_after(uint64_t old, fs_line line, uint32_t class, uint32_t depth)
{
	return fs_dir_word(line, fs_dir_count(old) + 1, fs_bucket_classes[class].slots, depth);
}

static inline uint32_t fs_directory_kind(uint32_t depth)
{
	return FS_KIND_DIRECTORY + (depth <= 3 ? 0 : depth - 3);
}

/* The entries of a directory; NULL when it leads nowhere. */
static inline const _Atomic uint64_t *fs_directory_at(const flagstore *store, fs_line line, uint32_t depth)
{
	return depth <= FS_DEPTH_MAX ? fs_at(store, line, depth <= 3 ? 1 : 1u << (depth - 3)) : NULL;
}

static inline const _Atomic uint64_t *fs_directory(const flagstore *store, uint64_t word)
{
	return fs_directory_at(store, fs_dir_line(word), fs_dir_depth(word));
}

/* A bucket that is there. */
struct fs_bucket_view {
	const struct fs_bucket *bucket;
	const struct fs_slot *slots;
	uint32_t count;
};

/* Where its last line ends. */
static inline const char *fs_bucket_end(const struct fs_bucket_view *view)
{
	return (const char *)view->slots + (size_t)FS_BUCKET_LINES(view->count) * FS_LINE;
}

/* False when it is not of the heap, and backed. */
static inline bool fs_bucket_with(const flagstore *store, fs_line line, uint32_t slots, struct fs_bucket_view *view)
{
	const void *place = fs_at(store, line, FS_BUCKET_LINES(slots));

	if (!place)
		return false;
	view->slots = place;
	view->bucket = (const void *)(view->slots + slots);
	view->count = slots;
	return true;
}

static inline bool fs_bucket_at(const flagstore *store, fs_line line, uint32_t class, struct fs_bucket_view *view)
{
	return class < FS_BUCKET_CLASSES && fs_bucket_with(store, line, fs_bucket_classes[class].slots, view);
}

/* Bit n: there are buckets of so many slots, in sixteens. */
#define FS_SLOTS_BIT(slots) | UINT64_C(1) << (slots) / 16
#define FS_SLOTS_BITS (UINT64_C(0) FS_BUCKET_SLOTS(FS_SLOTS_BIT))

/* Whether there are buckets of so many slots. */
static inline bool fs_slots_can_be(uint32_t slots)
{
	return FS_SLOTS_BITS >> slots / 16 & 1;
}

static inline bool fs_bucket_view(const flagstore *store, uint64_t word, struct fs_bucket_view *view)
{
	uint32_t slots = fs_dir_slots(word);

	return fs_slots_can_be(slots) && fs_bucket_with(store, fs_dir_line(word), slots, view);
}

/* ------------------------------------------------------------------------------------------------------ tags */

#define FS_TAG_ONES UINT64_C(0x0101010101010101)
#define FS_TAG_HIGHS UINT64_C(0x8080808080808080)

/* Marks the bytes of a tag word that are tag by their highest bit. May mark one too many behind a true one: tags are hints. */
static inline uint64_t fs_tags_equal(uint64_t tags, uint8_t tag)
{
	uint64_t differ = tags ^ FS_TAG_ONES * tag;

	return (differ - FS_TAG_ONES) & ~differ & FS_TAG_HIGHS;
}

/* The slot of a group, whose first slot is given, that belongs to the lowest marked byte: bit 8 i + 7 is slot i's. */
static inline const struct fs_slot *fs_slot_marked(const struct fs_slot *group, uint64_t marks)
{
	return (const void *)((const char *)group + ((uint32_t)__builtin_ctzll(marks) - UINT64_C(7)) * (sizeof(struct fs_slot) / 8));
}

/* Exactly whether any byte of a tag word is EMPTY. */
static inline bool fs_tags_any_empty(uint64_t tags)
{
	return ((tags - FS_TAG_ONES) & ~tags & FS_TAG_HIGHS) != 0;
}

/* The first of a group's slots, from a given one on, that holds no flag; FS_GROUP: none. */
static inline uint32_t fs_tags_free(uint64_t tags, uint32_t from)
{
	uint64_t turned = tags >> from * 8 | tags << (FS_GROUP - from) % FS_GROUP * 8;
	/* EMPTY and TOMBSTONE differ in the lowest bit, and no other tag has no more than that. The lowest mark is exact. */
	uint64_t marks = fs_tags_equal(turned & ~FS_TAG_ONES, 0);

	return marks ? (from + (uint32_t)__builtin_ctzll(marks) / 8) % FS_GROUP : FS_GROUP;
}

static inline uint8_t fs_tag_at(const struct fs_bucket *bucket, uint32_t slot)
{
	uint64_t tags = atomic_load_explicit(&bucket->tags[slot / FS_GROUP], memory_order_relaxed);

	return (uint8_t)(tags >> slot % FS_GROUP * 8);
}

/* ------------------------------------------------------------------------------------------------------ find */

enum fs_outcome {
	FS_MISSING = 0,
	FS_FOUND = 1,   /* word is LIVE or FROZEN; FROZEN: its value holds now, but it can be changed only under the lock */
	FS_DAMAGED = 2, /* the table leads nowhere for this key */
};

struct fs_found {
	const struct fs_slot *slot;
	uint64_t word;
};

/* Finds the key, as of one moment during the call. Takes no lock, writes nothing, waits for nobody; async-signal-safe. */
enum fs_outcome fs_find(const flagstore *store, const struct fs_key *key, struct fs_found *found);

/* The same for who did not find the key the usual way (find.h). Its parts come one by one, and the result goes by value, so that they stay
 * in registers. No slot: word is 0 if the key is missing, FS_DEAD if the table leads nowhere. */
struct fs_found fs_find_further(const flagstore *store, const char *key, size_t length, uint64_t hash);

/* The directory entry that is in charge of the hash; NULL when there is none, or the table leads nowhere. */
const _Atomic uint64_t *fs_entry_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash);

static inline const struct fs_shard *fs_shard_of(const flagstore *store, uint64_t hash)
{
	return &store->shards[fs_hash_shard(hash, store->shard_mask)];
}

/* False when the bytes are no valid key. */
static inline bool fs_key_make(const flagstore *store, const char *bytes, size_t length, struct fs_key *key)
{
	if (!fs_key_valid(bytes, length))
		return false;
	*key = (struct fs_key){bytes, length, fs_hash(store->seed, bytes, length)};
	return true;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * key.h: a caller's key and what its hash decides: shard, directory index, tag, preferred slot, check value.
 * Touches no shared memory. */
#ifndef FS_KEY_H
#define FS_KEY_H

#include <stdbool.h>
#include <string.h>

#include "layout.h"

struct fs_key {
	const char *bytes;
	size_t length;
	uint64_t hash;
};

static inline bool fs_key_valid(const char *bytes, size_t length)
{
	return length >= 1 && length <= FLAGSTORE_KEY_MAX && !memchr(bytes, 0, length);
}

static inline uint64_t fs_load_8(const char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof word);
	return word;
}

static inline uint32_t fs_load_4(const char *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof word);
	return word;
}

/* Five words of 8 bytes, perhaps overlapping, hold all of 8 to 40 bytes: two from the front, two from the back, one in the middle. The
 * same loads whatever the length, since a branch on the length of names is guessed wrong again and again, which costs more than the
 * rest of a hash. */
#define FS_SPAN_MIN 8
#define FS_SPAN_MAX 40

/* Where the second word begins, and the last but one. */
static inline size_t fs_span_second(size_t length)
{
	return length - 8 < 8 ? length - 8 : 8;
}

/* By the second one's place, and not by a comparison of its own, of which compilers make a branch. */
static inline size_t fs_span_last_but_one(size_t length)
{
	return length - 8 - fs_span_second(length);
}

static inline size_t fs_span_middle(size_t length)
{
	return length / 2 - 4;
}

/* The 128-bit product, folded to 64 bits: the step that XXH3 (Yann Collet's xxHash) and wyhash (Wang Yi) are made of. */
static inline uint64_t fs_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The primes of xxHash. The seed is in both factors of each product, so that no key makes one of them 0 who does not know it. */
#define FS_PRIME_1 UINT64_C(0x9e3779b185ebca87)
#define FS_PRIME_2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define FS_PRIME_3 UINT64_C(0x165667b19e3779f9)
#define FS_PRIME_4 UINT64_C(0x85ebca77c2b2ae63)
#define FS_PRIME_5 UINT64_C(0x27d4eb2f165667c5)

/* A word that holds all of 1 to 7 bytes. */
static inline uint64_t fs_short_word(const char *bytes, size_t length)
{
	if (length >= 4)
		return (uint64_t)fs_load_4(bytes) << 32 | fs_load_4(bytes + length - 4);
	return (uint64_t)(unsigned char)bytes[0] << 16 | (uint64_t)(unsigned char)bytes[length / 2] << 8 | (unsigned char)bytes[length - 1];
}

/* The seed with each prime that it is used with; a store keeps them, since most reads are hardly more than their hash. */
struct fs_salt {
	uint64_t first, second, third, state;
};

static inline struct fs_salt fs_salt(uint64_t seed)
{
	return (struct fs_salt){FS_PRIME_1 + seed, FS_PRIME_2 + seed, FS_PRIME_3 + seed, FS_PRIME_4 ^ seed};
}

/* What the middle adds goes through two products, as all else does: with one, keys that differ there alone would stand in rows. The length
 * is told last, where no word of the key can make up for it. */
static inline uint64_t fs_hash_span(const struct fs_salt *salt, uint64_t state, const char *bytes, size_t length, size_t told)
{
	uint64_t middle = fs_load_8(bytes + fs_span_middle(length));
	uint64_t ends = fs_fold(fs_load_8(bytes) ^ salt->first, fs_load_8(bytes + length - 8) ^ state);
	uint64_t inner = fs_fold(fs_load_8(bytes + fs_span_second(length)) ^ salt->second,
	                         fs_load_8(bytes + fs_span_last_but_one(length)) ^ middle ^ state);

	return fs_fold(ends ^ middle, inner ^ (salt->third + told));
}

/* A key whose hash needs no branch, and which stands in its slot: most of them. */
static inline bool fs_key_usual(size_t length)
{
	return length - FS_SPAN_MIN <= FS_KEY_INLINE - FS_SPAN_MIN;
}

static inline uint64_t fs_hash_usual(const struct fs_salt *salt, const char *bytes, size_t length)
{
	return fs_hash_span(salt, salt->state, bytes, length, length);
}

/* The hash of 1 to FLAGSTORE_KEY_MAX bytes; flagstore(5) says the same in words. */
static inline uint64_t fs_hash(uint64_t seed, const char *bytes, size_t length)
{
	struct fs_salt salt = fs_salt(seed);
	uint64_t state = salt.state;
	size_t left = length;

	if (length < FS_SPAN_MIN) {
		uint64_t word = fs_short_word(bytes, length);

		return fs_fold(fs_fold(word ^ salt.first, word ^ salt.state), salt.third + length);
	}
	for (; left > FS_SPAN_MAX; bytes += 16, left -= 16)
		state = fs_fold(fs_load_8(bytes) ^ (FS_PRIME_5 + seed), fs_load_8(bytes + 8) ^ state);
	return fs_hash_span(&salt, state, bytes, left, length);
}

static_assert(FS_KEY_INLINE <= FS_SPAN_MAX, "usual keys");

#define FS_HASH_SHARD_SHIFT 54

static_assert(FLAGSTORE_SHARDS_MAX <= 1 << (64 - FS_HASH_SHARD_SHIFT), "bits that number the shards");

/* The shards are a power of two; mask is one less. */
static inline uint32_t fs_hash_shard(uint64_t hash, uint32_t mask)
{
	return (uint32_t)(hash >> FS_HASH_SHARD_SHIFT) & mask;
}

/* The place in the directory, of which the highest bits are the index: x (x + 2) of a hash x from 0 to 1, so from 0 to 3/4 of the
 * directory. Were it x, all buckets would fill at the same pace and grow at the same time, and the room that they leave behind would
 * lie unused until they are all twice as large. So the keys lie twice as close at the beginning as at the end, there is always a bucket
 * that grows into what another one has just left, and a table is filled alike at any size. The last quarter stays empty. */
static inline uint32_t fs_hash_place(uint64_t hash)
{
	uint64_t x = (uint32_t)hash >> 1;

	return (uint32_t)(x * (x + (UINT64_C(1) << 32)) >> 32);
}

/* The highest bits of it, as many as the directory is deep: 0 to 31. */
static inline uint32_t fs_hash_index(uint64_t hash, unsigned depth)
{
	return fs_hash_place(hash) >> 1 >> (~depth & 31);
}

static inline uint32_t fs_hash_slot(uint64_t hash, uint32_t slots)
{
	return (uint32_t)((hash & 0xfff) * slots >> 12);
}

/* A byte from FS_TAG_FIRST on. */
static inline uint8_t fs_hash_tag(uint64_t hash)
{
	uint32_t part = (uint32_t)(hash >> 32 & 0xff);

	return (uint8_t)((part * (256 - FS_TAG_FIRST) + FS_TAG_FIRST * 256) >> 8);
}

/* The check value covers key and hash (the hash is made from the key) and the incarnation; tools verify it, reads don't. */
static inline uint64_t fs_identity(uint64_t hash, uint64_t word)
{
	uint64_t incarnation = (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT;
	uint64_t check = (hash ^ incarnation * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93) >> 32;

	return check << 32 | (hash & UINT32_MAX);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * key.h: a caller's key and what its hash decides: shard, directory index, tag, preferred slot, check value.
 * The hash is XXH3 (Yann Collet's xxHash) with the segment's seed. Touches no shared memory. */
#ifndef FS_KEY_H
#define FS_KEY_H

#include <stdbool.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

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

static inline uint64_t fs_hash(uint64_t seed, const char *bytes, size_t length)
{
	return XXH3_64bits_withSeed(bytes, length, seed);
}

static inline uint32_t fs_hash_shard(uint64_t hash, unsigned shard_bits)
{
	return (uint32_t)(hash >> 1 >> (63 - shard_bits));
}

static inline uint32_t fs_hash_index(uint64_t hash, unsigned depth)
{
	return (uint32_t)((hash & UINT32_MAX) << depth >> 32);
}

static inline uint32_t fs_hash_slot(uint64_t hash, uint32_t slots)
{
	return (uint32_t)((hash & 0xfff) * slots >> 12);
}

static inline uint8_t fs_hash_tag(uint64_t hash)
{
	uint32_t part = (uint32_t)(hash >> 32 & 0xff);

	return (uint8_t)(FS_TAG_FIRST + (part * (256 - FS_TAG_FIRST) >> 8));
}

/* The check value covers key and hash (the hash is made from the key) and the incarnation; tools verify it, reads don't. */
static inline uint64_t fs_identity(uint64_t hash, uint64_t word)
{
	uint64_t incarnation = (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT;
	uint64_t check = (hash ^ incarnation * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93) >> 32;

	return check << 32 | (hash & UINT32_MAX);
}

#endif

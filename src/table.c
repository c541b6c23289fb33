/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.c: finding a flag, whatever stands in the way; find.h says why the answer is right. And the way to it for those who want to
 * change something there. */
#include "find.h"

/* A search starts again only when growth replaced what it looked at, or its slot's key went away; so in a table that writers write,
 * twice is rare. In one that somebody else scribbles over, nobody shall hang. */
#define TRIES_MAX 100000

enum probe { PROBE_MISSING, PROBE_FOUND, PROBE_AGAIN };

static enum probe look_at(const flagstore *store, const struct fs_slot *slot, const struct fs_key *key, struct fs_found *found)
{
	uint64_t first = atomic_load_explicit(&slot->word, memory_order_acquire), second;
	const char *shared;

	/* A key that differs while the slot is taken over by another one was deleted meanwhile: missing is right. */
	if (!fs_word_holds(first) || !fs_slot_may_have_key(slot, key))
		return PROBE_MISSING;
	shared = fs_slot_key(store, slot, key->length);
	if (!shared || !(fs_key_usual(key->length) ? fs_bytes_equal_usual(shared, key->bytes, key->length)
	                                           : fs_bytes_equal(shared, key->bytes, key->length)))
		return PROBE_MISSING;
	fs_acquire_fence();
	second = atomic_load_explicit(&slot->word, memory_order_acquire);
	if ((first ^ second) & FS_INCARNATION_MASK || !fs_word_holds(second))
		return PROBE_AGAIN;
	found->slot = slot;
	found->word = second;
	return PROBE_FOUND;
}

/* Goes on from group to group, as far as there may be a key that prefers the first one. */
static inline __attribute__((always_inline)) enum probe probe(const flagstore *store, struct fs_way *way, const struct fs_key *key,
                                                              struct fs_found *found)
{
	uint32_t slots = fs_dir_slots(way->bucket_word);

	for (uint32_t i = 0; i < slots; i += FS_GROUP) {
		fs_come_near(way, key->hash);
		for (; way->marks; way->marks &= way->marks - 1) {
			enum probe result = look_at(store, fs_slot_marked(way->slots, way->marks), key, found);

			if (result != PROBE_MISSING)
				return result;
		}
		if (fs_tags_any_empty(way->tags))
			return PROBE_MISSING;
		fs_go_on(store, way);
	}
	return PROBE_MISSING;
}

/* Whether there is no such bucket, now that what the file system has given meanwhile is learned. */
static __attribute__((noinline)) bool leads_nowhere(const flagstore *store, uint64_t hash)
{
	struct fs_way way = {.shard = fs_shard_of(store, hash)};
	const _Atomic uint64_t *directory;
	struct fs_bucket_view view;

	way.directory_word = atomic_load_explicit(&way.shard->directory, memory_order_acquire);
	directory = fs_directory(store, way.directory_word);
	if (!directory)
		return true;
	way.entry = &directory[fs_hash_index(hash, fs_dir_depth(way.directory_word))];
	way.bucket_word = atomic_load_explicit(way.entry, memory_order_acquire);
	return !fs_bucket_view(store, way.bucket_word, &view) && fs_way_leads_on(&way);
}

struct fs_found fs_find_further(const flagstore *store, const char *bytes, size_t length, uint64_t hash)
{
	struct fs_key key = {bytes, length, hash};

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		struct fs_found found = {NULL, 0};
		struct fs_way way;
		bool known = fs_set_out(store, hash, &way) && fs_way_is_known(store, &way);

		if (!way.directory_word)
			return found;
		if (!known && leads_nowhere(store, hash))
			break;
		if (known && probe(store, &way, &key, &found) != PROBE_AGAIN && fs_way_leads_on(&way))
			return found;
	}
	return (struct fs_found){NULL, FS_DEAD};
}

struct fs_found fs_find_on(const flagstore *store, struct fs_way way, const char *bytes, size_t length, uint64_t hash)
{
	struct fs_key key = {bytes, length, hash};
	struct fs_found found = {NULL, 0};

	if (way.group && fs_way_is_known(store, &way) && probe(store, &way, &key, &found) != PROBE_AGAIN && fs_way_leads_on(&way))
		return found;
	return fs_find_further(store, bytes, length, hash);
}

enum fs_outcome fs_find(const flagstore *store, const struct fs_key *key, struct fs_found *found)
{
	*found = fs_find_further(store, key->bytes, key->length, key->hash);
	return found->slot ? FS_FOUND : found->word ? FS_DAMAGED : FS_MISSING;
}

const _Atomic uint64_t *fs_entry_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash)
{
	uint64_t word = atomic_load_explicit(&shard->directory, memory_order_acquire);
	const _Atomic uint64_t *directory = word ? fs_directory(store, word) : NULL;

	return directory ? &directory[fs_hash_index(hash, fs_dir_depth(word))] : NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * many.c: reads of many flags, which wait for memory side by side instead of one after the other. */
#include "find.h"

/* Below this size a table lives in the processor's caches, and fetching ahead costs more than it gains. */
#define SMALL_TABLE_LINES ((1u << 20) / FS_LINE)

#define AT_ONCE 32

/* A key on its way: length 0 if it can't be a key, count 0 if its bucket was not found ahead. */
struct way {
	struct fs_key key;
	struct fs_bucket_view view;
	uint32_t preferred;
};

static size_t length_of(const char *const *keys, const size_t *lengths, size_t i)
{
	return lengths ? lengths[i] : strlen(keys[i]);
}

static struct fs_key key_of(const flagstore *store, const char *bytes, size_t length)
{
	if (fs_key_usual(length))
		return (struct fs_key){bytes, length, fs_hash_usual(store->seed, bytes, length)};
	if (length < 1 || length > FLAGSTORE_KEY_MAX)
		return (struct fs_key){bytes, 0, 0};
	return (struct fs_key){bytes, length, fs_hash(store->seed, bytes, length)};
}

/* Loads what leads to the key's tags, and fetches these and the slot where it most likely is. */
static void set_out(const flagstore *store, struct way *way)
{
	const _Atomic uint64_t *entry = fs_entry_of(store, fs_shard_of(store, way->key.hash), way->key.hash);

	way->view.count = 0;
	if (!way->key.length || !entry || !fs_bucket_view(store, atomic_load_explicit(entry, memory_order_acquire), &way->view)) {
		way->view.count = 0;
		return;
	}
	way->preferred = fs_hash_slot(way->key.hash, way->view.count);
	__builtin_prefetch(&way->view.bucket->tags[way->preferred / FS_GROUP]);
	__builtin_prefetch(&way->view.slots[way->preferred]);
}

/* Looks at the tags and fetches the slot where it is, if in the first group. */
static void go_on(const struct way *way)
{
	uint64_t equal;
	uint32_t group = way->preferred / FS_GROUP;

	if (!way->view.count)
		return;
	equal = fs_tags_equal(atomic_load_explicit(&way->view.bucket->tags[group], memory_order_relaxed), fs_hash_tag(way->key.hash));
	if (equal)
		__builtin_prefetch(&way->view.slots[group * FS_GROUP + (uint32_t)__builtin_ctzll(equal) / 8]);
}

static bool arrive(const flagstore *store, const struct fs_key *key)
{
	struct fs_found found;
	int outcome = FS_UNUSUAL;

	if (!key->length)
		return false;
	if (fs_key_usual(key->length))
		outcome = fs_find_usual(store, *key, &found);
	if (outcome == FS_UNUSUAL)
		outcome = (int)fs_find(store, key, &found);
	return outcome == FS_FOUND && fs_word_value(found.word);
}

static void get_together(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	struct way ways[AT_ONCE];

	for (size_t i = 0; i < count; i++)
		ways[i].key = key_of(store, keys[i], length_of(keys, lengths, i));
	for (size_t i = 0; i < count; i++)
		set_out(store, &ways[i]);
	for (size_t i = 0; i < count; i++)
		go_on(&ways[i]);
	for (size_t i = 0; i < count; i++)
		values[i] = arrive(store, &ways[i].key);
}

void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	if (atomic_load_explicit(&store->room, memory_order_relaxed) < SMALL_TABLE_LINES) {
		for (size_t i = 0; i < count; i++)
			values[i] = flagstore_get_n(store, keys[i], length_of(keys, lengths, i));
		return;
	}
	for (size_t done = 0; done < count; done += AT_ONCE)
		get_together(store, keys + done, lengths ? lengths + done : NULL, count - done < AT_ONCE ? count - done : AT_ONCE, values + done);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.c: finding a flag, whatever stands in the way; find.h says why the answer is right. And the way to it for those who want to
 * change something there, or to fetch it ahead. */
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

static enum probe probe(const flagstore *store, const struct fs_bucket_view *view, const struct fs_key *key, struct fs_found *found)
{
	uint32_t preferred = fs_hash_slot(key->hash, view->count), groups = view->count / FS_GROUP, group = preferred / FS_GROUP;

	__builtin_prefetch(&view->slots[preferred]);
	for (uint32_t i = 0; i < groups; i++) {
		uint64_t tags = atomic_load_explicit(&view->bucket->tags[group], memory_order_relaxed);

		for (uint64_t equal = fs_tags_equal(tags, fs_hash_tag(key->hash)); equal; equal &= equal - 1) {
			uint32_t place = group * FS_GROUP + (uint32_t)__builtin_ctzll(equal) / 8;
			enum probe result = look_at(store, &view->slots[place], key, found);

			if (result != PROBE_MISSING)
				return result;
		}
		if (fs_tags_any_empty(tags))
			return PROBE_MISSING;
		group = group + 1 < groups ? group + 1 : 0;
	}
	return PROBE_MISSING;
}

enum fs_outcome fs_find(const flagstore *store, const struct fs_key *key, struct fs_found *found)
{
	const struct fs_shard *shard = fs_shard_of(store, key->hash);

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		uint64_t directory_word = atomic_load_explicit(&shard->directory, memory_order_acquire), bucket_word;
		const _Atomic uint64_t *directory, *entry;
		struct fs_bucket_view view;
		enum probe result;
		bool sound;

		if (!directory_word)
			return FS_MISSING;
		directory = fs_directory(store, directory_word);
		if (!directory)
			return FS_DAMAGED;
		entry = &directory[fs_hash_index(key->hash, fs_dir_depth(directory_word))];
		bucket_word = atomic_load_explicit(entry, memory_order_acquire);
		sound = fs_bucket_view(store, bucket_word, &view);
		result = sound ? probe(store, &view, key, found) : PROBE_MISSING;
		if (result == PROBE_AGAIN)
			continue;
		fs_acquire_fence();
		if (atomic_load_explicit(entry, memory_order_relaxed) != bucket_word ||
		    atomic_load_explicit(&shard->directory, memory_order_relaxed) != directory_word)
			continue;
		if (!sound)
			return FS_DAMAGED;
		return result == PROBE_FOUND ? FS_FOUND : FS_MISSING;
	}
	return FS_DAMAGED;
}

bool fs_get_further(const flagstore *store, const char *key, size_t length, uint64_t hash)
{
	struct fs_found found;

	return fs_find(store, &(struct fs_key){key, length, hash}, &found) == FS_FOUND && fs_word_value(found.word);
}

const _Atomic uint64_t *fs_entry_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash)
{
	uint64_t word = atomic_load_explicit(&shard->directory, memory_order_acquire);
	const _Atomic uint64_t *directory = word ? fs_directory(store, word) : NULL;

	return directory ? &directory[fs_hash_index(hash, fs_dir_depth(word))] : NULL;
}

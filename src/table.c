/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.c: finding a flag without a lock. Extendible hashing (Fagin, Nievergelt, Pippenger, Strong: "Extendible hashing, a fast access
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
 * the slot word pairs with its release store (change.c, grow.c, batch.c, recover.c); fences as in slot.h. */
#include "table.h"

/* A search starts again only when growth replaced what it looked at, or its slot's key went away; so in a table that writers write,
 * twice is rare. In one that somebody else scribbles over, nobody shall hang. */
#define TRIES_MAX 100000

enum probe { PROBE_MISSING, PROBE_FOUND, PROBE_AGAIN };

static enum probe look_at(const flagstore *store, const struct fs_slot *slot, const struct fs_key *key, struct fs_found *found)
{
	uint64_t first = atomic_load_explicit(&slot->word, memory_order_acquire), second;

	/* A key that differs while the slot is taken over by another one was deleted meanwhile: missing is right. */
	if (!fs_word_holds(first) || !fs_slot_has_key(store, slot, key))
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
	uint8_t tag = fs_hash_tag(key->hash);

	__builtin_prefetch(&view->slots[preferred]);
	for (uint32_t i = 0; i < groups; i++) {
		uint64_t tags = atomic_load_explicit(&view->bucket->tags[group], memory_order_relaxed);

		for (uint64_t equal = fs_tags_equal(tags, tag); equal; equal &= equal - 1) {
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

const _Atomic uint64_t *fs_entry_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash)
{
	uint64_t word = atomic_load_explicit(&shard->directory, memory_order_acquire);
	const _Atomic uint64_t *directory = word ? fs_directory(store, word) : NULL;

	return directory ? &directory[fs_hash_index(hash, fs_dir_depth(word))] : NULL;
}

static bool view_of(const flagstore *store, const struct fs_key *key, struct fs_bucket_view *view)
{
	const _Atomic uint64_t *entry = fs_entry_of(store, fs_shard_of(store, key->hash), key->hash);

	return entry && fs_bucket_view(store, atomic_load_explicit(entry, memory_order_acquire), view);
}

void fs_prefetch_tags(const flagstore *store, const struct fs_key *key)
{
	struct fs_bucket_view view;

	if (view_of(store, key, &view)) {
		uint32_t preferred = fs_hash_slot(key->hash, view.count);

		__builtin_prefetch(&view.bucket->tags[preferred / FS_GROUP]);
		__builtin_prefetch(&view.slots[preferred]);
	}
}

void fs_prefetch_slot(const flagstore *store, const struct fs_key *key)
{
	struct fs_bucket_view view;
	uint32_t preferred;
	uint64_t equal;

	if (!view_of(store, key, &view))
		return;
	preferred = fs_hash_slot(key->hash, view.count);
	equal = fs_tags_equal(atomic_load_explicit(&view.bucket->tags[preferred / FS_GROUP], memory_order_relaxed), fs_hash_tag(key->hash));
	if (equal)
		__builtin_prefetch(&view.slots[preferred / FS_GROUP * FS_GROUP + (uint32_t)__builtin_ctzll(equal) / 8]);
}

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
 * fs_find_usual() is the search in the usual case, in one piece and with nothing called on its way; whatever is not usual is left to
 * fs_find() in table.c. */
#ifndef FS_FIND_H
#define FS_FIND_H

#include "table.h"

/* What fs_find_usual() says when it does not know. */
#define FS_UNUSUAL 3

/* Finds a key that is fs_key_usual(), as fs_find() does. FS_UNUSUAL: ask fs_find(). */
static inline __attribute__((always_inline)) int fs_find_usual(const flagstore *store, struct fs_key key, struct fs_found *found)
{
	const struct fs_shard *shard = fs_shard_of(store, key.hash);
	uint64_t directory_word = atomic_load_explicit(&shard->directory, memory_order_acquire), bucket_word, second = 0;
	uint32_t depth = fs_dir_depth(directory_word), index = fs_hash_index(key.hash, depth), preferred, group, left;
	const _Atomic uint64_t *entry;
	struct fs_bucket_view view;

	/* A shard without a directory has a word that leads to line 0. Of a directory, only the entry has to be there. */
	if (__builtin_expect(depth > FS_DEPTH_MAX, 0) || !fs_known(store, fs_dir_line(directory_word) + index / FS_LINE_ENTRIES, 1))
		return FS_UNUSUAL;
	entry = (const _Atomic uint64_t *)fs_address(store, fs_dir_line(directory_word)) + index;
	bucket_word = atomic_load_explicit(entry, memory_order_acquire);
	if (!fs_bucket_view_known(store, bucket_word, &view))
		return FS_UNUSUAL;
	preferred = fs_hash_slot(key.hash, view.count);
	__builtin_prefetch(&view.slots[preferred]);
	group = preferred / FS_GROUP;
	left = view.count / FS_GROUP;
	for (;;) {
		uint64_t tags = atomic_load_explicit(&view.bucket->tags[group], memory_order_relaxed);

		for (uint64_t equal = fs_tags_equal(tags, fs_hash_tag(key.hash)); equal; equal &= equal - 1) {
			const struct fs_slot *slot = &view.slots[group * FS_GROUP + (uint32_t)__builtin_ctzll(equal) / 8];
			uint64_t first = atomic_load_explicit(&slot->word, memory_order_acquire);

			/* A key that differs while the slot is taken over by another one was deleted meanwhile: missing is right. */
			if (!fs_word_holds(first) || !fs_slot_may_have_key(slot, &key) ||
			    !fs_bytes_equal_usual((const char *)slot->key + 1, key.bytes, key.length))
				continue;
			fs_acquire_fence();
			second = atomic_load_explicit(&slot->word, memory_order_acquire);
			if (__builtin_expect(((first ^ second) & FS_INCARNATION_MASK) || !fs_word_holds(second), 0))
				return FS_UNUSUAL;
			found->slot = slot;
			found->word = second;
			goto searched;
		}
		if (fs_tags_any_empty(tags) || --left == 0)
			break;
		group = (group + 1) * FS_GROUP < view.count ? group + 1 : 0;
	}
searched:
	fs_acquire_fence();
	if (__builtin_expect(atomic_load_explicit(entry, memory_order_relaxed) != bucket_word ||
	                             atomic_load_explicit(&shard->directory, memory_order_relaxed) != directory_word, 0))
		return FS_UNUSUAL;
	return second ? FS_FOUND : FS_MISSING;
}

#endif

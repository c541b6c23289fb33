/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mendbucket.c: a bucket's slots judged (kept, sealed, or put aside), its tags made from them, and its counts. */
#include "grow.h"
#include "mend.h"

/* The slot holds no flag any more. Its cell, if it names one, is not given back: who knows whose it is. It becomes free as a line that
 * belongs to nothing. */
static void put_aside(struct fs_mend *repair, const struct fs_bucket_view *view, uint32_t place)
{
	struct fs_slot *slot = fs_writable(repair->store, &view->slots[place]);
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);

	/* Flips need no lock, so the word may still move. seq_cst as in fs_flip(). */
	while (!atomic_compare_exchange_weak_explicit(&slot->word, &word,
	                                              fs_word_with_state(fs_word_next(word, false), FS_DEAD) & ~FS_RESERVED_MASK,
	                                              memory_order_seq_cst, memory_order_relaxed))
		;
	/* Pairs with the fence of readers that still look at the key. */
	fs_release_fence();
	atomic_store_explicit(&slot->key[0], 0, memory_order_relaxed);
	fs_tag_store(fs_writable(repair->store, view->bucket), place, FS_TAG_TOMBSTONE);
}

/* Key, hash and life belong together again. The life is a new one, so that no handle takes the flag for what its slot may have held. */
static void seal(struct fs_mend *repair, const struct fs_shard *shard, struct fs_slot *slot, uint64_t hash)
{
	struct fs_shard *writable = fs_writable(repair->store, shard);
	uint64_t birth = atomic_load_explicit(&shard->births, memory_order_relaxed) + 1;
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), next;

	FS_NOTE(&writable->births, birth);
	do {
		next = fs_word_next(word, fs_word_value(word));
		next = (next & ~(FS_INCARNATION_MASK | FS_RESERVED_MASK)) | (birth << FS_INCARNATION_SHIFT & FS_INCARNATION_MASK);
	} while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_seq_cst, memory_order_relaxed));
	/* Readers compare the lower half alone, and that is the same. */
	atomic_store_explicit(&slot->identity, fs_identity(hash, next), memory_order_relaxed);
}

static bool in_charge(const struct fs_mend *repair, uint64_t hash, uint64_t position, uint32_t depth)
{
	return fs_hash_shard(hash, repair->store->shard_mask) == repair->shard && fs_hash_index(hash, depth) == position >> (32 - depth);
}

static void tidy_key_rest(struct fs_mend *repair, const struct fs_slot *slot)
{
	size_t length = fs_slot_key_length(slot);
	const char *key = (const char *)slot->key;

	if (length <= FS_KEY_INLINE) {
		fs_mend_zero(repair, key + 1 + length, slot + 1, "slot");
		return;
	}
	fs_mend_zero(repair, key + 1, &slot->key[FS_KEY_CELL], "slot");
	fs_mend_zero(repair, (const char *)&slot->key[FS_KEY_CELL] + sizeof(fs_line), slot + 1, "slot");
}

/* A slot that holds a flag. What a reader can find under its key is kept whatever else is wrong with it; what nobody can find and does not
 * prove itself is put aside. */
static void judge_flag(struct fs_mend *repair, const struct fs_shard *shard, const struct fs_bucket_view *view, uint32_t place,
                       uint64_t position, uint32_t depth)
{
	const flagstore *store = repair->store;
	const struct fs_slot *slot = &view->slots[place];
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), hash;
	uint64_t identity = atomic_load_explicit(&slot->identity, memory_order_relaxed);
	uint32_t author = (uint32_t)(atomic_load_explicit(&slot->stamp, memory_order_relaxed) >> FS_STAMP_VERSION_BITS) & ((1u << FS_WORKER_INDEX_BITS) - 1);
	char key[FLAGSTORE_KEY_MAX];
	size_t length = fs_slot_copy_key(store, slot, key);
	bool here, sound;

	if (!fs_key_valid(key, length)) {
		if (fs_mend_tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "it had no valid key"))
			put_aside(repair, view, place);
		return;
	}
	hash = fs_hash(store->seed, key, length);
	here = in_charge(repair, hash, position, depth);
	sound = fs_identity(hash, word) == identity;
	/* The whole hash decides shard, bucket and tag: all three right by chance is one in thousands, and more. */
	if (!sound && !(here && ((uint32_t)identity == (uint32_t)hash || fs_tag_at(view->bucket, place) == fs_hash_tag(hash)))) {
		if (fs_mend_tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "key, hash and life did not belong together"))
			put_aside(repair, view, place);
		return;
	}
	if (!here) {
		fs_mend_note(repair, slot, key, length, fs_word_value(word));
		put_aside(repair, view, place);
		return;
	}
	if (author > store->constants.workers)
		fs_mend_set64(repair, &slot->stamp, 0, "the stamp of a worker that can't be");
	tidy_key_rest(repair, slot);
	if (!sound || word & FS_RESERVED_MASK ||
	    (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT > atomic_load_explicit(&shard->births, memory_order_relaxed)) {
		(void)fs_mend_tell_slot(repair, FS_REPAIR_SEALED, slot, "its check value, or its life, was wrong; the flag is kept");
		seal(repair, shard, fs_writable(repair->store, slot), hash);
	}
	/* Nobody is at work: what is FROZEN was left so. */
	word = atomic_load_explicit(&slot->word, memory_order_relaxed);
	if (fs_word_state(word) == FS_FROZEN) {
		fs_mend_fixed(repair, slot, "slot %u was frozen, and nobody was at work", place);
		atomic_store_explicit(&((struct fs_slot *)fs_writable(repair->store, slot))->word, fs_word_with_state(word, FS_LIVE), memory_order_release);
	}
}

static void judge_rest(struct fs_mend *repair, const struct fs_bucket_view *view, uint32_t place)
{
	const struct fs_slot *slot = &view->slots[place];
	struct fs_slot *writable = fs_writable(repair->store, slot);
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), right;
	uint8_t tag = fs_tag_at(view->bucket, place);
	bool traces = fs_slot_key_length(slot) && (tag >= FS_TAG_FIRST || fs_word_senseless(word));

	/* A flag may have been here whose state was overwritten, or that somebody deleted half. No search finds it. */
	if (traces && !fs_mend_tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "its word says that it holds no flag, and its tag or word says that it did"))
		return;
	right = word & ~FS_RESERVED_MASK;
	fs_mend_set64(repair, &slot->word, fs_word_senseless(right) ? 0 : right, "the word of a slot without a flag");
	if (fs_word_state(word) == FS_DEAD && fs_slot_key_length(slot) > FS_KEY_INLINE) {
		fs_mend_fixed(repair, slot, "slot %u was dead, and named a key cell", place);
		atomic_store_explicit(&writable->key[0], 0, memory_order_relaxed);
	}
	if (tag >= FS_TAG_FIRST) {
		fs_mend_fixed(repair, view->bucket, "the tag of slot %u, which holds no flag, was %u", place, tag);
		fs_tag_store(fs_writable(repair->store, view->bucket), place, FS_TAG_TOMBSTONE);
	}
}

/* ------------------------------------------------------------------------------------------------- whole bucket */

/* A search for the flag stops at the first group with an EMPTY tag: there must be none on its way. */
static void clear_way(struct fs_mend *repair, const struct fs_bucket_view *view, uint32_t place, uint64_t hash)
{
	struct fs_bucket *bucket = fs_writable(repair->store, view->bucket);
	uint32_t groups = view->count / FS_GROUP, group = fs_hash_slot(hash, view->count) / FS_GROUP;

	for (; group != place / FS_GROUP; group = group + 1 < groups ? group + 1 : 0) {
		for (uint32_t i = group * FS_GROUP; i < (group + 1) * FS_GROUP; i++) {
			if (fs_tag_at(bucket, i) != FS_TAG_EMPTY)
				continue;
			fs_mend_fixed(repair, bucket, "searches for the flag in slot %u ended at slot %u", place, i);
			fs_tag_store(bucket, i, FS_TAG_TOMBSTONE);
		}
	}
}

static void rebuild_tags(struct fs_mend *repair, const struct fs_bucket_view *view)
{
	struct fs_bucket *bucket = fs_writable(repair->store, view->bucket);

	for (uint32_t i = 0; i < view->count; i++) {
		uint64_t hash;
		char key[FLAGSTORE_KEY_MAX];
		size_t length;

		if (!fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)))
			continue;
		length = fs_slot_copy_key(repair->store, &view->slots[i], key);
		if (!fs_key_valid(key, length))
			continue;
		hash = fs_hash(repair->store->seed, key, length);
		if (fs_tag_at(bucket, i) != fs_hash_tag(hash)) {
			fs_mend_fixed(repair, bucket, "the tag of slot %u was %u and is %u", i, fs_tag_at(bucket, i), fs_hash_tag(hash));
			fs_tag_store(bucket, i, fs_hash_tag(hash));
		}
		clear_way(repair, view, i, hash);
	}
}

/* Later than the other one: by the clock where both stamps tell, else by their births, which their shard counts. */
static bool is_newer(const struct fs_slot *one, const struct fs_slot *other)
{
	uint64_t first = atomic_load_explicit(&one->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;
	uint64_t second = atomic_load_explicit(&other->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;

	if (first && second && first != second)
		return first > second;
	return fs_word_version(atomic_load_explicit(&one->word, memory_order_relaxed)) >
	       fs_word_version(atomic_load_explicit(&other->word, memory_order_relaxed));
}

static void drop_duplicates(struct fs_mend *repair, const struct fs_bucket_view *view)
{
	for (uint32_t i = 0; i < view->count; i++) {
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_slot_copy_key(repair->store, &view->slots[i], key);
		struct fs_found found;
		struct fs_key sought;
		uint32_t loser = i;

		if (!fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)) || !fs_key_make(repair->store, key, length, &sought) ||
		    fs_find(repair->store, &sought, &found) != FS_FOUND || found.slot == &view->slots[i])
			continue;
		/* Both are in the bucket that is in charge. */
		if (found.slot >= view->slots && found.slot < view->slots + view->count && is_newer(&view->slots[i], found.slot))
			loser = (uint32_t)(found.slot - view->slots);
		if (fs_mend_tell_slot(repair, FS_REPAIR_DROPPED, &view->slots[loser], "the flag existed twice; this is the older one"))
			put_aside(repair, view, loser);
	}
}

/* Only now, when it is known which slots stay: the cell of one that was put aside belongs to nothing. */
static void claim_cells(struct fs_mend *repair, const struct fs_bucket_view *view)
{
	for (uint32_t i = 0; i < view->count; i++) {
		const struct fs_slot *slot = &view->slots[i];
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
		fs_line cell = (fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed);
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_slot_copy_key(repair->store, slot, key);

		if (!fs_word_holds(word) || length <= FS_KEY_INLINE || !fs_at(repair->store, cell, fs_cell_lines(length)) ||
		    fs_mend_meet(repair, cell, fs_cell_lines(length)))
			continue;
		/* The other flag of the cell has it. */
		fs_mend_note(repair, slot, key, length, fs_word_value(word));
		put_aside(repair, view, i);
	}
}

uint32_t fs_mend_count(struct fs_mend *repair, const struct fs_bucket_view *view)
{
	const struct fs_bucket *bucket = view->bucket;
	uint32_t live = 0, occupied = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		live += fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed));
		occupied += fs_tag_at(bucket, i) != FS_TAG_EMPTY;
	}
	fs_mend_zero(repair, &bucket->next, &bucket->occupied, "bucket");
	fs_mend_zero(repair, &bucket->reserved, bucket->tags, "bucket");
	fs_mend_zero(repair, (const char *)bucket->tags + view->count, fs_bucket_end(view), "bucket");
	fs_mend_set32(repair, &bucket->live, live, "the bucket's count of flags");
	fs_mend_set32(repair, &bucket->occupied, occupied, "the bucket's count of tags");
	return live;
}

void fs_mend_bucket(struct fs_mend *repair, const struct fs_shard *shard, const struct fs_bucket_view *view, uint64_t position, uint32_t depth)
{
	for (uint32_t i = 0; i < view->count; i++) {
		if (fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)))
			judge_flag(repair, shard, view, i, position, depth);
		else
			judge_rest(repair, view, i);
	}
	rebuild_tags(repair, view);
	drop_duplicates(repair, view);
	claim_cells(repair, view);
	(void)fs_mend_count(repair, view);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * grow.c: a bucket that is full is replaced by one of another size class, or by two (extendible hashing; the directory doubles
 * when it has no bit left for the two). Only that bucket moves, so no insert waits for more.
 *
 * The order, in which each step leaves a table that readers can use and a death can be recovered from (undertaking.c):
 * 1. the fresh buckets are taken and cleaned
 * 2. each flag of the old bucket is FROZEN (a flip that comes now goes to the lock) and copied, FROZEN too
 * 3. PUBLISHING: the directory entries are stored, then the fresh buckets are thawed
 * 4. the old bucket goes on the free list, its slots left as they are */
#include "grow.h"

#include "error.h"
#include "event.h"
#include "journal.h"
#include "point.h"
#include "probe.h"
#include "recover.h"
#include "undertaking.h"

/* The most tags that may be used (7/8), and the most flags in a bucket that was just filled (18/25), so that one step of growth leaves
 * room for at least another 15 %. */
static uint32_t occupied_limit(uint32_t slots)
{
	return slots - slots / 8;
}

static bool fills_well(uint32_t slots, uint64_t flags)
{
	return flags * 25 <= slots * 18;
}

uint32_t fs_class_for(uint64_t flags)
{
	uint32_t class = 0;

	while (class < FS_BUCKET_CLASSES && !fills_well(fs_bucket_classes[class].slots, flags))
		class++;
	return class;
}

void fs_tag_store(struct fs_bucket *bucket, uint32_t slot, uint8_t tag)
{
	_Atomic uint64_t *word = &bucket->tags[slot / FS_GROUP];
	uint64_t tags = atomic_load_explicit(word, memory_order_relaxed);
	uint32_t shift = slot % FS_GROUP * 8;
	bool was = (tags >> shift & 0xff) != FS_TAG_EMPTY, is = tag != FS_TAG_EMPTY;

	/* relaxed: a hint; what it leads to is checked by the slot word. Writers are excluded by the lock. */
	atomic_store_explicit(word, (tags & ~(UINT64_C(0xff) << shift)) | (uint64_t)tag << shift, memory_order_relaxed);
	if (was != is)
		atomic_store_explicit(&bucket->occupied,
		                      atomic_load_explicit(&bucket->occupied, memory_order_relaxed) + (is ? 1u : UINT32_MAX),
		                      memory_order_relaxed);
}

static inline uint32_t place_for(const struct fs_bucket_view *view, uint64_t hash)
{
	uint32_t preferred = fs_hash_slot(hash, view->count), groups = view->count / FS_GROUP, group = preferred / FS_GROUP;

	for (uint32_t i = 0; i < groups; i++) {
		uint32_t slot = fs_tags_free(atomic_load_explicit(&view->bucket->tags[group], memory_order_relaxed), preferred % FS_GROUP);

		if (slot < FS_GROUP)
			return group * FS_GROUP + slot;
		group = group + 1 < groups ? group + 1 : 0;
	}
	return view->count;
}

bool fs_spot_for(const flagstore *store, const struct fs_shard *shard, uint64_t hash, struct fs_spot *spot)
{
	const _Atomic uint64_t *entry = fs_entry_of(store, shard, hash);

	*spot = (struct fs_spot){.place = 0};
	if (!entry || !fs_bucket_view(store, atomic_load_explicit(entry, memory_order_relaxed), &spot->view))
		return false;
	spot->place = place_for(&spot->view, hash);
	return true;
}

bool fs_spot_is_missed(const struct fs_spot *spot, uint64_t hash)
{
	uint32_t groups = spot->view.count / FS_GROUP, group = fs_hash_slot(hash, spot->view.count) / FS_GROUP;

	for (uint32_t i = 0; i < groups; i++) {
		uint64_t tags = atomic_load_explicit(&spot->view.bucket->tags[group], memory_order_relaxed);

		if (fs_tags_equal(tags, fs_hash_tag(hash)))
			return false;
		if (fs_tags_any_empty(tags))
			return true;
		group = group + 1 < groups ? group + 1 : 0;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------- buckets */

void fs_bucket_clean(flagstore *store, const struct fs_bucket_view *view)
{
	struct fs_bucket *bucket = fs_writable(store, view->bucket);

	fs_release_fence();
	for (uint32_t i = 0; i < view->count; i++)
		atomic_store_explicit(&((struct fs_slot *)fs_writable(store, &view->slots[i]))->word, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < view->count / FS_GROUP; i++)
		atomic_store_explicit(&bucket->tags[i], 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->next, 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->occupied, 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->live, 0, memory_order_relaxed);
	fs_release_fence();
}

/* A bucket that is free and somewhat larger takes no room, and lasts longer, than one that is cut off the heap. */
static uint32_t class_at_hand(const flagstore *store, const struct fs_shard *shard, uint32_t class)
{
	for (uint32_t i = class; i < FS_BUCKET_CLASSES && fs_bucket_classes[i].slots * 2 <= fs_bucket_classes[class].slots * 3; i++) {
		fs_line head = atomic_load_explicit(&shard->free[FS_KIND_BUCKET + i], memory_order_relaxed);

		if (head && fs_at(store, head, fs_bucket_classes[i].lines))
			return i;
	}
	return class;
}

static int take_bucket(flagstore *store, struct fs_shard *shard, uint32_t least, uint32_t index, struct fs_bucket_view *view)
{
	uint32_t class = class_at_hand(store, shard, least);
	fs_block block;
	int error = fs_block_take(store, shard, FS_KIND_BUCKET + class, index, &block);

	if (error)
		return error;
	if (!fs_bucket_at(store, fs_block_line(block), class, view))
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free bucket at line %u does not exist", store->path, fs_block_line(block));
	fs_bucket_clean(store, view);
	FS_POINT("bucket cleaned");
	return FLAGSTORE_OK;
}

/* A taken bucket that is being filled, and that nobody else knows of yet. */
struct fresh {
	struct fs_bucket_view view;
	uint32_t flags; /* in it */
};

/* Readers compare the words when the bucket is published; until then the order of these stores means nothing. */
static void copy_slot(flagstore *store, const struct fs_slot *from, uint64_t frozen, uint8_t tag, struct fresh *fresh)
{
	uint64_t identity = atomic_load_explicit(&from->identity, memory_order_relaxed);
	uint32_t place = place_for(&fresh->view, identity), shift = place % FS_GROUP * 8;
	_Atomic uint64_t *tags;
	struct fs_slot *to;

	if (place == fresh->view.count)
		return;
	to = fs_writable(store, &fresh->view.slots[place]);
	tags = fs_writable(store, &fresh->view.bucket->tags[place / FS_GROUP]);
	atomic_store_explicit(&to->identity, identity, memory_order_relaxed);
	atomic_store_explicit(&to->stamp, atomic_load_explicit(&from->stamp, memory_order_relaxed), memory_order_relaxed);
	/* A quarter of what moving costs was the loop itself. */
#pragma GCC unroll 8
	for (int i = 0; i < FS_KEY_WORDS; i++)
		atomic_store_explicit(&to->key[i], atomic_load_explicit(&from->key[i], memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(tags, atomic_load_explicit(tags, memory_order_relaxed) | (uint64_t)tag << shift, memory_order_relaxed);
	/* release: who sees the word sees the key; the incarnation goes along */
	atomic_store_explicit(&to->word, frozen, memory_order_release);
	fresh->flags++;
}

/* Which half of a split the slot goes to: the next hash bit behind the old bucket's. */
static uint32_t half_of(const struct fs_slot *slot, uint32_t depth)
{
	return fs_hash_index(atomic_load_explicit(&slot->identity, memory_order_relaxed), depth + 1) & 1;
}

static void move_flags(flagstore *store, const struct fs_bucket_view *old, uint32_t depth, struct fresh fresh[2], bool split)
{
	for (uint32_t i = 0; i < old->count; i++) {
		struct fs_slot *slot = fs_writable(store, &old->slots[i]);
		uint8_t tag = fs_tag_at(old->bucket, i);
		uint64_t word = fs_slot_freeze(slot);

		if (!fs_word_holds(word))
			continue;
		if (tag < FS_TAG_FIRST)
			tag = fs_slot_tag(store, slot);
		copy_slot(store, slot, word, tag, &fresh[split ? half_of(slot, depth) : 0]);
		FS_POINT("flag copied");
	}
	for (int i = 0; i <= split; i++) {
		struct fs_bucket *bucket = fs_writable(store, fresh[i].view.bucket);

		atomic_store_explicit(&bucket->occupied, fresh[i].flags, memory_order_relaxed);
		atomic_store_explicit(&bucket->live, fresh[i].flags, memory_order_relaxed);
	}
}

static void count_flags(const struct fs_bucket_view *view, uint32_t depth, uint32_t flags[2])
{
	flags[0] = flags[1] = 0;
	for (uint32_t i = 0; i < view->count; i++)
		if (fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)))
			flags[half_of(&view->slots[i], depth)]++;
}

/* Replaces the bucket by one of class classes[0], or, with split, by two of classes[0] and classes[1], or somewhat larger ones. */
static int replace(flagstore *store, struct fs_shard *shard, uint32_t where, uint64_t old_word, const struct fs_bucket_view *old,
                   const uint32_t classes[2], bool split)
{
	struct fresh fresh[2] = {{.flags = 0}};
	uint64_t began = fs_monotonic_ns();
	int error;

	fs_seat_turns_to(store, FLAGSTORE_GROWING);
	fs_undertake(shard, FS_FILLING, old_word, where);
	error = take_bucket(store, shard, classes[0], 0, &fresh[0].view);
	if (!error && split)
		error = take_bucket(store, shard, classes[1], 1, &fresh[1].view);
	if (error) {
		fs_undertaking_resolve(store, shard);
		fs_seat_turns_to(store, FLAGSTORE_HOLDING);
		return error;
	}
	move_flags(store, old, fs_dir_depth(old_word), fresh, split);
	/* Whoever has just flipped one of these flags has its record in the journal before the slot is left. */
	error = fs_journal_settle(store);
	if (error) {
		fs_undertaking_resolve(store, shard);
		fs_tidy(store, shard);
		fs_seat_turns_to(store, FLAGSTORE_HOLDING);
		return error;
	}
	/* From this store on a death finishes the work. */
	FS_NOTE(&shard->phase, FS_PUBLISHING);
	FS_POINT("publishing");
	fs_publish(store, shard);
	fs_seat_turns_to(store, FLAGSTORE_HOLDING);
	fs_event_note(store, split ? FLAGSTORE_SPLIT : FLAGSTORE_GROWTH, fs_shard_index(store, shard), fs_dir_line(old_word),
	              fs_monotonic_ns() - began);
	FS_PROBE4(growth, store->path, fs_shard_index(store, shard), fresh[0].view.count, split);
	return FLAGSTORE_OK;
}

/* ----------------------------------------------------------------------------------------------- directory */

static int found(flagstore *store, struct fs_shard *shard)
{
	struct fs_bucket_view view;
	const void *directory;
	fs_block block;
	int error;

	fs_undertake(shard, FS_FOUNDING, 0, 0);
	error = take_bucket(store, shard, 0, 0, &view);
	if (!error)
		error = fs_block_take(store, shard, fs_directory_kind(0), 1, &block);
	directory = error ? NULL : fs_at(store, fs_block_line(block), 1);
	if (!directory) {
		fs_undertaking_resolve(store, shard);
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free directory does not exist", store->path);
	}
	/* Nothing is somewhat larger than the smallest (class_at_hand()). */
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(store, directory),
	                      fs_bucket_word_after(0, fs_line_of(store, view.slots), 0, 0), memory_order_relaxed);
	FS_POINT("directory founded");
	/* release: pairs with the readers' acquire load; from here on the shard has a table */
	FS_NOTE(&shard->directory, fs_directory_word_after(0, fs_block_line(block), 0));
	FS_POINT("directory published");
	fs_undertaken(shard);
	return FLAGSTORE_OK;
}

static int double_directory(flagstore *store, struct fs_shard *shard, uint64_t word)
{
	uint32_t depth = fs_dir_depth(word);
	const _Atomic uint64_t *old = fs_directory(store, word), *place;
	_Atomic uint64_t *fresh;
	uint64_t began = fs_monotonic_ns();
	fs_block block;
	int error;

	fs_undertake(shard, FS_DOUBLING, fs_block_make(fs_dir_line(word), fs_directory_kind(depth)), 0);
	error = fs_block_take(store, shard, fs_directory_kind(depth + 1), 0, &block);
	place = error ? NULL : fs_directory_at(store, fs_block_line(block), depth + 1);
	if (!old || !place) {
		fs_undertaking_resolve(store, shard);
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a directory does not exist", store->path);
	}
	fresh = fs_writable(store, place);
	/* Late readers of a recycled directory see the shard's new directory word, published long ago, once they see these. */
	fs_release_fence();
	for (uint32_t i = 0; i < 2u << depth; i++)
		atomic_store_explicit(&fresh[i], atomic_load_explicit(&old[i / 2], memory_order_relaxed), memory_order_relaxed);
	FS_POINT("directory copied");
	/* release: pairs with the readers' acquire load; they see the entries */
	FS_NOTE(&shard->directory, fs_directory_word_after(word, fs_block_line(block), depth + 1));
	FS_POINT("directory published");
	fs_block_give(store, shard, atomic_load_explicit(&shard->outgoing, memory_order_relaxed));
	fs_undertaken(shard);
	fs_event_note(store, FLAGSTORE_DOUBLING, fs_shard_index(store, shard), fs_dir_line(word), fs_monotonic_ns() - began);
	return FLAGSTORE_OK;
}

/* ---------------------------------------------------------------------------------------------------- room */

bool fs_has_room(const struct fs_bucket_view *view, uint64_t count)
{
	return atomic_load_explicit(&view->bucket->occupied, memory_order_relaxed) + count <= occupied_limit(view->count);
}

/* For one key there may be room where a deleted one was. */
static bool spot_is_free(const struct fs_spot *spot)
{
	return spot->place < spot->view.count && (fs_has_room(&spot->view, 1) || fs_tag_at(spot->view.bucket, spot->place) == FS_TAG_TOMBSTONE);
}

/* One step: the bucket is replaced, or the directory doubled. */
static int grow_once(flagstore *store, struct fs_shard *shard, uint64_t hash, uint64_t directory_word, uint64_t bucket_word,
                     const struct fs_bucket_view *view, uint32_t count)
{
	uint32_t depth = fs_dir_depth(bucket_word), above = fs_dir_depth(directory_word), flags[2], classes[2];

	count_flags(view, depth, flags);
	classes[0] = fs_class_for((uint64_t)flags[0] + flags[1] + count);
	if (classes[0] < FS_BUCKET_CLASSES)
		return replace(store, shard, fs_hash_index(hash, above), bucket_word, view, classes, false);
	if (depth >= FS_DEPTH_MAX)
		return fs_fail(FLAGSTORE_EFULL, "segment %s: the part of the table that the key belongs to can't be split any further", store->path);
	if (depth >= above)
		return double_directory(store, shard, directory_word);
	for (int i = 0; i < 2; i++) {
		classes[i] = fs_class_for(flags[i]);
		if (classes[i] == FS_BUCKET_CLASSES)
			classes[i]--;
	}
	return replace(store, shard, fs_hash_index(hash, above), bucket_word, view, classes, true);
}

int fs_make_room_step(flagstore *store, struct fs_shard *shard, uint64_t hash, uint32_t count, bool *fits)
{
	uint64_t directory_word = fs_directory_word(shard), bucket_word;
	const _Atomic uint64_t *directory = fs_directory(store, directory_word);
	struct fs_bucket_view view;

	*fits = false;
	if (!directory_word)
		return found(store, shard);
	/* A bucket deeper than its directory could never be replaced: each try would take new buckets, to no end. */
	bucket_word = directory ? atomic_load_explicit(&directory[fs_hash_index(hash, fs_dir_depth(directory_word))], memory_order_relaxed) : 0;
	if (!bucket_word || fs_dir_depth(bucket_word) > fs_dir_depth(directory_word) || !fs_bucket_view(store, bucket_word, &view))
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the table leads nowhere for the key; check the segment", store->path);
	*fits = count == 1 ? spot_is_free(&(struct fs_spot){view, place_for(&view, hash)}) : fs_has_room(&view, count);
	return *fits ? FLAGSTORE_OK : grow_once(store, shard, hash, directory_word, bucket_word, &view, count);
}

int fs_make_room(flagstore *store, struct fs_shard *shard, uint64_t hash, struct fs_spot *spot)
{
	bool fits = false;

	while (!fits && !spot_is_free(spot)) {
		int error = fs_make_room_step(store, shard, hash, 1, &fits);

		if (error)
			return error;
		fs_spot_for(store, shard, hash, spot);
	}
	return FLAGSTORE_OK;
}

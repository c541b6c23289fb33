/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reserve.c: room for flags that are to come. Bucket after bucket grows, as for an insert, until its share of them fits. What that takes is
 * known beforehand, so a segment that is too small for it is left as it is: otherwise the first shards would have the room that the last
 * ones lack. */
#include "error.h"
#include "grow.h"
#include "recover.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* The hash bits that lead to a place in the directory, and the places themselves: 32 bits of both (key.h). */
#define HASHES_END (UINT64_C(1) << 32)

/* The first hash whose place is not before that one; HASHES_END when there is none, as for the last quarter of the places. */
static uint64_t first_hash_at(uint64_t place)
{
	uint64_t low = 0, high = HASHES_END;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (fs_hash_place(middle) < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A bucket's part of a shard's places, and how many of the shard's flags are to have room there: as many as it has hashes. */
struct share {
	uint64_t place;   /* the first; they are HASHES_END >> depth */
	uint32_t depth;
	uint64_t next;    /* the first hash behind them */
	uint64_t flags;
	uint64_t missing; /* flags that are not there yet; 0 if there is room for all of them */
};

static struct share share_at(uint64_t place, uint32_t depth, uint64_t flags)
{
	uint64_t next = first_hash_at(place + (HASHES_END >> depth));

	return (struct share){place, depth, next, flags * (next - first_hash_at(place)) >> 32, 0};
}

/* That of the bucket in charge of the hash. In a shard that has seen no insert yet it is all; in one that leads nowhere too, and there
 * something is missing in any case, so that whoever wants to grow it finds out. */
static struct share share_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash, uint64_t flags)
{
	uint64_t directory_word = fs_directory_word(shard), word = 0, live;
	const _Atomic uint64_t *entry = fs_entry_of(store, shard, hash);
	struct fs_bucket_view view;
	struct share share;

	if (entry)
		word = atomic_load_explicit(entry, memory_order_acquire);
	if (!word || fs_dir_depth(word) > fs_dir_depth(directory_word) || !fs_bucket_view(store, word, &view)) {
		share = share_at(0, 0, flags);
		share.missing = directory_word ? 1 : share.flags;
		return share;
	}
	live = atomic_load_explicit(&view.bucket->live, memory_order_relaxed);
	share = share_at(fs_hash_place(hash) & ~((HASHES_END >> fs_dir_depth(word)) - 1), fs_dir_depth(word), flags);
	share.missing = share.flags > live ? share.flags - live : 0;
	if (fs_has_room(&view, share.missing))
		share.missing = 0;
	return share;
}

/* ------------------------------------------------------------------------------------------- what it will take */

/* Lines of the buckets that a share will have; *depth becomes that of the deepest. */
static uint64_t bucket_lines(struct share share, uint64_t flags, uint32_t *depth)
{
	uint32_t class = fs_class_for(share.flags);

	*depth = share.depth > *depth ? share.depth : *depth;
	if (class < FS_BUCKET_CLASSES || share.depth == FS_DEPTH_MAX)
		return fs_bucket_classes[class < FS_BUCKET_CLASSES ? class : FS_BUCKET_CLASSES - 1].lines;
	return bucket_lines(share_at(share.place, share.depth + 1, flags), flags, depth) +
	       bucket_lines(share_at(share.place + (HASHES_END >> (share.depth + 1)), share.depth + 1, flags), flags, depth);
}

/* A shard begins with the smallest bucket. Each directory is twice as large as the one before, which stays free; and a bucket that is split
 * leaves some of the smallest. */
static uint64_t other_lines(uint64_t directory_word, uint32_t depth)
{
	uint64_t smallest = fs_bucket_classes[0].lines, lines = directory_word ? 0 : smallest + fs_kind_lines(fs_directory_kind(0));

	if (depth > fs_dir_depth(directory_word))
		lines += 2 * (uint64_t)fs_kind_lines(fs_directory_kind(depth)) + 4 * smallest;
	return lines;
}

static uint64_t lines_in(const flagstore *store, const struct fs_shard *shard, uint64_t flags)
{
	uint64_t directory_word = fs_directory_word(shard), lines = 0;
	uint32_t depth = 0;

	for (uint64_t at = 0; at < HASHES_END;) {
		struct share share = share_of(store, shard, (uint64_t)(shard - store->shards) << FS_HASH_SHARD_SHIFT | at, flags);

		if (share.missing)
			lines += bucket_lines(share, flags, &depth);
		at = share.next;
	}
	return lines ? lines + other_lines(directory_word, depth) : 0;
}

/* With a sixteenth for the buckets that will get more than their share. */
static int require_room(const flagstore *store, uint64_t flags, uint64_t each)
{
	uint64_t lines = 0, end = (fs_line)atomic_load_explicit(&fs_header(store)->heap, memory_order_relaxed);
	uint64_t left = end < store->max_lines ? store->max_lines - end : 0;

	for (uint32_t i = 0; i < store->constants.shards; i++)
		lines += lines_in(store, &store->shards[i], each);
	lines += lines / 16;
	if (lines <= left)
		return FLAGSTORE_OK;
	return fs_fail(FLAGSTORE_EFULL, "segment %s has no room for %llu flags: they take %llu bytes more, and its largest size of %llu bytes leaves %llu",
	               store->path, (unsigned long long)flags, (unsigned long long)lines * FS_LINE,
	               (unsigned long long)store->constants.max_bytes, (unsigned long long)left * FS_LINE);
}

/* -------------------------------------------------------------------------------------------------- reserving */

/* A lock for each step, so that others can write in between. */
static int reserve_in(flagstore *store, uint32_t index, uint64_t flags)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t at = 0;

	while (at < HASHES_END) {
		uint64_t hash = (uint64_t)index << FS_HASH_SHARD_SHIFT | at;
		struct fs_deadline deadline = {.set = false};
		struct share share;
		bool fits = true;
		int error = fs_enter_locked(store, index, &deadline);

		if (error)
			return error;
		share = share_of(store, shard, hash, flags);
		if (share.missing)
			error = fs_make_room_step(store, shard, hash, (uint32_t)share.missing, &fits);
		fs_leave(store, index);
		if (error)
			return error;
		if (fits)
			at = share.next;
	}
	return FLAGSTORE_OK;
}

int fs_reserve(flagstore *store, uint64_t flags)
{
	uint32_t shards = store->constants.shards;
	/* More than that can't be in any segment, and would make the figures overflow. */
	uint64_t each = (flags < store->max_lines ? flags : store->max_lines) / shards;
	int error = require_room(store, flags, each);

	for (uint32_t i = 0; i < shards && !error; i++)
		error = reserve_in(store, i, each);
	return error;
}

int flagstore_reserve(flagstore *store, uint64_t flags)
{
	store = store->writing;
	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process", store->path);
	fs_thread.site = __builtin_return_address(0);
	return fs_unless_lost(store, fs_reserve(store, flags));
}

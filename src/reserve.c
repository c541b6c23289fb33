/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reserve.c: room for flags that are to come. Bucket after bucket grows, as for an insert, until its share of them fits. */
#include "error.h"
#include "grow.h"
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

/* What is to be done for the bucket in charge of the hash. */
struct share {
	uint32_t missing; /* flags for which it is to have room */
	uint64_t next;    /* the first hash of the next bucket */
};

/* Of so many flags of the shard, each bucket has as many as it has hashes. */
static struct share share_of(const flagstore *store, const struct fs_shard *shard, uint64_t hash, uint64_t flags)
{
	const _Atomic uint64_t *entry = fs_entry_of(store, shard, hash);
	uint64_t word = entry ? atomic_load_explicit(entry, memory_order_relaxed) : 0, width = HASHES_END >> fs_dir_depth(word);
	uint64_t place = fs_hash_place(hash) & ~(width - 1), next = first_hash_at(place + width), all;
	struct fs_bucket_view view;
	uint32_t live = 0;

	if (word && fs_bucket_view(store, word, &view))
		live = atomic_load_explicit(&view.bucket->live, memory_order_relaxed);
	all = flags * (next - first_hash_at(place)) >> 32;
	return (struct share){all > live ? (uint32_t)(all - live) : 0, next};
}

/* A lock for each step, so that others can write in between. */
static int reserve_in(flagstore *store, uint32_t index, uint64_t flags)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t at = 0;
	int error = FLAGSTORE_OK;

	while (!error && at < HASHES_END) {
		uint64_t hash = (uint64_t)index << FS_HASH_SHARD_SHIFT | at;
		struct fs_deadline deadline = {.set = false};
		struct share share;
		bool fits = true;

		error = fs_enter_locked(store, index, &deadline);
		if (error)
			return error;
		share = share_of(store, shard, hash, flags);
		if (share.missing)
			error = fs_make_room_step(store, shard, hash, share.missing, &fits);
		if (fits)
			at = share.next;
		fs_leave(store, index);
	}
	return error;
}

/* What flags may need at most in buckets that have just grown (flagstore(7)). */
#define FLAG_BYTES 112

int flagstore_reserve(flagstore *store, uint64_t flags)
{
	uint64_t heap_bytes = (uint64_t)(store->max_lines - store->heap_start) * FS_LINE, shards = store->constants.shards;
	int error = FLAGSTORE_OK;

	store = store->writing;
	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process", store->path);
	/* Half of it would be room that the other half of the flags lacks. */
	if (flags > heap_bytes / FLAG_BYTES)
		return fs_fail(FLAGSTORE_EFULL, "segment %s has no room for %llu flags: its largest size of %llu bytes is enough for %llu", store->path,
		               (unsigned long long)flags, (unsigned long long)store->constants.max_bytes, (unsigned long long)(heap_bytes / FLAG_BYTES));
	for (uint32_t i = 0; i < shards && !error; i++)
		error = reserve_in(store, i, (flags + shards - 1) / shards);
	return fs_unless_lost(store, error);
}

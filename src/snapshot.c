/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * snapshot.c: several flags as of one moment.
 *
 * Twice the same: all words are read, then all are read again. Versions never come back, so what is the same both times was so
 * for the whole time between, and that time is the moment. The shards' sequence counts say the same of flags that are
 * missing, and keep batches out: they are odd from before the first word of a batch is stored until after the last.
 * Where flags never stand still, a store that may write enters the shards and freezes the flags for the time of one look. */
#include <stdlib.h>

#include "error.h"
#include "section.h"
#include "sigbus.h"
#include "table.h"
#include "worker.h"

#define TRIES 100

struct look {
	struct fs_key key;
	struct fs_found found;
	bool exists;
};

struct snapshot {
	const flagstore *store;
	struct look *looks;
	uint64_t *sequences; /* by shard; 1 (odd) for a shard that is not wanted */
	size_t count;
};

static uint32_t shard_of(const struct snapshot *snapshot, size_t i)
{
	return fs_hash_shard(snapshot->looks[i].key.hash, snapshot->store->shard_mask);
}

static bool wanted(const struct snapshot *snapshot, uint32_t shard)
{
	return !(snapshot->sequences[shard] & 1);
}

/* acquire: pairs with the release that made the count even; what was changed before is seen */
static bool read_sequences(struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->store->constants.shards; i++) {
		uint64_t sequence;

		if (!wanted(snapshot, i))
			continue;
		sequence = atomic_load_explicit(&snapshot->store->shards[i].sequence, memory_order_acquire);
		if (sequence & 1)
			return false;
		snapshot->sequences[i] = sequence;
	}
	return true;
}

static bool look_once(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		enum fs_outcome outcome = fs_find(snapshot->store, &snapshot->looks[i].key, &snapshot->looks[i].found);

		if (outcome == FS_DAMAGED)
			return false;
		snapshot->looks[i].exists = outcome == FS_FOUND;
	}
	return true;
}

static bool look_again(const struct snapshot *snapshot)
{
	/* Pairs with the fence in fs_enter(): a change made in a section and seen above shows in the counts below. */
	fs_acquire_fence();
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct look *look = &snapshot->looks[i];

		/* seq_cst, as the flips are: the looks at different flags happen in one order with them. */
		if (look->exists && atomic_load_explicit(&look->found.slot->word, memory_order_seq_cst) != look->found.word)
			return false;
	}
	fs_acquire_fence();
	for (uint32_t i = 0; i < snapshot->store->constants.shards; i++)
		if (wanted(snapshot, i) &&
		    atomic_load_explicit(&snapshot->store->shards[i].sequence, memory_order_relaxed) != snapshot->sequences[i])
			return false;
	return true;
}

static bool try_once(struct snapshot *snapshot)
{
	return read_sequences(snapshot) && look_once(snapshot) && look_again(snapshot);
}

/* In the write sections: nothing but flips can happen, and those not to FROZEN flags. A death in here leaves work for fs_tidy(). */
static bool look_frozen(flagstore *store, struct snapshot *snapshot)
{
	if (!look_once(snapshot))
		return false;
	for (size_t i = 0; i < snapshot->count; i++) {
		struct look *look = &snapshot->looks[i];

		if (look->exists)
			look->found.word = fs_slot_freeze(fs_writable(store, look->found.slot));
	}
	for (size_t i = 0; i < snapshot->count; i++) {
		struct look *look = &snapshot->looks[i];
		uint64_t frozen = fs_word_with_state(look->found.word, FS_FROZEN);

		/* A compare-and-swap, since a key may be asked for twice, and be thawed and flipped in between. */
		look->found.word = fs_word_with_state(look->found.word, FS_LIVE);
		if (look->exists)
			atomic_compare_exchange_strong_explicit(&((struct fs_slot *)fs_writable(store, look->found.slot))->word, &frozen,
			                                        look->found.word, memory_order_release, memory_order_relaxed);
	}
	return true;
}

static int look_locked(flagstore *store, struct snapshot *snapshot)
{
	struct fs_deadline deadline = {.set = false};
	int error = FLAGSTORE_OK;
	uint32_t end = 0;

	fs_entered(store);
	for (; end < store->constants.shards && !error; end++)
		if (wanted(snapshot, end))
			error = fs_enter_locked(store, end, &deadline);
	if (error)
		end--;
	else if (!look_frozen(store, snapshot))
		error = fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the table leads nowhere for a key; check the segment", store->path);
	for (uint32_t i = 0; i < end; i++)
		if (wanted(snapshot, i))
			fs_leave(store, i);
	return error;
}

static int look_until_still(flagstore *store, struct snapshot *snapshot)
{
	uint64_t end = fs_monotonic_ns() + (uint64_t)store->lock_wait_ms * 1000000;
	int tries = 0;

	while (!try_once(snapshot)) {
		if (fs_lost(store))
			return fs_unless_lost(store, FLAGSTORE_OK);
		if (++tries < TRIES)
			continue;
		if (store->write_map)
			return look_locked(store, snapshot);
		if (fs_monotonic_ns() > end)
			return fs_fail(FLAGSTORE_EBUSY, "segment %s: the flags never stood still for %u ms, or a writer died among them; attach read-write",
			               store->path, store->lock_wait_ms);
		nanosleep(&(struct timespec){0, 50000}, NULL);
	}
	return FLAGSTORE_OK;
}

int flagstore_snapshot(flagstore *store, const char *const *keys, const size_t *lengths, size_t count, struct flagstore_flag *flags)
{
	struct snapshot snapshot = {store, calloc(count + 1, sizeof(struct look)), calloc(store->constants.shards, sizeof(uint64_t)), count};
	int error = FLAGSTORE_OK;

	if (!snapshot.looks || !snapshot.sequences)
		error = fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for a snapshot of %zu flags", count);
	for (uint32_t i = 0; !error && i < store->constants.shards; i++)
		snapshot.sequences[i] = 1;
	for (size_t i = 0; !error && i < count; i++) {
		size_t length = lengths ? lengths[i] : strlen(keys[i]);

		if (!fs_key_make(store, keys[i], length, &snapshot.looks[i].key))
			error = fs_fail(FLAGSTORE_EKEY, "key %zu of the snapshot, of %zu bytes, can't be used", i + 1, length);
		else
			snapshot.sequences[shard_of(&snapshot, i)] = 0;
	}
	if (!error)
		error = fs_unless_lost(store, look_until_still(store, &snapshot));
	for (size_t i = 0; !error && i < count; i++) {
		flags[i] = (struct flagstore_flag){.exists = false};
		if (snapshot.looks[i].exists)
			fs_slot_describe(store, snapshot.looks[i].found.slot, snapshot.looks[i].found.word, &flags[i]);
	}
	free(snapshot.looks);
	free(snapshot.sequences);
	return error;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * source.c: looks inside of a segment. */
#include "source.h"

#include <linux/futex.h>
#include <sys/stat.h>
#include <time.h>

#include "lock.h"
#include "recover.h"
#include "sigbus.h"
#include "slot.h"
#include "table.h"
#include "worker.h"

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void source_shard(const flagstore *store, uint32_t index, struct source_shard *shard)
{
	const struct fs_shard *place = &store->shards[index];
	uint64_t holder = atomic_load_explicit(&place->holder, memory_order_relaxed);
	uint64_t since = atomic_load_explicit(&place->since_ns, memory_order_relaxed), now = monotonic_ns();
	/* The mutex's first word is the futex: linux/futex.h. */
	uint32_t futex = __atomic_load_n((const uint32_t *)&place->mutex, __ATOMIC_RELAXED);

	*shard = (struct source_shard){
		.locks = atomic_load_explicit(&place->epoch, memory_order_relaxed),
		.waits = atomic_load_explicit(&place->waits, memory_order_relaxed),
		.growths = atomic_load_explicit(&place->growths, memory_order_relaxed),
		.recoveries = atomic_load_explicit(&place->recoveries, memory_order_relaxed),
		.live = atomic_load_explicit(&place->live, memory_order_relaxed),
		.held = (futex & FUTEX_TID_MASK) != 0,
		.orphaned = fs_lock_orphaned(place),
		.holder_worker = fs_mark_worker(holder),
		.holder_thread = fs_mark_thread(holder),
	};
	if (shard->held && since != 0 && now > since)
		shard->held_ns = (int64_t)(now - since);
}

bool source_seat_events(const flagstore *store, uint32_t seat, uint64_t *events)
{
	const struct fs_seat *place = fs_seat_at(store, seat);

	if (place)
		*events = atomic_load_explicit(&place->next, memory_order_relaxed);
	return place != NULL;
}

int source_header(const flagstore *store, struct source_header *header)
{
	const struct fs_header *place = fs_header(store);
	struct stat file;

	if (fstat(store->fd, &file) != 0)
		return FLAGSTORE_ESYSTEM;
	*header = (struct source_header){
		.conflicts = atomic_load_explicit(&place->conflicts_seen, memory_order_relaxed),
		.file_bytes = (uint64_t)file.st_blocks * 512,
		.used_bytes = (uint64_t)(fs_line)atomic_load_explicit(&place->heap, memory_order_relaxed) * FS_LINE,
		.standing = atomic_load_explicit(&place->standing, memory_order_relaxed),
		.retired = atomic_load_explicit(&place->state, memory_order_relaxed) == FS_RETIRED || file.st_nlink == 0,
		.truncated = fs_lost(store) || (uint64_t)file.st_size < store->constants.max_bytes,
	};
	return FLAGSTORE_OK;
}

uint64_t source_life_of(const struct flagstore_flag *flag)
{
	return flag->version >> FS_VERSION_BITS;
}

uint64_t source_life(const struct flagstore_event *change)
{
	return source_life_of(change->after.exists ? &change->after : &change->before);
}

uint32_t source_shard_of(const flagstore *store, const char *key, size_t length)
{
	return fs_hash_shard(fs_hash(store->seed, key, length), store->shard_mask);
}

size_t source_key_at(const flagstore *store, uint64_t offset, uint64_t life, char *key)
{
	const struct fs_slot *slot = offset / FS_LINE <= UINT32_MAX ? fs_at(store, (fs_line)(offset / FS_LINE), 1) : NULL;
	uint64_t word, identity;
	size_t length;

	if (!slot)
		return 0;
	/* acquire: pairs with the release store of the word that made the flag */
	word = atomic_load_explicit(&slot->word, memory_order_acquire);
	if ((word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT != life)
		return 0;
	length = fs_slot_copy_key(store, slot, key);
	identity = atomic_load_explicit(&slot->identity, memory_order_relaxed);
	/* The slot may have been another's meanwhile, and that of a deleted flag may be changed at any time: the check value, which
	 * covers key and life, tells. */
	if (!fs_key_valid(key, length) || identity != fs_identity(fs_hash(store->seed, key, length), word))
		return 0;
	return length;
}

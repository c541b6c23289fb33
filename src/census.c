/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * census.c: counts flags against what the shards say, and looks whether each proves itself. The line of a slot is in the cache when its word
 * has been read, so its check value costs no more than the hash of its key. */
#include "census.h"

#include <time.h>

#include "recover.h"
#include "slot.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Flips leave key and life as they are, and all else changes the shard's sequence: then what was seen here does not count. */
static bool proves_itself(const flagstore *store, const struct fs_slot *slot, uint64_t word, uint64_t identity)
{
	char key[FLAGSTORE_KEY_MAX];
	size_t length = fs_slot_copy_key(store, slot, key);

	return fs_key_valid(key, length) && fs_identity(fs_hash(store->seed, key, length), word) == identity;
}

static uint32_t count_bucket(const flagstore *store, uint64_t position, uint64_t end, uint64_t word, struct fs_census *census,
                             const struct fs_slot **wrong)
{
	struct fs_bucket_view view;
	uint32_t live = 0;

	if (!word || !fs_bucket_view(store, word, &view))
		return 0;
	census->slots += view.count;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t slot = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);
		uint64_t identity = atomic_load_explicit(&view.slots[i].identity, memory_order_relaxed);
		uint32_t place = fs_hash_place(identity);

		census->dead += fs_word_state(slot) == FS_DEAD;
		if (fs_word_holds(slot) && !proves_itself(store, &view.slots[i], slot, identity))
			*wrong = &view.slots[i];
		/* As in cursor.c: half a bucket may have been counted in the one that replaces it. */
		if (!fs_word_holds(slot) || place < position || place >= end)
			continue;
		live++;
		census->true_flags += fs_word_value(slot);
	}
	return live;
}

static void count_shard(const flagstore *store, uint32_t index, struct fs_walk *walk, struct fs_census *census)
{
	const struct fs_shard *shard = &store->shards[index];
	/* acquire, and the fence below: pair with the writer's marks around a change of the structure (section.c) */
	uint64_t before = atomic_load_explicit(&shard->sequence, memory_order_acquire), position = 0, word;
	uint32_t said = atomic_load_explicit(&shard->live, memory_order_relaxed), counted = 0;
	const struct fs_slot *wrong = NULL;

	walk->position = 0;
	for (; fs_next_bucket(store, fs_directory_word(shard), walk, &word); position = walk->position)
		counted += count_bucket(store, position, walk->position, word, census, &wrong);
	fs_acquire_fence();
	if (before % 2 != 0 || atomic_load_explicit(&shard->sequence, memory_order_relaxed) != before) {
		census->passed_shards++;
		return;
	}
	census->counted_shards++;
	if (wrong) {
		census->wrong_slot_shard = index;
		census->wrong_slot = (uint64_t)((const char *)wrong - store->map);
	}
	if (said == counted)
		return;
	census->wrong_shard = index;
	census->said = said;
	census->counted = counted;
}

void fs_census(const flagstore *store, uint64_t limit_ns, struct fs_census *census)
{
	uint64_t began = now_ns();
	struct fs_walk walk = {0, 0};

	*census = (struct fs_census){.wrong_shard = UINT32_MAX, .wrong_slot_shard = UINT32_MAX};
	/* From another one on each time, so that none is always passed over. */
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		if (limit_ns && now_ns() - began > limit_ns)
			census->passed_shards++;
		else
			count_shard(store, (uint32_t)((began / 1000 + i) % store->constants.shards), &walk, census);
	}
}

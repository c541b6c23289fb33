/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * many.c: reads of many flags, which wait for memory side by side instead of one after the other. */
#include "table.h"

/* Below this size a table lives in the processor's caches, and fetching ahead costs more than it gains. */
#define SMALL_TABLE_LINES ((1u << 20) / FS_LINE)

#define AT_ONCE 16

static bool value_of(const flagstore *store, const struct fs_key *key)
{
	struct fs_found found;

	return key->length && fs_find(store, key, &found) == FS_FOUND && fs_word_value(found.word);
}

static void make_keys(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, struct fs_key *made)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = lengths ? lengths[i] : strlen(keys[i]);

		if (length > FLAGSTORE_KEY_MAX)
			length = 0;
		made[i] = (struct fs_key){keys[i], length, fs_hash(store->seed, keys[i], length)};
	}
}

void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	bool small = atomic_load_explicit(&store->room, memory_order_relaxed) < SMALL_TABLE_LINES;
	struct fs_key made[AT_ONCE];

	for (size_t done = 0; done < count;) {
		size_t some = count - done < AT_ONCE ? count - done : AT_ONCE;

		make_keys(store, keys + done, lengths ? lengths + done : NULL, some, made);
		for (size_t i = 0; !small && i < some; i++)
			fs_prefetch_tags(store, &made[i]);
		for (size_t i = 0; !small && i < some; i++)
			fs_prefetch_slot(store, &made[i]);
		for (size_t i = 0; i < some; i++)
			values[done + i] = value_of(store, &made[i]);
		done += some;
	}
}

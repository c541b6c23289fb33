/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * afterlife.c: what must hold after the death of a writer.
 */
#include "afterlife.h"

static int64_t insert_next(flagstore *store)
{
	int64_t longest = 0;
	char key[KEY_ROOM];

	for (unsigned i = 0; i < NEXT; i++) {
		int64_t start = now_us(), took;

		require_ok(flagstore_set(store, key_of(key, "next", i), true));
		took = now_us() - start;
		longest = took > longest ? took : longest;
	}
	return longest;
}

void write_everywhere(flagstore *store)
{
	(void)insert_next(store);
}

void require_readers_unharmed(const flagstore *before, flagstore_handle *const *handles, const struct scene *scene)
{
	flagstore *reader = attach(VICTIM, FLAGSTORE_READ_ONLY);
	int64_t start = now_ms();

	require_old_or_new(before, scene);
	require_old_or_new(reader, scene);
	for (unsigned i = 0; i < scene->count; i++)
		require_int(flagstore_get(reader, scene->touched[i].key), flagstore_handle_get(handles[i]));
	require(now_ms() - start < 3000);
	flagstore_close(reader);
}

bool require_recovered(const struct scene *scene, struct recovery *recovery)
{
	flagstore *store = attach(VICTIM, 0);
	uint64_t before = info(store).recoveries;
	bool happened;
	unsigned flags;

	recovery->longest_us = insert_next(store);
	recovery->recoveries = info(store).recoveries - before;
	require(recovery->longest_us < 2000000);
	require_healthy(store);
	require_old_or_new(store, scene);
	happened = require_whole(store, scene);
	flags = flags_there(store, scene) + NEXT;
	require_int(flags, info(store).flags);
	require_int(1, info(store).workers);

	/* It can be done again, or now. */
	if (!happened) {
		require_int(FLAGSTORE_OK, scene->operation->run(store, scene));
		require(require_whole(store, scene));
		require_healthy(store);
	}
	flagstore_close(store);
	return happened;
}

/* A handle that was read while its flag was FROZEN, perhaps in a place that has been left since, must not stay there. */
void require_handles_follow(const flagstore *before, flagstore_handle *const *handles, const struct scene *scene)
{
	flagstore *store = attach(VICTIM, 0);

	for (unsigned i = 0; i < scene->count; i++) {
		const char *key = scene->touched[i].key;

		if (lookup(store, key).exists)
			require_ok(flagstore_toggle(store, key, NULL));
		require_int(flagstore_get(before, key), flagstore_handle_get(handles[i]));
	}
	flagstore_close(store);
}

flagstore *open_before(const struct scene *scene, flagstore_handle **handles)
{
	flagstore *reader;

	copy_file(path_of(scene->segment), path_of(VICTIM));
	reader = attach(VICTIM, FLAGSTORE_READ_ONLY);
	for (unsigned i = 0; i < scene->count; i++) {
		require_ok(flagstore_handle_open(reader, scene->touched[i].key, &handles[i]));
		(void)flagstore_handle_get(handles[i]);
	}
	return reader;
}

void close_before(flagstore *reader, flagstore_handle **handles, const struct scene *scene)
{
	for (unsigned i = 0; i < scene->count; i++)
		flagstore_handle_close(handles[i]);
	flagstore_close(reader);
	require_ok(flagstore_unlink(VICTIM));
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * afterlife.c: what must hold after the death of a writer.
 */
#include "afterlife.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"

#define BEFORE "before"

const char *const first_names[FIRSTS] = {"the next write", "the next attach", "the next reader's attach"};

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

/* ------------------------------------------------------------------------------------------------ witnesses */

static void open_handles(struct witnesses *witnesses)
{
	for (unsigned i = 0; i < witnesses->scene->count; i++) {
		require_ok(flagstore_handle_open(witnesses->reader, witnesses->scene->touched[i].key, &witnesses->handles[i]));
		(void)flagstore_handle_get(witnesses->handles[i]);
	}
}

static void close_handles(struct witnesses *witnesses)
{
	for (unsigned i = 0; i < witnesses->scene->count; i++)
		flagstore_handle_close(witnesses->handles[i]);
}

void call_witnesses(struct witnesses *witnesses, const struct scene *scene)
{
	witnesses->scene = scene;
	copy_file(path_of(scene->segment), path_of(VICTIM));
	witnesses->reader = attach(VICTIM, FLAGSTORE_READ_ONLY);
	witnesses->neighbour = attach(VICTIM, 0);
	copy_file(path_of(VICTIM), path_of(BEFORE));
	witnesses->image = BEFORE;
	open_handles(witnesses);
}

void dismiss_witnesses(struct witnesses *witnesses)
{
	close_handles(witnesses);
	flagstore_close(witnesses->neighbour);
	flagstore_close(witnesses->reader);
	require_ok(flagstore_unlink(VICTIM));
	require_ok(flagstore_unlink(BEFORE));
}

void rewind_victim(struct witnesses *witnesses)
{
	/* Incarnations are given out once more: a handle from before would take another life of another key for its own. */
	close_handles(witnesses);
	rewind_file(path_of(witnesses->image), path_of(VICTIM));
	open_handles(witnesses);
}

/* ---------------------------------------------------------------------------------------------- what must hold */

void require_reader_unharmed(const struct witnesses *witnesses)
{
	const struct scene *scene = witnesses->scene;
	int64_t start = now_ms();

	require_old_or_new(witnesses->reader, scene);
	for (unsigned i = 0; i < scene->count; i++)
		require_int(flagstore_get(witnesses->reader, scene->touched[i].key), flagstore_handle_get(witnesses->handles[i]));
	require(now_ms() - start < 3000);
}

/* A handle that was read while its flag was FROZEN, perhaps in a place that has been left since, must not stay there. */
static void require_handles_follow(const struct witnesses *witnesses, flagstore *store)
{
	for (unsigned i = 0; i < witnesses->scene->count; i++) {
		const char *key = witnesses->scene->touched[i].key;

		if (lookup(store, key).exists)
			require_ok(flagstore_toggle(store, key, NULL));
		require_int(flagstore_get(witnesses->reader, key), flagstore_handle_get(witnesses->handles[i]));
	}
}

/* The first comer, who is attached from then on. */
static flagstore *come_first(const struct witnesses *witnesses, enum first first, struct recovery *recovery)
{
	uint64_t before = info(witnesses->reader).recoveries;
	int64_t start = now_us(), longest = 0;
	flagstore *store = witnesses->neighbour;

	if (first != FIRST_NEIGHBOUR) {
		store = attach(VICTIM, first == FIRST_READER ? FLAGSTORE_READ_ONLY : 0);
		longest = now_us() - start;
	}
	if (first == FIRST_READER) {
		require_old_or_new(store, witnesses->scene);
		flagstore_close(store);
		store = attach(VICTIM, 0);
	}
	recovery->longest_us = insert_next(store);
	if (longest > recovery->longest_us)
		recovery->longest_us = longest;
	recovery->recoveries = info(store).recoveries - before;
	require(recovery->longest_us < 2000000);
	return store;
}

bool require_recovered(const struct witnesses *witnesses, enum first first, struct recovery *recovery)
{
	const struct scene *scene = witnesses->scene;
	flagstore *store;
	bool happened;
	unsigned flags;

	require_reader_unharmed(witnesses);
	store = come_first(witnesses, first, recovery);
	require_healthy(store);
	require_old_or_new(store, scene);
	happened = require_whole(store, scene);
	flags = flags_there(store, scene) + NEXT;
	require_int(flags, info(store).flags);
	require_int(store == witnesses->neighbour ? 1 : 2, info(store).workers);

	/* It can be done again, or now. */
	if (!happened) {
		require_int(FLAGSTORE_OK, scene->operation->run(store, scene));
		require(require_whole(store, scene));
		require_healthy(store);
	}
	require_handles_follow(witnesses, store);
	if (store != witnesses->neighbour)
		flagstore_close(store);
	return happened;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * names.c: keys by shard and life. The memory is of a fixed size: a later name takes the place of an earlier one. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "nanoseconds.h"
#include "source.h"

enum {
	PLACES = 4096,
	WALK_EVERY = 50, /* a walk may follow when so many times its length have passed */
};

struct place {
	uint32_t shard;
	uint64_t life; /* 0: empty; lives begin with 1 */
	struct model_key key;
};

struct names {
	const flagstore *store;
	int64_t next_walk_ns;
	struct place places[PLACES];
};

struct names *names_open(const flagstore *store)
{
	struct names *names = calloc(1, sizeof *names);

	if (!names)
		failure_memory();
	names->store = store;
	return names;
}

static struct place *place_of(struct names *names, uint32_t shard, uint64_t life)
{
	return &names->places[(life * 31 + shard) % PLACES];
}

static void remember(struct names *names, uint32_t shard, uint64_t life, const char *key, size_t length)
{
	struct place *place = place_of(names, shard, life);

	if (length > FLAGSTORE_KEY_MAX || life == 0)
		return;
	place->shard = shard;
	place->life = life;
	place->key.length = length;
	memcpy(place->key.bytes, key, length);
	place->key.bytes[length] = '\0';
}

static bool recall(struct names *names, uint32_t shard, uint64_t life, struct model_key *key)
{
	const struct place *place = place_of(names, shard, life);

	if (life == 0 || place->life != life || place->shard != shard)
		return false;
	*key = place->key;
	return true;
}

void names_find(struct names *names, const struct flagstore_event *change, struct model_key *key)
{
	uint64_t life = source_life(change);
	char bytes[FLAGSTORE_KEY_MAX + 1];
	size_t length;

	key->length = 0;
	if (recall(names, change->shard, life, key))
		return;
	length = source_key_at(names->store, change->offset, life, bytes);
	if (length == 0)
		return;
	remember(names, change->shard, life, bytes, length);
	recall(names, change->shard, life, key);
}

static void give_name(struct names *names, struct model_hot *hot, size_t count, const struct flagstore_entry *entry)
{
	uint64_t life = source_life_of(&entry->flag);
	uint32_t shard;
	bool known = false;

	for (size_t i = 0; i < count && !known; i++)
		known = hot[i].life == life && hot[i].key.length == 0;
	if (!known)
		return;
	shard = source_shard_of(names->store, entry->key, entry->length);
	remember(names, shard, life, entry->key, entry->length);
	for (size_t i = 0; i < count; i++)
		if (hot[i].life == life && hot[i].shard == shard)
			recall(names, shard, life, &hot[i].key);
}

void names_complete(struct names *names, struct model_hot *hot, size_t count)
{
	int64_t began = monotonic_now();
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	size_t missing = 0;
	int error;

	for (size_t i = 0; i < count; i++)
		missing += hot[i].key.length == 0;
	if (missing == 0 || began < names->next_walk_ns || flagstore_cursor_open(names->store, &cursor) != FLAGSTORE_OK)
		return;
	while ((error = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK || error == FLAGSTORE_ECORRUPT)
		if (error == FLAGSTORE_OK)
			give_name(names, hot, count, &entry);
	flagstore_cursor_close(cursor);
	names->next_walk_ns = monotonic_now() + (monotonic_now() - began) * WALK_EVERY;
}

void names_close(struct names *names)
{
	free(names);
}

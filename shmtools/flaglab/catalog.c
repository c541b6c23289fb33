/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * catalog.c: the segment's flags as they were before the run. */
#include "catalog.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"

static bool is_own(const struct flagstore_entry *entry)
{
	size_t length = strlen(CATALOG_OWN_PREFIX);

	return entry->length >= length && memcmp(entry->key, CATALOG_OWN_PREFIX, length) == 0;
}

static void make_room(struct catalog *catalog, size_t room)
{
	catalog->keys = reallocarray(catalog->keys, room, sizeof *catalog->keys);
	catalog->lengths = reallocarray(catalog->lengths, room, sizeof *catalog->lengths);
	catalog->flags = reallocarray(catalog->flags, room, sizeof *catalog->flags);
	if (!catalog->keys || !catalog->lengths || !catalog->flags)
		failure_memory();
}

static void add(struct catalog *catalog, const struct flagstore_entry *entry)
{
	char *key = malloc(entry->length + 1);

	if (!key)
		failure_memory();
	memcpy(key, entry->key, entry->length + 1);
	catalog->keys[catalog->count] = key;
	catalog->lengths[catalog->count] = entry->length;
	catalog->flags[catalog->count] = entry->flag;
	catalog->count++;
}

static int walk(struct catalog *catalog, const flagstore *store)
{
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	size_t room = 0;
	int error = flagstore_cursor_open(store, &cursor);

	if (error)
		return error;
	while ((error = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK) {
		if (is_own(&entry))
			continue;
		if (catalog->count == room) {
			room = room ? 2 * room : 1024;
			make_room(catalog, room);
		}
		add(catalog, &entry);
	}
	flagstore_cursor_close(cursor);
	return error == FLAGSTORE_ENOTFOUND ? FLAGSTORE_OK : error;
}

static void copy(struct catalog *catalog, size_t to, size_t from)
{
	catalog->keys[to] = catalog->keys[from];
	catalog->lengths[to] = catalog->lengths[from];
	catalog->flags[to] = catalog->flags[from];
}

static void swap(struct catalog *catalog, size_t a, size_t b, size_t spare)
{
	copy(catalog, spare, a);
	copy(catalog, a, b);
	copy(catalog, b, spare);
}

/* A cursor's order is that of the slots in memory, which would make reading them easier than it is in real use. */
static void shuffle(struct catalog *catalog)
{
	for (size_t i = catalog->count - 1; i > 0; i--)
		swap(catalog, i, arc4random_uniform((uint32_t)i + 1), catalog->count);
}

static size_t how_many_flipped(size_t count)
{
	size_t quarter = (count + 3) / 4;

	return quarter < CATALOG_FLIPPED_MAX ? quarter : CATALOG_FLIPPED_MAX;
}

int catalog_open(struct catalog *catalog, flagstore *store)
{
	int error;

	*catalog = (struct catalog){0};
	error = walk(catalog, store);
	if (error) {
		catalog_close(catalog);
		return failure_of_library(error);
	}
	if (catalog->count == 0)
		return STATUS_DONE;
	make_room(catalog, catalog->count + CATALOG_WINDOW);
	shuffle(catalog);
	for (size_t i = 0; i < CATALOG_WINDOW; i++)
		copy(catalog, catalog->count + i, i);
	catalog->flipped = how_many_flipped(catalog->count);
	return STATUS_DONE;
}

void catalog_close(struct catalog *catalog)
{
	for (size_t i = 0; i < catalog->count; i++)
		free((char *)(uintptr_t)catalog->keys[i]);
	free(catalog->keys);
	free(catalog->lengths);
	free(catalog->flags);
	*catalog = (struct catalog){0};
}

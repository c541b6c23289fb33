/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * changes.c: several changes that happen as one. */
#include "changes.h"

#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "failure.h"

struct change *changes_add(struct changes *changes)
{
	if (changes->count == changes->room) {
		changes->room = changes->room ? 2 * changes->room : 64;
		changes->items = reallocarray(changes->items, changes->room, sizeof *changes->items);
		if (!changes->items)
			failure_memory();
	}
	changes->items[changes->count] = (struct change){0};
	return &changes->items[changes->count++];
}

static int add_to_batch(flagstore_batch *batch, const struct change *change)
{
	const struct key *key = &change->key;

	switch (change->kind) {
	case CHANGE_TOGGLE:
		return flagstore_batch_toggle_n(batch, key->bytes, key->length);
	case CHANGE_DELETE:
		return flagstore_batch_delete_n(batch, key->bytes, key->length);
	default:
		return flagstore_batch_set_n(batch, key->bytes, key->length, change->value);
	}
}

/* Whether the flag exists when it is the turn of change number index: the changes before it count. */
static bool exists_by_then(const struct changes *changes, size_t index, const flagstore *store)
{
	const struct key *key = &changes->items[index].key;
	struct flagstore_flag flag;

	while (index-- > 0) {
		const struct change *earlier = &changes->items[index];

		if (earlier->key.length == key->length && memcmp(earlier->key.bytes, key->bytes, key->length) == 0)
			return earlier->kind != CHANGE_DELETE;
	}
	return flagstore_lookup_n(store, key->bytes, key->length, &flag) == FLAGSTORE_OK;
}

/* The library refused the batch because a flag is missing: says which, if it still is. */
static int name_missing(const struct changes *changes, const flagstore *store, const char *name)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];

		if (change->kind == CHANGE_SET || exists_by_then(changes, i, store))
			continue;
		return failure_of(FLAGSTORE_ENOTFOUND, "segment %s has no flag %s to %s; nothing was changed", name,
		                  keytext_encode(change->key.bytes, change->key.length).text,
		                  change->kind == CHANGE_DELETE ? "delete" : "toggle");
	}
	return failure_of_library(FLAGSTORE_ENOTFOUND);
}

static int commit(const struct changes *changes, flagstore *store, size_t *changed)
{
	flagstore_batch *batch;
	int error = flagstore_batch_begin(store, &batch);

	if (error)
		return error;
	for (size_t i = 0; i < changes->count && !error; i++)
		error = add_to_batch(batch, &changes->items[i]);
	if (!error)
		error = flagstore_batch_commit(batch, changed);
	if (error)
		flagstore_batch_abort(batch);
	return error;
}

int changes_apply(const struct changes *changes, const char *name, size_t *changed)
{
	flagstore *store;
	int error, status = attach_to_write(name, &store);

	if (status)
		return status;
	error = commit(changes, store, changed);
	if (error == FLAGSTORE_ENOTFOUND)
		status = name_missing(changes, store, name);
	else if (error)
		status = failure_of_library(error);
	flagstore_close(store);
	return status;
}

void changes_free(struct changes *changes)
{
	free(changes->items);
	*changes = (struct changes){0};
}

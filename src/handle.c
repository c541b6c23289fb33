/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * handle.c: a flag resolved once by a process. The inline read in the public header compares state and incarnation of the slot
 * word; here is what it does when they differ. */
#include <stdlib.h>

#include "error.h"
#include "table.h"

struct handle {
	flagstore_handle public; /* first, so that one is the other */
	const flagstore *store;
	struct fs_key key;
	char bytes[];
};

/* What a handle without a slot looks at: EMPTY, which no handle expects. */
static const uint64_t nowhere = 0;

/* Both fields are stored one after the other, perhaps by several threads. Each (word, expect) pair that a reader can put together
 * is safe: the slots are in the key's own shard, where an incarnation is given to one life of one key alone. */
static void look_at(flagstore_handle *handle, const uint64_t *word, uint64_t expect)
{
	__atomic_store_n(&handle->word, word, __ATOMIC_RELAXED);
	__atomic_store_n(&handle->expect, expect, __ATOMIC_RELAXED);
}

bool flagstore_handle_resolve(flagstore_handle *handle)
{
	const struct handle *self = (const void *)handle;
	struct fs_found found;

	if (fs_find(self->store, &self->key, &found) != FS_FOUND) {
		look_at(handle, &nowhere, FS_LIVE);
		return false;
	}
	/* A FROZEN slot is about to be left or thawed; the next read looks again. */
	look_at(handle, (const uint64_t *)&found.slot->word, (found.word & FS_INCARNATION_MASK) | FS_LIVE);
	return fs_word_value(found.word);
}

int flagstore_handle_open_n(const flagstore *store, const char *key, size_t length, flagstore_handle **handle)
{
	struct handle *self;

	if (!fs_key_valid(key, length))
		return fs_fail(FLAGSTORE_EKEY, "a handle can't be made for a key of %zu bytes", length);
	self = malloc(sizeof *self + length);
	if (!self)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for a handle");
	memcpy(self->bytes, key, length);
	self->store = store;
	self->key = (struct fs_key){self->bytes, length, fs_hash(store->seed, self->bytes, length)};
	flagstore_handle_resolve(&self->public);
	*handle = &self->public;
	return FLAGSTORE_OK;
}

int flagstore_handle_open(const flagstore *store, const char *key, flagstore_handle **handle)
{
	return flagstore_handle_open_n(store, key, strlen(key), handle);
}

void flagstore_handle_close(flagstore_handle *handle)
{
	free(handle);
}

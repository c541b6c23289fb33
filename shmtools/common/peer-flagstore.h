/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * peer-flagstore.h: flagstore itself, as workload.h wants a table. By its public functions alone. */
#ifndef PEER_FLAGSTORE_H
#define PEER_FLAGSTORE_H

#include <flagstore.h>
#include <stdio.h>
#include <stdlib.h>

#define PEER_PROCESSES 1
#define PEER_GET_MANY
#define PEER_RESERVE
#define PEER_HANDLE
#define PEER_ATTACH

struct peer {
	flagstore *store;
	char path[4096];
};

static void name_segment(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/flagstore.bench", directory);
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct peer *peer = calloc(1, sizeof *peer);

	/* The file is sparse: a large maximum costs address space alone. */
	options.max_bytes = UINT64_C(1) << 30;
	while (options.max_bytes < UINT64_C(640) * expected && options.max_bytes < UINT64_C(1) << 36)
		options.max_bytes *= 2;
	if (!peer)
		return NULL;
	name_segment(directory, peer->path);
	if (flagstore_create(peer->path, &options, &peer->store)) {
		fprintf(stderr, "%s\n", flagstore_detail());
		free(peer);
		return NULL;
	}
	return peer;
}

static void peer_close(struct peer *peer)
{
	flagstore_close(peer->store);
	flagstore_unlink(peer->path);
	free(peer);
}

/* A forked process goes on with its parent's store. */
static inline struct peer *peer_enter(struct peer *peer)
{
	return peer;
}

static inline void peer_leave(struct peer *peer)
{
	(void)peer;
}

static inline bool peer_get(const struct peer *peer, const char *key, size_t length)
{
	return flagstore_get_n(peer->store, key, length);
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	return flagstore_set_n(peer->store, key, length, value) == FLAGSTORE_OK;
}

static inline bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	bool inserted;

	return flagstore_set_if_absent_n(peer->store, key, length, value, &inserted) == FLAGSTORE_OK && inserted;
}

static inline bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	bool value = false;

	flagstore_toggle_n(peer->store, key, length, &value);
	return value;
}

static inline bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return flagstore_delete_n(peer->store, key, length) == FLAGSTORE_OK;
}

static inline void peer_get_many(const struct peer *peer, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	flagstore_get_many(peer->store, keys, lengths, count, values);
}

static bool peer_reserve(struct peer *peer, size_t count)
{
	return flagstore_reserve(peer->store, count) == FLAGSTORE_OK;
}

typedef flagstore_handle peer_handle;

static peer_handle *peer_handle_open(const struct peer *peer, const char *key, size_t length)
{
	flagstore_handle *handle;

	return flagstore_handle_open_n(peer->store, key, length, &handle) ? NULL : handle;
}

static inline bool peer_handle_get(peer_handle *handle)
{
	return flagstore_handle_get(handle);
}

static void peer_handle_close(peer_handle *handle)
{
	flagstore_handle_close(handle);
}

static size_t peer_list(const struct peer *peer, size_t *trues)
{
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	size_t count = 0;

	if (flagstore_cursor_open(peer->store, &cursor))
		return 0;
	while (flagstore_cursor_next(cursor, &entry) == FLAGSTORE_OK) {
		count++;
		*trues += entry.flag.value;
	}
	flagstore_cursor_close(cursor);
	return count;
}

static size_t peer_memory(const struct peer *peer)
{
	struct flagstore_info info;

	return flagstore_info(peer->store, &info) ? 0 : info.file_bytes;
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	char path[4096];
	flagstore *store;
	bool right;

	name_segment(directory, path);
	if (flagstore_attach(path, NULL, &store))
		return false;
	right = flagstore_get_n(store, key, length) == value;
	flagstore_close(store);
	return right;
}

#endif

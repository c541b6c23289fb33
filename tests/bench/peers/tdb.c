/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * tdb.c: Samba's TDB with mutexes in the file (TDB_MUTEX_LOCKING), as Samba itself uses it between its processes: without
 * transactions and without sync. It has as many hash chains as flags are expected, which a user must know beforehand: the best for its
 * speed; each chain has a mutex, which takes room. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <tdb.h>

#define PEER_NAME "tdb"
#define PEER_TITLE "TDB with mutexes"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH

enum {
	/* Mutexes want a file that is emptied when its first user opens it, and this hash function. */
	FLAGS = TDB_MUTEX_LOCKING | TDB_CLEAR_IF_FIRST | TDB_INCOMPATIBLE_HASH | TDB_NOSYNC,
};

struct peer {
	struct tdb_context *table;
	char path[4096];
	int chains;
};

/* TDB refuses to open a file twice in one process, and a forked one takes its parent's for its own. */
static struct tdb_context *inherited;

static struct tdb_context *open_file(const char *path, int chains)
{
	return tdb_open(path, chains, FLAGS, O_RDWR | O_CREAT, 0600);
}

static void name_file(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/file", directory);
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);

	if (!peer)
		return NULL;
	name_file(directory, peer->path);
	peer->chains = (int)expected | 1;
	if (tdb_runtime_check_for_robust_mutexes())
		peer->table = open_file(peer->path, peer->chains);
	inherited = peer->table;
	if (peer->table)
		return peer;
	free(peer);
	return NULL;
}

static void peer_close(struct peer *peer)
{
	inherited = NULL;
	tdb_close(peer->table);
	unlink(peer->path);
	free(peer);
}

/* A forked process needs descriptors of its own. */
static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	return tdb_reopen(own->table) ? NULL : own;
}

static void peer_leave(struct peer *peer)
{
	tdb_close(peer->table);
	free(peer);
}

static inline TDB_DATA data_of(const char *bytes, size_t length)
{
	return (TDB_DATA){.dptr = (unsigned char *)(uintptr_t)bytes, .dsize = length};
}

static int take_value(TDB_DATA key, TDB_DATA data, void *result)
{
	(void)key;
	*(int *)result = data.dsize == 1 && *data.dptr;
	return 0;
}

/* -1: missing. */
static inline int look(struct peer *peer, const char *key, size_t length)
{
	int value = -1;

	tdb_parse_record(peer->table, data_of(key, length), take_value, &value);
	return value;
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	return look(peer, key, length) == 1;
}

static bool store(struct peer *peer, const char *key, size_t length, bool value, int how)
{
	char byte = value;

	return tdb_store(peer->table, data_of(key, length), data_of(&byte, 1), how) == 0;
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	return store(peer, key, length, value, TDB_REPLACE);
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	return store(peer, key, length, value, TDB_INSERT);
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	bool value = false;

	if (tdb_chainlock(peer->table, data_of(key, length)))
		return false;
	value = look(peer, key, length) == 0;
	store(peer, key, length, value, TDB_MODIFY);
	tdb_chainunlock(peer->table, data_of(key, length));
	return value;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return tdb_delete(peer->table, data_of(key, length)) == 0;
}

static int count_true(struct tdb_context *table, TDB_DATA key, TDB_DATA data, void *trues)
{
	(void)table;
	(void)key;
	*(size_t *)trues += data.dsize == 1 && *data.dptr;
	return 0;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	int count = tdb_traverse_read(peer->table, count_true, trues);

	return count < 0 ? 0 : (size_t)count;
}

static size_t peer_memory(struct peer *peer)
{
	struct stat status;

	return stat(peer->path, &status) ? 0 : (size_t)status.st_blocks * 512;
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer = {.chains = 0};
	bool right;

	name_file(directory, peer.path);
	if (inherited)
		tdb_close(inherited);
	inherited = NULL;
	peer.table = open_file(peer.path, 0);
	if (!peer.table)
		return false;
	right = peer_get(&peer, key, length) == value;
	tdb_close(peer.table);
	return right;
}

static const char *peer_version(void)
{
	return "";
}

#include "driver.h"

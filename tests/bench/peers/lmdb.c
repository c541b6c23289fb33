/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lmdb.c: LMDB on tmpfs, without waiting for a disk (MDB_NOSYNC, MDB_WRITEMAP): its fastest way. Every read is a transaction of its own,
 * as it has to be to see what others have just set; its slot is kept (mdb_txn_renew()). An environment must not be used across a fork, so
 * each worker opens its own. */
#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEER_NAME "lmdb"
#define PEER_TITLE "LMDB without sync"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH

struct peer {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *reader; /* reset, or none yet */
	char path[4096];
	size_t map;
};

static bool open_environment(struct peer *peer)
{
	MDB_txn *txn;

	if (mdb_env_create(&peer->env))
		return false;
	mdb_env_set_mapsize(peer->env, peer->map);
	if (mdb_env_open(peer->env, peer->path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NORDAHEAD, 0600) ||
	    mdb_txn_begin(peer->env, NULL, 0, &txn))
		return false;
	if (mdb_dbi_open(txn, NULL, 0, &peer->dbi) || mdb_txn_commit(txn))
		return false;
	return mdb_txn_begin(peer->env, NULL, MDB_RDONLY, &peer->reader) == 0 && (mdb_txn_reset(peer->reader), true);
}

static void name_file(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/data", directory);
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);

	if (!peer)
		return NULL;
	name_file(directory, peer->path);
	peer->map = ((expected * 512) | 0xfffffff) + 1;
	if (open_environment(peer))
		return peer;
	free(peer);
	return NULL;
}

static void close_environment(struct peer *peer)
{
	mdb_txn_abort(peer->reader);
	mdb_env_close(peer->env);
}

static void peer_close(struct peer *peer)
{
	char lock[4200];

	close_environment(peer);
	snprintf(lock, sizeof lock, "%s-lock", peer->path);
	unlink(peer->path);
	unlink(lock);
	free(peer);
}

static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	return open_environment(own) ? own : NULL;
}

static void peer_leave(struct peer *peer)
{
	close_environment(peer);
	free(peer);
}

static MDB_val key_val(const char *key, size_t length)
{
	return (MDB_val){length, (void *)(uintptr_t)key};
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	MDB_val name = key_val(key, length), data;
	bool value;

	if (mdb_txn_renew(peer->reader))
		return false;
	value = mdb_get(peer->reader, peer->dbi, &name, &data) == 0 && *(const char *)data.mv_data;
	mdb_txn_reset(peer->reader);
	return value;
}

static bool put(struct peer *peer, const char *key, size_t length, bool value, unsigned flags)
{
	MDB_val name = key_val(key, length), data = {1, &value};
	MDB_txn *txn;

	if (mdb_txn_begin(peer->env, NULL, 0, &txn))
		return false;
	if (mdb_put(txn, peer->dbi, &name, &data, flags)) {
		mdb_txn_abort(txn);
		return false;
	}
	return mdb_txn_commit(txn) == 0;
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	return put(peer, key, length, value, 0);
}

static inline bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	return put(peer, key, length, value, MDB_NOOVERWRITE);
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	MDB_val name = key_val(key, length), data;
	bool value;
	MDB_txn *txn;

	if (mdb_txn_begin(peer->env, NULL, 0, &txn))
		return false;
	if (mdb_get(txn, peer->dbi, &name, &data)) {
		mdb_txn_abort(txn);
		return false;
	}
	value = !*(const char *)data.mv_data;
	data = (MDB_val){1, &value};
	mdb_put(txn, peer->dbi, &name, &data, 0);
	return mdb_txn_commit(txn) == 0 && value;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	MDB_val name = key_val(key, length);
	MDB_txn *txn;

	if (mdb_txn_begin(peer->env, NULL, 0, &txn))
		return false;
	if (mdb_del(txn, peer->dbi, &name, NULL)) {
		mdb_txn_abort(txn);
		return false;
	}
	return mdb_txn_commit(txn) == 0;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	MDB_val name, data;
	MDB_cursor *cursor;
	size_t count = 0;

	if (mdb_txn_renew(peer->reader))
		return 0;
	if (mdb_cursor_open(peer->reader, peer->dbi, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &name, &data, MDB_NEXT) == 0) {
			count += name.mv_size > 0;
			*trues += *(const unsigned char *)data.mv_data;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_reset(peer->reader);
	return count;
}

static size_t peer_memory(struct peer *peer)
{
	struct stat status;

	return stat(peer->path, &status) ? 0 : (size_t)status.st_blocks * 512;
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer = {.map = 0};
	bool right;

	name_file(directory, peer.path);
	if (!open_environment(&peer))
		return false;
	right = peer_get(&peer, key, length) == value;
	close_environment(&peer);
	return right;
}

static const char *peer_version(void)
{
	static char text[32];
	int major, minor, patch;

	mdb_version(&major, &minor, &patch);
	snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
	return text;
}

#include "driver.h"

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * glib.c: GLib's GHashTable behind a GRWLock, with its own hash of strings (g_str_hash). */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PEER_NAME "glib"
#define PEER_TITLE "GHashTable with GRWLock"
#define PEER_MOST 1000000
#define PEER_PROCESSES 0

struct peer {
	GHashTable *table;
	GRWLock lock;
};

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = g_new0(struct peer, 1);

	(void)directory;
	(void)expected;
	g_rw_lock_init(&peer->lock);
	peer->table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return peer;
}

static void peer_close(struct peer *peer)
{
	g_hash_table_destroy(peer->table);
	g_rw_lock_clear(&peer->lock);
	g_free(peer);
}

static inline struct peer *peer_enter(struct peer *peer)
{
	return peer;
}

static inline void peer_leave(struct peer *peer)
{
	(void)peer;
}

/* A missing key gives NULL, which is no value. */
static inline gpointer pointer_of(bool value)
{
	return GINT_TO_POINTER(value ? 2 : 1);
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	bool value;

	(void)length;
	g_rw_lock_reader_lock(&peer->lock);
	value = g_hash_table_lookup(peer->table, key) == pointer_of(true);
	g_rw_lock_reader_unlock(&peer->lock);
	return value;
}

/* With the lock held. A key that is there already stays, and a copy of it is not needed. */
static void put(struct peer *peer, const char *key, gpointer value)
{
	gpointer own, old;

	if (g_hash_table_steal_extended(peer->table, key, &own, &old))
		g_hash_table_insert(peer->table, own, value);
	else
		g_hash_table_insert(peer->table, g_strdup(key), value);
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	gpointer old;

	(void)length;
	g_rw_lock_writer_lock(&peer->lock);
	old = g_hash_table_lookup(peer->table, key);
	if (!old)
		g_hash_table_insert(peer->table, g_strdup(key), pointer_of(value));
	else if (old != pointer_of(value))
		put(peer, key, pointer_of(value));
	g_rw_lock_writer_unlock(&peer->lock);
	return true;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	bool inserted;

	(void)length;
	g_rw_lock_writer_lock(&peer->lock);
	inserted = !g_hash_table_lookup(peer->table, key);
	if (inserted)
		g_hash_table_insert(peer->table, g_strdup(key), pointer_of(value));
	g_rw_lock_writer_unlock(&peer->lock);
	return inserted;
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	bool value;

	(void)length;
	g_rw_lock_writer_lock(&peer->lock);
	value = g_hash_table_lookup(peer->table, key) == pointer_of(false);
	put(peer, key, pointer_of(value));
	g_rw_lock_writer_unlock(&peer->lock);
	return value;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	bool deleted;

	(void)length;
	g_rw_lock_writer_lock(&peer->lock);
	deleted = g_hash_table_remove(peer->table, key);
	g_rw_lock_writer_unlock(&peer->lock);
	return deleted;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	GHashTableIter iterator;
	gpointer key, value;
	size_t count = 0;

	g_rw_lock_reader_lock(&peer->lock);
	g_hash_table_iter_init(&iterator, peer->table);
	while (g_hash_table_iter_next(&iterator, &key, &value)) {
		count += *(const char *)key != '\0';
		*trues += value == pointer_of(true);
	}
	g_rw_lock_reader_unlock(&peer->lock);
	return count;
}

static size_t peer_memory(struct peer *peer)
{
	(void)peer;
	return 0;
}

static const char *peer_version(void)
{
	static char text[32];

	snprintf(text, sizeof text, "%u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
	return text;
}

#include "driver.h"

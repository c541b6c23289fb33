/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * ck.c: Concurrency Kit's ck_ht of byte strings: one writer at a time, behind a spinlock, and readers that take no lock. Its values are
 * pointers; those with which a flag is true or false are all that is stored, beside a copy of the key. Memory of deleted keys and
 * outgrown tables is only freed at the end: readers may still be there, and what finds out when they are gone would cost time. */
#include <ck_ht.h>
#include <ck_spinlock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER_NAME "ck"
#define PEER_TITLE "Concurrency Kit ck_ht"
#define PEER_MOST 10000000
#define PEER_PROCESSES 0

struct peer {
	ck_ht_t table;
	ck_spinlock_t lock;
	struct kept *dropped; /* copies of deleted keys; freed at the end */
};

/* A copy of a key. */
struct kept {
	struct kept *next;
	char key[];
};

struct old_table {
	struct old_table *next;
	size_t nothing; /* keeps what follows aligned to 16 bytes */
};
static struct old_table *old_tables;

static void *table_malloc(size_t size)
{
	struct old_table *table = malloc(sizeof *table + size);

	return table ? table + 1 : NULL;
}

static void table_free(void *pointer, size_t size, bool deferred)
{
	struct old_table *table = (struct old_table *)pointer - 1;

	(void)size;
	if (!deferred) {
		free(table);
		return;
	}
	table->next = old_tables;
	old_tables = table;
}

static struct ck_malloc allocator = {.malloc = table_malloc, .free = table_free};

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);

	(void)directory;
	(void)expected;
	if (!peer)
		return NULL;
	ck_spinlock_init(&peer->lock);
	if (!ck_ht_init(&peer->table, CK_HT_MODE_BYTESTRING | CK_HT_WORKLOAD_DELETE, NULL, &allocator, 64, 1)) {
		free(peer);
		return NULL;
	}
	return peer;
}

static struct kept *kept_of(void *key)
{
	return (struct kept *)(void *)((char *)key - offsetof(struct kept, key));
}

static void peer_close(struct peer *peer)
{
	ck_ht_iterator_t iterator = CK_HT_ITERATOR_INITIALIZER;
	ck_ht_entry_t *entry;

	while (ck_ht_next(&peer->table, &iterator, &entry))
		free(kept_of(ck_ht_entry_key(entry)));
	ck_ht_destroy(&peer->table);
	while (peer->dropped) {
		struct kept *next = peer->dropped->next;

		free(peer->dropped);
		peer->dropped = next;
	}
	while (old_tables) {
		struct old_table *next = old_tables->next;

		free(old_tables);
		old_tables = next;
	}
	free(peer);
}

static inline struct peer *peer_enter(struct peer *peer)
{
	return peer;
}

static inline void peer_leave(struct peer *peer)
{
	(void)peer;
}

static const uintptr_t values[2] = {2, 4}; /* neither NULL nor the table's own marks */

static inline void *value_pointer(bool value)
{
	return (void *)values[value];
}

static inline bool entry_value(ck_ht_entry_t *entry)
{
	return ck_ht_entry_value(entry) == value_pointer(true);
}

static inline bool find(struct peer *peer, const char *key, size_t length, ck_ht_hash_t *hash, ck_ht_entry_t *entry)
{
	ck_ht_hash(hash, &peer->table, key, (uint16_t)length);
	ck_ht_entry_key_set(entry, key, (uint16_t)length);
	return ck_ht_get_spmc(&peer->table, *hash, entry);
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;

	return find(peer, key, length, &hash, &entry) && entry_value(&entry);
}

/* With the lock held. */
static bool insert(struct peer *peer, const char *key, size_t length, ck_ht_hash_t hash, bool value)
{
	struct kept *kept = malloc(sizeof *kept + length);
	ck_ht_entry_t entry;

	if (!kept)
		return false;
	memcpy(kept->key, key, length);
	ck_ht_entry_set(&entry, hash, kept->key, (uint16_t)length, value_pointer(value));
	return ck_ht_put_spmc(&peer->table, hash, &entry);
}

/* With the lock held: the entry's own copy of the key stays. */
static bool replace(struct peer *peer, ck_ht_hash_t hash, ck_ht_entry_t *found, bool value)
{
	ck_ht_entry_t entry;

	ck_ht_entry_set(&entry, hash, ck_ht_entry_key(found), ck_ht_entry_key_length(found), value_pointer(value));
	return ck_ht_set_spmc(&peer->table, hash, &entry);
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;
	bool done;

	ck_spinlock_lock(&peer->lock);
	if (find(peer, key, length, &hash, &entry))
		done = entry_value(&entry) == value || replace(peer, hash, &entry, value);
	else
		done = insert(peer, key, length, hash, value);
	ck_spinlock_unlock(&peer->lock);
	return done;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;
	bool inserted;

	ck_spinlock_lock(&peer->lock);
	inserted = !find(peer, key, length, &hash, &entry) && insert(peer, key, length, hash, value);
	ck_spinlock_unlock(&peer->lock);
	return inserted;
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;
	bool value = false;

	ck_spinlock_lock(&peer->lock);
	if (find(peer, key, length, &hash, &entry)) {
		value = !entry_value(&entry);
		replace(peer, hash, &entry, value);
	}
	ck_spinlock_unlock(&peer->lock);
	return value;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;
	bool deleted;

	ck_spinlock_lock(&peer->lock);
	ck_ht_hash(&hash, &peer->table, key, (uint16_t)length);
	ck_ht_entry_key_set(&entry, key, (uint16_t)length);
	deleted = ck_ht_remove_spmc(&peer->table, hash, &entry);
	if (deleted) {
		struct kept *kept = kept_of(ck_ht_entry_key(&entry));

		kept->next = peer->dropped;
		peer->dropped = kept;
	}
	ck_spinlock_unlock(&peer->lock);
	return deleted;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	ck_ht_iterator_t iterator = CK_HT_ITERATOR_INITIALIZER;
	ck_ht_entry_t *entry;
	size_t count = 0;

	while (ck_ht_next(&peer->table, &iterator, &entry)) {
		count += ck_ht_entry_key_length(entry) > 0;
		*trues += entry_value(entry);
	}
	return count;
}

static size_t peer_memory(struct peer *peer)
{
	(void)peer;
	return 0;
}

static const char *peer_version(void)
{
	return CK_VERSION;
}

#include "driver.h"

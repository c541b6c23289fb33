/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * urcu.c: the lock-free table of liburcu (cds_lfht) with its fastest flavour, qsbr: readers do nothing but to say now and then that they
 * hold no references; here each 1024 operations. It leaves the hash to its user: XXH3, as flagstore has it. A node is the table's own
 * link, the value and the key. It is doubled by the
 * insert that finds as many flags as buckets: left to itself (CDS_LFHT_AUTO_RESIZE) it lags behind when no processor is free for its thread,
 * and chains grow without limit. */
#define _LGPL_SOURCE /* the readers' side inline */
#define XXH_INLINE_ALL
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include <urcu/rculfhash.h>
#include <xxhash.h>

#define PEER_NAME "urcu"
#define PEER_TITLE "liburcu cds_lfht (qsbr)"
#define PEER_MOST 1000000
#define PEER_PROCESSES 0

enum {
	QUIET_EVERY = 1024,
};

struct peer {
	struct cds_lfht *table;
	unsigned long *size, *count; /* shared by all workers: buckets, and flags; atomic */
	unsigned since_quiet;        /* of the worker */
};

enum {
	FIRST_SIZE = 64,
};

struct flag {
	struct cds_lfht_node node;
	struct rcu_head head;
	unsigned char length;
	bool value; /* atomic */
	char key[];
};

/* Around whatever lets the thread sleep. */
#define PEER_SLEEPS sleeps
#define PEER_WAKES wakes

static bool registered; /* the thread that opens it; never undone */

static void sleeps(void)
{
	if (registered)
		rcu_thread_offline();
}

static void wakes(void)
{
	if (registered)
		rcu_thread_online();
}

struct wanted {
	const char *key;
	size_t length;
};

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);

	(void)directory;
	(void)expected;
	if (!peer)
		return NULL;
	if (!registered)
		rcu_register_thread();
	registered = true;
	peer->table = cds_lfht_new(FIRST_SIZE, FIRST_SIZE, 0, 0, NULL);
	peer->size = calloc(2, sizeof *peer->size);
	if (!peer->table || !peer->size)
		return NULL;
	*peer->size = FIRST_SIZE;
	peer->count = peer->size + 1;
	return peer;
}

static struct flag *flag_of(struct cds_lfht_node *node)
{
	return caa_container_of(node, struct flag, node);
}

static void free_flag(struct rcu_head *head)
{
	free(caa_container_of(head, struct flag, head));
}

static void peer_close(struct peer *peer)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	for (cds_lfht_first(peer->table, &iterator); (node = cds_lfht_iter_get_node(&iterator)) != NULL;
	     cds_lfht_next(peer->table, &iterator)) {
		if (cds_lfht_del(peer->table, node) == 0)
			call_rcu(&flag_of(node)->head, free_flag);
	}
	rcu_quiescent_state();
	rcu_thread_offline();
	rcu_barrier();
	cds_lfht_destroy(peer->table, NULL);
	free(peer->size);
	rcu_thread_online();
	free(peer);
}

/* While a worker waits for others it must not hold up what waits for it. */
static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	rcu_register_thread();
	return own;
}

static void peer_leave(struct peer *peer)
{
	rcu_unregister_thread();
	free(peer);
}

static inline void be_quiet(struct peer *peer)
{
	if (++peer->since_quiet % QUIET_EVERY == 0)
		rcu_quiescent_state();
}

static int matches(struct cds_lfht_node *node, const void *key)
{
	const struct wanted *wanted = key;
	const struct flag *flag = flag_of(node);

	return flag->length == wanted->length && memcmp(flag->key, wanted->key, wanted->length) == 0;
}

static inline struct flag *find(struct peer *peer, const char *key, size_t length, unsigned long hash)
{
	const struct wanted wanted = {key, length};
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	cds_lfht_lookup(peer->table, hash, matches, &wanted, &iterator);
	node = cds_lfht_iter_get_node(&iterator);
	return node ? flag_of(node) : NULL;
}

static inline unsigned long hash_of(const char *key, size_t length)
{
	return XXH3_64bits(key, length);
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	const struct flag *flag = find(peer, key, length, hash_of(key, length));
	bool value = flag && __atomic_load_n(&flag->value, __ATOMIC_ACQUIRE);

	be_quiet(peer);
	return value;
}

static void grow(struct peer *peer)
{
	unsigned long size = __atomic_load_n(peer->size, __ATOMIC_RELAXED);

	if (__atomic_add_fetch(peer->count, 1, __ATOMIC_RELAXED) <= size ||
	    !__atomic_compare_exchange_n(peer->size, &size, 2 * size, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	rcu_thread_offline();
	cds_lfht_resize(peer->table, 2 * size);
	rcu_thread_online();
}

/* Returns the flag that is there already; NULL: it has been inserted. */
static struct flag *insert(struct peer *peer, const char *key, size_t length, unsigned long hash, bool value)
{
	const struct wanted wanted = {key, length};
	struct flag *flag = malloc(sizeof *flag + length);
	struct cds_lfht_node *node;

	if (!flag)
		abort();
	cds_lfht_node_init(&flag->node);
	flag->length = (unsigned char)length;
	flag->value = value;
	memcpy(flag->key, key, length);
	node = cds_lfht_add_unique(peer->table, hash, matches, &wanted, &flag->node);
	if (node == &flag->node) {
		grow(peer);
		return NULL;
	}
	free(flag);
	return flag_of(node);
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	unsigned long hash = hash_of(key, length);
	struct flag *flag = find(peer, key, length, hash);

	if (!flag)
		flag = insert(peer, key, length, hash, value);
	if (flag && __atomic_load_n(&flag->value, __ATOMIC_ACQUIRE) != value)
		__atomic_store_n(&flag->value, value, __ATOMIC_RELEASE);
	be_quiet(peer);
	return true;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	unsigned long hash = hash_of(key, length);
	bool inserted = !find(peer, key, length, hash) && !insert(peer, key, length, hash, value);

	be_quiet(peer);
	return inserted;
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	struct flag *flag = find(peer, key, length, hash_of(key, length));
	bool value = flag && !__atomic_fetch_xor((unsigned char *)&flag->value, 1, __ATOMIC_ACQ_REL);

	be_quiet(peer);
	return value;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	struct flag *flag = find(peer, key, length, hash_of(key, length));
	bool deleted = flag && cds_lfht_del(peer->table, &flag->node) == 0;

	if (deleted) {
		__atomic_sub_fetch(peer->count, 1, __ATOMIC_RELAXED);
		call_rcu(&flag->head, free_flag);
	}
	be_quiet(peer);
	return deleted;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;
	size_t count = 0;

	for (cds_lfht_first(peer->table, &iterator); (node = cds_lfht_iter_get_node(&iterator)) != NULL;
	     cds_lfht_next(peer->table, &iterator)) {
		count += flag_of(node)->length > 0;
		*trues += flag_of(node)->value;
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
	return "";
}

#include "driver.h"

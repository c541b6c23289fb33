/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * memcached.c: memcached by a unix socket; each worker has a connection of its own. A flag is a decimal number, true if it is odd:
 * so that a toggle can be an increment, the one change that the server makes by itself. It has no list of its keys. */
#include <libmemcached/memcached.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server.h"

#define PEER_NAME "memcached"
#define PEER_TITLE "memcached by unix socket"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH
#define PEER_NO_LIST 1

struct peer {
	memcached_st *client;
	char socket[4096];
	pid_t server;
	size_t memory_before;
};

static void name_socket(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/socket", directory);
}

static memcached_st *connect_to(const char *path)
{
	memcached_st *client = memcached_create(NULL);

	if (client && memcached_success(memcached_server_add_unix_socket(client, path)))
		return client;
	memcached_free(client);
	return NULL;
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);
	const char *const arguments[] = {MEMCACHED, "-s", peer ? peer->socket : "", "-m", "4096", "-u", "root", NULL};

	(void)expected;
	if (!peer)
		return NULL;
	name_socket(directory, peer->socket);
	peer->server = server_start(arguments, peer->socket);
	if (peer->server > 0)
		peer->client = connect_to(peer->socket);
	if (!peer->client)
		return NULL;
	peer->memory_before = server_memory(peer->server);
	return peer;
}

static void peer_close(struct peer *peer)
{
	memcached_free(peer->client);
	server_end(peer->server, peer->socket);
	free(peer);
}

static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	own->client = connect_to(peer->socket);
	return own->client ? own : NULL;
}

static void peer_leave(struct peer *peer)
{
	memcached_free(peer->client);
	free(peer);
}

static bool peer_get(struct peer *peer, const char *key, size_t length)
{
	memcached_return_t result;
	uint32_t flags;
	size_t size;
	char *text = memcached_get(peer->client, key, length, &size, &flags, &result);
	bool value = text && size > 0 && (text[size - 1] & 1);

	free(text);
	return value;
}

static bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	return memcached_success(memcached_set(peer->client, key, length, value ? "1" : "0", 1, 0, 0));
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	return memcached_success(memcached_add(peer->client, key, length, value ? "1" : "0", 1, 0, 0));
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	uint64_t value = 0;

	return memcached_success(memcached_increment(peer->client, key, length, 1, &value)) && value % 2 == 1;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return memcached_success(memcached_delete(peer->client, key, length, 0));
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	(void)peer;
	(void)trues;
	return 0;
}

static size_t peer_memory(struct peer *peer)
{
	return server_memory(peer->server) - peer->memory_before;
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer = {.server = 0};
	bool right;

	name_socket(directory, peer.socket);
	peer.client = connect_to(peer.socket);
	if (!peer.client)
		return false;
	right = peer_get(&peer, key, length) == value;
	memcached_free(peer.client);
	return right;
}

static const char *peer_version(void)
{
	return "";
}

#include "driver.h"

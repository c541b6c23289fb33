/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * memcached.c: memcached by a unix socket; each worker has a connection of its own. A flag is a decimal number, true if it is odd:
 * so that a toggle can be an increment, the one change that the server makes by itself. It has no list of its keys. */
#include <libmemcached/memcached.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PEER_NAME "memcached"
#define PEER_TITLE "memcached by unix socket"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH
#define PEER_NO_LIST 1

struct connection {
	memcached_st *client;
};

static void server_disconnect(struct connection *connection)
{
	memcached_free(connection->client);
	free(connection);
}

static struct connection *server_connect(const char *socket)
{
	struct connection *connection = malloc(sizeof *connection);

	if (!connection)
		return NULL;
	connection->client = memcached_create(NULL);
	if (connection->client && memcached_success(memcached_server_add_unix_socket(connection->client, socket)))
		return connection;
	server_disconnect(connection);
	return NULL;
}

static void server_arguments(const char **arguments, const char *socket, const char *directory)
{
	const char *const words[] = {MEMCACHED, "-s", socket, "-m", "4096", "-u", "root"};

	(void)directory;
	memcpy(arguments, words, sizeof words);
}

#include "server.h"

static bool peer_get(struct peer *peer, const char *key, size_t length)
{
	memcached_return_t result;
	uint32_t flags;
	size_t size;
	char *text = memcached_get(peer->connection->client, key, length, &size, &flags, &result);
	bool value = text && size > 0 && (text[size - 1] & 1);

	free(text);
	return value;
}

static bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	return memcached_success(memcached_set(peer->connection->client, key, length, value ? "1" : "0", 1, 0, 0));
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	return memcached_success(memcached_add(peer->connection->client, key, length, value ? "1" : "0", 1, 0, 0));
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	uint64_t value = 0;

	return memcached_success(memcached_increment(peer->connection->client, key, length, 1, &value)) && value % 2 == 1;
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return memcached_success(memcached_delete(peer->connection->client, key, length, 0));
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	(void)peer;
	(void)trues;
	return 0;
}

#include "driver.h"

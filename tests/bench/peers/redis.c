/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * redis.c: Redis by a unix socket, without persistence; each worker has a connection of its own. A flag is the string "0" or "1". */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PEER_NAME "redis"
#define PEER_TITLE "Redis by unix socket"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH
#define PEER_GET_MANY

enum {
	MANY_MOST = 64,
};

struct connection {
	redisContext *context;
};

static void server_disconnect(struct connection *connection)
{
	if (connection->context)
		redisFree(connection->context);
	free(connection);
}

static struct connection *server_connect(const char *socket)
{
	struct connection *connection = malloc(sizeof *connection);

	if (!connection)
		return NULL;
	connection->context = redisConnectUnix(socket);
	if (connection->context && !connection->context->err)
		return connection;
	server_disconnect(connection);
	return NULL;
}

static void server_arguments(const char **arguments, const char *socket, const char *directory)
{
	const char *const words[] = {REDIS_SERVER, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory};

	memcpy(arguments, words, sizeof words);
}

#include "server.h"

static redisReply *ask(struct peer *peer, int count, const char *const *words, const size_t *lengths)
{
	return redisCommandArgv(peer->connection->context, count, (const char **)(uintptr_t)words, lengths);
}

static bool reply_value(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_STRING && reply->len == 1 && *reply->str == '1';
}

static bool peer_get(struct peer *peer, const char *key, size_t length)
{
	redisReply *reply = ask(peer, 2, (const char *const[]){"GET", key}, (const size_t[]){3, length});
	bool value = reply_value(reply);

	freeReplyObject(reply);
	return value;
}

static bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	redisReply *reply = ask(peer, 3, (const char *const[]){"SET", key, value ? "1" : "0"}, (const size_t[]){3, length, 1});
	bool done = reply && reply->type == REDIS_REPLY_STATUS;

	freeReplyObject(reply);
	return done;
}

static bool reply_is_one(redisReply *reply)
{
	bool one = reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;

	freeReplyObject(reply);
	return one;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	return reply_is_one(ask(peer, 3, (const char *const[]){"SETNX", key, value ? "1" : "0"}, (const size_t[]){5, length, 1}));
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	static const char script[] = "local v = redis.call('GET', KEYS[1]) == '1' and 0 or 1; redis.call('SET', KEYS[1], v); return v";

	return reply_is_one(ask(peer, 4, (const char *const[]){"EVAL", script, "1", key}, (const size_t[]){4, sizeof script - 1, 1, length}));
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return reply_is_one(ask(peer, 2, (const char *const[]){"DEL", key}, (const size_t[]){3, length}));
}

static void peer_get_many(struct peer *peer, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	const char *words[MANY_MOST + 1] = {"MGET"};
	size_t sizes[MANY_MOST + 1] = {4};
	redisReply *reply;

	memcpy(words + 1, keys, count * sizeof *keys);
	memcpy(sizes + 1, lengths, count * sizeof *lengths);
	reply = ask(peer, (int)count + 1, words, sizes);
	for (size_t i = 0; i < count; i++)
		values[i] = reply && reply->elements == count && reply_value(reply->element[i]);
	freeReplyObject(reply);
}

/* The values of some keys. */
static size_t count_trues(struct peer *peer, const redisReply *keys)
{
	bool values[MANY_MOST];
	size_t trues = 0;

	for (size_t i = 0; i < keys->elements; i += MANY_MOST) {
		size_t now = keys->elements - i < MANY_MOST ? keys->elements - i : MANY_MOST;
		const char *names[MANY_MOST];
		size_t lengths[MANY_MOST];

		for (size_t j = 0; j < now; j++) {
			names[j] = keys->element[i + j]->str;
			lengths[j] = keys->element[i + j]->len;
		}
		peer_get_many(peer, names, lengths, now, values);
		for (size_t j = 0; j < now; j++)
			trues += values[j];
	}
	return trues;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	char cursor[32] = "0";
	size_t count = 0;

	do {
		redisReply *reply = redisCommand(peer->connection->context, "SCAN %s COUNT 1000", cursor);

		if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
			freeReplyObject(reply);
			return 0;
		}
		snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
		count += reply->element[1]->elements;
		*trues += count_trues(peer, reply->element[1]);
		freeReplyObject(reply);
	} while (strcmp(cursor, "0") != 0);
	return count;
}

#include "driver.h"

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * redis.c: Redis by a unix socket, without persistence; each worker has a connection of its own. A flag is the string "0" or "1". */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server.h"

#define PEER_NAME "redis"
#define PEER_TITLE "Redis by unix socket"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH
#define PEER_GET_MANY

enum {
	MANY_MOST = 64,
};

struct peer {
	redisContext *context;
	char socket[4096];
	pid_t server;
	size_t memory_before;
};

static void name_socket(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/socket", directory);
}

static redisContext *connect_to(const char *path)
{
	redisContext *context = redisConnectUnix(path);

	if (context && !context->err)
		return context;
	if (context)
		redisFree(context);
	return NULL;
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);
	const char *const arguments[] = {REDIS_SERVER, "--port", "0", "--unixsocket", peer ? peer->socket : "", "--save", "", "--appendonly", "no",
	                                 "--dir", directory, NULL};

	(void)expected;
	if (!peer)
		return NULL;
	name_socket(directory, peer->socket);
	peer->server = server_start(arguments, peer->socket);
	if (peer->server > 0)
		peer->context = connect_to(peer->socket);
	if (!peer->context)
		return NULL;
	peer->memory_before = server_memory(peer->server);
	return peer;
}

static void peer_close(struct peer *peer)
{
	redisFree(peer->context);
	server_end(peer->server, peer->socket);
	free(peer);
}

static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	own->context = connect_to(peer->socket);
	return own->context ? own : NULL;
}

static void peer_leave(struct peer *peer)
{
	redisFree(peer->context);
	free(peer);
}

static redisReply *ask(struct peer *peer, int count, const char *const *words, const size_t *lengths)
{
	return redisCommandArgv(peer->context, count, (const char **)(uintptr_t)words, lengths);
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
		redisReply *reply = redisCommand(peer->context, "SCAN %s COUNT 1000", cursor);

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

static size_t peer_memory(struct peer *peer)
{
	return server_memory(peer->server) - peer->memory_before;
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer = {.server = 0};
	bool right;

	name_socket(directory, peer.socket);
	peer.context = connect_to(peer.socket);
	if (!peer.context)
		return false;
	right = peer_get(&peer, key, length) == value;
	redisFree(peer.context);
	return right;
}

static const char *peer_version(void)
{
	return "";
}

#include "driver.h"

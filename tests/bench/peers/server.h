/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * server.h: a peer that is a server: it listens on a unix socket in the driver's directory and ends with the driver; each worker has a
 * connection of its own. A file that includes this has defined before
 *
 *	struct connection
 *	static struct connection *server_connect(const char *socket);      NULL: it does not answer
 *	static void server_disconnect(struct connection *connection);
 *	static void server_arguments(const char **arguments, const char *socket, const char *directory);
 *	                                                                  a command line of at most SERVER_ARGUMENTS words, NULL behind
 */
#ifndef SERVER_H
#define SERVER_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SERVER_ARGUMENTS = 15,
};

/* Starts it and waits until its socket is there. -1: it did not come. */
static pid_t server_start(const char *const *arguments, const char *socket)
{
	const struct timespec moment = {0, 10000000};
	pid_t pid = fork();
	struct stat status;

	if (pid == 0) {
		int nowhere = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(nowhere, STDIN_FILENO);
		dup2(nowhere, STDOUT_FILENO);
		dup2(nowhere, STDERR_FILENO);
		execv(arguments[0], (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	for (int waits = 0; pid > 0 && waits < 500; waits++) {
		if (stat(socket, &status) == 0)
			return pid;
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return -1;
		nanosleep(&moment, NULL);
	}
	return -1;
}

static void server_end(pid_t pid, const char *socket)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(socket);
}

/* Its resident memory. */
static size_t server_memory(pid_t pid)
{
	char path[64], line[128];
	size_t kilobytes = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %zu", &kilobytes);
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

struct peer {
	struct connection *connection;
	char socket[4096];
	pid_t server;
	size_t memory_before;
};

static void server_name_socket(const char *directory, char path[4096])
{
	snprintf(path, 4096, "%s/socket", directory);
}

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = calloc(1, sizeof *peer);
	const char *arguments[SERVER_ARGUMENTS + 1] = {NULL};

	(void)expected;
	if (!peer)
		return NULL;
	server_name_socket(directory, peer->socket);
	server_arguments(arguments, peer->socket, directory);
	peer->server = server_start(arguments, peer->socket);
	if (peer->server > 0)
		peer->connection = server_connect(peer->socket);
	if (!peer->connection)
		return NULL;
	peer->memory_before = server_memory(peer->server);
	return peer;
}

static void peer_close(struct peer *peer)
{
	server_disconnect(peer->connection);
	server_end(peer->server, peer->socket);
	free(peer);
}

static struct peer *peer_enter(struct peer *peer)
{
	struct peer *own = malloc(sizeof *own);

	if (!own)
		return NULL;
	*own = *peer;
	own->connection = server_connect(peer->socket);
	return own->connection ? own : NULL;
}

static void peer_leave(struct peer *peer)
{
	server_disconnect(peer->connection);
	free(peer);
}

static size_t peer_memory(struct peer *peer)
{
	return server_memory(peer->server) - peer->memory_before;
}

static bool peer_get(struct peer *peer, const char *key, size_t length);

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer = {.server = 0};
	bool right;

	server_name_socket(directory, peer.socket);
	peer.connection = server_connect(peer.socket);
	if (!peer.connection)
		return false;
	right = peer_get(&peer, key, length) == value;
	server_disconnect(peer.connection);
	return right;
}

static const char *peer_version(void)
{
	return "";
}

#endif

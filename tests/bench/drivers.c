/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * drivers.c: starts the peers' programs and talks to them. */
#include "drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failure.h"

enum {
	ANSWER_MS = 600000, /* nobody takes longer */
};

const struct peer_entry peer_entries[PEER_COUNT] = {
#define PEER_ENTRY(name, word, title, packages, concurrent) [PEER_##name] = {word, title, packages, concurrent},
	PEERS(PEER_ENTRY)
#undef PEER_ENTRY
};

/* The programs stand beside this one. */
static void name_program(enum peer_number peer, char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 64);
	char *slash;

	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	snprintf(slash ? slash : path, 64, "/peers/%s", peer_entries[peer].name);
}

bool driver_built(enum peer_number peer)
{
	char path[PATH_MAX];

	name_program(peer, path);
	return access(path, X_OK) == 0;
}

static void name_directory(enum peer_number peer, const char *directory, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", directory, peer_entries[peer].name);
}

/* In the child. A process group of its own: what stops this program from the keyboard leaves it time to put things away. */
static _Noreturn void become(enum peer_number peer, const char *keys, const char *directory, int orders, int answers)
{
	char program[PATH_MAX], own[PATH_MAX];

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	name_program(peer, program);
	name_directory(peer, directory, own);
	if (dup2(orders, STDIN_FILENO) >= 0 && dup2(answers, STDOUT_FILENO) >= 0)
		execl(program, program, keys, own, (char *)NULL);
	failure_errno(STATUS_SYSTEM, "%s can't be run", program);
	_exit(STATUS_SYSTEM);
}

static bool launch(struct driver *driver, enum peer_number peer, const char *keys, const char *directory)
{
	int orders[2], answers[2];

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		return false;
	fflush(NULL);
	driver->pid = fork();
	if (driver->pid == 0)
		become(peer, keys, directory, orders[0], answers[1]);
	close(orders[0]);
	close(answers[1]);
	driver->orders = fdopen(orders[1], "w");
	driver->answers = fdopen(answers[0], "r");
	return driver->pid > 0 && driver->orders && driver->answers;
}

/* Without a stream's own buffering ahead: the next line has not been asked for yet. */
static json_t *hear(struct driver *driver)
{
	struct pollfd ready = {.fd = fileno(driver->answers), .events = POLLIN};
	char *line = NULL;
	size_t room = 0;
	json_t *answer = NULL;
	int polled;

	do {
		polled = poll(&ready, 1, ANSWER_MS);
	} while (polled < 0 && errno == EINTR);
	if (polled == 1 && getline(&line, &room, driver->answers) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	return answer;
}

/* Ends one that does not answer. */
static void give_up(struct driver *driver, enum peer_number peer, const char *what)
{
	int status = 0;

	kill(driver->pid, SIGKILL);
	waitpid(driver->pid, &status, 0);
	fclose(driver->orders);
	fclose(driver->answers);
	driver->running = false;
	failure(STATUS_SOFTWARE, "%s gave no answer to %s, and is left out from here on", peer_entries[peer].name, what);
}

bool driver_start(struct driver *driver, enum peer_number peer, const char *keys, const char *directory)
{
	char own[PATH_MAX];

	name_directory(peer, directory, own);
	if (mkdir(own, 0700)) {
		failure_errno(STATUS_CREATE, "directory %s can't be made", own);
		return false;
	}
	if (!launch(driver, peer, keys, directory)) {
		failure_errno(STATUS_SYSTEM, "%s can't be started", peer_entries[peer].name);
		return false;
	}
	json_decref(driver->introduction);
	driver->introduction = hear(driver);
	driver->running = driver->introduction;
	if (!driver->running)
		give_up(driver, peer, "its start");
	return driver->running;
}

json_t *driver_do(struct driver *driver, enum peer_number peer, const char *work, unsigned milliseconds)
{
	json_t *answer = NULL;

	if (fprintf(driver->orders, "%s %u\n", work, milliseconds) > 0 && fflush(driver->orders) == 0)
		answer = hear(driver);
	if (!answer)
		give_up(driver, peer, work);
	return answer;
}

void driver_stop(struct driver *driver, enum peer_number peer, const char *directory)
{
	char own[PATH_MAX];

	if (driver->running) {
		fclose(driver->orders);
		fclose(driver->answers);
		waitpid(driver->pid, NULL, 0);
		driver->running = false;
	}
	name_directory(peer, directory, own);
	rmdir(own);
}

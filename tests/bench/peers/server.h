/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * server.h: starting and ending a server that listens on a unix socket in the driver's directory, and ends with the driver. */
#ifndef SERVER_H
#define SERVER_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * tool.c: runs another command of this package. It is a member of the crew, so it dies with us. What it says goes into a file in memory:
 * there is no pipe that could be full while nobody reads it. */
#include "tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "crew.h"
#include "failure.h"

enum {
	LIMIT_S = 60, /* how long a command may take */
};

/* ----------------------------------------------------------------------------------------------------- finding */

static bool is_in(const char *directory, size_t length, const char *name, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%.*s/%s", (int)length, directory, name) < PATH_MAX && access(path, X_OK) == 0;
}

int tool_find(const char *name, char path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *search = getenv("PATH"), *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash && is_in(self, (size_t)(slash - self), name, path))
		return STATUS_DONE;
	while (search && *search) {
		size_t part = strcspn(search, ":");

		if (part && is_in(search, part, name, path))
			return STATUS_DONE;
		search += part + (search[part] == ':');
	}
	return failure(STATUS_SYSTEM, "%s is needed, and is neither beside %s nor in PATH: install it, or add its directory to PATH", name,
	               *self ? self : "this command");
}

/* ----------------------------------------------------------------------------------------------------- running */

struct start {
	const char *path;
	const char *const *arguments;
	int output;
};

static int become_tool(void *argument, uint32_t number)
{
	const struct start *start = argument;
	char *arguments[TOOL_ARGUMENTS_MAX + 1];
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t i;

	(void)number;
	for (i = 0; i < TOOL_ARGUMENTS_MAX && start->arguments[i]; i++)
		arguments[i] = (char *)(uintptr_t)start->arguments[i];
	arguments[i] = NULL;
	if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(start->output, STDOUT_FILENO) >= 0 && dup2(start->output, STDERR_FILENO) >= 0)
		execv(start->path, arguments);
	return failure_errno(STATUS_SYSTEM, "%s can't be run", start->path);
}

static void note_command(const char *const *arguments, struct tool_run *run)
{
	size_t length = 0;

	*run->command = '\0';
	for (size_t i = 0; arguments[i] && length < sizeof run->command; i++)
		length += (size_t)snprintf(run->command + length, sizeof run->command - length, "%s%s", i ? " " : "", arguments[i]);
}

static void await(struct crew_member *member, struct tool_run *run)
{
	int64_t limit = clock_now() + LIMIT_S * SECOND;

	while (crew_reap(member, 1) > 0) {
		int number = crew_sleep_until(limit);

		run->stopped_by = run->stopped_by ? run->stopped_by : number;
		if (number || clock_now() >= limit)
			crew_kill_stuck(member);
	}
}

static char *read_all(int file)
{
	struct stat status;
	size_t size = fstat(file, &status) == 0 ? (size_t)status.st_size : 0, got = 0;
	char *text = malloc(size + 1);

	if (!text)
		failure_memory();
	while (got < size) {
		ssize_t count = pread(file, text + got, size - got, (off_t)got);

		if (count <= 0)
			break;
		got += (size_t)count;
	}
	text[got] = '\0';
	return text;
}

int tool_run(const char *path, const char *const *arguments, struct tool_run *run)
{
	struct start start = {path, arguments, memfd_create("said", MFD_CLOEXEC)};
	struct crew_member member = {.state = CREW_ABSENT};
	int64_t began = clock_now();
	int status;

	*run = (struct tool_run){.said = NULL};
	note_command(arguments, run);
	if (start.output < 0)
		return failure_errno(STATUS_SYSTEM, "there is no room for what %s says", arguments[0]);
	status = crew_start(&member, arguments[0], become_tool, &start, 0);
	if (!status) {
		await(&member, run);
		run->ms = (double)(member.ended_ns - began) / (double)MILLISECOND;
		run->status = WIFEXITED(member.wait_status) ? WEXITSTATUS(member.wait_status) : 128 + WTERMSIG(member.wait_status);
		run->said = read_all(start.output);
	}
	close(start.output);
	return status;
}

void tool_forget(struct tool_run *run)
{
	free(run->said);
	run->said = NULL;
}

/* ------------------------------------------------------------------------------------------------ what it said */

static bool fits(const char *line, char where, const char *text)
{
	size_t length = strlen(line), wanted = strlen(text);

	if (where == '^')
		return strncmp(line, text, wanted) == 0;
	if (where == '$')
		return length >= wanted && strcmp(line + length - wanted, text) == 0;
	return strstr(line, text) != NULL;
}

bool tool_line(const struct tool_run *run, char where, const char *text, char *line, size_t size)
{
	for (const char *begin = run->said; *begin;) {
		size_t length = strcspn(begin, "\n");

		snprintf(line, size, "%.*s", (int)length, begin);
		if (fits(line, where, text))
			return true;
		begin += length + (begin[length] == '\n');
	}
	*line = '\0';
	return false;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * tool.h: runs another command of this package, as somebody would type it, and keeps what it said, and how long it took. */
#ifndef TOOL_H
#define TOOL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	TOOL_ARGUMENTS_MAX = 8,
};

struct tool_run {
	char command[2 * PATH_MAX]; /* as it would be typed */
	int status;                 /* exit status; 128 and the signal's number if it was killed */
	double ms;
	char *said;                 /* on standard output and error; NUL-terminated */
	int stopped_by;             /* number of a signal to stop that came meanwhile, otherwise 0 */
};

/* Finds a command: beside the one that runs, or else in PATH. STATUS_DONE, or the exit status after printing a failure. */
int tool_find(const char *name, char path[PATH_MAX]);

/* Runs it with these arguments, of which the first is its name, the last NULL. Needs crew_prepare(). STATUS_DONE however it ended, or the
 * exit status after printing why it could not be started. What it said is the caller's until tool_forget(). */
int tool_run(const char *path, const char *const *arguments, struct tool_run *run);

void tool_forget(struct tool_run *run);

/* The first line that begins with the text, ends with it, or has it in it, whichever `where` says: '^', '$' or '*'. Copies it without its
 * newline; false, and an empty line, if there is none. */
bool tool_line(const struct tool_run *run, char where, const char *text, char *line, size_t size);

#endif

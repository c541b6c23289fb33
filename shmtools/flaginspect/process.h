/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * process.h: processes as /proc shows them: what state one is in, and which ones have the file mapped. */
#ifndef PROCESS_H
#define PROCESS_H

#include "source.h"

enum process_state {
	PROCESS_RUNNING,  /* runs, or waits to */
	PROCESS_SLEEPING, /* waits for something */
	PROCESS_STOPPED,  /* by SIGSTOP, or a terminal */
	PROCESS_TRACED,   /* a debugger holds it */
	PROCESS_FROZEN,   /* its control group is frozen */
	PROCESS_DUMPING,  /* died, and writes its core */
	PROCESS_ZOMBIE,   /* died, and its parent has not noticed */
	PROCESS_GONE,
	PROCESS_UNKNOWN,  /* /proc does not tell */
};

/* Of a process or a thread. */
enum process_state process_state_of(pid_t pid);
const char *process_state_text(enum process_state state);

/* When it started, as field 22 of /proc/PID/stat; 0: not known. */
uint64_t process_start(pid_t pid);

/* The process that the thread belongs to; 0: gone. */
pid_t process_of_thread(pid_t thread);

/* Its command name, "?" when it is not known. */
struct process_name {
	char text[4 * 32 + 1];
};
struct process_name process_name_of(pid_t pid);

/* True when the segment's numbers of processes are ours: same host, same boot, same PID namespace. */
bool process_numbers_are_ours(const struct source *source);

/* A process that has the file mapped. */
struct mapper {
	pid_t pid;
	bool writable;
};

struct mappers {
	struct mapper *all;
	size_t count;
	size_t hidden; /* processes that could not be looked into */
};

/* All of them but this one; to be freed by mappers_free(). */
void mappers_find(const struct source *source, struct mappers *mappers);
void mappers_free(struct mappers *mappers);

/* Calls sleeping for each thread of the process that sleeps on a futex in the file, with the futex's offset there. */
typedef void mapper_sleeping(pid_t thread, uint64_t offset, void *argument);
void mapper_sleepers(const struct source *source, const struct mapper *mapper, mapper_sleeping *sleeping, void *argument);

#endif

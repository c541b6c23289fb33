/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crew.h: the processes that the laboratory forks: how they start, how they end, and the signals about both. Nothing stays
 * behind: the kernel kills every member when the parent dies, however it dies. Members ignore the signals that stop the
 * parent, which a terminal sends to all of them; the parent stops them in order. */
#ifndef CREW_H
#define CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum crew_state {
	CREW_ABSENT,  /* not started */
	CREW_WORKING,
	CREW_ENDED,   /* by itself, all well */
	CREW_KILLED,  /* by crew_kill() */
	CREW_DIED,    /* in any other way */
};

struct crew_member {
	pid_t pid;
	enum crew_state state;
	bool killed;
	int wait_status; /* as waitpid(2) tells it */
	int64_t ended_ns;
};

/* What a member does: the result is its exit status. */
typedef int crew_work(void *argument, uint32_t number);

/* Before the first member is started: from now on signals are what crew_sleep_until() returns. */
void crew_prepare(void);

/* Forks a member, or another one in the place of one that has ended, which shows `title` as its command. Returns STATUS_DONE, or the exit
 * status after printing a failure. */
int crew_start(struct crew_member *member, const char *title, crew_work *work, void *argument, uint32_t number);

/* Sleeps until the moment has come, a member has ended or somebody wants the run to stop; then returns that signal's number,
 * otherwise 0. */
int crew_sleep_until(int64_t ns);

/* As part of the plan. */
void crew_kill(struct crew_member *member);

/* Because it does not end by itself: so it will have died. */
void crew_kill_stuck(struct crew_member *member);

/* When all have the order to end: waits until they have; those that don't within some seconds are killed, and count as died.
 * Returns the number of a signal to stop that came meanwhile, otherwise 0. */
int crew_dismiss(struct crew_member *members, size_t count);

/* Notes which members have ended. Returns how many still work. */
size_t crew_reap(struct crew_member *members, size_t count);

#endif

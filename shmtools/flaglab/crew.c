/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crew.c: the processes that the laboratory forks. Signals are blocked and waited for, so nothing runs in a handler. */
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "failure.h"

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

enum {
	LEAVE_LIMIT_S = 5, /* how long a member may take to end */
	STOP_SIGNALS = sizeof stop_signals / sizeof *stop_signals,
};

static sigset_t awaited, before;

static bool is_ignored(int number)
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void crew_prepare(void)
{
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	for (size_t i = 0; i < STOP_SIGNALS; i++) {
		/* as nohup(1) wants it */
		if (!is_ignored(stop_signals[i]))
			sigaddset(&awaited, stop_signals[i]);
	}
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &awaited, &before);
}

static void become_member(const char *title, pid_t parent)
{
	for (size_t i = 0; i < STOP_SIGNALS; i++)
		signal(stop_signals[i], SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	prctl(PR_SET_NAME, title);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It may have died before the kernel was told to watch it. */
	if (getppid() != parent)
		_exit(STATUS_SYSTEM);
}

int crew_start(struct crew_member *member, const char *title, crew_work *work, void *argument, uint32_t number)
{
	pid_t parent = getpid();

	/* What is printed already must not be printed once more by the child. */
	fflush(stdout);
	member->pid = fork();
	if (member->pid < 0)
		return failure_errno(STATUS_SYSTEM, "process %s can't be started", title);
	if (member->pid == 0) {
		become_member(title, parent);
		_exit(work(argument, number));
	}
	member->state = CREW_WORKING;
	member->killed = false;
	return STATUS_DONE;
}

int crew_sleep_until(int64_t ns)
{
	for (;;) {
		int64_t left = ns - clock_now();
		struct timespec timeout = clock_timespec(left > 0 ? left : 0);
		int number = sigtimedwait(&awaited, NULL, &timeout);

		if (number == SIGCHLD)
			return 0;
		if (number > 0)
			return number;
		if (errno == EAGAIN)
			return 0;
	}
}

void crew_kill(struct crew_member *member)
{
	if (member->state != CREW_WORKING)
		return;
	member->killed = true;
	kill(member->pid, SIGKILL);
}

void crew_kill_stuck(struct crew_member *member)
{
	if (member->state == CREW_WORKING)
		kill(member->pid, SIGKILL);
}

static void note_end(struct crew_member *member)
{
	bool by_kill = WIFSIGNALED(member->wait_status) && WTERMSIG(member->wait_status) == SIGKILL;
	bool by_itself = WIFEXITED(member->wait_status) && WEXITSTATUS(member->wait_status) == STATUS_DONE;

	member->ended_ns = clock_now();
	if (member->killed && by_kill)
		member->state = CREW_KILLED;
	else
		member->state = by_itself ? CREW_ENDED : CREW_DIED;
}

size_t crew_reap(struct crew_member *members, size_t count)
{
	size_t working = 0;

	for (size_t i = 0; i < count; i++) {
		if (members[i].state != CREW_WORKING)
			continue;
		if (waitpid(members[i].pid, &members[i].wait_status, WNOHANG) == members[i].pid)
			note_end(&members[i]);
		else
			working++;
	}
	return working;
}

static size_t wait_until(struct crew_member *members, size_t count, int64_t limit, int *stopped_by)
{
	size_t working;

	while ((working = crew_reap(members, count)) > 0 && clock_now() < limit) {
		int number = crew_sleep_until(limit);

		if (number && !*stopped_by)
			*stopped_by = number;
	}
	return working;
}

int crew_dismiss(struct crew_member *members, size_t count)
{
	int stopped_by = 0;
	size_t working = wait_until(members, count, clock_now() + LEAVE_LIMIT_S * SECOND, &stopped_by);

	if (working == 0)
		return stopped_by;
	warning("%zu processes do not end and are killed", working);
	for (size_t i = 0; i < count; i++)
		crew_kill_stuck(&members[i]);
	wait_until(members, count, INT64_MAX, &stopped_by);
	return stopped_by;
}

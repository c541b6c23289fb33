/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * pace.c: sleeping between two looks. */
#include "pace.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "nanoseconds.h"

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = signal;
}

void pace_catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGVTALRM, SIGUSR1, SIGUSR2, SIGXCPU};
	struct sigaction action = {.sa_handler = stop};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

int pace_signal(void)
{
	return stopped;
}

int pace_sleep(struct model *model, uint64_t milliseconds)
{
	int64_t end = monotonic_now() + (int64_t)milliseconds * 1000000, left;
	int error = FLAGSTORE_OK;

	while (!error && !stopped && (left = end - monotonic_now()) > 0) {
		int64_t ns = left < MODEL_POLL_MS * INT64_C(1000000) ? left : MODEL_POLL_MS * INT64_C(1000000);

		nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = (long)ns}, NULL);
		error = model_poll(model);
	}
	return error;
}

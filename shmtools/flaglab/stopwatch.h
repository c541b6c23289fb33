/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stopwatch.h: how long single calls take, and which of them were long only because the scheduler gave the processor to somebody else.
 * The kernel counts how often it took the processor from a thread (getrusage(2)); the count is looked at whenever a lap was
 * so long that this may have happened in it. */
#ifndef STOPWATCH_H
#define STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "histogram.h"

enum {
	STOPWATCH_LONG_NS = 3000, /* nobody loses the processor and has it back in less */
};

/* When a call was made. */
#define WINDOWS(X)                                                                                                     \
	X(QUIET, "quiet")                                                                                                  \
	X(ALIVE, "alive")                                                                                                  \
	X(DEAD, "dead")

enum window {
#define WINDOW(name, text) WINDOW_##name,
	WINDOWS(WINDOW)
#undef WINDOW
	WINDOW_COUNT,
};

/* In shared memory; one process adds. */
struct timing {
	struct histogram whole;                       /* calls in which the thread kept the processor, nanoseconds */
	_Atomic uint64_t interrupted, interrupted_most; /* the others: how many, and the longest of them */
};

struct stopwatch {
	int64_t last_ns;
	int64_t clock_ns; /* taken off each lap */
	long taken;       /* times that the processor was taken away, as last looked at */
};

/* Finds out what a look at the clock takes, and starts. */
void stopwatch_start(struct stopwatch *watch);

bool stopwatch_was_interrupted(struct stopwatch *watch);

/* The time since the last lap in *took. Returns whether the processor was taken away meanwhile. */
static inline bool stopwatch_lap(struct stopwatch *watch, int64_t *took)
{
	int64_t now = clock_now();

	*took = now - watch->last_ns - watch->clock_ns;
	watch->last_ns = now;
	return *took >= STOPWATCH_LONG_NS && stopwatch_was_interrupted(watch);
}

void timing_add(struct timing *timing, int64_t took, bool interrupted);

/* Adds what has been counted elsewhere. */
void timing_add_all(struct timing *sum, const struct timing *timing);

#endif

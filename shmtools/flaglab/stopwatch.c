/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stopwatch.c: how long single calls take. */
#include "stopwatch.h"

#include <stdlib.h>
#include <sys/resource.h>

enum {
	TRIALS = 255, /* odd: there is a middle one */
};

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

bool stopwatch_was_interrupted(struct stopwatch *watch)
{
	struct rusage usage;
	long before = watch->taken;

	getrusage(RUSAGE_THREAD, &usage);
	watch->taken = usage.ru_nivcsw;
	/* So that the next lap does not begin before this question. */
	watch->last_ns = clock_now();
	return watch->taken != before;
}

void stopwatch_start(struct stopwatch *watch)
{
	int64_t laps[TRIALS];

	*watch = (struct stopwatch){.last_ns = clock_now()};
	for (int i = 0; i < TRIALS; i++)
		stopwatch_lap(watch, &laps[i]);
	qsort(laps, TRIALS, sizeof *laps, compare);
	watch->clock_ns = laps[TRIALS / 2];
	stopwatch_was_interrupted(watch);
}

static void raise_to(_Atomic uint64_t *most, uint64_t number)
{
	if (number > atomic_load_explicit(most, memory_order_relaxed))
		atomic_store_explicit(most, number, memory_order_relaxed);
}

void timing_add(struct timing *timing, int64_t took, bool interrupted)
{
	uint64_t ns = took > 0 ? (uint64_t)took : 0;

	if (!interrupted) {
		histogram_add(&timing->whole, ns);
		return;
	}
	atomic_store_explicit(&timing->interrupted, atomic_load_explicit(&timing->interrupted, memory_order_relaxed) + 1,
	                      memory_order_relaxed);
	raise_to(&timing->interrupted_most, ns);
}

void timing_add_all(struct timing *sum, const struct timing *timing)
{
	histogram_add_all(&sum->whole, &timing->whole);
	sum->interrupted += timing->interrupted;
	raise_to(&sum->interrupted_most, timing->interrupted_most);
}

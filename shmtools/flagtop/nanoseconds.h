/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * nanoseconds.h: the clocks. */
#ifndef NANOSECONDS_H
#define NANOSECONDS_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t monotonic_now(void)
{
	return clock_now(CLOCK_MONOTONIC);
}

#endif

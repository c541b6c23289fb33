/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * clocklock.c: pthread_mutex_clocklock() for race detectors that don't know it (gcc 12's and clang 14's among them): they
 * would miss that the lock was taken. By calls that they know; in place of the C library's in programs that link it.
 */
#include <errno.h>
#include <pthread.h>
#include <time.h>

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *end)
{
	for (;;) {
		struct timespec now, pause = {0, 50000};
		int error = pthread_mutex_trylock(mutex);

		if (error != EBUSY)
			return error;
		clock_gettime(clock, &now);
		if (now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec))
			return ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

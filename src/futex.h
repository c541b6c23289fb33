/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * futex.h: sleeping until a number in the segment changes. */
#ifndef FS_FUTEX_H
#define FS_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Wakes everybody, in any process, who sleeps on the number. */
static inline void fs_futex_wake(_Atomic uint32_t *number)
{
	syscall(SYS_futex, number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps while the number is what was seen, for at most limit (NULL: for ever). Returns 0, or -1 with errno: EAGAIN (it is another
 * number already), ETIMEDOUT, EINTR. */
static inline int fs_futex_wait(const _Atomic uint32_t *number, uint32_t seen, const struct timespec *limit)
{
	return (int)syscall(SYS_futex, number, FUTEX_WAIT, seen, limit, NULL, 0);
}

#endif

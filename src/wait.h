/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * wait.h: what waiting for one flag and watching all of them have in common. */
#ifndef FS_WAIT_H
#define FS_WAIT_H

#include <time.h>

#include "segment.h"

/* How long a call may sleep in all. */
struct fs_patience {
	bool forever;
	uint64_t end_ns; /* on CLOCK_MONOTONIC */
};

struct fs_patience fs_patience(int timeout_ms);

/* How long the next sleep may be: what is left, and at most limit_ns. False when nothing is left. */
bool fs_next_sleep(const struct fs_patience *patience, uint64_t limit_ns, struct timespec *sleep);

/* Asks the next writer of the shard to wake us: bit is one of enum fs_wanted. Looks at flags that follow see what he stored, if
 * he did not see the wish. */
void fs_wish(flagstore *store, uint32_t shard, uint32_t bit);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * check.h: the checker, for those who know more about the segment than flagstore_check() can. */
#ifndef FS_CHECK_H
#define FS_CHECK_H

#include "segment.h"

struct fs_checking {
	bool still;                      /* nobody is at work: a copy. No lock is taken, no shard waited for */
	bool abandoned;                  /* without locks: a shard whose writer died is checked as he left it, not passed over */
	void (*progress)(uint64_t done); /* so many shards have been looked at; may be NULL */
};

/* As flagstore_check(). */
int fs_check(flagstore *store, const struct fs_checking *how, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped);

#endif

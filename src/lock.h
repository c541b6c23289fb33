/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lock.h: a shard's writer lock: a robust process-shared mutex, waited for no longer than a limit. */
#ifndef FS_LOCK_H
#define FS_LOCK_H

#include <time.h>

#include "segment.h"

/* A point on CLOCK_MONOTONIC until which a call may wait; set when it first has to. */
struct fs_deadline {
	bool set;
	struct timespec at;
};

/* Sets it, if it is not yet: the lock wait limit from now on. */
void fs_deadline_set(const flagstore *store, struct fs_deadline *deadline);

/* Waits for a robust mutex until then: as pthread_mutex_clocklock(), and also when who should have woken us was killed. */
int fs_mutex_wait(pthread_mutex_t *mutex, const struct timespec *end);

/* Who a writer mark is, for an error's detail. */
#define FS_HOLDER_SIZE 128
void fs_name_holder(const flagstore *store, uint64_t holder, char who[FS_HOLDER_SIZE]);

enum fs_locked {
	FS_LOCKED = 0,
	FS_LOCKED_DEAD = 1, /* locked, and its last owner died in it: recover, then fs_lock_recovered() */
};

/* Makes a mutex out of whatever bytes are there. Only while nobody else can use the segment. */
int fs_lock_init(pthread_mutex_t *mutex);

/* Locks shard index. Returns an enum fs_locked, or ETIMEDOUT (the detail names the holder), ECORRUPT, ESYSTEM. */
int fs_lock(flagstore *store, uint32_t index, struct fs_deadline *deadline);

/* The lock's owner died, and nobody has locked it since. For anybody who may read; a hint, since it may be recovered at this very
 * moment. */
bool fs_lock_orphaned(const struct fs_shard *shard);

/* The dead owner's damage is repaired. Until this call a further death leaves the lock as it was found. */
void fs_lock_recovered(struct fs_shard *shard);

void fs_unlock(struct fs_shard *shard);

#endif

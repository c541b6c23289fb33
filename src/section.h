/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * section.h: a write section: what has to be done before and after a shard's structure is changed. */
#ifndef FS_SECTION_H
#define FS_SECTION_H

#include "lock.h"

/* Locks the shard, restores it if its last writer died, and makes its sequence count odd. Several shards are entered in ascending order.
 * Errors: ETIMEDOUT, ECORRUPT, ESYSTEM. */
int fs_enter(flagstore *store, uint32_t index, struct fs_deadline *deadline);

/* The same, with the lock whatever the store was attached for: for looks that must hold the writers off. */
int fs_enter_locked(flagstore *store, uint32_t index, struct fs_deadline *deadline);

/* Waits until every batch whose commit has been seen is applied to the table; finishes those whose writer died. Errors as above. */
int fs_batches_settle(flagstore *store);

/* Makes the sequence count even and unlocks. */
void fs_leave(flagstore *store, uint32_t index);

#endif

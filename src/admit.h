/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * admit.h: whose a segment's locks are: this boot's, and one PID namespace's. */
#ifndef FS_ADMIT_H
#define FS_ADMIT_H

#include "segment.h"

/* All shards' locks, new. Errors: ESYSTEM. */
int fs_make_locks(flagstore *store);

/* Says whose the locks are: this process's boot and PID namespace. Errors: ESYSTEM. */
int fs_sign(flagstore *store);

/* Makes sure that this process may write; resets what is left from another boot. Expects the setup lock.
 * Errors: ENAMESPACE, ESYSTEM. */
int fs_admit(flagstore *store);

#endif

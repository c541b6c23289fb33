/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * cursor.h: a walk over the flags of some shards. */
#ifndef FS_CURSOR_H
#define FS_CURSOR_H

#include "segment.h"

/* A cursor over the shards first to last. Errors: ENOMEMORY. */
int fs_cursor_open(const flagstore *store, uint32_t first, uint32_t last, flagstore_cursor **cursor);

/* Starts a cursor again, over other shards. */
void fs_cursor_rewind(flagstore_cursor *cursor, uint32_t first, uint32_t last);

/* Calls visit with each flag; what it returns, if that is not FLAGSTORE_OK, ends the walk and is returned.
 * Errors: ENOMEMORY, and those of flagstore_cursor_next(). */
typedef int fs_visit(void *argument, const struct flagstore_entry *entry);
int fs_visit_all(const flagstore *store, fs_visit *visit, void *argument);

#endif

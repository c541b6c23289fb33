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

#endif

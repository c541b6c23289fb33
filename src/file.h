/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * file.h: a segment's file as one process has it: opened, locked, mapped. What attaching and creating share. */
#ifndef FS_FILE_H
#define FS_FILE_H

#include "segment.h"

#define FS_LOCK_WAIT_DEFAULT_MS 5000

static inline uint32_t fs_or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

/* A store with its path, and nothing opened. Errors: ENAME, ENOMEMORY. */
int fs_store_new(const char *name, flagstore **store);

/* Unmaps, closes and frees what the store has by now. */
void fs_store_free(flagstore *store);

/* Maps the open file, whose constants are known; a writable one is looked at through its writable mapping. Errors: ENOMEMORY, ESYSTEM. */
int fs_store_map(flagstore *store, bool writable);

/* The store to be given to the caller: one that looks at the segment through the read-only mapping. Its writes go on with the first one,
 * store->writing; else each page that a write needs would be looked up, and entered in the process's page tables, twice. What the two know of
 * the room that the file has is their own; all else that changes later is reached through pointers, or stands in the writing one alone.
 * fs_store_free() of either frees both. */
flagstore *fs_store_share(flagstore *store);

/* Waits for a lock (F_RDLCK, F_WRLCK) on one byte of the open file. Errors: ETIMEDOUT, ESYSTEM. */
int fs_store_wait_for_lock(const flagstore *store, int type, int64_t byte, uint32_t limit_ms);

/* The error that errno is of an attempt to open or change the file; tried is a participle: "opened". */
int fs_open_error(const flagstore *store, const char *tried);

#endif

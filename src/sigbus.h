/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * sigbus.h: the process's mappings of segments, and whether the memory behind one has gone away. */
#ifndef FS_SIGBUS_H
#define FS_SIGBUS_H

#include "segment.h"

/* Where a store is mapped, for a signal handler. Never freed, but used again. */
struct fs_mapping {
	struct fs_mapping *next;
	_Atomic bool taken;
	_Atomic uint32_t changes; /* odd while the places are set; by then nobody uses the store */
	_Atomic uintptr_t places[2]; /* the read-only and the writable mapping; 0: none */
	_Atomic size_t size;
	_Atomic bool lost;           /* pages of it have been replaced by zeros, for good */
	struct fs_entered *_Atomic entered; /* the store's; NULL while it is not open */
	_Atomic uint32_t leaving;    /* threads that end and give their seat back at this moment; the store is not unmapped meanwhile */
};

/* Makes the store's mappings known. NULL: there is no memory. */
struct fs_mapping *fs_mapping_add(const void *map, const void *write_map, size_t size, struct fs_entered *entered);

/* Before the store is unmapped; NULL is allowed. */
void fs_mapping_remove(struct fs_mapping *mapping);

/* Whether the memory behind the store has gone away. Async-signal-safe. */
static inline bool fs_lost(const flagstore *store)
{
	return __builtin_expect(atomic_load_explicit(&store->mapping->lost, memory_order_relaxed), 0);
}

/* The result of a call, which means nothing when the store has been lost before or meanwhile: ETRUNCATED then. */
int fs_unless_lost(const flagstore *store, int result);

#endif

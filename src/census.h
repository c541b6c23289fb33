/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * census.h: what can be told of a table's counts without a lock, and fast enough for a probe or a live view. */
#ifndef FS_CENSUS_H
#define FS_CENSUS_H

#include "segment.h"

struct fs_census {
	uint64_t true_flags, dead, slots;
	uint32_t counted_shards; /* compared with what they say */
	uint32_t passed_shards;  /* changed while they were counted, or were not reached in time: nothing is known of them */
	uint32_t wrong_shard;    /* the last one that has another number of flags than it says; UINT32_MAX: none */
	uint32_t said, counted;  /* of that one */
	uint32_t wrong_slot_shard; /* the last one with a flag whose key, hash and life do not belong together; UINT32_MAX: none */
	uint64_t wrong_slot;     /* offset of that flag's slot */
};

/* Counts all slots' words. A shard whose structure nobody changed meanwhile must have as many flags as it says, and each of them a check
 * value that is right. What that does not see: wrong tags and directories, duplicates, bytes that are no flag's. No shard is begun
 * later than limit_ns after the start; 0: no limit. */
void fs_census(const flagstore *store, uint64_t limit_ns, struct fs_census *census);

#endif

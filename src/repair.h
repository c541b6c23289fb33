/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * repair.h: a damaged table made sound again. */
#ifndef FS_REPAIR_H
#define FS_REPAIR_H

#include "segment.h"

enum fs_repair_kind {
	FS_REPAIR_FIXED,      /* a word that is made from others: a tag, a count, a link, bytes that must be 0 */
	FS_REPAIR_SEALED,     /* a flag that is readable and did not look sound: kept, as a new life */
	FS_REPAIR_MOVED,      /* a flag that no search found: put where it belongs */
	FS_REPAIR_DROPPED,    /* a second copy of a flag, older than the one that is kept */
	FS_REPAIR_QUARANTINE, /* what stood in a slot that can't be believed; no search found it either */
	FS_REPAIR_NO_ROOM,       /* a flag that was readable, or sound, and for which there is no room */
};

/* One thing that was done. The slot's bytes are as they were before. */
struct fs_repair_done {
	enum fs_repair_kind kind;
	uint32_t shard;   /* UINT32_MAX: not in a shard */
	uint64_t offset;
	const char *text; /* a sentence */
	const char *key;  /* NULL: not about a flag */
	size_t length;
	bool value;
	const unsigned char *bytes; /* of the slot, FS_LINE of them; NULL: not about a slot */
};

/* Called before the slot is touched, under the locks. False: what stands in it could not be kept; then it is left as it is, if it is to be
 * given up, and the repair fails in the end. */
typedef bool fs_repair_told(const struct fs_repair_done *done, void *argument);

/* Takes all locks, in ascending order, waiting for each as a write does; readers and flips go on. What a dead writer left in the middle is
 * restored. On an error none is held. Errors: ETIMEDOUT, ECORRUPT, ESYSTEM. */
int fs_repair_begin(flagstore *store);
void fs_repair_end(flagstore *store);

/* For a mapping of the process's own, of which nobody else sees anything, and that was made without the locks: what the next writer of each
 * shard would do, if the last one died in it. */
void fs_repair_recover(flagstore *store);

/* Makes the segment sound. Expects all locks, or a mapping of the process's own. Nothing is called back that may write to the segment. A
 * death in the middle leaves a segment to be repaired again. Errors: ENOMEMORY. */
int fs_repair(flagstore *store, fs_repair_told *told, void *argument);

#endif

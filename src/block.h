/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * block.h: heap blocks. All functions expect the shard's lock. */
#ifndef FS_BLOCK_H
#define FS_BLOCK_H

#include "segment.h"

/* The lines of a bucket: its slots, and header and tags behind them. */
#define FS_BUCKET_LINES(slots) ((slots) + (uint32_t)((sizeof(struct fs_bucket) + (slots) + FS_LINE - 1) / FS_LINE))

/* What a bucket of a size class has. */
struct fs_bucket_class {
	uint32_t slots, lines;
};

#define FS_BUCKET_CLASS(slots) {slots, FS_BUCKET_LINES(slots)},

static const struct fs_bucket_class fs_bucket_classes[FS_BUCKET_CLASSES] = {FS_BUCKET_SLOTS(FS_BUCKET_CLASS)};

/* A taken block: its line and kind, packed as in the layout. */
typedef uint64_t fs_block;

static inline fs_line fs_block_line(fs_block block)
{
	return (fs_line)block;
}

static inline uint32_t fs_block_kind(fs_block block)
{
	return (uint32_t)(block >> FS_BLOCK_KIND_SHIFT & 0xff);
}

static inline fs_block fs_block_make(fs_line line, uint32_t kind)
{
	return (uint64_t)kind << FS_BLOCK_KIND_SHIFT | line;
}

/* Lines in a block of the kind. */
uint32_t fs_kind_lines(uint32_t kind);

/* Where a free block of the kind holds the line of the next one on its list; NULL when it leads nowhere. A bucket behind its slots, to which
 * handles still lead; the others in their first four bytes. So do directories, in the first half of what was an entry: a late reader takes
 * it for a bucket word, checks it, and finds out by the directory word that it looked at an old one. */
const _Atomic uint32_t *fs_block_link(const flagstore *store, fs_line line, uint32_t kind);

/* Takes a block, from the shard's free list or off the end of the heap, and notes it in the shard's fresh[index] before it
 * leaves where it was: whoever dies, it is never lost. A recycled block keeps its old bytes but for the list link.
 * Errors: ENOSPACE, EFULL, ECORRUPT, ESYSTEM. */
int fs_block_take(flagstore *store, struct fs_shard *shard, uint32_t kind, uint32_t index, fs_block *block);

/* Puts a block on the shard's free list, unless it is the first there already; so it may be repeated after a death as long
 * as nothing else has been put there. */
void fs_block_give(flagstore *store, struct fs_shard *shard, fs_block block);

/* Recovery: decides whether the block that the dead owner was cutting off the heap was his, and if so notes it in fresh[]. */
void fs_block_settle(flagstore *store, struct fs_shard *shard);

#endif

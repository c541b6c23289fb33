/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * picture.h: a table as rows of cells: a row for each shard, in which the slots of its buckets stand in the order of their hash bits, and
 * each cell stands for so many of them. */
#ifndef PICTURE_H
#define PICTURE_H

#include "findings.h"

struct cell {
	uint64_t offset; /* of its first slot */
	uint32_t slots, flags, dead, frozen, damaged;
	char *damage;    /* what is wrong with the first damaged ones, a sentence a line; or NULL */
};

struct row {
	uint64_t slots, flags, dead, frozen, damaged; /* damaged: findings of the shard, in slots or elsewhere */
	uint32_t buckets;
	uint32_t count;  /* cells */
	struct cell *cells;
};

struct picture {
	uint32_t count;  /* rows */
	struct row *rows;
	struct findings findings;
	uint64_t outside; /* findings outside of all shards */
};

/* Makes the picture with at most width cells in a row. Returns STATUS_DONE, or the exit status after printing a failure. */
int picture_make(const struct source *source, uint32_t width, struct picture *picture);

void picture_free(struct picture *picture);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lab.h: a run and what came out of it: what the parent knows. */
#ifndef LAB_H
#define LAB_H

#include <flagstore.h>

#include "board.h"
#include "catalog.h"
#include "crew.h"

struct lab {
	const char *name; /* of the segment */
	flagstore *store;
	struct catalog catalog;
	struct board *board;
	uint32_t workers;
	struct crew_member *members; /* the workers, then the flipper */
	uint64_t rate;               /* flips a second that are wanted */
	int64_t begun_ns, ended_ns;  /* 0 when not all processes could attach */
	uint64_t recoveries_before;
	int stopped_by;              /* signal number, 0: it ran to its end */
};

static inline struct crew_member *lab_flipper(const struct lab *lab)
{
	return &lab->members[lab->workers];
}

struct verdict {
	uint64_t wrong;       /* answers that can't be right, lost changes too */
	uint64_t flips;       /* made */
	uint64_t unseen;      /* of them not seen by every worker that ran to the end */
	size_t disturbed;     /* flags that somebody else changed meanwhile, so that nothing can be said about them */
	size_t died;          /* processes that ended in a way nobody had planned */
	uint64_t refused;     /* writes for which there was no room, or no lock in time */
	uint64_t recoveries;  /* shards restored after a death */
	uint64_t findings;    /* of the check of the whole segment */
	bool restored;        /* the flipped flags have been set back */
	bool healthy;
};

#endif

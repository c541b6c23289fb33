/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crash.h: a run of killed writers and what came out of it: what the parent knows. */
#ifndef CRASH_H
#define CRASH_H

#include <flagstore.h>

#include "catalog.h"
#include "crew.h"
#include "ledger.h"

struct crash {
	const char *name; /* of the segment */
	flagstore *store;
	struct catalog catalog;
	struct ledger *ledger;
	struct crew_member *members;    /* one for each post, then the readers */
	int64_t begun_ns, ended_ns;     /* 0 when not all readers could attach */
	uint64_t rate;                  /* kills a second that are wanted */
	uint64_t kills[DEED_COUNT];     /* by what the writer was doing */
	uint64_t salvos;                /* several at once */
	uint64_t again;                 /* kills of one that had just been started in the place of another */
	size_t died;                    /* processes that ended in a way nobody had planned */
	uint64_t pauses, missed_pauses; /* in which all was compared, and in which somebody did not stand still */
	uint64_t recoveries_before, growths_before;
	int stopped_by;                 /* signal number, 0: it ran to its end */
};

static inline struct crew_member *crash_readers(const struct crash *crash)
{
	return &crash->members[crash->ledger->posts];
}

static inline size_t crash_members(const struct crash *crash)
{
	return (size_t)crash->ledger->posts + crash->ledger->readers;
}

static inline uint64_t crash_kills(const struct crash *crash)
{
	uint64_t sum = 0;

	for (enum deed deed = 0; deed < DEED_COUNT; deed++)
		sum += crash->kills[deed];
	return sum;
}

struct crash_verdict {
	struct ledger_total total;
	uint64_t recoveries; /* shards restored after a death */
	uint64_t growths;    /* buckets grown, rebuilt or split */
	uint64_t findings;   /* of the check of the whole segment */
	size_t disturbed;    /* flags of the segment's own that somebody else changed meanwhile */
	size_t damaged;      /* and those that are not what they were, though nobody has changed them */
	bool healthy;
};

#endif

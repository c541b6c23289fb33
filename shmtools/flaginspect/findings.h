/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * findings.h: checks a source, one finding after the other. */
#ifndef FINDINGS_H
#define FINDINGS_H

#include "source.h"

enum {
	FINDINGS_KINDS = 16,
};

/* How many of each kind, in the order in which the kinds came. */
struct findings {
	uint64_t count;
	uint32_t skipped; /* shards of a live segment that never stood still, or are held all the time */
	size_t kinds;
	struct {
		const char *kind;
		uint64_t count;
	} by_kind[FINDINGS_KINDS];
};

/* Calls found, which may be NULL, for each finding, no lock being held, and adds them up. Says what was being looked at on a terminal while
 * it lasts. Returns a result of the library. */
int findings_of(const struct source *source, flagstore_found *found, void *argument, struct findings *findings);

#endif

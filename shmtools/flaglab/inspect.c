/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * inspect.c: the check of the whole segment at the end of a run. */
#include "inspect.h"

#include <inttypes.h>

#include "failure.h"

enum {
	FINDINGS_PRINTED = 10,
};

static void found(const struct flagstore_finding *finding, void *argument)
{
	uint64_t *printed = argument;

	if (++*printed <= FINDINGS_PRINTED)
		warning("check: %s, offset %#" PRIx64 ": %s", finding->kind, finding->offset, finding->text);
}

int inspect_segment(flagstore *store, const char *name, uint64_t *findings)
{
	uint64_t printed = 0, count = 0;
	int error = flagstore_check(store, found, &printed, &count, NULL);

	if (error)
		return error;
	if (count > FINDINGS_PRINTED)
		warning("check: %" PRIu64 " more findings; `flagctl check %s' prints all", count - FINDINGS_PRINTED, name);
	*findings += count;
	return FLAGSTORE_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * catalog.h: the segment's flags as they were before the run: what workers read, and what answers are compared with. Made by
 * the parent before it forks, and never changed after.
 *
 * Flags are in random order, the same for all processes. The first ones, a quarter of all, are those that get flipped, in
 * turn: flip number n is of flag n % flipped. So everybody knows which flag a flip is of, and what its value is then. The other
 * flags stand still.
 *
 * A worker writes flags of its own, with keys that begin with "flaglab."; such flags are not in the catalog. */
#ifndef CATALOG_H
#define CATALOG_H

#include <flagstore.h>

#define CATALOG_OWN_PREFIX "flaglab."

enum {
	CATALOG_WINDOW = 128, /* flags in a row may be read from any place of keys[], lengths[] and flags[], also across the end */
	CATALOG_FLIPPED_MAX = 1024,
};

struct catalog {
	size_t count, flipped;
	/* each count + CATALOG_WINDOW: behind the end stands the beginning once more (several times, if it is short) */
	const char **keys;
	size_t *lengths;
	struct flagstore_flag *flags;
};

/* Returns STATUS_DONE, or the exit status after printing a failure. Without flags nothing is in it but the count. */
int catalog_open(struct catalog *catalog, flagstore *store);

void catalog_close(struct catalog *catalog);

/* The value that flip number `flip` gives its flag. */
static inline bool catalog_value_after(const struct catalog *catalog, uint64_t flip)
{
	bool before = catalog->flags[flip % catalog->flipped].value;

	return (flip / catalog->flipped) % 2 == 0 ? !before : before;
}

#endif

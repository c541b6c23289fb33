/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flipper.h: the process that flips flags. */
#ifndef FLIPPER_H
#define FLIPPER_H

#include <stdint.h>

#include "board.h"
#include "catalog.h"

enum {
	FLIPPER_SETTLES_S = 5, /* how long workers may take to see the last flips */
};

/* Attaches to segment `name`, flips the catalog's flipped flags one after the other, `rate` flips a second, and notes on the
 * board how long it took until all living workers had seen each. Returns the exit status for the process. */
int flipper_work(const char *name, const struct catalog *catalog, struct board *board, uint64_t rate);

#endif

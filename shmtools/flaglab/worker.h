/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * worker.h: the process that reads flags. */
#ifndef WORKER_H
#define WORKER_H

#include <sys/types.h>

#include "board.h"
#include "catalog.h"

enum {
	WORKER_OWN_FLAGS = 16, /* flags of a worker's own that it inserts, changes and deletes */
};

struct worker_key {
	char text[48];
};

/* The key of a worker's own flag: "flaglab.PID.NUMBER". */
struct worker_key worker_own_key(pid_t pid, int number);

/* Attaches to segment `name` and reads the catalog's flags in all ways, and writes flags of its own in between, until the
 * board says stop; leaves counts on the board. Returns the exit status for the process. */
int worker_work(const char *name, const struct catalog *catalog, struct board *board, uint32_t number);

#endif

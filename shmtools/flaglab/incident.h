/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * incident.h: what the story of flaglab incident and its workers share, in memory of both. Some workers keep the rules, others write
 * without the lock. All toggle the real flags, which nobody deletes, and insert and delete marks of their own, so that the table grows and
 * shrinks around the flags. */
#ifndef INCIDENT_H
#define INCIDENT_H

#include <flagstore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"

enum {
	INCIDENT_WORKERS_MAX = 64,
};

enum incident_order {
	INCIDENT_WAIT,
	INCIDENT_WRITE,
	INCIDENT_COMPARE, /* write on, from now on with a look whether each mark is as it was left */
	INCIDENT_END,
};

/* By one worker. */
struct incident_worker {
	_Atomic uint64_t writes;   /* begun, of them */
	_Atomic uint64_t hasty;    /* as one that knows no lock */
	_Atomic uint64_t refused;  /* failed */
	_Atomic uint64_t compared; /* marks that were looked at */
	_Atomic uint64_t wrong;    /* of them, those that were not as they had been left */
	char example[160];         /* the first of these */
};

struct incident_board {
	_Atomic uint32_t order;
	_Atomic uint32_t ready; /* workers that are attached */
	struct incident_worker worker[];
};

/* Every second one writes without the lock, the first too. */
static inline bool incident_is_hasty(uint32_t worker)
{
	return worker % 2 == 0;
}

/* The most flags that all workers together have beside the real ones. */
#define INCIDENT_MARKS 768

/* What a worker, one of so many, does until it is told to end; its exit status. */
int incident_work(const char *name, const struct catalog *flags, struct incident_board *board, uint32_t workers, uint32_t number);

/* The flags for those who name no file: writes them into a new file at the path, for flagctl import. STATUS_DONE, or the exit status after
 * printing a failure. */
int incident_write_flags(const char *path);

#endif

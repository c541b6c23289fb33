/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * board.h: the board that hangs in the laboratory: anonymous memory, shared by the parent and all it forks, in which workers
 * leave their counts, the flipper says how far it has come, and the parent gives orders. It has nothing to do with the segment:
 * what workers know of flags they know by reading the segment alone.
 *
 * Every word has one writer, named below, but for the suspects, which are added up. Nobody waits for anybody by a lock, so a
 * process that is killed leaves a board that can be read. */
#ifndef BOARD_H
#define BOARD_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "muster.h"

/* The kinds of reads: name, title of the column. */
#define READ_KINDS(X)                                                                                                  \
	X(POINT, "point", "POINT")                                                                                         \
	X(HANDLE, "handle", "HANDLE")                                                                                      \
	X(BATCH, "batch", "BATCH")                                                                                         \
	X(LOOKUP, "lookup", "LOOKUP")

enum read_kind {
#define READ_KIND(name, text, title) READ_##name,
	READ_KINDS(READ_KIND)
#undef READ_KIND
	READ_KIND_COUNT,
};

/* What a worker is doing, which is also what it did when it was killed. The writes come last. */
#define ACTIVITIES(X)                                                                                                  \
	X(STARTING, "starting")                                                                                            \
	X(READING, "reading")                                                                                              \
	X(INSERTING, "inserting")                                                                                          \
	X(TOGGLING, "toggling")                                                                                            \
	X(SETTING, "setting")                                                                                              \
	X(DELETING, "deleting")

enum activity {
#define ACTIVITY(name, text) ACTIVITY_##name,
	ACTIVITIES(ACTIVITY)
#undef ACTIVITY
};

const char *activity_text(enum activity activity);

static inline bool activity_is_write(enum activity activity)
{
	return activity >= ACTIVITY_INSERTING;
}

struct board_worker {
	/* by the worker */
	alignas(64) _Atomic uint32_t activity;
	_Atomic int64_t begun_ns, noted_ns; /* first and last moment of its counts */
	_Atomic uint64_t writes;            /* changes that it made of flags of its own */
	_Atomic uint64_t refused;           /* those that failed for lack of room, or in the lock wait limit */
	_Atomic uint64_t faults;            /* results of its own writes that can't be */
	_Atomic uint64_t seen;              /* it has seen the flips before this number */
	struct histogram blocks[READ_KIND_COUNT]; /* duration of CATALOG_WINDOW reads of a kind, in nanoseconds */

	/* by the parent */
	alignas(64) atomic_bool write_only; /* order to do nothing but write */
	atomic_bool gone;                   /* it is dead: nobody waits for it */
};

struct board {
	size_t size;
	uint32_t workers;
	size_t flipped;

	struct muster muster;

	/* by the flipper */
	alignas(64) _Atomic uint64_t announced; /* flips before this number are being made or have been */
	_Atomic uint64_t done;                  /* flips before this number have been made */
	struct histogram delays;                /* from a flip to its being seen by the last living worker, nanoseconds */

	/* in the same memory */
	struct board_worker *worker; /* [workers] */
	_Atomic uint32_t *flips;     /* [flipped], by the flipper: how often it has flipped each flag */
	_Atomic uint32_t *suspects;  /* [flags]: answers that differ from what the catalog says, for the judge */
	_Atomic int64_t *seen_ns;    /* [workers * flipped], by each worker: when it saw the last flip of each flag */
};

/* Never fails: without memory the process ends. */
struct board *board_open(uint32_t workers, size_t flipped, size_t flags);

void board_close(struct board *board);

/* Somebody was given an answer about a flag that does not fit. */
void board_suspect(struct board *board, size_t flag);

static inline _Atomic int64_t *board_seen_ns(const struct board *board, size_t worker, uint64_t flip)
{
	return &board->seen_ns[worker * board->flipped + flip % board->flipped];
}

/* Reads by a worker so far, of one kind and of all. */
uint64_t board_reads(const struct board_worker *worker, enum read_kind kind);
uint64_t board_all_reads(const struct board_worker *worker);

#endif

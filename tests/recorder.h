/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * recorder.h: a process that does operations on a few flags and records each in memory that outlives it: what was
 * asked, before it begins; what came of it, after it ended. A record without an end is that of an operation in whose
 * middle the process was killed.
 *
 * Time is CLOCK_MONOTONIC, read right before the call and right after it. A count that all processes share would never
 * be the same twice, but raising it is a full memory barrier and a fight over a cache line, before and after each
 * operation: it would forbid the very reorderings that a missing barrier in the library allows, and keep apart what
 * should meet. The clock costs the processes nothing in common. It has to be one for all processors, so that "ended
 * before the other began" is true when the numbers say so; clock_is_one() looks whether it is. Where two numbers are
 * the same the operations have overlapped, which only allows more. No load of an operation may be done before the clock
 * is read, hence the fence; it holds back loads alone, as the stores of the operation before are none of its concern.
 */
#ifndef FLAGSTORE_TESTS_RECORDER_H
#define FLAGSTORE_TESTS_RECORDER_H

#include <stdatomic.h>

#include "model.h"
#include "support.h"

enum { LOG_ROOM = 272 };

/* One process after the other goes on with the same log. */
struct log {
	_Atomic uint32_t used; /* the last of them may not have ended */
	struct event events[LOG_ROOM];
};

/* What a store does wrong, now and then, to see that it is found. */
enum fault {
	FAULT_NONE,
	FAULT_STALE_READ,    /* a get gives what an earlier one has found */
	FAULT_LOST_UPDATE,   /* a toggle is a read and then a set */
	FAULT_TORN_BATCH,    /* the changes of a batch are made one by one */
	FAULT_TORN_SNAPSHOT, /* the flags of a snapshot are read one by one */
};

struct recorder {
	flagstore *store;
	struct log *log;
	uint64_t random;
	uint8_t who;
	enum fault fault;
	bool whole; /* only what may be judged as a whole (model.h) */
	bool dying; /* more of what a death can find half done */
	char keys[MODEL_FLAGS][KEY_ROOM];
	flagstore_handle *handles[MODEL_FLAGS];
	struct sight seen[MODEL_FLAGS]; /* when it last looked, for compare_and_set_version */
	bool stale[MODEL_FLAGS];        /* for FAULT_STALE_READ */
};

/* log->used must be below LOG_ROOM - MODEL_FLAGS before each operation. */
void recorder_open(struct recorder *recorder, flagstore *store, struct log *log, uint8_t who, uint64_t random);
void recorder_close(struct recorder *recorder);

/* One operation, or a few gets at once, by chance. */
void recorder_act(struct recorder *recorder);

/* Looks at every flag. */
void recorder_look(struct recorder *recorder);

/* Inserts or deletes one of a few hundred flags of its own, so that the flags that count are moved about by growth. */
void recorder_fill(struct recorder *recorder);

unsigned recorder_pick(struct recorder *recorder, unsigned below);

/* Two processes hand a number to and fro: neither ever reads a time before the one at which it was given the number. */
bool clock_is_one(void);

#endif

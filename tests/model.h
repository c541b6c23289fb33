/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * model.h: flags as flagstore.h promises them, for one operation after the other, and the judgement over what processes
 * have recorded that they did. Touches no segment.
 *
 * Two judgements, since the library makes two promises:
 *
 * One flag alone: every operation that has to do with it is linearizable, batches and snapshots too as far as they
 * concern this flag. The history of each flag is judged apart.
 *
 * The whole: batches, snapshots, and those point writes that really changed something are linearizable over all flags
 * together: a batch is one. Point reads are left out, as they may see the flags of a batch change one after the other.
 * So are writes that changed nothing (a delete of a missing flag, a compare-and-set that conflicts): the library
 * answers them by a read. Of a set nobody can tell afterwards whether it changed something, hence a history that is to
 * be judged as a whole has no sets outside of batches; a process may expect a version only as a snapshot, or the start
 * of the history, gave it.
 *
 * An operation that was begun and never ended, because its process was killed, may have happened at any time since, or
 * not at all: a write that the dead had committed is finished by the next who takes the lock.
 */
#ifndef FLAGSTORE_TESTS_MODEL_H
#define FLAGSTORE_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "linearize.h"

enum { MODEL_FLAGS = 4 };

/* What a process can do. The flag is event.flag, but for batches and snapshots. */
#define ACTS(X)                                                                                                        \
	X(GET, "get")                                                                                                      \
	X(HANDLE_GET, "handle get")                                                                                        \
	X(GET_MANY, "get_many")                                                                                            \
	X(LOOKUP, "lookup")                                                                                                \
	X(SET, "set")                                                                                                      \
	X(SET_IF_ABSENT, "set_if_absent")                                                                                  \
	X(TOGGLE, "toggle")                                                                                                \
	X(COMPARE, "compare_and_set")                                                                                      \
	X(COMPARE_VERSION, "compare_and_set_version")                                                                      \
	X(DELETE, "delete")                                                                                                \
	X(BATCH, "batch")                                                                                                  \
	X(SNAPSHOT, "snapshot")

enum act {
#define ACT_NUMBER(name, text) ACT_##name,
	ACTS(ACT_NUMBER)
#undef ACT_NUMBER
	ACTS_COUNT
};

/* A flag as a lookup or a snapshot gives it; all 0 when it is missing. */
struct sight {
	uint64_t version;
	uint32_t changes;
	bool exists;
	bool value;
};

/* What a batch does with a flag. */
enum wish { WISH_NOTHING, WISH_FALSE, WISH_TRUE, WISH_TOGGLE, WISH_DELETE };

struct event {
	uint64_t began;
	uint64_t ended; /* 0: never */
	uint8_t act;    /* enum act */
	uint8_t flag;
	uint8_t who;
	bool desired;  /* the value to be stored */
	bool expected; /* COMPARE */
	bool answer;   /* gets: the value; SET_IF_ABSENT: inserted; TOGGLE: the new value */
	int16_t result;
	uint32_t changed;                 /* BATCH */
	uint8_t wishes[MODEL_FLAGS];      /* BATCH: enum wish */
	struct sight sights[MODEL_FLAGS]; /* by flag. LOOKUP, SNAPSHOT: seen; COMPARE_VERSION: expected */
};

struct history {
	const struct event *const *events; /* in any order */
	size_t count;
	struct sight start[MODEL_FLAGS]; /* the flags before all events, looked at while nobody wrote */
};

/* Instead of the number of a flag. */
#define MODEL_WHOLE MODEL_FLAGS

/* Judges one flag's part of the history, or the whole. */
enum linear_verdict model_judge(struct linear_search *search, const struct history *history, unsigned flag);

/* After a judgement other than yes, of the same history: the last operations of the order that came furthest, and those
 * of which none could come next, to be read by a person. */
void model_explain(FILE *to, const struct linear_search *search, const struct history *history, unsigned flag);

/* What the model alone says, without a search: does the event to the flags, in *flags, and fills in its results. For
 * making histories. */
struct model_flags {
	struct sight flags[MODEL_FLAGS];
	uint64_t last_version;
};
void model_do(struct model_flags *flags, struct event *event);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * race.h: the incident, reproduced. Worker processes write one segment; each has keys of its own, of which it knows what they should be, and
 * all toggle the same few, of which it is known how often they were. What is otherwise is damage. Lies in memory that all share. */
#ifndef RACE_H
#define RACE_H

#include <flagstore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	RACE_WORKERS_MAX = 64,
	RACE_SHARED = 64,      /* keys that all workers toggle */
	RACE_FIRST = 128,      /* keys of each worker that exist before the run */
	RACE_KEYS = 8192,      /* and with those that make the table grow */
	RACE_EXAMPLES = 3,
	RACE_EXAMPLE_SIZE = 160,
};

/* What can break, and its name for people and programs. */
#define RACE_DAMAGES(X)                                                                                                \
	X(TORN, "torn", "torn keys")                                                                                       \
	X(LOST_FLIPS, "lost_flips", "lost flips")                                                                          \
	X(LOST_VALUES, "lost_values", "values not as written")                                                             \
	X(NOT_FOUND, "not_found", "written and not found")                                                                 \
	X(NOT_YET, "not_found_at_once", "not found right after the write")                                                 \
	X(CAME_BACK, "came_back", "deleted and still there")                                                               \
	X(DUPLICATES, "duplicates", "duplicates")                                                                          \
	X(TAGS, "tags", "tags that don't match")                                                                           \
	X(COUNTS, "counts", "wrong counts")                                                                                \
	X(UNREACHABLE, "unreachable", "unreachable flags")                                                                 \
	X(STRUCTURE, "structure", "broken structure")                                                                      \
	X(REFUSED, "refused", "writes that failed")                                                                        \
	X(DIED, "died", "workers that died")

enum race_damage {
#define RACE_DAMAGE_NUMBER(name, word, text) RACE_##name,
	RACE_DAMAGES(RACE_DAMAGE_NUMBER)
#undef RACE_DAMAGE_NUMBER
	RACE_DAMAGES_COUNT
};

enum race_stage { RACE_BEFORE, RACE_DURING, RACE_AFTER, RACE_STAGES };

struct race_found {
	_Atomic uint64_t count[RACE_STAGES][RACE_DAMAGES_COUNT];
	char example[RACE_DAMAGES_COUNT][RACE_EXAMPLES][RACE_EXAMPLE_SIZE];
};

/* By one worker. */
struct race_worker {
	_Atomic uint64_t operations;
	_Atomic uint32_t done; /* the last order that it carried out */
	_Atomic uint64_t toggles[RACE_SHARED];
	uint8_t expected[RACE_KEYS]; /* 0: missing; 1, 2: false, true */
	uint32_t keys;               /* of them in use */
	struct race_found found;
};

/* Orders: 0 wait; 1 to 6: run and compare, stage by stage; then end. */
#define RACE_ORDER_RUN(stage) ((uint32_t)(stage) * 2 + 1)
#define RACE_ORDER_COMPARE(stage) ((uint32_t)(stage) * 2 + 2)
#define RACE_ORDER_END 100u

struct race_board {
	_Atomic uint32_t order;
	_Atomic uint32_t ready;
	struct race_worker worker[];
};

/* Notes one thing that broke. */
void race_note(struct race_found *found, enum race_stage stage, enum race_damage damage, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

const char *race_key(char place[64], uint32_t worker, uint32_t key);
const char *race_shared_key(char place[64], uint32_t key);

/* What a worker does; its exit status. */
int race_work(const char *name, uint32_t attach_flags, struct race_board *board, uint32_t number);

/* One run, as the report shows it. */
struct race_result {
	uint64_t operations;
	uint64_t damage[RACE_STAGES][RACE_DAMAGES_COUNT];
	struct race_found examples;
	int64_t begun_ns; /* since 1970 */
};

/* How soon a mode of the guard saw something. */
struct race_guard {
	int mode;
	bool seen;
	double ms;           /* from the start to the first conflict */
	uint64_t operations; /* by all workers until then */
	uint64_t conflicts;
	uint32_t aborted;    /* workers */
	uint64_t damage;     /* findings of the check afterwards */
};

void race_report(const char *name, const struct race_result results[2], const struct race_guard *guards, size_t count);

uint64_t race_sum(const struct race_result *result, enum race_damage damage);

#endif

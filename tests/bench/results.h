/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * results.h: what has been measured, and the three ways to show it. */
#ifndef RESULTS_H
#define RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drivers.h"
#include "workloads.h"

enum {
	SIZES_MAX = 8,
	ROUNDS_MAX = 99,
};

extern const struct work_entry {
	const char *name, *title;
} work_entries[WORK_COUNT];

/* One peer's figures for one work and size. */
struct series {
	unsigned count; /* rounds; 0: not measured */
	double values[ROUNDS_MAX];
	double compared[ROUNDS_MAX]; /* WORK_DISTURBED and WORK_SAME_LINE: without the flipper; WORK_MANY16 and WORK_MANY32: with single gets */
	uint64_t wrong;
	json_t *last; /* the last answer, as it came */
};

struct results {
	size_t sizes; /* how many */
	uint64_t flags[SIZES_MAX];
	unsigned rounds, milliseconds;
	struct driver driver[PEER_COUNT];
	struct series series[SIZES_MAX][WORK_COUNT][PEER_COUNT];
};

/* Takes the answer over. */
void results_add(struct results *results, size_t size, enum work work, enum peer_number peer, json_t *answer);

/* The median of the rounds; 0: not measured. */
double results_median(const struct results *results, size_t size, enum work work, enum peer_number peer);

/* The median of what each round's value is divided by what it is compared with; 0: not measured. */
double results_compared(const struct results *results, size_t size, enum work work, enum peer_number peer);

/* The index of a size; false: not measured. */
bool results_size(const struct results *results, uint64_t flags, size_t *size);

/* Of all peers. */
uint64_t results_wrong(const struct results *results);

/* Standard output: a row for each work and size, then the targets. */
void table_print(const struct results *results);

/* Whether a target is met, as far as it can be told; for the table and for JSON. */
struct target_outcome {
	const char *name;
	double value, limit;
	bool known, met;
	bool at_least; /* the limit is a lower one */
	const char *unit;
	char against[64];
};
size_t targets_count(void);
struct target_outcome target_look(const struct results *results, size_t number);

/* All figures, targets too. */
json_t *results_json(const struct results *results);

/* A picture of nanoseconds against flags. Returns false with errno. */
bool plot_write(const struct results *results, const char *path);

#endif

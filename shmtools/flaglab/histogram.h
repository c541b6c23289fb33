/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * histogram.h: durations counted by size, so that any quantile can be told later. Numbers below 128 have a cell of their
 * own; above, each power of two is divided into 128 cells, so a quantile is exact to 0.4 % (the scheme of HdrHistogram).
 *
 * One process adds, any other may read meanwhile; it lives in shared memory and begins as zeroes. A process that is killed
 * while it adds leaves at most the last duration uncounted. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
	HISTOGRAM_PRECISION = 7, /* bits of a number that are kept */
	HISTOGRAM_CELLS = (64 - HISTOGRAM_PRECISION + 1) << HISTOGRAM_PRECISION,
};

struct histogram {
	_Atomic uint64_t count, most;
	_Atomic uint64_t cells[HISTOGRAM_CELLS];
};

void histogram_add(struct histogram *histogram, uint64_t number);

/* Adds all numbers that another one has counted. */
void histogram_add_all(struct histogram *sum, const struct histogram *histogram);

uint64_t histogram_count(const struct histogram *histogram);

/* The largest number that was added, exactly; 0 when there is none. */
uint64_t histogram_most(const struct histogram *histogram);

/* The number that the given share (0 to 1) of all numbers does not exceed; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif

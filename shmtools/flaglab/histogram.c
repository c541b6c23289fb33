/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * histogram.c: durations counted by size. All loads and stores are relaxed: each cell is a number of its own, and a reader that
 * needs them all to fit together waits until the one who adds has ended. */
#include "histogram.h"

#include <stddef.h>

enum {
	LINEAR = 1 << HISTOGRAM_PRECISION, /* numbers below have cells of their own */
};

static size_t cell_of(uint64_t number)
{
	unsigned shift;

	if (number < LINEAR)
		return (size_t)number;
	shift = (unsigned)(63 - __builtin_clzll(number)) - HISTOGRAM_PRECISION;
	return ((size_t)shift + 1) * LINEAR + ((size_t)(number >> shift) & (LINEAR - 1));
}

/* The middle of what a cell stands for. */
static uint64_t number_of(size_t cell)
{
	size_t shift = cell / LINEAR;

	if (shift == 0)
		return cell;
	shift--;
	return ((uint64_t)(LINEAR + cell % LINEAR) << shift) + ((UINT64_C(1) << shift) - 1) / 2;
}

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* Nobody else adds, so this needs no locked instruction. */
static void put(_Atomic uint64_t *word, uint64_t number)
{
	atomic_store_explicit(word, number, memory_order_relaxed);
}

void histogram_add(struct histogram *histogram, uint64_t number)
{
	_Atomic uint64_t *cell = &histogram->cells[cell_of(number)];

	put(cell, get(cell) + 1);
	put(&histogram->count, get(&histogram->count) + 1);
	if (number > get(&histogram->most))
		put(&histogram->most, number);
}

void histogram_add_all(struct histogram *sum, const struct histogram *histogram)
{
	for (size_t cell = 0; cell < HISTOGRAM_CELLS; cell++)
		put(&sum->cells[cell], get(&sum->cells[cell]) + get(&histogram->cells[cell]));
	put(&sum->count, get(&sum->count) + get(&histogram->count));
	if (get(&histogram->most) > get(&sum->most))
		put(&sum->most, get(&histogram->most));
}

uint64_t histogram_count(const struct histogram *histogram)
{
	return get(&histogram->count);
}

uint64_t histogram_most(const struct histogram *histogram)
{
	return get(&histogram->most);
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
	uint64_t most = histogram_most(histogram), sum = 0, number;
	double wanted = share * (double)histogram_count(histogram);

	for (size_t cell = 0; cell < HISTOGRAM_CELLS; cell++) {
		sum += get(&histogram->cells[cell]);
		if (sum == 0 || (double)sum < wanted)
			continue;
		number = number_of(cell);
		return number < most ? number : most;
	}
	return most;
}

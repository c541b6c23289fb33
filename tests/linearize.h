/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * linearize.h: could these operations, which overlapped in time, have happened one at a time? Knows nothing of flags,
 * nor of processes: a model says what an operation does to a state.
 *
 * A history is linearizable (Herlihy and Wing, ACM TOPLAS 12(3), 1990) if its operations can be put in an order in
 * which each has the result that it had, and none comes before one that had ended when it began.
 */
#ifndef FLAGSTORE_TESTS_LINEARIZE_H
#define FLAGSTORE_TESTS_LINEARIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of an operation that was begun and never ended: it may have happened at any time since, or not at all. */
#define LINEAR_NEVER UINT64_MAX

struct linear_operation {
	uint64_t began;
	uint64_t ended; /* the same number as another's began: they overlapped. LINEAR_NEVER: pending */
	const void *what;
};

struct linear_model {
	size_t state_size; /* a multiple of 8, without padding: states are compared byte by byte */

	/* Does the operation to *state. False if in that state it could not have had the result that it had; *state is not
	 * used then. For a pending one also if it would leave the state as it is, which is the same as not happening. */
	bool (*step)(void *state, const void *what, bool pending);
};

enum linear_verdict {
	LINEAR_YES,
	LINEAR_NO,
	LINEAR_GIVEN_UP, /* more places to look at than there is room for */
};

/* Working memory; may be used for one history after the other. Opaque. */
struct linear_search;

struct linear_search *linear_search_new(void);
void linear_search_free(struct linear_search *search);

/* Looks for an order that begins in the state start. */
enum linear_verdict linear_check(struct linear_search *search, const struct linear_model *model, const void *start,
                                 const struct linear_operation *operations, size_t count);

/* What the last search has found, as indexes of operations, valid until the next search. LINEAR_YES: an order of them
 * all (of pending ones those that happened). LINEAR_NO: the order that came furthest, and in *stuck the operation that
 * ended and could not be fitted in. */
size_t linear_order(const struct linear_search *search, const size_t **order, size_t *stuck);

/* How many pairs of a set of operations that had happened and a state the last search has seen. */
size_t linear_seen(const struct linear_search *search);

#endif

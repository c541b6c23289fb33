/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flipper.c: the process that flips flags, in turn.
 *
 * A flip is announced on the board, made in the segment, and marked as done. From then on a worker that reads the flag
 * must find the new value. A flag is flipped again only when every living worker has seen its last flip, so a worker can never
 * mistake a later flip for an earlier one, and no slow worker is left out of the figures. */
#include "flipper.h"

#include <stdlib.h>

#include "clock.h"
#include "failure.h"

struct flipper {
	flagstore *store;
	const struct catalog *catalog;
	struct board *board;
	int64_t *flipped_ns; /* [flipped]: when each flag's last flip began */
	uint64_t done;      /* flips that have been made, */
	uint64_t witnessed; /* and of them seen by every living worker */
};

/* Whether all living workers have seen the next flip that is not witnessed yet, and when the last of them did: 0 if none lives. */
static bool all_have_seen(const struct flipper *flipper, int64_t *last_ns)
{
	const struct board *board = flipper->board;

	*last_ns = 0;
	for (uint32_t i = 0; i < board->workers; i++) {
		const struct board_worker *worker = &board->worker[i];
		int64_t seen_ns;

		if (atomic_load_explicit(&worker->gone, memory_order_relaxed))
			continue;
		if (atomic_load_explicit(&worker->seen, memory_order_acquire) <= flipper->witnessed)
			return false;
		seen_ns = atomic_load_explicit(board_seen_ns(board, i, flipper->witnessed), memory_order_relaxed);
		if (seen_ns > *last_ns)
			*last_ns = seen_ns;
	}
	return true;
}

static void collect(struct flipper *flipper)
{
	int64_t last_ns, delay;

	while (flipper->witnessed < flipper->done && all_have_seen(flipper, &last_ns)) {
		delay = last_ns - flipper->flipped_ns[flipper->witnessed % flipper->catalog->flipped];
		/* Below 0: somebody else had changed the flag before. */
		if (last_ns)
			histogram_add(&flipper->board->delays, delay > 0 ? (uint64_t)delay : 0);
		flipper->witnessed++;
	}
}

/* Returns STATUS_DONE, or the exit status after printing a failure. */
static int flip(struct flipper *flipper)
{
	const struct catalog *catalog = flipper->catalog;
	struct board *board = flipper->board;
	size_t flag = flipper->done % catalog->flipped;
	bool value;
	int error;

	/* release: who sees the announcement sees nothing of an earlier flip of the flag that is still to come */
	atomic_store_explicit(&board->announced, flipper->done + 1, memory_order_release);
	flipper->flipped_ns[flag] = clock_now();
	error = flagstore_toggle_n(flipper->store, catalog->keys[flag], catalog->lengths[flag], &value);
	/* Somebody else may delete flags or change them. The judge finds out whether that was so. */
	if (error && error != FLAGSTORE_ENOTFOUND)
		return failure_of_library(error);
	if (error || value != catalog_value_after(catalog, flipper->done))
		board_suspect(board, flag);
	if (!error)
		atomic_fetch_add_explicit(&board->flips[flag], 1, memory_order_relaxed);
	flipper->done++;
	/* release: a worker that sees the flip as done, and reads the flag after that, must find its new value */
	atomic_store_explicit(&board->done, flipper->done, memory_order_release);
	return STATUS_DONE;
}

static int run(struct flipper *flipper, uint64_t rate)
{
	int64_t due = clock_now(), now;
	int status = STATUS_DONE;

	while (status == STATUS_DONE && muster_phase(&flipper->board->muster) == PHASE_RUN) {
		collect(flipper);
		now = clock_now();
		if (rate == 0 || flipper->done - flipper->witnessed == flipper->catalog->flipped) {
			clock_sleep_until(now + MILLISECOND);
			/* What could not be flipped in time is not made up for. */
			if (due < now)
				due = now;
		} else if (now < due) {
			clock_sleep_until(due < now + 10 * MILLISECOND ? due : now + 10 * MILLISECOND);
		} else {
			status = flip(flipper);
			due += SECOND / (int64_t)rate;
		}
	}
	return status;
}

static void settle(struct flipper *flipper)
{
	int64_t limit = clock_now() + FLIPPER_SETTLES_S * SECOND;

	collect(flipper);
	while (flipper->witnessed < flipper->done && clock_now() < limit && muster_phase(&flipper->board->muster) != PHASE_STOP) {
		clock_sleep_until(clock_now() + MILLISECOND);
		collect(flipper);
	}
}

int flipper_work(const char *name, const struct catalog *catalog, struct board *board, uint64_t rate)
{
	struct flipper flipper = {.catalog = catalog, .board = board};
	int status, error = flagstore_attach(name, NULL, &flipper.store);

	if (error)
		return failure_of_library(error);
	flipper.flipped_ns = calloc(catalog->flipped, sizeof *flipper.flipped_ns);
	if (!flipper.flipped_ns)
		failure_memory();
	muster_join(&board->muster);
	status = run(&flipper, rate);
	if (status == STATUS_DONE)
		settle(&flipper);
	free(flipper.flipped_ns);
	flagstore_close(flipper.store);
	return status;
}

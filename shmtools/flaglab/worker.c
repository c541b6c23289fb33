/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * worker.c: the process that reads flags. It goes round: a block of reads of each kind, timed as a whole; a look at the flips
 * under way; writes of flags of its own. Reads are compared with what the catalog says after the clock has been stopped.
 *
 * It learns from the board which flag is to be flipped next, and from the segment, by reading its handle, that this has happened. */
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "failure.h"

enum {
	FLAGS_A_ROUND = 2, /* own flags that are inserted, changed and deleted in a round */
};

enum answer {
	ANSWER_FALSE,
	ANSWER_TRUE,
	ANSWER_MISSING,
};

struct worker {
	flagstore *store;
	const struct catalog *catalog;
	struct board *board;
	struct board_worker *own;
	uint32_t number;
	flagstore_handle **handles; /* as the catalog's arrays: [count + CATALOG_WINDOW] */
	uint64_t seen;
	size_t positions[READ_KIND_COUNT]; /* of the next block of each kind, in the catalog */
	uint8_t answers[CATALOG_WINDOW]; /* enum answer, of the last block */
	struct worker_key keys[WORKER_OWN_FLAGS];
	int next_key;
};

/* ---------------------------------------------------------------------------------------------------- reads */

static void read_points(struct worker *worker, size_t position)
{
	const char *const *keys = worker->catalog->keys + position;
	const size_t *lengths = worker->catalog->lengths + position;

	for (size_t i = 0; i < CATALOG_WINDOW; i++)
		worker->answers[i] = flagstore_get_n(worker->store, keys[i], lengths[i]);
}

static void read_handles(struct worker *worker, size_t position)
{
	flagstore_handle *const *handles = worker->handles + position;

	for (size_t i = 0; i < CATALOG_WINDOW; i++)
		worker->answers[i] = flagstore_handle_get(handles[i]);
}

static void read_batch(struct worker *worker, size_t position)
{
	bool values[CATALOG_WINDOW];

	flagstore_get_many(worker->store, worker->catalog->keys + position, worker->catalog->lengths + position, CATALOG_WINDOW,
	                   values);
	for (size_t i = 0; i < CATALOG_WINDOW; i++)
		worker->answers[i] = values[i];
}

static void read_all_about(struct worker *worker, size_t position)
{
	const char *const *keys = worker->catalog->keys + position;
	const size_t *lengths = worker->catalog->lengths + position;
	struct flagstore_flag flag;

	for (size_t i = 0; i < CATALOG_WINDOW; i++) {
		flagstore_lookup_n(worker->store, keys[i], lengths[i], &flag);
		worker->answers[i] = flag.exists ? flag.value : ANSWER_MISSING;
	}
}

static void (*const read_block[])(struct worker *worker, size_t position) = {
	[READ_POINT] = read_points,
	[READ_HANDLE] = read_handles,
	[READ_BATCH] = read_batch,
	[READ_LOOKUP] = read_all_about,
};

/* All flags exist throughout, and those that nobody flips keep their value. */
static void compare_answers(struct worker *worker, size_t position)
{
	const struct catalog *catalog = worker->catalog;

	for (size_t i = 0; i < CATALOG_WINDOW; i++) {
		size_t flag = position + i;

		if (worker->answers[i] == catalog->flags[flag].value)
			continue;
		flag %= catalog->count;
		if (worker->answers[i] == ANSWER_MISSING || flag >= catalog->flipped)
			board_suspect(worker->board, flag);
	}
}

static void note_time(struct worker *worker, int64_t now)
{
	atomic_store_explicit(&worker->own->noted_ns, now, memory_order_relaxed);
}

static void read_and_compare(struct worker *worker, enum read_kind kind)
{
	size_t position = worker->positions[kind];
	int64_t begun = clock_now(), ended;

	read_block[kind](worker, position);
	ended = clock_now();
	histogram_add(&worker->own->blocks[kind], (uint64_t)(ended - begun));
	note_time(worker, ended);
	compare_answers(worker, position);
	worker->positions[kind] = (position + CATALOG_WINDOW) % worker->catalog->count;
}

/* ---------------------------------------------------------------------------------------------------- flips */

static void look_for_flips(struct worker *worker)
{
	const struct catalog *catalog = worker->catalog;
	struct board *board = worker->board;
	uint64_t announced = atomic_load_explicit(&board->announced, memory_order_acquire);

	while (worker->seen < announced) {
		size_t flag = worker->seen % catalog->flipped;
		/* Before the read: when a flip is done, a read that begins now must see it. acquire: pairs with the flipper */
		bool done = atomic_load_explicit(&board->done, memory_order_acquire) > worker->seen;

		if (flagstore_handle_get(worker->handles[flag]) != catalog_value_after(catalog, worker->seen)) {
			if (!done)
				return;
			board_suspect(board, flag);
		}
		atomic_store_explicit(board_seen_ns(board, worker->number, worker->seen), clock_now(), memory_order_relaxed);
		worker->seen++;
		/* release: who sees the number sees the moment */
		atomic_store_explicit(&worker->own->seen, worker->seen, memory_order_release);
	}
}

/* --------------------------------------------------------------------------------------------------- writes */

struct worker_key worker_own_key(pid_t pid, int number)
{
	struct worker_key key;

	snprintf(key.text, sizeof key.text, CATALOG_OWN_PREFIX "%d.%d", (int)pid, number);
	return key;
}

static void begin(struct worker *worker, enum activity activity)
{
	atomic_store_explicit(&worker->own->activity, (uint32_t)activity, memory_order_relaxed);
}

static void add_one(_Atomic uint64_t *count)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* A change of a flag that nobody else knows: `right` says whether its result is the only possible one. Returns whether the
 * change was made. A full segment and a lock that somebody keeps are no faults; what would be one of the segment or of this
 * program ends the process. */
static bool made(struct worker *worker, int error, bool right)
{
	if (error == FLAGSTORE_ENOSPACE || error == FLAGSTORE_EFULL || error == FLAGSTORE_ETIMEDOUT) {
		add_one(&worker->own->refused);
		return false;
	}
	if (error && error != FLAGSTORE_ENOTFOUND)
		_exit(failure_of_library(error));
	add_one(&worker->own->writes);
	if (error || !right)
		add_one(&worker->own->faults);
	return error == FLAGSTORE_OK;
}

/* The life of a flag. */
static void write_flag(struct worker *worker, const char *key)
{
	bool inserted = false, value = false;
	int error;

	begin(worker, ACTIVITY_INSERTING);
	error = flagstore_set_if_absent(worker->store, key, false, &inserted);
	if (!made(worker, error, inserted))
		return;
	begin(worker, ACTIVITY_TOGGLING);
	error = flagstore_toggle(worker->store, key, &value);
	made(worker, error, value);
	begin(worker, ACTIVITY_SETTING);
	error = flagstore_set(worker->store, key, false);
	made(worker, error, !flagstore_get(worker->store, key));
	begin(worker, ACTIVITY_DELETING);
	error = flagstore_delete(worker->store, key);
	made(worker, error, true);
}

static void write_flags(struct worker *worker)
{
	for (int i = 0; i < FLAGS_A_ROUND; i++) {
		write_flag(worker, worker->keys[worker->next_key].text);
		worker->next_key = (worker->next_key + 1) % WORKER_OWN_FLAGS;
	}
}

/* A process of the same number may have been killed here before. */
static void delete_leftovers(struct worker *worker)
{
	for (int i = 0; i < WORKER_OWN_FLAGS; i++) {
		worker->keys[i] = worker_own_key(getpid(), i);
		flagstore_delete(worker->store, worker->keys[i].text);
	}
}

/* -------------------------------------------------------------------------------------------------- process */

static void go_round(struct worker *worker)
{
	if (!atomic_load_explicit(&worker->own->write_only, memory_order_relaxed)) {
		begin(worker, ACTIVITY_READING);
		for (enum read_kind kind = 0; kind < READ_KIND_COUNT; kind++) {
			read_and_compare(worker, kind);
			look_for_flips(worker);
		}
	}
	write_flags(worker);
}

static int open_handles(struct worker *worker)
{
	const struct catalog *catalog = worker->catalog;
	int error;

	worker->handles = calloc(catalog->count + CATALOG_WINDOW, sizeof *worker->handles);
	if (!worker->handles)
		failure_memory();
	for (size_t i = 0; i < catalog->count; i++) {
		error = flagstore_handle_open_n(worker->store, catalog->keys[i], catalog->lengths[i], &worker->handles[i]);
		if (error)
			return error;
	}
	for (size_t i = 0; i < CATALOG_WINDOW; i++)
		worker->handles[catalog->count + i] = worker->handles[i];
	return FLAGSTORE_OK;
}

/* All begin at different places: workers have nothing to do with each other, and no kind finds in the processor's caches what
 * another has just read. */
static void spread_positions(struct worker *worker)
{
	size_t places = (size_t)worker->board->workers * READ_KIND_COUNT;

	for (enum read_kind kind = 0; kind < READ_KIND_COUNT; kind++)
		worker->positions[kind] = worker->catalog->count * (worker->number * READ_KIND_COUNT + kind) / places;
}

static void leave(struct worker *worker)
{
	for (size_t i = 0; worker->handles && i < worker->catalog->count; i++)
		flagstore_handle_close(worker->handles[i]);
	free(worker->handles);
	flagstore_close(worker->store);
}

int worker_work(const char *name, const struct catalog *catalog, struct board *board, uint32_t number)
{
	struct worker worker = {.catalog = catalog, .board = board, .own = &board->worker[number], .number = number};
	int error = flagstore_attach(name, NULL, &worker.store);

	if (!error)
		error = open_handles(&worker);
	if (error) {
		error = failure_of_library(error);
		leave(&worker);
		return error;
	}
	spread_positions(&worker);
	delete_leftovers(&worker);
	muster_join(&board->muster);
	atomic_store_explicit(&worker.own->begun_ns, clock_now(), memory_order_relaxed);
	while (muster_phase(&board->muster) != PHASE_STOP)
		go_round(&worker);
	look_for_flips(&worker);
	note_time(&worker, clock_now());
	leave(&worker);
	return STATUS_DONE;
}

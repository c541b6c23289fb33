/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab run: the healthy case. Worker processes read all flags of a segment, another one flips some, a few workers are killed
 * in the middle of writes if that is wanted; then all is judged, put back and reported. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdlib.h>

#include "clock.h"
#include "commands.h"
#include "flipper.h"
#include "judge.h"
#include "lab.h"
#include "live.h"
#include "report.h"
#include "worker.h"

enum {
	WORKERS_MAX = 256,
	VICTIM_LIMIT_S = 1, /* how long a worker that is to be killed may take to begin a write */
};

static uint64_t workers = 4, milliseconds = 10000, rate = 100, kills = 0;
static bool keep;

static const struct cli_option options[] = {
	CLI_NUMBER('w', "workers", "N", &workers, 1, WORKERS_MAX, "how many processes read (4)"),
	CLI_DURATION('s', "seconds", "TIME", NULL, &milliseconds, 100, 86400000, "how long (10)"),
	CLI_NUMBER('r', "rate", "N", &rate, 0, 1000000, "how many flips a second (100)"),
	CLI_NUMBER('k', "kill", "N", &kills, 0, WORKERS_MAX - 1, "how many workers are killed on the way (0)"),
	CLI_SWITCH(0, "keep", &keep, "leave flags as the last flips made them"),
	CLI_OPTIONS_END,
};

/* ---------------------------------------------------------------------------------------------- processes */

static int be_worker(void *argument, uint32_t number)
{
	const struct lab *lab = argument;

	flagstore_close(lab->store);
	return worker_work(lab->name, &lab->catalog, lab->board, number);
}

static int be_flipper(void *argument, uint32_t number)
{
	const struct lab *lab = argument;

	(void)number;
	flagstore_close(lab->store);
	return flipper_work(lab->name, &lab->catalog, lab->board, lab->rate);
}

/* How many members still work; workers that don't are written on the board as gone. */
static size_t look_after(struct lab *lab)
{
	size_t working = crew_reap(lab->members, lab->workers + 1);

	for (uint32_t i = 0; i < lab->workers; i++) {
		if (lab->members[i].state != CREW_WORKING)
			atomic_store_explicit(&lab->board->worker[i].gone, true, memory_order_relaxed);
	}
	return working;
}

/* Sleeps until the moment, or until somebody has ended; notes when the run is to be stopped. */
static size_t wait_and_look(struct lab *lab, int64_t until_ns)
{
	int number = crew_sleep_until(until_ns);

	if (number && !lab->stopped_by)
		lab->stopped_by = number;
	return look_after(lab);
}

static int start_all(struct lab *lab)
{
	int status = STATUS_DONE;

	for (uint32_t i = 0; i < lab->workers && !status; i++)
		status = crew_start(&lab->members[i], "flaglab-worker", be_worker, lab, i);
	if (!status)
		status = crew_start(lab_flipper(lab), "flaglab-flipper", be_flipper, lab, 0);
	return status;
}

/* Waits until all members have attached. Returns whether they have. */
static bool assemble(struct lab *lab)
{
	size_t all = lab->workers + 1;

	while (muster_ready(&lab->board->muster) < all) {
		if (wait_and_look(lab, clock_now() + MILLISECOND) < all || lab->stopped_by)
			return false;
	}
	return true;
}

/* Lets all members end in order. */
static void dismiss(struct lab *lab)
{
	int number;

	muster_set(&lab->board->muster, PHASE_STOP);
	number = crew_dismiss(lab->members, lab->workers + 1);
	if (number && !lab->stopped_by)
		lab->stopped_by = number;
}

/* The worker first gets the order to do nothing but write, so that the signal meets it in the middle of a change. */
static void kill_worker(struct lab *lab, uint32_t number)
{
	struct board_worker *worker = &lab->board->worker[number];
	int64_t limit = clock_now() + VICTIM_LIMIT_S * SECOND;

	atomic_store_explicit(&worker->write_only, true, memory_order_relaxed);
	while (lab->members[number].state == CREW_WORKING && clock_now() < limit &&
	       !activity_is_write((enum activity)atomic_load_explicit(&worker->activity, memory_order_relaxed)))
		wait_and_look(lab, clock_now() + MILLISECOND / 10);
	crew_kill(&lab->members[number]);
	while (lab->members[number].state == CREW_WORKING)
		wait_and_look(lab, clock_now() + SECOND);
	live_killed(lab, number);
}

/* ------------------------------------------------------------------------------------------------ the run */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Kills come at equal distances, and hit the first workers. */
static int64_t kill_time(const struct lab *lab, uint32_t killed)
{
	return killed < kills ? lab->begun_ns + (int64_t)((killed + 1) * milliseconds / (kills + 1)) * MILLISECOND : INT64_MAX;
}

/* Nothing can be seen any more without the flipper or without any worker. */
static bool goes_on(struct lab *lab)
{
	return !lab->stopped_by && look_after(lab) >= 2 && lab_flipper(lab)->state == CREW_WORKING;
}

static void conduct(struct lab *lab)
{
	int64_t end = lab->begun_ns + (int64_t)milliseconds * MILLISECOND, next_line = lab->begun_ns + SECOND;
	uint32_t killed = 0;

	muster_set(&lab->board->muster, PHASE_RUN);
	live_begin(lab, milliseconds);
	while ((clock_now() < end || killed < kills) && goes_on(lab)) {
		wait_and_look(lab, earlier(earlier(end, next_line), kill_time(lab, killed)));
		if (clock_now() >= kill_time(lab, killed))
			kill_worker(lab, killed++);
		if (clock_now() >= next_line) {
			live_line(lab);
			next_line += SECOND;
		}
	}
	live_end();
}

/* The flipper ends when all have seen its last flip. */
static void settle(struct lab *lab)
{
	int64_t limit = clock_now() + (FLIPPER_SETTLES_S + 1) * SECOND;

	muster_set(&lab->board->muster, PHASE_SETTLE);
	while (lab_flipper(lab)->state == CREW_WORKING && clock_now() < limit)
		wait_and_look(lab, limit);
}

static int experiment(struct lab *lab)
{
	struct verdict verdict;
	int status;

	crew_prepare();
	status = start_all(lab);
	if (!status && assemble(lab)) {
		lab->begun_ns = clock_now();
		conduct(lab);
		lab->ended_ns = clock_now();
		settle(lab);
	}
	dismiss(lab);
	if (status)
		return status;
	status = judge(lab, keep, &verdict);
	if (status)
		return status;
	report(lab, &verdict);
	if (lab->stopped_by)
		return 128 + lab->stopped_by;
	return verdict.healthy ? STATUS_DONE : STATUS_NO;
}

static int set_up(struct lab *lab)
{
	struct flagstore_info info;
	int error, status = catalog_open(&lab->catalog, lab->store);

	if (status)
		return status;
	if (lab->catalog.count == 0)
		return failure(STATUS_MISSING, "segment %s has no flags to read; `flagctl import %s FILE' fills it", lab->name,
		               lab->name);
	error = flagstore_info(lab->store, &info);
	if (error)
		return failure_of_library(error);
	lab->recoveries_before = info.recoveries;
	lab->board = board_open(lab->workers, lab->catalog.flipped, lab->catalog.count);
	lab->members = calloc(lab->workers + 1, sizeof *lab->members);
	if (!lab->members)
		failure_memory();
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	struct lab lab = {.name = operands[0], .workers = (uint32_t)workers, .rate = rate};
	int error, status;

	(void)count;
	if (kills >= workers)
		cli_usage("--kill %" PRIu64 ": at least one of the %" PRIu64 " workers must be left", kills, workers);
	error = flagstore_attach(lab.name, NULL, &lab.store);
	if (error)
		return failure_of_library(error);
	status = set_up(&lab);
	if (status == STATUS_DONE)
		status = experiment(&lab);
	free(lab.members);
	if (lab.board)
		board_close(lab.board);
	catalog_close(&lab.catalog);
	flagstore_close(lab.store);
	return status;
}

const struct cli_command command_run = {
	.name = "run",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "run worker processes that read and flip a segment's flags",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * linear.c: 8 processes do all operations on a few flags, record them (recorder.h), and the records are judged: is
 * there an order in which all this could have happened one at a time (linearize.h, model.h)?
 *
 * A seed is one segment, of 1, 2 or 4 shards, which begins empty and grows: the processes also insert and delete
 * hundreds of other flags, so that those that count are moved about. Each process is stopped at any instruction every
 * now and then, so that its operation lasts as long as many of the others'; and some are killed, and others take their
 * places.
 *
 * A seed goes in rounds. Between two of them nobody writes: what the killed left is finished (the checker takes each
 * shard's lock), the flags are looked at, and this look is the end of one history and the start of the next. So
 * histories stay short enough to be searched, and nothing that happened falls between two of them. In every other round
 * the processes do what may be judged as a whole too.
 *
 * SOAK=seconds goes on until they are over and 10 million operations have been judged. SEED=n is the first seed; with
 * the same seed the processes do the same, but not at the same time, so it does not bring a violation back for certain.
 * PROGRESS names a terminal that shall be told how far it is. SHOW_FAULTS=1 prints what a person is told of the faults
 * that are planted.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "futex.h"
#include "recorder.h"

#define SEGMENT "linear"

enum {
	WORKERS = 8,
	ROUNDS = 8,        /* in a seed: a young table grows more often than an old one */
	QUOTA = 256,       /* operations of a process in a round */
	SHORT_SECONDS = 8, /* without SOAK */
	SOAK_OPERATIONS = 10000000,
	ROUND_LIMIT_MS = 120000,
};

static_assert(QUOTA + 2 * MODEL_FLAGS <= LOG_ROOM, "a log has room for a round");

/* One process after the other is worker number i. */
struct place {
	struct log log;
	_Atomic uint32_t done; /* the last round that it has finished */
	uint32_t doom;         /* it dies in its first stop after so many operations; 0: it does not */
	uint32_t lives;
};

static struct board {
	_Atomic uint32_t round;    /* the one that goes on */
	_Atomic uint32_t finished; /* raised whenever a process has finished a round: wakes the one that waits for all */
	uint64_t seed;
	enum fault fault;
	bool whole;
	struct place places[WORKERS];
	struct log last_look;
} * board;

static struct totals {
	uint64_t seeds, operations, kills, unfinished, recoveries, growths, histories, violations;
} totals;

/* ---------------------------------------------------------------------------------------------- the processes */

static struct place *own; /* this process's */
static uint64_t stops;    /* random state of the stops */
static volatile sig_atomic_t stop_ahead;

static bool doomed(void)
{
	return own->doom && atomic_load_explicit(&own->log.used, memory_order_relaxed) >= own->doom;
}

/* In the middle of whatever the process does. */
static void stop_for_a_while(int number)
{
	int error = errno;

	(void)number;
	if (doomed())
		kill(getpid(), SIGKILL);
	nanosleep(&(struct timespec){0, (long)(random_next(&stops) % 100000)}, NULL);
	stop_ahead = 0;
	errno = error;
}

/* Soon, but so late that most of them come in operations and not yet in here. */
static void set_stop(void)
{
	struct itimerval timer = {.it_value = {0, (suseconds_t)(2 + random_next(&stops) % 80)}};

	stop_ahead = 1;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void do_quota(struct recorder *recorder)
{
	while (atomic_load_explicit(&recorder->log->used, memory_order_relaxed) < QUOTA) {
		if (!stop_ahead && (doomed() || recorder_pick(recorder, 60) == 0))
			set_stop();
		recorder->dying = doomed();
		if (recorder_pick(recorder, recorder->dying ? 2 : 5) == 0)
			recorder_fill(recorder);
		recorder_act(recorder);
	}
}

struct worker {
	flagstore *store;
	uint8_t self;
};

/* Goes on until it is killed. */
static void work(void *argument)
{
	struct worker *worker = argument;
	struct place *place = &board->places[worker->self];
	struct recorder recorder;
	uint64_t random = board->seed * 1000003 + worker->self * 1009u + place->lives++;

	own = place;
	stops = ~random;
	prctl(PR_SET_TIMERSLACK, 1);
	signal(SIGALRM, stop_for_a_while);
	recorder_open(&recorder, worker->store, &place->log, worker->self, random);
	for (;;) {
		uint32_t round = atomic_load_explicit(&board->round, memory_order_acquire);

		if (round == atomic_load_explicit(&place->done, memory_order_relaxed)) {
			fs_futex_wait(&board->round, round, NULL);
			continue;
		}
		recorder.whole = board->whole;
		recorder.fault = board->fault;
		do_quota(&recorder);
		atomic_store_explicit(&place->done, round, memory_order_release);
		atomic_fetch_add(&board->finished, 1);
		fs_futex_wake(&board->finished);
	}
}

/* ------------------------------------------------------------------------------------------------------ a seed */

struct run {
	flagstore *store;
	pid_t pids[WORKERS];
	struct recorder look; /* this process's own */
	uint64_t random;
	uint64_t deaths; /* in the round */
	struct linear_search *search;
	struct history history;
	const struct event *events[(WORKERS + 1) * LOG_ROOM];
};

static void start_worker(struct run *run, uint8_t self)
{
	struct worker worker = {run->store, self};

	run->pids[self] = child(work, &worker);
}

static void begin_seed(struct run *run, uint64_t seed, enum fault fault)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	memset(run, 0, sizeof *run);
	memset(board, 0, sizeof *board);
	board->seed = run->random = seed;
	board->fault = fault;
	options.max_bytes = 64 << 20;
	options.lock_wait_ms = ROUND_LIMIT_MS;
	options.shards = 1u << random_next(&run->random) % 3;
	run->store = fresh(SEGMENT, &options);
	run->search = linear_search_new();
	run->history.events = run->events;
	recorder_open(&run->look, run->store, &board->last_look, WORKERS, seed);
	for (uint8_t i = 0; i < WORKERS; i++)
		start_worker(run, i);
	totals.seeds++;
}

static void end_seed(struct run *run)
{
	struct flagstore_info all = info(run->store);

	for (unsigned i = 0; i < WORKERS; i++)
		require(child_kill(run->pids[i]));
	totals.recoveries += all.recoveries;
	totals.growths += all.growths;
	recorder_close(&run->look);
	linear_search_free(run->search);
	flagstore_close(run->store);
	require_ok(flagstore_unlink(SEGMENT));
}

/* ----------------------------------------------------------------------------------------------------- a round */

static void begin_round(struct run *run, bool whole)
{
	for (unsigned i = 0; i < WORKERS; i++)
		atomic_store_explicit(&board->places[i].log.used, 0, memory_order_relaxed);
	atomic_store_explicit(&board->last_look.used, 0, memory_order_relaxed);
	memcpy(run->history.start, run->look.seen, sizeof run->history.start);
	board->whole = whole;
	atomic_fetch_add_explicit(&board->round, 1, memory_order_release);
	fs_futex_wake(&board->round);
}

/* Of some of them, one sooner or later in the round. */
static void doom_some(struct run *run)
{
	for (unsigned i = 0; i < WORKERS; i++)
		board->places[i].doom = random_next(&run->random) % 32 ? 0 : 1 + (uint32_t)(random_next(&run->random) % QUOTA);
}

/* Whoever has died is followed by another one, which now and then is to die soon itself, perhaps while it repairs what
 * the first one left. */
static void replace_dead(struct run *run)
{
	for (uint8_t i = 0; i < WORKERS; i++) {
		struct place *place = &board->places[i];
		int status;

		if (waitpid(run->pids[i], &status, WNOHANG) == 0)
			continue;
		note("seed %" PRIu64 ": process %u ended with status %#x", board->seed, i, (unsigned)status);
		require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		note("seed %" PRIu64, board->seed);
		place->doom =
			random_next(&run->random) % 4 ? 0 : 1 + atomic_load_explicit(&place->log.used, memory_order_relaxed);
		start_worker(run, i);
		run->deaths++;
	}
}

static bool all_done(uint32_t round)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (atomic_load_explicit(&board->places[i].done, memory_order_acquire) != round)
			return false;
	return true;
}

static void wait_for_all(struct run *run)
{
	uint32_t round = atomic_load_explicit(&board->round, memory_order_relaxed);
	int64_t limit = now_ms() + ROUND_LIMIT_MS;

	for (;;) {
		uint32_t finished = atomic_load(&board->finished);

		if (all_done(round))
			return;
		/* Those who die wake nobody. */
		if (fs_futex_wait(&board->finished, finished, &(struct timespec){0, 1000000}) < 0 && errno == ETIMEDOUT)
			replace_dead(run);
		require(now_ms() < limit);
	}
}

static void collect(struct run *run, const struct log *log)
{
	uint32_t used = atomic_load_explicit(&log->used, memory_order_acquire);

	for (uint32_t i = 0; i < used; i++) {
		run->events[run->history.count++] = &log->events[i];
		totals.unfinished += !log->events[i].ended;
	}
}

static void judge(struct run *run, unsigned flag, int *violated)
{
	enum linear_verdict verdict = model_judge(run->search, &run->history, flag);

	totals.histories++;
	if (verdict == LINEAR_YES)
		return;
	totals.violations++;
	*violated = (int)flag;
}

static void explain(struct run *run, unsigned flag)
{
	enum linear_verdict verdict = model_judge(run->search, &run->history, flag);
	char what[32] = "all flags as a whole";

	if (flag != MODEL_WHOLE)
		snprintf(what, sizeof what, "flag %u alone", flag);
	fprintf(stderr, "# seed %" PRIu64 ", round %u, %s: %s\n", board->seed, (unsigned)atomic_load(&board->round), what,
	        verdict == LINEAR_NO ? "not linearizable" : "the search was given up");
	model_explain(stderr, run->search, &run->history, flag);
}

/* Returns the flag whose history, or MODEL_WHOLE if the whole history, is not linearizable; -1 when all are. */
static int do_round(struct run *run, bool whole, bool deadly)
{
	int violated = -1;

	run->deaths = 0;
	if (deadly)
		doom_some(run);
	begin_round(run, whole);
	wait_for_all(run);
	if (run->deaths)
		require_healthy(run->store);
	recorder_look(&run->look);
	totals.kills += run->deaths;

	run->history.count = 0;
	for (unsigned i = 0; i < WORKERS; i++)
		collect(run, &board->places[i].log);
	collect(run, &board->last_look);
	totals.operations += run->history.count;
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		judge(run, i, &violated);
	if (whole)
		judge(run, MODEL_WHOLE, &violated);
	return violated;
}

/* ------------------------------------------------------------------------------------------------------- tests */

static void the_clock_is_one_for_all_processes(void **state)
{
	(void)state;
	require(clock_is_one());
}

static uint64_t number_in(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void tell_progress(int64_t start)
{
	static FILE *terminal;
	static int64_t told;
	const char *name = getenv("PROGRESS");
	int64_t now = now_ms();

	if (!name || !*name || now - told < 1000)
		return;
	/* It may be that of a group of processes that this one is not in. */
	signal(SIGTTOU, SIG_IGN);
	if (!terminal && !(terminal = fopen(name, "w")))
		return;
	told = now;
	fprintf(terminal,
	        "\r%" PRId64 " s: %" PRIu64 " seeds, %" PRIu64 " operations, %" PRIu64 " kills, %" PRIu64 " violations ",
	        (now - start) / 1000, totals.seeds, totals.operations, totals.kills, totals.violations);
	fflush(terminal);
}

/* A whole seed; false when something in it was not linearizable. */
static bool seed_is_linearizable(uint64_t seed, int64_t start)
{
	static struct run run;
	int violated = -1;

	begin_seed(&run, seed, FAULT_NONE);
	for (unsigned round = 0; round < ROUNDS && violated < 0; round++) {
		violated = do_round(&run, round % 2, true);
		tell_progress(start);
	}
	if (violated >= 0)
		explain(&run, (unsigned)violated);
	end_seed(&run);
	return violated < 0;
}

static void eight_processes_that_are_killed_and_replaced_are_linearizable(void **state)
{
	uint64_t soak = number_in("SOAK", 0), first = number_in("SEED", (uint64_t)now_ms() % 1000000000), seed = first;
	int64_t start = now_ms(), end = start + (int64_t)(soak ? soak : SHORT_SECONDS) * 1000;
	bool linearizable = true;

	(void)state;
	memset(&totals, 0, sizeof totals);
	while (linearizable && (now_ms() < end || (soak && totals.operations < SOAK_OPERATIONS)))
		linearizable = seed_is_linearizable(seed++, start);
	printf("# %" PRIu64 " seeds, %" PRIu64 " operations, %" PRIu64 " kills, %" PRIu64 " recoveries, %" PRIu64
	       " histories checked, %" PRIu64 " violations\n",
	       totals.seeds, totals.operations, totals.kills, totals.recoveries, totals.histories, totals.violations);
	printf("# first seed %" PRIu64 ", %" PRIu64 " operations left unfinished by the killed, %" PRIu64
	       " growths, %" PRId64 " operations a second\n",
	       first, totals.unfinished, totals.growths, (int64_t)totals.operations * 1000 / (now_ms() - start + 1));
	require(linearizable);
	require(totals.kills && totals.recoveries && totals.unfinished && totals.growths);
}

/* Rounds with the fault until it is found. Flags alone are to stay linearizable when only the whole is wrong. */
static void require_found(enum fault fault, const char *name, bool whole)
{
	static struct run run;
	int violated = -1;
	unsigned rounds = 0;

	begin_seed(&run, 1, fault);
	while (violated < 0 && rounds++ < 1000)
		violated = do_round(&run, whole, false);
	printf("# %s: found in round %u, in %s\n", name, rounds, violated == MODEL_WHOLE ? "the whole" : "one flag alone");
	if (getenv("SHOW_FAULTS") && violated >= 0)
		explain(&run, (unsigned)violated);
	end_seed(&run);
	require(violated >= 0);
	require_int(whole, violated == MODEL_WHOLE);
}

static void a_stale_read_is_found(void **state)
{
	(void)state;
	require_found(FAULT_STALE_READ, "a stale read", false);
}

static void a_lost_update_is_found(void **state)
{
	(void)state;
	require_found(FAULT_LOST_UPDATE, "a lost update", false);
}

static void a_batch_that_a_snapshot_sees_half_is_found(void **state)
{
	(void)state;
	require_found(FAULT_TORN_BATCH, "a torn batch", true);
}

static void a_snapshot_of_several_moments_is_found(void **state)
{
	(void)state;
	require_found(FAULT_TORN_SNAPSHOT, "a torn snapshot", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_is_one_for_all_processes),
		cmocka_unit_test(a_stale_read_is_found),
		cmocka_unit_test(a_lost_update_is_found),
		cmocka_unit_test(a_batch_that_a_snapshot_sees_half_is_found),
		cmocka_unit_test(a_snapshot_of_several_moments_is_found),
		cmocka_unit_test(eight_processes_that_are_killed_and_replaced_are_linearizable),
	};

	board = shared_memory(sizeof *board);
	return cmocka_run_group_tests(tests, segments_setup, segments_teardown);
}

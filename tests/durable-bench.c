/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durable-bench.c: what durability costs, in pairs: each figure and what it is compared with are taken in turn, in one run, and their
 * medians are compared. On the disk that $TMPDIR is on.
 *
 *     BENCH_ONLY=sync, async or table
 *     BENCH_ROUNDS=n (5)  BENCH_MS=n (1000; how long a round lasts)  BENCH_FLAGS=n (1000000)  BENCH_WRITERS=n (64)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "durability.h"

#include "segment.h"

#define SEGMENT "bench"

enum { ROUNDS_MAX = 100, WRITERS_MAX = 1024, KEYS = 1000 };

static unsigned number_from(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text && atoi(text) > 0 ? (unsigned)atoi(text) : otherwise;
}

static bool wanted(const char *part)
{
	const char *only = getenv("BENCH_ONLY");

	return !only || strcmp(only, part) == 0;
}

static int compare(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *figures, unsigned count)
{
	qsort(figures, count, sizeof *figures, compare);
	return figures[count / 2];
}

static unsigned missed;

static void judge(const char *what, double figure, double target, bool at_least)
{
	bool met = at_least ? figure >= target : figure <= target;

	printf("%-62s %10.2f  target %s %.0f: %s\n", what, figure, at_least ? ">=" : "<=", target, met ? "met" : "MISSED");
	fflush(stdout);
	missed += !met;
}

/* ------------------------------------------------------------------------------------- many synchronous writers */

static struct crowd {
	_Atomic uint32_t ready, go, stop;
	_Atomic uint64_t sets;
	const char *directory;
	unsigned number;
} *crowd;

static void line_up(void)
{
	crowd->ready++;
	while (!crowd->go)
		pause_us(500);
}

static void set_in_flagstore(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];
	uint64_t sets = 0;

	key_of(key, "writer", *(unsigned *)argument);
	require_ok(flagstore_set(store, key, false));
	line_up();
	for (; !crowd->stop; sets++)
		require_ok(flagstore_toggle(store, key, NULL));
	crowd->sets += sets;
	flagstore_close(store);
}

static void set_in_lmdb(void *argument)
{
	MDB_env *env = foreign_open(crowd->directory);
	char key[KEY_ROOM], value[16] = {1};
	uint64_t sets = 0;
	MDB_dbi flags;

	key_of(key, "writer", *(unsigned *)argument);
	line_up();
	for (; !crowd->stop; sets++) {
		MDB_txn *transaction = foreign_begin(env, 0, &flags);

		value[1] ^= 1;
		require_int(0, mdb_put(transaction, flags, &(MDB_val){strlen(key), key}, &(MDB_val){sizeof value, value}, 0));
		require_int(0, mdb_txn_commit(transaction));
	}
	crowd->sets += sets;
	mdb_env_close(env);
}

/* Sets a second, by all together. */
static double run_crowd(body *run, unsigned writers, unsigned ms)
{
	static unsigned numbers[WRITERS_MAX];
	pid_t pids[WRITERS_MAX];
	int64_t began, took;

	crowd->ready = crowd->go = crowd->stop = 0;
	crowd->sets = 0;
	for (unsigned i = 0; i < writers; i++) {
		numbers[i] = i;
		pids[i] = child(run, &numbers[i]);
	}
	while (crowd->ready < writers)
		pause_us(1000);
	began = now_us();
	crowd->go = 1;
	pause_us(1000 * (long)ms);
	crowd->stop = 1;
	took = now_us() - began;
	for (unsigned i = 0; i < writers; i++)
		child_succeeds(pids[i]);
	return (double)crowd->sets * 1e6 / (double)took;
}

static void many_writers(unsigned rounds, unsigned ms)
{
	unsigned writers = number_from("BENCH_WRITERS", 64);
	const char *kept = on_disk("flagstore"), *direct = on_disk("lmdb");
	flagstore *store = fresh_durable(SEGMENT, kept, FLAGSTORE_SYNC, 0);
	double ours[ROUNDS_MAX], theirs[ROUNDS_MAX];
	struct flagstore_persistence before, after;
	char what[100];

	crowd->directory = direct;
	flagstore_close(fresh_durable("other", direct, FLAGSTORE_SYNC, 0));
	require_ok(flagstore_unlink("other"));
	before = persistence(store);
	for (unsigned i = 0; i < rounds; i++) {
		ours[i] = run_crowd(set_in_flagstore, writers, ms);
		theirs[i] = run_crowd(set_in_lmdb, writers, ms);
	}
	after = persistence(store);
	require_in_step(store);
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
	printf("%u writers, synchronous: flagstore %.0f sets/s, LMDB with a transaction a set %.0f sets/s\n", writers, median(ours, rounds),
	       median(theirs, rounds));
	printf("    %.1f changes a commit, longest commit %.1f ms, breaker opened %llu times\n",
	       (double)(after.records - before.records) / (double)(after.commits - before.commits), (double)after.longest_commit_ns / 1e6,
	       (unsigned long long)after.trips);
	snprintf(what, sizeof what, "%u synchronous writers against LMDB, times its sets a second", writers);
	judge(what, median(ours, rounds) / median(theirs, rounds), 10, true);
}

/* ------------------------------------------------------------------------------------ asynchronous against volatile */

/* Nanoseconds a flip. */
static double flip(flagstore *store, unsigned ms)
{
	static char keys[KEYS][KEY_ROOM];
	int64_t began = now_us(), took;
	uint64_t flips = 0;

	for (unsigned i = 0; i < KEYS && !keys[i][0]; i++)
		key_of(keys[i], "flag", i);
	do {
		for (unsigned i = 0; i < KEYS; i++)
			require_ok(flagstore_set(store, keys[i], flips / KEYS % 2));
		flips += KEYS;
		took = now_us() - began;
	} while (took < 1000 * (int64_t)ms);
	return (double)took * 1000 / (double)flips;
}

static void asynchronous(unsigned rounds, unsigned ms)
{
	flagstore *kept = fresh_durable(SEGMENT, on_disk("async"), FLAGSTORE_ASYNC, 0), *not_kept = fresh("volatile", NULL);
	double ours[ROUNDS_MAX], theirs[ROUNDS_MAX];

	(void)flip(kept, 100);
	(void)flip(not_kept, 100);
	for (unsigned i = 0; i < rounds; i++) {
		ours[i] = flip(kept, ms);
		theirs[i] = flip(not_kept, ms);
	}
	printf("a flip as fast as one can: asynchronous %.1f ns, volatile %.1f ns\n", median(ours, rounds), median(theirs, rounds));
	judge("asynchronous against volatile, times its nanoseconds a flip", median(ours, rounds) / median(theirs, rounds), 2, false);
	require_in_step(kept);
	/* With pauses in which the journal is written: what a program sees that does not flip without end. */
	for (unsigned i = 0; i < rounds; i++) {
		require_ok(flagstore_sync(kept, -1));
		ours[i] = flip(kept, 1);
		require_ok(flagstore_sync(kept, -1));
		theirs[i] = flip(not_kept, 1);
	}
	printf("a flip in bursts of 1 ms: asynchronous %.1f ns, volatile %.1f ns\n", median(ours, rounds), median(theirs, rounds));
	judge("asynchronous against volatile in bursts, times", median(ours, rounds) / median(theirs, rounds), 2, false);
	flagstore_close(kept);
	flagstore_close(not_kept);
	require_ok(flagstore_unlink(SEGMENT));
	require_ok(flagstore_unlink("volatile"));
}

/* ------------------------------------------------------------------------------------------- loading, reconciling */

static int count(const char *key, size_t length, bool value, void *argument)
{
	(void)key;
	(void)length;
	(void)value;
	++*(uint64_t *)argument;
	return 0;
}

static void whole_table(unsigned rounds)
{
	unsigned flags = number_from("BENCH_FLAGS", 1000000);
	const char *directory = on_disk("million");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	double loads[ROUNDS_MAX], processor[ROUNDS_MAX], reads[ROUNDS_MAX], same[ROUNDS_MAX], anew[ROUNDS_MAX];
	char key[KEY_ROOM], path[PATH_ROOM + 16];
	flagstore *store;
	uint64_t seen;

	options.max_bytes = UINT64_C(1) << 30;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < flags; i++) {
		snprintf(key, sizeof key, "service.%u.feature-%u", i % 1000, i);
		require_ok(flagstore_set(store, key, i % 3 == 0));
	}
	require_ok(flagstore_sync(store, -1));
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	for (unsigned i = 0; i < rounds; i++) {
		int64_t began;
		clock_t used;

		flagstore_close(store);
		require_ok(flagstore_unlink(SEGMENT));
		seen = 0;
		began = now_us();
		require_ok(flagstore_read_saved(directory, count, &seen));
		reads[i] = (double)(now_us() - began) / 1000;
		require_int(flags, seen);
		began = now_us();
		used = clock();
		require_ok(flagstore_create(SEGMENT, &options, &store));
		loads[i] = (double)(now_us() - began) / 1000;
		processor[i] = (double)(clock() - used) * 1000 / CLOCKS_PER_SEC;
		require_int(flags, info(store).flags);
		require_ok(flagstore_toggle(store, "service.0.feature-0", NULL));
		store->journal->reconcile++;
		began = now_us();
		require_ok(flagstore_sync(store, -1));
		same[i] = (double)(now_us() - began) / 1000;
		/* All that was there is gone. */
		require(unlink(path) == 0);
		require_ok(flagstore_toggle(store, "service.0.feature-0", NULL));
		began = now_us();
		require_ok(flagstore_sync(store, -1));
		anew[i] = (double)(now_us() - began) / 1000;
		require_int(flags, saved_flags(directory));
	}
	printf("%u flags: created and loaded in %.0f ms, of which the processor %.0f ms (LMDB alone read in %.0f ms); compared, nothing to do, in "
	       "%.0f ms; written anew in %.0f ms\n", flags, median(loads, rounds), median(processor, rounds), median(reads, rounds), median(same, rounds), median(anew, rounds));
	judge("creation that loads them, milliseconds", median(loads, rounds), 1000, false);
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
}

static void figures(void **state)
{
	unsigned rounds = number_from("BENCH_ROUNDS", 5), ms = number_from("BENCH_MS", 1000);

	(void)state;
	rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
	if (wanted("sync"))
		many_writers(rounds, ms);
	if (wanted("async"))
		asynchronous(rounds, ms);
	if (wanted("table"))
		whole_table(rounds);
	printf("%u targets missed\n", missed);
}

static int setup(void **state)
{
	crowd = shared_memory(sizeof *crowd);
	return durable_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures),
	};

	return cmocka_run_group_tests(tests, setup, durable_teardown);
}

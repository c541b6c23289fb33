/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stress.c: 8 workers mix all operations on 1,000 flags while another one grows the same table from almost nothing. Then the
 * same once more, with workers killed at any moment and started again.
 *
 *     stress [--seconds S] [--grow FLAGS] [--workers N] [--seed N] [--threads]
 *
 * With --threads the workers are threads of one process (for a race detector) and nobody is killed.
 *
 * What must hold, by family of flags:
 *     toggle   only turned over. Each worker counts its successes; their sum is the number of changes: no lost update
 *     stay     never changed. Found at any time, in every way of reading: no phantom, no flag that is written but not readable
 *     group    changed as a whole, by batches. Snapshots see them all alike
 *     come     inserted and deleted. Of successful inserts and deletes, one more insert if it is there, else as many
 *     grow     inserted one after the other; those that are in are found
 * and in the end the checker finds nothing, and a cursor sees each flag once.
 */
#include "support.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "stress"

enum { WORKERS_MAX = 64, TOGGLE = 400, STAY = 300, COME = 240, GROUPS = 10, GROUP = 6 };

static struct {
	unsigned seconds;
	unsigned grow;
	unsigned workers;
	uint64_t seed;
	bool threads;
} chosen = {30, 200000, 8, 1, false};

#define ACTIONS(X)                                                                                                     \
	X(toggle_one, 200)                                                                                              \
	X(toggle_by_value, 60)                                                                                          \
	X(toggle_by_version, 60)                                                                                        \
	X(toggle_by_batch, 60)                                                                                          \
	X(come_or_go, 200)                                                                                              \
	X(change_group, 40)                                                                                             \
	X(read_group, 40)                                                                                               \
	X(set_to_the_same, 60)                                                                                          \
	X(read_those_that_stay, 200)                                                                                    \
	X(read_those_that_grow, 200)                                                                                    \
	X(wait_for_one, 1)                                                                                              \
	X(walk_over_all, 1)

enum {
#define ACTION_NUMBER(name, weight) action_##name,
	ACTIONS(ACTION_NUMBER)
#undef ACTION_NUMBER
	ACTIONS_COUNT
};

/* One worker's results, in memory that outlives it. Counts go on over restarts. */
struct tally {
	uint64_t toggled[TOGGLE];
	int64_t came[COME];
	uint64_t done[ACTIONS_COUNT];
	uint64_t busy;
	uint64_t restarts;
};

static struct board {
	uint32_t stop;
	uint32_t grown; /* so many flags of the family "grow" are in */
	struct tally tallies[WORKERS_MAX];
} *board;

struct worker {
	flagstore *store;
	struct tally *tally;
	uint64_t random;
	flagstore_handle *handles[STAY];
};

static unsigned pick(struct worker *worker, unsigned below)
{
	return (unsigned)(random_next(&worker->random) % below);
}

/* ----------------------------------------------------------------------------------------------- actions */

static void toggle_one(struct worker *worker)
{
	unsigned i = pick(worker, TOGGLE);
	char key[KEY_ROOM];

	require_ok(flagstore_toggle(worker->store, key_of(key, "toggle", i), NULL));
	worker->tally->toggled[i]++;
}

static void toggle_by_value(struct worker *worker)
{
	unsigned i = pick(worker, TOGGLE);
	char key[KEY_ROOM];
	bool expected = flagstore_get(worker->store, key_of(key, "toggle", i));
	int result = flagstore_compare_and_set(worker->store, key, expected, !expected);

	require(result == FLAGSTORE_OK || result == FLAGSTORE_ECONFLICT);
	worker->tally->toggled[i] += result == FLAGSTORE_OK;
}

static void toggle_by_version(struct worker *worker)
{
	unsigned i = pick(worker, TOGGLE);
	char key[KEY_ROOM];
	struct flagstore_flag flag = lookup(worker->store, key_of(key, "toggle", i));
	int result;

	require(flag.exists);
	result = flagstore_compare_and_set_version(worker->store, key, &flag, !flag.value);
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ECONFLICT);
	worker->tally->toggled[i] += result == FLAGSTORE_OK;
}

static void toggle_by_batch(struct worker *worker)
{
	enum { COUNT = 5 };
	unsigned first = pick(worker, TOGGLE), step = 1 + pick(worker, 60);
	flagstore_batch *batch;
	size_t changed = 0;
	char key[KEY_ROOM];

	require_ok(flagstore_batch_begin(worker->store, &batch));
	for (unsigned i = 0; i < COUNT; i++)
		require_ok(flagstore_batch_toggle(batch, key_of(key, "toggle", (first + i * step) % TOGGLE)));
	require_ok(flagstore_batch_commit(batch, &changed));
	require_int(COUNT, changed);
	for (unsigned i = 0; i < COUNT; i++)
		worker->tally->toggled[(first + i * step) % TOGGLE]++;
}

/* A quarter of the keys are too long for their slot. */
static const char *come_key(char *place, unsigned i)
{
	key_of(place, "come", i);
	if (i % 4 == 0)
		strcat(place, ".............................................");
	return place;
}

static void come_or_go(struct worker *worker)
{
	unsigned i = pick(worker, COME);
	char key[KEY_ROOM * 2];
	bool inserted = false;
	int result;

	come_key(key, i);
	if (pick(worker, 2)) {
		require_ok(flagstore_set_if_absent(worker->store, key, pick(worker, 2), &inserted));
		worker->tally->came[i] += inserted;
		return;
	}
	result = flagstore_delete(worker->store, key);
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTFOUND);
	worker->tally->came[i] -= result == FLAGSTORE_OK;
}

static const char *group_key(char *place, unsigned group, unsigned i)
{
	char prefix[32];

	snprintf(prefix, sizeof prefix, "group%u", group);
	return key_of(place, prefix, i);
}

static void change_group(struct worker *worker)
{
	unsigned group = pick(worker, GROUPS), change = pick(worker, 4);
	flagstore_batch *batch;
	char key[KEY_ROOM];
	int result;

	require_ok(flagstore_batch_begin(worker->store, &batch));
	for (unsigned i = 0; i < GROUP; i++) {
		group_key(key, group, i);
		if (change == 3)
			require_ok(flagstore_batch_delete(batch, key));
		else if (change == 2)
			require_ok(flagstore_batch_toggle(batch, key));
		else
			require_ok(flagstore_batch_set(batch, key, change));
	}
	result = flagstore_batch_commit(batch, NULL);
	if (result == FLAGSTORE_OK)
		return;
	/* Another one has deleted them. */
	require(result == FLAGSTORE_ENOTFOUND && change >= 2);
	flagstore_batch_abort(batch);
}

static void require_alike(struct worker *worker, unsigned group)
{
	char places[GROUP][KEY_ROOM];
	const char *keys[GROUP];
	struct flagstore_flag flags[GROUP];
	int result;

	for (unsigned i = 0; i < GROUP; i++)
		keys[i] = group_key(places[i], group, i);
	result = flagstore_snapshot(worker->store, keys, NULL, GROUP, flags);
	if (result == FLAGSTORE_EBUSY) {
		worker->tally->busy++;
		return;
	}
	require_int(FLAGSTORE_OK, result);
	for (unsigned i = 1; i < GROUP; i++) {
		require_int(flags[0].exists, flags[i].exists);
		require_int(flags[0].value, flags[i].value);
	}
}

static void read_group(struct worker *worker)
{
	require_alike(worker, pick(worker, GROUPS));
}

static void set_to_the_same(struct worker *worker)
{
	unsigned i = pick(worker, STAY);
	char key[KEY_ROOM];

	require_ok(flagstore_set(worker->store, key_of(key, "stay", i), i % 2));
}

static void read_those_that_stay(struct worker *worker)
{
	enum { COUNT = 16 };
	unsigned first = pick(worker, STAY);
	char places[COUNT][KEY_ROOM];
	const char *keys[COUNT];
	bool values[COUNT];

	for (unsigned i = 0; i < COUNT; i++)
		keys[i] = key_of(places[i], "stay", (first + i) % STAY);
	flagstore_get_many(worker->store, keys, NULL, COUNT, values);
	for (unsigned i = 0; i < COUNT; i++) {
		unsigned number = (first + i) % STAY;
		struct flagstore_flag flag = lookup(worker->store, keys[i]);

		require_int(number % 2, values[i]);
		require_int(number % 2, flagstore_get(worker->store, keys[i]));
		require_int(number % 2, flagstore_handle_get(worker->handles[number]));
		require(flag.exists && flag.changes == 1);
		require_int(number % 2, flag.value);
	}
}

static void read_those_that_grow(struct worker *worker)
{
	uint32_t grown = __atomic_load_n(&board->grown, __ATOMIC_ACQUIRE);
	char key[KEY_ROOM];

	/* The last one, as soon as it is in; and any other. */
	for (int i = 0; i < 4 && grown; i++) {
		require(flagstore_get(worker->store, key_of(key, "grow", grown - 1)));
		require(lookup(worker->store, key_of(key, "grow", pick(worker, grown))).value);
	}
}

static void wait_for_one(struct worker *worker)
{
	char key[KEY_ROOM];
	struct flagstore_flag flag = lookup(worker->store, key_of(key, "toggle", pick(worker, TOGGLE)));
	uint64_t before = flag.version;
	int result = flagstore_wait(worker->store, key, &flag, 20);

	require(result == FLAGSTORE_OK || result == FLAGSTORE_ETIMEDOUT);
	require_int(result == FLAGSTORE_OK, flag.version != before);
}

/* Each flag that stays once, those that are turned over too, and those that had been in before. */
static uint64_t walk(const flagstore *store)
{
	uint32_t grown = __atomic_load_n(&board->grown, __ATOMIC_ACQUIRE);
	unsigned char *seen = calloc(STAY + TOGGLE + grown + 1, 1), *stay = seen, *toggle = stay + STAY, *grow = toggle + TOGGLE;
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	uint64_t all = 0;
	int result;

	require(seen != NULL);
	require_ok(flagstore_cursor_open(store, &cursor));
	while ((result = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK) {
		unsigned i = (unsigned)strtoul(strchr(entry.key, '.') + 1, NULL, 10);

		all++;
		if (strncmp(entry.key, "stay", 4) == 0 && i < STAY)
			stay[i]++;
		else if (strncmp(entry.key, "toggle", 6) == 0 && i < TOGGLE)
			toggle[i]++;
		else if (strncmp(entry.key, "grow", 4) == 0 && i < grown)
			grow[i]++;
	}
	require_int(FLAGSTORE_ENOTFOUND, result);
	flagstore_cursor_close(cursor);
	for (unsigned i = 0; i < STAY + TOGGLE + grown; i++)
		require_int(1, seen[i]);
	free(seen);
	return all;
}

static void walk_over_all(struct worker *worker)
{
	/* The larger the table, the rarer. */
	if (pick(worker, 1 + __atomic_load_n(&board->grown, __ATOMIC_RELAXED) / 1000) == 0)
		walk(worker->store);
}

/* ----------------------------------------------------------------------------------------------- workers */

static const struct action {
	const char *name;
	unsigned weight;
	void (*run)(struct worker *worker);
} actions[] = {
#define ACTION_ROW(name, weight) {#name, weight, name},
	ACTIONS(ACTION_ROW)
#undef ACTION_ROW
};

static unsigned choose(struct worker *worker)
{
	unsigned sum = 0, left, action = 0;

	for (unsigned i = 0; i < ACTIONS_COUNT; i++)
		sum += actions[i].weight;
	for (left = pick(worker, sum); left >= actions[action].weight; action++)
		left -= actions[action].weight;
	return action;
}

static bool stopped(void)
{
	return __atomic_load_n(&board->stop, __ATOMIC_RELAXED);
}

static void work(flagstore *store, unsigned self)
{
	struct worker worker = {.store = store, .tally = &board->tallies[self]};
	char key[KEY_ROOM];

	worker.random = chosen.seed * 1000 + self + worker.tally->restarts++ * 1000003;
	for (unsigned i = 0; i < STAY; i++)
		require_ok(flagstore_handle_open(store, key_of(key, "stay", i), &worker.handles[i]));
	while (!stopped()) {
		unsigned action = choose(&worker);

		actions[action].run(&worker);
		worker.tally->done[action]++;
	}
	for (unsigned i = 0; i < STAY; i++)
		flagstore_handle_close(worker.handles[i]);
}

/* Spreads the growth over most of the time, so that all of it happens under fire. */
static void grow(flagstore *store, unsigned to)
{
	int64_t start = now_ms(), span = (int64_t)chosen.seconds * 700;
	uint32_t from = board->grown;
	char key[KEY_ROOM];

	for (uint32_t i = from; i < to && !stopped(); i++) {
		require_ok(flagstore_set(store, key_of(key, "grow", i), true));
		require(flagstore_get(store, key));
		__atomic_store_n(&board->grown, i + 1, __ATOMIC_RELEASE);
		while (i % 64 == 0 && !stopped() && (now_ms() - start) * (to - from) < span * (i - from))
			pause_us(500);
	}
}

static unsigned grow_to;

static void worker_process(void *argument)
{
	unsigned self = *(unsigned *)argument;
	flagstore *store = attach(SEGMENT, 0);

	if (self == 0)
		grow(store, grow_to);
	else
		work(store, self);
	flagstore_close(store);
}

struct thread {
	pthread_t thread;
	flagstore *store;
	unsigned self;
};

static void *worker_thread(void *argument)
{
	struct thread *thread = argument;

	if (thread->self == 0)
		grow(thread->store, grow_to);
	else
		work(thread->store, thread->self);
	return NULL;
}

/* ------------------------------------------------------------------------------------------------ the end */

static uint64_t sum_toggled(unsigned i)
{
	uint64_t sum = 0;

	for (unsigned w = 0; w < WORKERS_MAX; w++)
		sum += board->tallies[w].toggled[i];
	return sum;
}

static int64_t sum_came(unsigned i)
{
	int64_t sum = 0;

	for (unsigned w = 0; w < WORKERS_MAX; w++)
		sum += board->tallies[w].came[i];
	return sum;
}

/* deaths: how many were killed, each perhaps between a change and its count. */
static void require_all_right(flagstore *store, uint64_t deaths)
{
	struct worker last = {.store = store, .tally = &board->tallies[0], .random = chosen.seed};
	uint64_t uncounted = 0;
	char key[KEY_ROOM * 2];

	/* First of all, since it also finishes what the dead have begun. */
	require_healthy(store);
	for (unsigned i = 0; i < TOGGLE; i++) {
		struct flagstore_flag flag = lookup(store, key_of(key, "toggle", i));

		note("toggle.%u: counted %llu", i, (unsigned long long)sum_toggled(i));
		require(flag.exists && flag.changes - 1 >= sum_toggled(i));
		require_int((flag.changes - 1) % 2, flag.value);
		uncounted += flag.changes - 1 - sum_toggled(i);
	}
	note("%llu toggles not counted, %llu deaths", (unsigned long long)uncounted, (unsigned long long)deaths);
	require(uncounted <= 5 * deaths); /* a batch toggles 5 */
	note("the end");
	for (unsigned i = 0; i < COME && !deaths; i++)
		require_int(sum_came(i), lookup(store, come_key(key, i)).exists);
	for (unsigned i = 0; i < GROUPS; i++)
		require_alike(&last, i);
	for (unsigned i = 0; i < board->grown; i++)
		require(flagstore_get(store, key_of(key, "grow", i)));
	require_int(info(store).flags, walk(store));
}

static void print_counts(flagstore *store)
{
	struct flagstore_info all = info(store);
	uint64_t busy = 0;

	for (unsigned a = 0; a < ACTIONS_COUNT; a++) {
		uint64_t done = 0;

		for (unsigned w = 0; w < WORKERS_MAX; w++)
			done += board->tallies[w].done[a];
		printf("# %-22s %10llu\n", actions[a].name, (unsigned long long)done);
	}
	for (unsigned w = 0; w < WORKERS_MAX; w++)
		busy += board->tallies[w].busy;
	printf("# %llu flags, %llu growths, %llu recoveries, %llu bytes of %llu used, %llu busy snapshots\n",
	       (unsigned long long)all.flags, (unsigned long long)all.growths, (unsigned long long)all.recoveries,
	       (unsigned long long)all.used_bytes, (unsigned long long)all.file_bytes, (unsigned long long)busy);
}

static flagstore *start_table(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	char key[KEY_ROOM];

	options.max_bytes = 256 << 20;
	options.lock_wait_ms = 20000;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < STAY; i++)
		require_ok(flagstore_set(store, key_of(key, "stay", i), i % 2));
	for (unsigned i = 0; i < TOGGLE; i++)
		require_ok(flagstore_set(store, key_of(key, "toggle", i), false));
	return store;
}

/* Reads along, from outside, until the time is up. */
static void look_on(flagstore *reader)
{
	struct worker worker = {.store = reader, .tally = &board->tallies[WORKERS_MAX - 1], .random = chosen.seed};
	int64_t end = now_ms() + (int64_t)chosen.seconds * 1000;

	while (now_ms() < end) {
		read_those_that_grow(&worker);
		read_group(&worker);
		pause_us(5000);
	}
	__atomic_store_n(&board->stop, 1, __ATOMIC_RELAXED);
}

static void run_processes(flagstore *reader)
{
	pid_t pids[WORKERS_MAX];

	for (unsigned i = 0; i <= chosen.workers; i++)
		pids[i] = child(worker_process, &i);
	look_on(reader);
	for (unsigned i = 0; i <= chosen.workers; i++)
		child_succeeds(pids[i]);
}

static void run_threads(flagstore *store, flagstore *reader)
{
	struct thread threads[WORKERS_MAX];

	for (unsigned i = 0; i <= chosen.workers; i++) {
		threads[i] = (struct thread){.store = store, .self = i};
		require(pthread_create(&threads[i].thread, NULL, worker_thread, &threads[i]) == 0);
	}
	look_on(reader);
	for (unsigned i = 0; i <= chosen.workers; i++)
		require(pthread_join(threads[i].thread, NULL) == 0);
}

/* Kills one every few milliseconds and starts it again. Returns how many. */
static uint64_t run_mortals(flagstore *reader)
{
	pid_t pids[WORKERS_MAX];
	int64_t end = now_ms() + (int64_t)chosen.seconds * 1000;
	struct worker chance = {.store = reader, .tally = &board->tallies[WORKERS_MAX - 1], .random = chosen.seed};
	uint64_t deaths = 0;

	for (unsigned i = 0; i <= chosen.workers; i++)
		pids[i] = child(worker_process, &i);
	while (now_ms() < end) {
		unsigned victim = pick(&chance, chosen.workers + 1);

		pause_us((long)(1000 + pick(&chance, 15000)));
		read_those_that_grow(&chance);
		kill(pids[victim], SIGKILL);
		int status = child_status(pids[victim], 20000);

		/* The grower may have done all its work. */
		require(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : victim == 0 && status == 0);
		deaths += WIFSIGNALED(status);
		pids[victim] = child(worker_process, &victim);
	}
	__atomic_store_n(&board->stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i <= chosen.workers; i++)
		child_succeeds(pids[i]);
	return deaths;
}

/* The whole of a phase, on a table of its own. */
static void phase(unsigned number, bool mortal)
{
	flagstore *store, *reader;
	uint64_t deaths = 0;

	memset(board, 0, sizeof *board);
	store = start_table();
	reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	if (mortal)
		deaths = run_mortals(reader);
	else if (chosen.threads)
		run_threads(store, reader);
	else
		run_processes(reader);
	require_all_right(store, deaths);
	require_all_right(reader, deaths);
	printf("# %u %s for %u s, grown to %u flags, seed %llu, %llu killed\n", chosen.workers,
	       chosen.threads ? "threads" : "processes", chosen.seconds, board->grown, (unsigned long long)chosen.seed,
	       (unsigned long long)deaths);
	print_counts(store);
	if (!mortal)
		require_int(grow_to, board->grown);
	printf("ok %u - %u %s on 1,000 flags%s\n", number, chosen.workers, chosen.threads ? "threads" : "processes",
	       mortal ? ", killed at any moment" : ", none of them killed");
	flagstore_close(reader);
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (!*text || *end) {
		fprintf(stderr, "stress: \"%s\" is no number\n", text);
		exit(2);
	}
	return value;
}

static void choose_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 's'}, {"grow", required_argument, NULL, 'g'},
		{"workers", required_argument, NULL, 'w'}, {"seed", required_argument, NULL, 'r'},
		{"threads", no_argument, NULL, 't'},       {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == 's')
			chosen.seconds = (unsigned)number(optarg);
		else if (option == 'g')
			chosen.grow = (unsigned)number(optarg);
		else if (option == 'w')
			chosen.workers = (unsigned)number(optarg);
		else if (option == 'r')
			chosen.seed = number(optarg);
		else if (option == 't')
			chosen.threads = true;
		else
			exit(2);
	if (optind != argc || chosen.workers < 1 || chosen.workers > WORKERS_MAX - 2) {
		fputs("usage: stress [--seconds S] [--grow FLAGS] [--workers N] [--seed N] [--threads]\n", stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	void *state = NULL;

	choose_options(argc, argv);
	board = shared_memory(sizeof *board);
	if (segments_setup(&state) != 0)
		return 1;
	printf("1..%d\n", chosen.threads ? 1 : 2);
	grow_to = chosen.grow;
	phase(1, false);
	if (!chosen.threads) {
		chosen.seconds = (chosen.seconds + 2) / 3;
		phase(2, true);
	}
	return segments_teardown(&state);
}

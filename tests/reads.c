/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reads.c: handles, reads of several flags, cursors, waits and watches, while others change the table under them.
 */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "reads"

/* One shard: everything that happens, happens in the same place. */
static flagstore *fresh_narrow(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	options.shards = 1;
	options.max_bytes = 64 << 20;
	return fresh(SEGMENT, &options);
}

static void insert_many(flagstore *store, const char *prefix, unsigned from, unsigned to)
{
	char key[KEY_ROOM];

	for (unsigned i = from; i < to; i++)
		require_ok(flagstore_set(store, key_of(key, prefix, i), i % 2));
}

static void delete_many(flagstore *store, const char *prefix, unsigned from, unsigned to)
{
	char key[KEY_ROOM];

	for (unsigned i = from; i < to; i++)
		require_ok(flagstore_delete(store, key_of(key, prefix, i)));
}

static flagstore_handle *open_handle(const flagstore *store, const char *key)
{
	flagstore_handle *handle = NULL;

	require_ok(flagstore_handle_open(store, key, &handle));
	return handle;
}

/* ----------------------------------------------------------------------------------------------- handles */

static void a_handle_follows_its_flag_through_all_lives(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	flagstore_handle *handles[] = {open_handle(store, "a"), open_handle(reader, "a")};

	(void)state;
	for (int life = 0; life < 100; life++)
		for (int h = 0; h < 2; h++) {
			require(!flagstore_handle_get(handles[h]));
			require_ok(flagstore_set(store, "a", true));
			require(flagstore_handle_get(handles[h]));
			require_ok(flagstore_set(store, "a", false));
			require(!flagstore_handle_get(handles[h]));
			require_ok(flagstore_toggle(store, "a", NULL));
			require(flagstore_handle_get(handles[h]));
			require_ok(flagstore_delete(store, "a"));
		}
	flagstore_handle_close(handles[0]);
	flagstore_handle_close(handles[1]);
	flagstore_close(reader);
	flagstore_close(store);
}

static void a_handle_does_not_read_the_flag_that_took_over_the_slot(void **state)
{
	flagstore *store = fresh_narrow();
	flagstore_handle *handles[10];
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		require_ok(flagstore_set(store, key_of(key, "old", i), true));
		handles[i] = open_handle(store, key);
		require(flagstore_handle_get(handles[i]));
	}
	/* Never more than were there, so that the bucket does not grow and its slots are taken over. */
	for (unsigned round = 0; round < 50; round++) {
		delete_many(store, round ? "new" : "old", 0, 10);
		for (unsigned i = 0; i < 10; i++)
			require_ok(flagstore_set(store, key_of(key, "new", i), i % 2 || round % 2));
		for (unsigned i = 0; i < 10; i++)
			require(!flagstore_handle_get(handles[i]));
	}
	for (unsigned i = 0; i < 10; i++) {
		require_ok(flagstore_set(store, key_of(key, "old", i), true));
		require(flagstore_handle_get(handles[i]));
		flagstore_handle_close(handles[i]);
	}
	flagstore_close(store);
}

static void a_handle_follows_its_flag_through_growth(void **state)
{
	flagstore *store = fresh_narrow();
	flagstore_handle *handles[50];
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		require_ok(flagstore_set(store, key_of(key, "moved", i), i % 2));
		handles[i] = open_handle(store, key);
	}
	for (unsigned round = 0; round < 100; round++) {
		insert_many(store, "other", round * 200, round * 200 + 200);
		for (unsigned i = 0; i < 50; i++) {
			require_int((i + round) % 2, flagstore_handle_get(handles[i]));
			require_ok(flagstore_toggle(store, key_of(key, "moved", i), NULL));
			require_int((i + round + 1) % 2, flagstore_handle_get(handles[i]));
		}
	}
	require(info(store).growths > 20);
	for (unsigned i = 0; i < 50; i++)
		flagstore_handle_close(handles[i]);
	flagstore_close(store);
}

struct shared_handle {
	flagstore *store;
	flagstore_handle *stays;
	flagstore_handle *comes_and_goes;
	bool stop;
};

static void *read_shared_handle(void *argument)
{
	struct shared_handle *shared = argument;
	uintptr_t reads = 0;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		require(flagstore_handle_get(shared->stays));
		(void)flagstore_handle_get(shared->comes_and_goes);
		reads++;
	}
	return (void *)reads;
}

static void threads_share_a_handle_while_its_flag_moves(void **state)
{
	struct shared_handle shared = {.store = fresh_narrow()};
	pthread_t threads[3];
	int64_t end = now_ms() + 1500;
	unsigned grown = 0;

	(void)state;
	require_ok(flagstore_set(shared.store, "stays", true));
	shared.stays = open_handle(shared.store, "stays");
	shared.comes_and_goes = open_handle(shared.store, "comes and goes");
	for (int i = 0; i < 3; i++)
		require(pthread_create(&threads[i], NULL, read_shared_handle, &shared) == 0);
	for (; now_ms() < end; grown += 10) {
		insert_many(shared.store, "other", grown % 100000, grown % 100000 + 10);
		require_ok(flagstore_set(shared.store, "comes and goes", true));
		require(flagstore_handle_get(shared.comes_and_goes));
		require_ok(flagstore_delete(shared.store, "comes and goes"));
		require(!flagstore_handle_get(shared.comes_and_goes));
	}
	__atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++) {
		void *reads;

		require(pthread_join(threads[i], &reads) == 0);
		require(reads != NULL);
	}
	flagstore_handle_close(shared.stays);
	flagstore_handle_close(shared.comes_and_goes);
	flagstore_close(shared.store);
}

static void use_the_parents_handle(void *argument)
{
	struct shared_handle *shared = argument;

	require(flagstore_handle_get(shared->stays));
	require(!flagstore_handle_get(shared->comes_and_goes));
	require_ok(flagstore_set(shared->store, "comes and goes", true));
	require(flagstore_handle_get(shared->comes_and_goes));
	insert_many(shared->store, "other", 0, 2000);
	require(flagstore_handle_get(shared->comes_and_goes));
	flagstore_handle_close(shared->stays);
	flagstore_handle_close(shared->comes_and_goes);
	flagstore_close(shared->store);
}

static void a_handle_goes_on_after_fork(void **state)
{
	struct shared_handle shared = {.store = fresh_narrow()};

	(void)state;
	require_ok(flagstore_set(shared.store, "stays", true));
	shared.stays = open_handle(shared.store, "stays");
	shared.comes_and_goes = open_handle(shared.store, "comes and goes");
	require(flagstore_handle_get(shared.stays));
	in_child(use_the_parents_handle, &shared);
	require(flagstore_handle_get(shared.stays));
	require(flagstore_handle_get(shared.comes_and_goes));
	flagstore_handle_close(shared.stays);
	flagstore_handle_close(shared.comes_and_goes);
	flagstore_close(shared.store);
}

/* ---------------------------------------------------------------------------------- reads of several flags */

enum { MANY = 5000 };

static void get_many_reads_what_get_does(void **state)
{
	static char keys[MANY][FLAGSTORE_KEY_MAX + 2];
	static const char *pointers[MANY];
	static size_t lengths[MANY];
	static bool values[MANY + 1];
	flagstore *store = fresh(SEGMENT, NULL);
	uint64_t random = 3;

	(void)state;
	insert_many(store, "flag", 0, 20000);
	for (int i = 0; i < 100; i++) {
		memset(keys[0], 'L', FLAGSTORE_KEY_MAX);
		require_ok(flagstore_set_n(store, keys[0], (size_t)(30 + i * 2), i % 2));
	}
	for (size_t count = 0; count <= MANY; count = count < 40 ? count + 1 : count * 2 + 1) {
		for (size_t i = 0; i < count; i++) {
			unsigned pick = (unsigned)(random_next(&random) % 40000);

			pointers[i] = keys[i];
			memset(keys[i], 'L', FLAGSTORE_KEY_MAX);
			lengths[i] = pick % 260; /* 0 and more than 255 too: no keys, so false */
			if (pick % 4)
				lengths[i] = strlen(key_of(keys[i], "flag", pick));
		}
		memset(values, 2, sizeof values);
		flagstore_get_many(store, pointers, lengths, count, values);
		for (size_t i = 0; i < count; i++)
			require_int(flagstore_get_n(store, keys[i], lengths[i]), values[i]);
		require_int(2, *(unsigned char *)&values[count]);

		for (size_t i = 0; i < count; i++)
			keys[i][lengths[i] > 255 ? 256 : lengths[i]] = 0;
		memset(values, 2, sizeof values);
		flagstore_get_many(store, pointers, NULL, count, values);
		for (size_t i = 0; i < count; i++)
			require_int(flagstore_get(store, keys[i]), values[i]);
	}
	flagstore_close(store);
}

static void a_snapshot_of_a_quiet_table_is_what_lookup_says(void **state)
{
	const char *keys[] = {"flag.1", "missing", "flag.2", "flag.1", "flag.99"};
	size_t lengths[] = {6, 7, 6, 6, 7};
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	struct flagstore_flag flags[5], before;

	(void)state;
	insert_many(store, "flag", 0, 100);
	for (int way = 0; way < 4; way++) {
		memset(flags, 0xff, sizeof flags);
		require_ok(flagstore_snapshot(way & 1 ? reader : store, keys, way & 2 ? lengths : NULL, 5, flags));
		for (int i = 0; i < 5; i++) {
			struct flagstore_flag flag = lookup(store, keys[i]);

			require(flag.value == flags[i].value && flag.exists == flags[i].exists);
			require(flag.version == flags[i].version && flag.changes == flags[i].changes);
			require(flag.changed_ms == flags[i].changed_ms && flag.writer == flags[i].writer);
		}
	}
	require_ok(flagstore_snapshot(store, keys, NULL, 0, NULL));
	memset(flags, 0xee, sizeof flags);
	before = flags[0];
	keys[4] = "";
	require_error(FLAGSTORE_EKEY, flagstore_snapshot(store, keys, NULL, 5, flags));
	require(memcmp(&before, &flags[0], sizeof before) == 0);
	flagstore_close(reader);
	flagstore_close(store);
}

enum { RING = 12 };

static void flip_in_turn_for_ever(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	char keys[RING][KEY_ROOM];

	(void)argument;
	for (unsigned i = 0; i < RING; i++)
		key_of(keys[i], "ring", i);
	for (unsigned i = 0;; i = (i + 1) % RING)
		require_ok(flagstore_toggle(store, keys[i], NULL));
}

/* Flags that one process flips in turn: at any moment none is behind its successor, nor more than one change ahead of it. */
static unsigned snapshots_of_the_ring(flagstore *store)
{
	char places[RING][KEY_ROOM];
	const char *keys[RING];
	struct flagstore_flag flags[RING];
	unsigned good = 0;

	for (unsigned i = 0; i < RING; i++)
		keys[i] = key_of(places[i], "ring", i);
	for (int round = 0; round < 300; round++) {
		int result = flagstore_snapshot(store, keys, NULL, RING, flags);

		if (result == FLAGSTORE_EBUSY)
			continue;
		require_int(FLAGSTORE_OK, result);
		for (int i = 1; i < RING; i++)
			require(flags[i - 1].changes >= flags[i].changes);
		require(flags[0].changes - flags[RING - 1].changes <= 1);
		good++;
	}
	return good;
}

static void no_snapshot_shows_a_flip_between_two_others(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, NULL), *reader;
	pid_t pid;
	unsigned first;

	(void)state;
	insert_many(store, "ring", 0, RING);
	first = lookup(store, "ring.0").changes;
	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = 10;
	require_ok(flagstore_attach(SEGMENT, &options, &reader));
	pid = child(flip_in_turn_for_ever, NULL);
	while (lookup(store, "ring.0").changes == first)
		pause_us(100);
	require_int(300, snapshots_of_the_ring(store));
	printf("# %u of 300 read-only snapshots found a quiet moment\n", snapshots_of_the_ring(reader));
	require(child_kill(pid));
	flagstore_close(reader);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------ cursor */

enum { STAYING = 4000 };

/* Walks over all flags; those called "stay" must come exactly once, each with its value. Others may come, once at most when
 * they stay alive meanwhile. Calls between (unless NULL) after each of the first flags. */
static unsigned walk(const flagstore *store, unsigned staying, void (*between)(void *), void *argument)
{
	unsigned char *seen = calloc(staying, 1);
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	unsigned all = 0;
	int result;

	require(seen != NULL);
	require_ok(flagstore_cursor_open(store, &cursor));
	while ((result = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK) {
		require(entry.length == strlen(entry.key));
		require(entry.flag.exists && entry.flag.version != 0);
		if (strncmp(entry.key, "stay.", 5) == 0) {
			unsigned i = (unsigned)strtoul(entry.key + 5, NULL, 10);

			require(i < staying);
			require_int(0, seen[i]);
			require_int(i % 2, entry.flag.value);
			seen[i] = 1;
		}
		if (between && all % 16 == 0)
			between(argument);
		all++;
	}
	require_int(FLAGSTORE_ENOTFOUND, result);
	require_error(FLAGSTORE_ENOTFOUND, flagstore_cursor_next(cursor, &entry));
	for (unsigned i = 0; i < staying; i++)
		require_int(1, seen[i]);
	flagstore_cursor_close(cursor);
	free(seen);
	return all;
}

static void a_cursor_sees_every_flag_once(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);

	(void)state;
	require_int(0, walk(store, 0, NULL, NULL));
	insert_many(store, "stay", 0, 1);
	require_int(1, walk(store, 1, NULL, NULL));
	insert_many(store, "stay", 1, 30000);
	require_int(30000, walk(store, 30000, NULL, NULL));
	require_int(30000, walk(reader, 30000, NULL, NULL));
	insert_many(store, "other", 0, 1000);
	delete_many(store, "other", 0, 500);
	require_int(30500, walk(reader, 30000, NULL, NULL));
	flagstore_close(reader);
	flagstore_close(store);
}

struct grower {
	flagstore *store;
	unsigned grown;
};

static void grow_a_little(void *argument)
{
	struct grower *grower = argument;

	if (grower->grown >= 20000)
		return;
	insert_many(grower->store, "other", grower->grown, grower->grown + 300);
	grower->grown += 300;
}

static void buckets_that_split_under_a_cursor_are_seen_once(void **state)
{
	static const unsigned sizes[] = {1, 10, 100, 500, 700, 2000};

	(void)state;
	/* From the first entry on the one bucket of the one shard becomes many. */
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct grower grower = {.store = fresh_narrow()};

		insert_many(grower.store, "stay", 0, sizes[i]);
		walk(grower.store, sizes[i], grow_a_little, &grower);
		require(info(grower.store).growths > 0);
		flagstore_close(grower.store);
	}
}

struct turmoil {
	flagstore *store;
	bool stop;
};

static void *grow_for_ever(void *argument)
{
	struct turmoil *turmoil = argument;

	for (unsigned grown = 0; !__atomic_load_n(&turmoil->stop, __ATOMIC_RELAXED) && grown < 100000; grown += 100)
		insert_many(turmoil->store, "other", grown, grown + 100);
	return NULL;
}

static void come_and_go_for_ever(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);

	for (;;) {
		insert_many(store, argument, 0, 300);
		delete_many(store, argument, 0, 300);
	}
}

static void flags_that_stay_are_seen_once_while_all_others_change(void **state)
{
	struct turmoil turmoil = {.store = fresh(SEGMENT, NULL)};
	flagstore *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	int64_t end = now_ms() + 3000;
	unsigned walks = 0;
	pthread_t thread;
	pid_t pids[2];

	(void)state;
	insert_many(turmoil.store, "stay", 0, STAYING);
	pids[0] = child(come_and_go_for_ever, (void *)(uintptr_t)"first");
	pids[1] = child(come_and_go_for_ever, (void *)(uintptr_t)"second");
	require(pthread_create(&thread, NULL, grow_for_ever, &turmoil) == 0);
	for (; now_ms() < end; walks++)
		walk(walks % 2 ? reader : turmoil.store, STAYING, NULL, NULL);
	__atomic_store_n(&turmoil.stop, true, __ATOMIC_RELAXED);
	require(pthread_join(thread, NULL) == 0);
	require(child_kill(pids[0]) && child_kill(pids[1]));
	printf("# %u walks, table grown to %llu flags\n", walks, (unsigned long long)info(reader).flags);
	require_healthy(turmoil.store);
	flagstore_close(reader);
	flagstore_close(turmoil.store);
}

enum { STOPPED_STAYING = 60, CHURNING = 30 };

/* Reads in every way, for ever; what it needs to know is always there. */
static void read_for_ever(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	char places[STOPPED_STAYING][KEY_ROOM];
	flagstore_handle *handles[STOPPED_STAYING];

	for (unsigned i = 0; i < STOPPED_STAYING; i++)
		handles[i] = open_handle(store, key_of(places[i], "stay", i));
	for (;;) {
		for (unsigned i = 0; i < STOPPED_STAYING; i++) {
			require_int(i % 2, flagstore_get(store, places[i]));
			require_int(i % 2, flagstore_handle_get(handles[i]));
			require(lookup(store, places[i]).changes == 1);
		}
		walk(store, STOPPED_STAYING, NULL, NULL);
		++*(unsigned *)argument;
	}
}

/* Buckets are made anew again and again, in the places of those before, while the reader looks at one of them. */
static void a_reader_that_was_stopped_for_long_sees_nothing_that_is_wrong(void **state)
{
	flagstore *store = fresh_narrow();
	unsigned *reads = shared_memory(sizeof *reads), churned = 0;
	int64_t end = now_ms() + 4000;
	uint64_t growths, random = 29;
	char key[KEY_ROOM];
	int status;
	pid_t pid;

	(void)state;
	insert_many(store, "stay", 0, STOPPED_STAYING);
	insert_many(store, "churn", 0, CHURNING);
	growths = info(store).growths;
	pid = child(read_for_ever, reads);
	for (unsigned stops = 0; now_ms() < end; stops++) {
		pause_us((long)(random_next(&random) % 300));
		require(kill(pid, SIGSTOP) == 0);
		require(waitpid(pid, &status, WUNTRACED) == pid);
		require(WIFSTOPPED(status));
		for (unsigned i = 0; i < 3000; i++, churned++) {
			require_ok(flagstore_set(store, key_of(key, "churn", churned + CHURNING), true));
			require_ok(flagstore_delete(store, key_of(key, "churn", churned)));
		}
		kill(pid, SIGCONT);
	}
	require(child_kill(pid));
	printf("# buckets made anew %llu times, %u rounds of reads\n", (unsigned long long)(info(store).growths - growths), *reads);
	require(info(store).growths - growths > 1000 && *reads > 100);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------- waiting */

struct later {
	const char *key;
	enum { SET, DELETE, BATCH } change;
};

static void change_later(void *argument)
{
	const struct later *later = argument;
	flagstore *store = attach(SEGMENT, 0);
	flagstore_batch *batch;

	pause_us(50000);
	if (later->change == SET) {
		require_ok(flagstore_set(store, later->key, true));
	} else if (later->change == DELETE) {
		require_ok(flagstore_delete(store, later->key));
	} else {
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_set(batch, "unheard of", true));
		require_ok(flagstore_batch_toggle(batch, later->key));
		require_ok(flagstore_batch_commit(batch, NULL));
	}
	flagstore_close(store);
}

static void a_wait_ends_at_its_time_limit(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	const flagstore *stores[] = {store, reader};

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	for (int s = 0; s < 2; s++)
		for (int exists = 0; exists < 2; exists++) {
			const char *key = exists ? "a" : "missing";
			struct flagstore_flag flag = lookup(store, key), before = flag;
			int64_t start = now_ms();

			require_error(FLAGSTORE_ETIMEDOUT, flagstore_wait(stores[s], key, &flag, 0));
			require(now_ms() - start < 50);
			start = now_ms();
			require_error(FLAGSTORE_ETIMEDOUT, flagstore_wait(stores[s], key, &flag, 100));
			require(now_ms() - start >= 99 && now_ms() - start < 1000);
			require(memcmp(&flag, &before, sizeof flag) == 0);
		}
	flagstore_close(reader);
	flagstore_close(store);
}

static void another_flags_change_does_not_end_a_wait(void **state)
{
	struct later later = {"other", SET};
	flagstore *store = fresh_narrow();
	struct flagstore_flag flag;
	pid_t pid;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	flag = lookup(store, "a");
	pid = child(change_later, &later);
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_wait(store, "a", &flag, 200));
	child_succeeds(pid);
	require(flagstore_get(store, "other"));
	flagstore_close(store);
}

static void a_wait_ends_when_another_process_changes_the_flag(void **state)
{
	static const struct {
		bool exists;
		struct later later;
	} cases[] = {{true, {"a", SET}}, {false, {"a", SET}}, {true, {"a", DELETE}}, {true, {"a", BATCH}}};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct later later = cases[i / 2].later;
		flagstore *store = fresh(SEGMENT, NULL), *waiter = i % 2 ? attach(SEGMENT, FLAGSTORE_READ_ONLY) : store;
		struct flagstore_flag flag, now;
		int64_t start = now_ms();
		pid_t pid;

		if (cases[i / 2].exists)
			require_ok(flagstore_set(store, "a", false));
		flag = lookup(store, "a");
		pid = child(change_later, &later);
		require_ok(flagstore_wait(waiter, "a", &flag, i % 4 ? 10000 : -1));
		require(now_ms() - start < 3000);
		now = lookup(store, "a");
		require(flag.version == now.version && flag.value == now.value && flag.exists == now.exists);
		require_int(later.change != DELETE, flag.exists);
		child_succeeds(pid);
		if (i % 2)
			flagstore_close(waiter);
		flagstore_close(store);
	}
}

static void a_change_between_lookup_and_wait_is_not_missed(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag flag;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	flag = lookup(store, "a");
	/* There and back: the same value, another version. */
	require_ok(flagstore_toggle(store, "a", NULL));
	require_ok(flagstore_toggle(store, "a", NULL));
	require_ok(flagstore_wait(store, "a", &flag, 0));
	require_int(3, flag.changes);
	require_ok(flagstore_delete(store, "a"));
	require_ok(flagstore_set(store, "a", true));
	require_ok(flagstore_wait(store, "a", &flag, 0));
	require_int(1, flag.changes);
	flagstore_close(store);
}

enum { ROUNDS = 3000 };

static void answer_each_round(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	struct flagstore_flag ping = *(const struct flagstore_flag *)argument;

	for (int i = 0; i < ROUNDS; i++) {
		require_ok(flagstore_wait(store, "ping", &ping, 10000));
		require_ok(flagstore_toggle(store, "pong", NULL));
	}
	flagstore_close(store);
}

static void no_wake_up_is_lost_in_3000_rounds_of_ping_and_pong(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag ping, pong;
	int64_t start = now_ms();
	pid_t pid;

	(void)state;
	require_ok(flagstore_set(store, "ping", false));
	require_ok(flagstore_set(store, "pong", false));
	ping = lookup(store, "ping");
	pong = lookup(store, "pong");
	pid = child(answer_each_round, &ping);
	for (int i = 0; i < ROUNDS; i++) {
		require_ok(flagstore_toggle(store, "ping", NULL));
		require_ok(flagstore_wait(store, "pong", &pong, 10000));
		/* A lost wake-up that a time limit inside made good again would show here. */
		require(now_ms() - start < 10000);
	}
	child_succeeds(pid);
	flagstore_close(store);
}

static unsigned ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

static void set_ticking(long interval_us)
{
	struct itimerval interval = {{0, interval_us}, {0, interval_us}};
	struct sigaction action = {.sa_handler = tick};

	ticks = 0;
	require(sigaction(SIGALRM, &action, NULL) == 0);
	require(setitimer(ITIMER_REAL, &interval, NULL) == 0);
}

static void signals_do_not_end_a_wait(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag flag;
	int64_t start = now_ms();

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	flag = lookup(store, "a");
	set_ticking(10000);
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_wait(store, "a", &flag, 200));
	set_ticking(0);
	require(now_ms() - start >= 199);
	flagstore_close(store);
}

static void a_signal_ends_the_sleep_of_a_watch(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_change change;
	flagstore_watch *watch;
	int64_t start = now_ms();

	(void)state;
	require_ok(flagstore_watch_open(store, &watch));
	set_ticking(100000);
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_watch_next(watch, &change, 20000));
	set_ticking(0);
	require(now_ms() - start < 5000);
	flagstore_watch_close(watch);
	flagstore_close(store);
}

static void require_change(flagstore_watch *watch, const char *key, bool before, bool after)
{
	struct flagstore_change change;

	require_ok(flagstore_watch_next(watch, &change, 5000));
	require(strcmp(change.key, key) == 0 && change.length == strlen(key));
	require_int(before, change.before.exists);
	require_int(after, change.after.exists);
}

static void a_watch_shows_each_kind_of_change(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);

	(void)state;
	require_ok(flagstore_set(store, "old", true));
	for (int i = 0; i < 2; i++) {
		const flagstore *watched = i ? reader : store;
		struct flagstore_change change;
		flagstore_watch *watch;

		require_ok(flagstore_watch_open(watched, &watch));
		require_error(FLAGSTORE_ETIMEDOUT, flagstore_watch_next(watch, &change, 20));
		require_ok(flagstore_set(store, "a", true));
		require_change(watch, "a", false, true);
		require_ok(flagstore_toggle(store, "a", NULL));
		require_ok(flagstore_watch_next(watch, &change, 5000));
		require(strcmp(change.key, "a") == 0 && change.before.value && !change.after.value);
		require_int(change.before.changes + 1, change.after.changes);
		require_int(lookup(store, "a").version, change.after.version);
		require_ok(flagstore_delete(store, "a"));
		require_change(watch, "a", true, false);
		/* Set to what it is: no change. Deleted and inserted: a change. */
		require_ok(flagstore_set(store, "old", true));
		require_error(FLAGSTORE_ETIMEDOUT, flagstore_watch_next(watch, &change, 20));
		require_ok(flagstore_delete(store, "old"));
		require_ok(flagstore_set(store, "old", true));
		require_change(watch, "old", true, true);
		require_error(FLAGSTORE_ETIMEDOUT, flagstore_watch_next(watch, &change, 20));
		flagstore_watch_close(watch);
	}
	flagstore_close(reader);
	flagstore_close(store);
}

static void a_watch_shows_each_of_10000_changes_once(void **state)
{
	static unsigned char shown[10000];
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_change change;
	flagstore_watch *watch;

	(void)state;
	insert_many(store, "flag", 0, 5000);
	require_ok(flagstore_watch_open(store, &watch));
	insert_many(store, "flag", 5000, 10000);
	for (unsigned i = 0; i < 5000; i++) {
		char key[KEY_ROOM];

		require_ok(flagstore_toggle(store, key_of(key, "flag", i), NULL));
	}
	while (flagstore_watch_next(watch, &change, 50) == FLAGSTORE_OK) {
		unsigned i = (unsigned)strtoul(change.key + 5, NULL, 10);

		require_int(0, shown[i]++);
		require_int(i < 5000, change.before.exists);
		require_int(i < 5000 ? i % 2 == 0 : i % 2, change.after.value);
	}
	for (int i = 0; i < 10000; i++)
		require_int(1, shown[i]);
	flagstore_watch_close(watch);
	flagstore_close(store);
}

static void a_watch_wakes_when_another_process_changes_a_flag(void **state)
{
	struct later later = {"a", SET};

	(void)state;
	for (int i = 0; i < 2; i++) {
		flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
		flagstore_watch *watch;
		int64_t start;
		pid_t pid;

		require_ok(flagstore_watch_open(i ? reader : store, &watch));
		start = now_ms();
		pid = child(change_later, &later);
		require_change(watch, "a", false, true);
		require(now_ms() - start < 2000);
		child_succeeds(pid);
		flagstore_watch_close(watch);
		flagstore_close(reader);
		flagstore_close(store);
	}
}

/* ------------------------------------------------------------------------------------------------- signals */

static struct {
	const flagstore *store;
	flagstore_handle *handle;
	unsigned wrong;
} interrupted;

/* All of it is async-signal-safe. */
static void read_in_the_handler(int number)
{
	static const char *const keys[] = {"stay.1", "stay.2", "stay.3", "missing"};
	struct flagstore_flag flag;
	bool values[4];

	(void)number;
	ticks++;
	interrupted.wrong += !flagstore_get(interrupted.store, "stay.1");
	interrupted.wrong += flagstore_get(interrupted.store, "stay.2");
	interrupted.wrong += flagstore_get(interrupted.store, "missing");
	interrupted.wrong += flagstore_lookup(interrupted.store, "stay.2", &flag) != FLAGSTORE_OK;
	interrupted.wrong += !flagstore_handle_get(interrupted.handle);
	flagstore_get_many(interrupted.store, keys, NULL, 4, values);
	interrupted.wrong += !values[0] || values[1] || !values[2] || values[3];
}

static void a_signal_handler_reads_in_the_middle_of_a_write(void **state)
{
	struct itimerval interval = {{0, 50}, {0, 50}}, none = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = read_in_the_handler, .sa_flags = SA_RESTART};
	flagstore *store = fresh_narrow();
	int64_t end = now_ms() + 1500;

	(void)state;
	insert_many(store, "stay", 0, 10);
	interrupted.store = store;
	interrupted.handle = open_handle(store, "stay.1");
	ticks = 0;
	require(sigaction(SIGALRM, &action, NULL) == 0);
	require(setitimer(ITIMER_REAL, &interval, NULL) == 0);
	for (unsigned grown = 0; now_ms() < end; grown = (grown + 300) % 90000) {
		insert_many(store, "other", grown, grown + 300);
		if (grown % 900 == 600)
			delete_many(store, "other", grown - 300, grown);
	}
	require(setitimer(ITIMER_REAL, &none, NULL) == 0);
	require_int(0, interrupted.wrong);
	require(ticks > 100);
	flagstore_handle_close(interrupted.handle);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest reads[] = {
		cmocka_unit_test(a_handle_follows_its_flag_through_all_lives),
		cmocka_unit_test(a_handle_does_not_read_the_flag_that_took_over_the_slot),
		cmocka_unit_test(a_handle_follows_its_flag_through_growth),
		cmocka_unit_test(threads_share_a_handle_while_its_flag_moves),
		cmocka_unit_test(a_handle_goes_on_after_fork),
		cmocka_unit_test(get_many_reads_what_get_does),
		cmocka_unit_test(a_snapshot_of_a_quiet_table_is_what_lookup_says),
		cmocka_unit_test(no_snapshot_shows_a_flip_between_two_others),
		cmocka_unit_test(a_cursor_sees_every_flag_once),
		cmocka_unit_test(buckets_that_split_under_a_cursor_are_seen_once),
		cmocka_unit_test(flags_that_stay_are_seen_once_while_all_others_change),
		cmocka_unit_test(a_reader_that_was_stopped_for_long_sees_nothing_that_is_wrong),
		cmocka_unit_test(a_wait_ends_at_its_time_limit),
		cmocka_unit_test(another_flags_change_does_not_end_a_wait),
		cmocka_unit_test(a_wait_ends_when_another_process_changes_the_flag),
		cmocka_unit_test(a_change_between_lookup_and_wait_is_not_missed),
		cmocka_unit_test(no_wake_up_is_lost_in_3000_rounds_of_ping_and_pong),
		cmocka_unit_test(signals_do_not_end_a_wait),
		cmocka_unit_test(a_signal_ends_the_sleep_of_a_watch),
		cmocka_unit_test(a_watch_shows_each_kind_of_change),
		cmocka_unit_test(a_watch_shows_each_of_10000_changes_once),
		cmocka_unit_test(a_watch_wakes_when_another_process_changes_a_flag),
		cmocka_unit_test(a_signal_handler_reads_in_the_middle_of_a_write),
	};

	return cmocka_run_group_tests(reads, segments_setup, segments_teardown);
}

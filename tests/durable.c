/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durable.c: segments that persist: what is in LMDB, when, and that nobody waits for ever for it, whatever others do meanwhile: other
 * segments, forks, foreign programs in the same environment, processes that are killed or stopped, damage.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "durability.h"

#include "journal.h"

#define SEGMENT "durable"

/* Says across processes that something has come to pass. */
static _Atomic uint32_t *signs;

static void show(unsigned sign)
{
	signs[sign] = 1;
}

static void await(unsigned sign)
{
	int64_t end = now_ms() + 20000;

	while (!signs[sign]) {
		require(now_ms() < end);
		pause_us(500);
	}
}

static void forget_signs(void)
{
	for (unsigned i = 0; i < 64; i++)
		signs[i] = 0;
}

static int setup(void **state)
{
	signs = shared_memory(4096);
	require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	return durable_setup(state);
}

/* --------------------------------------------------------------------------------------------------- promises */

static void a_new_segment_is_filled_from_its_directory(void **state)
{
	const char *directory = on_disk("filled");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	flagstore *store = fresh(SEGMENT, &options);
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 3 == 0));
	for (unsigned i = 0; i < 1000; i += 7)
		require_ok(flagstore_delete(store, key_of(key, "flag", i)));
	/* What is there, closing writes. */
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
	for (int how = 0; how < 2; how++) {
		options.flags = how ? FLAGSTORE_CREATE : 0;
		require_ok(how ? flagstore_attach(SEGMENT, &options, &store) : flagstore_create(SEGMENT, &options, &store));
		for (unsigned i = 0; i < 1000; i++) {
			struct flagstore_flag flag = lookup(store, key_of(key, "flag", i));

			require_int(i % 7 != 0, flag.exists);
			require(!flag.exists || flag.value == (i % 3 == 0));
		}
		require_in_step(store);
		flagstore_close(store);
		require_ok(flagstore_unlink(SEGMENT));
	}
}

static void a_synchronous_change_is_durable_when_it_returns(void **state)
{
	const char *directory = on_disk("sync"), *copy = on_disk("sync-copy");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, 0);
	flagstore_batch *batch;
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
		copy_saved(directory, copy);
		require_int(1, saved(copy, key));
		require_ok(flagstore_toggle(store, key, NULL));
		copy_saved(directory, copy);
		require_int(0, saved(copy, key));
	}
	require_ok(flagstore_delete(store, "flag.3"));
	copy_saved(directory, copy);
	require_int(-1, saved(copy, "flag.3"));
	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_set(batch, "flag.0", true));
	require_ok(flagstore_batch_delete(batch, "flag.1"));
	require_ok(flagstore_batch_set(batch, "another", true));
	require_ok(flagstore_batch_commit(batch, NULL));
	copy_saved(directory, copy);
	require_int(1, saved(copy, "flag.0"));
	require_int(-1, saved(copy, "flag.1"));
	require_int(1, saved(copy, "another"));
	require_int(19, saved_flags(copy));
	require_in_step(store);
	flagstore_close(store);
}

static void an_asynchronous_change_is_written_by_itself(void **state)
{
	const char *directory = on_disk("async");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_ASYNC, 0);

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	await_saved(directory, "flag", 1);
	require_ok(flagstore_delete(store, "flag"));
	await_saved(directory, "flag", -1);
	require_int(0, persistence(store).oldest_ms);
	flagstore_close(store);
}

/* The record's time lies an hour ahead, as it does when the clock has been set back since. */
static void a_clock_that_is_set_back_delays_nothing(void **state)
{
	const char *directory = on_disk("clock");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	_Atomic uint64_t *ring;
	flagstore *store;

	(void)state;
	options.flush_interval_ms = 300;
	store = fresh(SEGMENT, &options);
	ring = (_Atomic uint64_t *)(void *)((char *)store->journal + sizeof(struct fs_journal));
	require_ok(flagstore_set(store, "flag", true));
	ring[3] += 3600 * 1000;
	await_saved(directory, "flag", 1);
	flagstore_close(store);
}

/* Whoever found the flag before he had the journal's lock: by then its slot may hold another key, a longer one. */
static void a_flag_that_has_changed_since_it_was_found_is_not_journaled(void **state)
{
	flagstore *store = fresh_durable(SEGMENT, in_memory("changed"), FLAGSTORE_ASYNC, FLAGSTORE_NO_FLUSHER);
	struct fs_deadline deadline = {.set = false};
	struct fs_found found;
	struct fs_key key;

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	require(fs_key_make(store, "flag", 4, &key));
	require_int(FS_FOUND, fs_find(store, &key, &found));
	require_ok(flagstore_toggle(store, "flag", NULL));
	require_ok(fs_journal_lock(store, fs_record_bytes(4), &deadline));
	require(!fs_journal_intend_flip(store, &found, fs_word_next(found.word, false), 1));
	require(atomic_load(&store->journal->next) == atomic_load(&store->journal->head));
	require_int(FS_FOUND, fs_find(store, &key, &found));
	require(fs_journal_intend_flip(store, &found, fs_word_next(found.word, true), 1));
	fs_journal_unlock(store, false);
	require_in_step(store);
	flagstore_close(store);
}

static void a_barrier_makes_everything_durable(void **state)
{
	const char *directory = on_disk("barrier"), *copy = on_disk("barrier-copy");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_ASYNC, FLAGSTORE_NO_FLUSHER);
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
	require_int(0, saved_flags(directory));
	require(persistence(store).pending_bytes > 0 && persistence(store).oldest_ms > 0);
	require_ok(flagstore_sync(store, 10000));
	copy_saved(directory, copy);
	require_int(500, saved_flags(copy));
	require_int(0, persistence(store).pending_bytes);
	flagstore_close(store);
}

static void write_without_end(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);
	char key[KEY_ROOM];

	for (unsigned i = 0; !signs[1]; i++) {
		require_ok(flagstore_set(store, key_of(key, argument, i % 50), i / 50 % 2));
		show(2);
		/* Slower than the disk: the journal is neither empty nor full. */
		pause_us(20);
	}
	flagstore_close(store);
}

static void a_barrier_ends_while_others_go_on_writing(void **state)
{
	const char *directory = on_disk("busy");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_ASYNC, FLAGSTORE_NO_FLUSHER);
	pid_t writer;

	(void)state;
	forget_signs();
	writer = child(write_without_end, "busy");
	await(2);
	for (unsigned i = 0; i < 10; i++) {
		int64_t began = now_ms();

		require_ok(flagstore_set(store, "flag", i % 2));
		require_ok(flagstore_sync(store, -1));
		require_int(i % 2, saved(directory, "flag"));
		require(now_ms() - began < 5000);
	}
	show(1);
	child_succeeds(writer);
	require_in_step(store);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------- somebody else is in the environment */

/* Holds LMDB's lock on writing. */
static void hold_lmdb(void *argument)
{
	MDB_dbi flags;
	MDB_txn *transaction = foreign_begin(foreign_open(argument), 0, &flags);

	show(0);
	await(1);
	mdb_txn_abort(transaction);
}

static void set_and_show(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);

	(void)argument;
	require_ok(flagstore_set(store, "flag", true));
	show(2);
	flagstore_close(store);
}

static void set_the_same_and_show(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);
	int64_t end = now_ms() + 10000;

	(void)argument;
	while (!flagstore_get(store, "flag")) {
		require(now_ms() < end);
		pause_us(200);
	}
	show(3);
	require_ok(flagstore_set(store, "flag", true));
	show(4);
	flagstore_close(store);
}

static void a_set_to_the_value_that_is_there_waits_until_that_is_durable(void **state)
{
	const char *directory = on_disk("same");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, FLAGSTORE_NO_FLUSHER);
	struct flagstore_breaker_limits patient = {.commit_ms = 60000};
	pid_t holder, first, second;

	(void)state;
	forget_signs();
	require_ok(flagstore_set_breaker(store, &patient));
	require_ok(flagstore_set(store, "flag", false));
	holder = child(hold_lmdb, (void *)(uintptr_t)directory);
	await(0);
	first = child(set_and_show, NULL);
	second = child(set_the_same_and_show, NULL);
	await(3);
	pause_us(200000);
	require(!signs[2] && !signs[4]);
	require_int(0, saved(directory, "flag"));
	show(1);
	child_succeeds(holder);
	child_succeeds(first);
	child_succeeds(second);
	require_int(1, saved(directory, "flag"));
	require_in_step(store);
	flagstore_close(store);
}

static void a_foreign_writer_that_does_not_end_opens_the_breaker(void **state)
{
	const char *directory = on_disk("held");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, 0);
	struct flagstore_breaker_limits impatient = {.commit_ms = 200};
	pid_t holder, first;
	int64_t began;

	(void)state;
	forget_signs();
	require_ok(flagstore_set_breaker(store, &impatient));
	require_ok(flagstore_set(store, "flag", false));
	holder = child(hold_lmdb, (void *)(uintptr_t)directory);
	await(0);
	began = now_ms();
	first = child(set_and_show, NULL);
	await_breaker(store, FLAGSTORE_BREAKER_OPEN, 10000);
	/* Nobody waits for it: this one goes on in memory. */
	require_ok(flagstore_set(store, "another", true));
	require(now_ms() - began < 10000);
	show(1);
	child_succeeds(holder);
	child_succeeds(first);
	await_breaker(store, FLAGSTORE_BREAKER_CLOSED, 30000);
	require_in_step(store);
	flagstore_close(store);
}

/* 1 missing, 1 of another value, 2 that nobody knows. */
static void spoil(void *argument)
{
	MDB_env *env = foreign_open(argument);
	MDB_dbi flags;
	MDB_txn *transaction = foreign_begin(env, 0, &flags);
	MDB_val key = {6, "flag.0"}, value;
	char bytes[64];

	require_int(0, mdb_get(transaction, flags, &key, &value));
	memcpy(bytes, value.mv_data, value.mv_size);
	value.mv_data = bytes;
	require_int(0, mdb_del(transaction, flags, &(MDB_val){6, "flag.1"}, NULL));
	require_int(0, mdb_put(transaction, flags, &(MDB_val){7, "foreign"}, &value, 0));
	require_int(0, mdb_put(transaction, flags, &(MDB_val){8, "foreign2"}, &value, 0));
	bytes[1] ^= 1;
	require_int(0, mdb_put(transaction, flags, &key, &value, 0));
	require_int(0, mdb_txn_commit(transaction));
	mdb_env_close(env);
}

static void what_a_foreign_writer_changed_is_found_and_repaired_either_way(void **state)
{
	const char *directory = on_disk("foreign");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_ASYNC, 0);
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
	for (int way = 0; way < 2; way++) {
		struct flagstore_verification found;

		require_in_step(store);
		in_child(spoil, (void *)(uintptr_t)directory);
		found = verify(store, FLAGSTORE_VERIFY);
		require_int(1, found.missing);
		require_int(2, found.surplus);
		require_int(1, found.different);
		require_int(0, found.repaired);
		found = verify(store, way ? FLAGSTORE_REPAIR_TABLE : FLAGSTORE_REPAIR_LMDB);
		require_int(4, found.repaired);
		require_in_step(store);
		require_int(!way, lookup(store, "flag.1").exists);
		require_int(!way, flagstore_get(store, "flag.0"));
		require_int(way, lookup(store, "foreign").exists);
		require_int(way ? 11 : 10, saved_flags(directory));
	}
	require(persistence(store).mismatches >= 8);
	flagstore_close(store);
}

/* So many records that the file becomes larger than the map of those who are in it, and away with them. */
static void fill_and_empty(void *argument)
{
	MDB_env *env = foreign_open(argument);
	char bytes[4000] = {0};
	MDB_dbi flags;
	MDB_txn *transaction = foreign_begin(env, 0, &flags);

	for (unsigned i = 0; i < 20000; i++) {
		char key[KEY_ROOM];

		key_of(key, "\x7f", i);
		require_int(0, mdb_put(transaction, flags, &(MDB_val){strlen(key), key}, &(MDB_val){sizeof bytes, bytes}, 0));
	}
	require_int(0, mdb_txn_commit(transaction));
	transaction = foreign_begin(env, 0, &flags);
	for (unsigned i = 0; i < 20000; i++) {
		char key[KEY_ROOM];

		key_of(key, "\x7f", i);
		require_int(0, mdb_del(transaction, flags, &(MDB_val){strlen(key), key}, NULL));
	}
	require_int(0, mdb_txn_commit(transaction));
	mdb_env_close(env);
}

static void an_environment_that_others_enlarge_is_followed(void **state)
{
	const char *directory = in_memory("resized");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, 0);
	struct stat data;
	char path[PATH_ROOM + 16];

	(void)state;
	require_ok(flagstore_set(store, "before", true));
	in_child(fill_and_empty, (void *)(uintptr_t)directory);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	require(stat(path, &data) == 0 && data.st_size > 64 << 20);
	require_ok(flagstore_set(store, "after", true));
	require_int(1, saved(directory, "after"));
	require_in_step(store);
	require_int(0, persistence(store).commit_failures);
	flagstore_close(store);
}

enum { PADS = 13000 };

/* Records of flags, longer than they need be; a map of 64 MiB is nearly full then. */
static void pad(void *argument)
{
	MDB_env *env = foreign_open(argument);
	char bytes[4000] = {1};
	MDB_dbi flags;
	MDB_txn *transaction = foreign_begin(env, 0, &flags);

	for (unsigned i = 0; i < PADS; i++) {
		char key[KEY_ROOM];

		key_of(key, "pad", i);
		require_int(0, mdb_put(transaction, flags, &(MDB_val){strlen(key), key}, &(MDB_val){sizeof bytes, bytes}, 0));
	}
	require_int(0, mdb_txn_commit(transaction));
	mdb_env_close(env);
}

static void an_environment_that_becomes_too_small_grows(void **state)
{
	const char *directory = in_memory("grown");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	enum { FLAGS = 30000 };
	flagstore *store;
	struct stat data;
	char path[PATH_ROOM + 16], key[256];

	(void)state;
	options.max_bytes = 256 << 20;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < PADS; i++)
		require_ok(flagstore_set(store, key_of(key, "pad", i), false));
	require_ok(flagstore_sync(store, 30000));
	/* From here on the environment is open, with a map of 64 MiB. */
	in_child(pad, (void *)(uintptr_t)directory);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	require(stat(path, &data) == 0 && data.st_size < 64 << 20);
	memset(key, 'k', sizeof key);
	for (unsigned i = 0; i < FLAGS; i++) {
		/* Not in ascending order, which would fill pages well. */
		snprintf(key, 16, "%08x", i * 2654435761u);
		key[8] = 'k';
		key[250] = 0;
		require_ok(flagstore_set(store, key, i % 2));
	}
	require_ok(flagstore_sync(store, 30000));
	require(stat(path, &data) == 0 && data.st_size > 64 << 20);
	require_int(FLAGS + PADS, saved_flags(directory));
	require_in_step(store);
	require_int(0, persistence(store).commit_failures);
	flagstore_close(store);
}

static void die_reading(void *argument)
{
	MDB_env *env = foreign_open(argument);
	MDB_txn *transaction;

	while (mdb_txn_begin(env, NULL, MDB_RDONLY, &transaction) == 0)
		continue;
	kill(getpid(), SIGKILL);
}

static void readers_that_were_killed_are_cleared_away(void **state)
{
	const char *directory = in_memory("readers");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, 0);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		require_ok(flagstore_set(store, "flag", i % 2));
		require(WIFSIGNALED(child_status(child(die_reading, (void *)(uintptr_t)directory), 20000)));
		require_int(0, verify(store, FLAGSTORE_VERIFY).different);
	}
	require_in_step(store);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------- order and batches */

enum { WINDOW = 10 };

struct mirror {
	const char *directory;
	unsigned states; /* that were seen */
	uint64_t last;
};

/* A writer's flags, as one look at LMDB finds them: consecutive numbers, and pairs of equal value. */
struct seen {
	unsigned from, to, count;
	int left, right;
};

static int see(const char *key, size_t length, bool value, void *argument)
{
	struct seen *seen = argument;
	char text[KEY_ROOM];
	unsigned number;

	require(length < sizeof text);
	memcpy(text, key, length);
	text[length] = 0;
	if (sscanf(text, "step.%u", &number) == 1) {
		seen->from = !seen->count || number < seen->from ? number : seen->from;
		seen->to = number > seen->to ? number : seen->to;
		seen->count++;
	} else if (strcmp(text, "left") == 0) {
		seen->left = value;
	} else if (strcmp(text, "right") == 0) {
		seen->right = value;
	}
	return 0;
}

/* step.n is inserted, step.(n - WINDOW) deleted; the pair is turned over. */
static void write_in_order(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	(void)argument;
	for (unsigned i = WINDOW; !signs[1]; i++) {
		flagstore_batch *batch;

		require_ok(flagstore_set(store, key_of(key, "step", i), true));
		require_ok(flagstore_delete(store, key_of(key, "step", i - WINDOW)));
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_set(batch, "left", i % 2));
		require_ok(flagstore_batch_set(batch, "right", i % 2));
		require_ok(flagstore_batch_commit(batch, NULL));
		if (i % 64 == 0)
			pause_us(1000);
	}
	flagstore_close(store);
}

static void what_lmdb_has_is_always_what_the_table_was_at_some_moment(void **state)
{
	const char *directory = in_memory("order");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	unsigned states = 0, last = 0;
	flagstore *store;
	pid_t writer;
	char key[KEY_ROOM];
	int64_t end = now_ms() + 700;

	(void)state;
	forget_signs();
	options.flush_interval_ms = 1;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < WINDOW; i++)
		require_ok(flagstore_set(store, key_of(key, "step", i), true));
	require_ok(flagstore_set(store, "left", false));
	require_ok(flagstore_set(store, "right", false));
	require_ok(flagstore_sync(store, 10000));
	writer = child(write_in_order, NULL);
	while (now_ms() < end) {
		struct seen seen = {.count = 0};

		require_ok(flagstore_read_saved(directory, see, &seen));
		require_int(seen.left, seen.right);
		require(seen.count == WINDOW || seen.count == WINDOW + 1);
		require_int(seen.count, seen.to - seen.from + 1);
		require(seen.to >= last);
		states += seen.to != last;
		last = seen.to;
	}
	show(1);
	child_succeeds(writer);
	require(states > 5);
	require_in_step(store);
	flagstore_close(store);
}

/* More than one transaction takes: between any two the pairs are equal. */
static void batches_are_whole_between_transactions_too(void **state)
{
	enum { PAIRS = 22000, PER_BATCH = 500 };
	const char *directory = in_memory("chunks"), *copy = in_memory("chunks-copy");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	flagstore_batch *batch;
	flagstore *store;
	char key[KEY_ROOM];
	uint64_t commits;

	(void)state;
	options.max_bytes = 256 << 20;
	options.flags = FLAGSTORE_NO_FLUSHER;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < PAIRS;) {
		require_ok(flagstore_batch_begin(store, &batch));
		for (unsigned j = 0; j < PER_BATCH; j++, i++) {
			require_ok(flagstore_batch_set(batch, key_of(key, "a-rather-long-name-on-the-left", i), i % 3));
			require_ok(flagstore_batch_set(batch, key_of(key, "a-rather-long-name-on-the-right", i), i % 3));
		}
		require_ok(flagstore_batch_commit(batch, NULL));
	}
	commits = persistence(store).commits;
	require_ok(flagstore_sync(store, 20000));
	/* It took more than one, or this shows nothing. */
	require(persistence(store).commits > commits);
	copy_saved(directory, copy);
	require_int(2 * PAIRS, saved_flags(copy));
	require_in_step(store);
	flagstore_close(store);
}

/* ---------------------------------------------------------------------------------------------- a full journal */

/* With the smallest journal. */
static flagstore *fresh_small(const char *directory, uint32_t shards, uint32_t flags)
{
	struct flagstore_options options = persisting(in_memory(directory), FLAGSTORE_ASYNC);

	options.max_bytes = 1 << 20;
	options.shards = shards;
	options.workers = 8;
	options.flags = flags;
	return fresh(SEGMENT, &options);
}

static void fill_journal(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);
	char key[KEY_ROOM];

	for (unsigned i = 0; i < 8000; i++)
		require_ok(flagstore_set(store, key_of(key, argument, i % 50), i / 50 % 2));
	flagstore_close(store);
}

static void writers_that_find_the_journal_full_write_it(void **state)
{
	flagstore *store = fresh_small("full", 8, FLAGSTORE_NO_FLUSHER);
	pid_t left, right;

	(void)state;
	left = child(fill_journal, "left");
	right = child(fill_journal, "right");
	child_succeeds(left);
	child_succeeds(right);
	require_int(0, persistence(store).given_up);
	require(persistence(store).commits > 5);
	require(persistence(store).written > 10 * persistence(store).journal_bytes);
	require_in_step(store);
	flagstore_close(store);
}

static void insert_and_delete_all_the_time(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);

	(void)argument;
	while (!flagstore_get(store, "stop")) {
		require_ok(flagstore_set(store, "contested", true));
		require_ok(flagstore_delete(store, "contested"));
	}
	flagstore_close(store);
}

/* While the journal is written, nobody holds the locks; so a key that was missing when the batch was prepared may be there when it is tried
 * again. */
static void a_batch_that_finds_the_journal_full_looks_again(void **state)
{
	flagstore *store = fresh_small("again", 1, FLAGSTORE_NO_FLUSHER);
	char key[KEY_ROOM];
	pid_t other;

	(void)state;
	other = child(insert_and_delete_all_the_time, NULL);
	for (unsigned i = 0; i < 300; i++) {
		flagstore_batch *batch;

		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_set(batch, "contested", false));
		for (unsigned j = 0; j < 400; j++)
			require_ok(flagstore_batch_set(batch, key_of(key, "flag", j), i % 2));
		require_ok(flagstore_batch_commit(batch, NULL));
		/* Now: a batch that has no room counts anew. */
		require_healthy(store);
	}
	require_ok(flagstore_set(store, "stop", true));
	child_succeeds(other);
	require(persistence(store).commits > 5);
	require_in_step(store);
	flagstore_close(store);
}

static void a_batch_larger_than_the_journal_is_refused(void **state)
{
	flagstore *store = fresh_small("large", 8, 0);
	flagstore_batch *batch;
	char key[KEY_ROOM];

	(void)state;
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 2000; i++)
		require_ok(flagstore_batch_set(batch, key_of(key, "flag", i), true));
	require_error(FLAGSTORE_ETOOBIG, flagstore_batch_commit(batch, NULL));
	flagstore_batch_abort(batch);
	require_int(0, info(store).flags);
	require_ok(flagstore_set(store, "flag", true));
	require_in_step(store);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------ processes and stores */

static void two_stores_of_one_process_share_a_segment(void **state)
{
	const char *directory = on_disk("twice");
	flagstore *first = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, 0), *second = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		require_ok(flagstore_set(i % 2 ? first : second, key_of(key, "flag", i), true));
		require_int(1, saved(directory, key));
	}
	require_in_step(first);
	flagstore_close(first);
	require_ok(flagstore_set(second, "flag.0", false));
	require_int(0, saved(directory, "flag.0"));
	require_in_step(second);
	first = attach(SEGMENT, 0);
	require_ok(flagstore_set(first, "flag.1", false));
	require_in_step(first);
	flagstore_close(second);
	require_ok(flagstore_set(first, "flag.2", false));
	require_int(0, saved(directory, "flag.2"));
	flagstore_close(first);
}

static flagstore *inherited;

static void only_read(void *argument)
{
	(void)argument;
	show(8);
	for (int64_t end = now_ms() + 20000; now_ms() < end && !signs[1];)
		(void)flagstore_get(inherited, "flag"), pause_us(2000);
}

static void write_as_child(void *argument)
{
	char key[KEY_ROOM];

	(void)argument;
	for (unsigned i = 0; !signs[1]; i++) {
		require_ok(flagstore_set(inherited, key_of(key, "child", i % 20), i / 20 % 2));
		show(9);
	}
	flagstore_close(inherited);
}

/* Lends a thread, flushes, forks in the middle of it, and goes on until it is killed. */
static void be_a_parent(void *argument)
{
	char key[KEY_ROOM];
	pid_t reader, writer;

	(void)argument;
	inherited = attach(SEGMENT, 0);
	for (unsigned i = 0; i < 20; i++)
		require_ok(flagstore_set(inherited, key_of(key, "parent", i), true));
	reader = child(only_read, NULL);
	writer = child(write_as_child, NULL);
	signs[16] = (uint32_t)reader;
	signs[17] = (uint32_t)writer;
	for (unsigned i = 0;; i++) {
		require_ok(flagstore_set(inherited, key_of(key, "parent", i % 20), i / 20 % 2));
		show(10);
	}
}

/* Orphans become this process's children (setup()). */
static void gone(uint32_t pid)
{
	(void)child_status((pid_t)pid, 20000);
}

static void a_parent_that_is_killed_in_a_flush_leaves_nobody_stuck(void **state)
{
	const char *directory = on_disk("forked");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, FLAGSTORE_NO_FLUSHER);
	uint64_t random = 7;

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		pid_t parent;
		int64_t began;

		forget_signs();
		parent = child(be_a_parent, NULL);
		await(8);
		await(9);
		await(10);
		pause_us((long)(random_next(&random) % 20000));
		require(child_kill(parent));
		began = now_ms();
		require_ok(flagstore_set(store, "flag", round % 2));
		require_int(round % 2, saved(directory, "flag"));
		require_in_step(store);
		/* Children die with their parent (support.c), so this is about what they leave, too. */
		require(now_ms() - began < 10000);
		show(1);
		gone(signs[16]);
		gone(signs[17]);
	}
	flagstore_close(store);
}

/* The child does not die with its parent. */
static void outlive(void *argument)
{
	pid_t pid;

	(void)argument;
	inherited = attach(SEGMENT, 0);
	require_ok(flagstore_set(inherited, "parent", true));
	pid = fork();
	require(pid >= 0);
	if (pid == 0) {
		only_read(NULL);
		_exit(0);
	}
	signs[16] = (uint32_t)pid;
	for (unsigned i = 0;; i++) {
		require_ok(flagstore_set(inherited, "parent", i % 2));
		show(10);
	}
}

static void a_child_that_only_reads_keeps_none_of_its_dead_parents_locks(void **state)
{
	const char *directory = on_disk("outlived");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, FLAGSTORE_NO_FLUSHER);

	(void)state;
	for (unsigned round = 0; round < 10; round++) {
		pid_t parent;
		int64_t began;

		forget_signs();
		parent = child(outlive, NULL);
		await(8);
		await(10);
		pause_us(1000 * (long)round);
		require(child_kill(parent));
		require(kill((pid_t)signs[16], 0) == 0);
		began = now_ms();
		require_ok(flagstore_set(store, "flag", round % 2));
		require_int(round % 2, saved(directory, "flag"));
		require(now_ms() - began < 3000);
		require_int(FLAGSTORE_BREAKER_CLOSED, persistence(store).breaker);
		show(1);
		gone(signs[16]);
	}
	require_in_step(store);
	flagstore_close(store);
}

/* ----------------------------------------------------------------------------------------- whose directory it is */

static void a_directory_is_one_segments_until_that_is_unlinked(void **state)
{
	const char *directory = on_disk("owned");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	flagstore *first = fresh(SEGMENT, &options), *second;

	(void)state;
	require_ok(flagstore_set(first, "flag", true));
	require_error_says(FLAGSTORE_EEXISTS, SEGMENT, flagstore_create("second", &options, &second));
	require_error(FLAGSTORE_ENOSEGMENT, flagstore_unlink("second"));
	require_in_step(first);
	require_ok(flagstore_unlink(SEGMENT));
	require_ok(flagstore_create("second", &options, &second));
	require(flagstore_get(second, "flag"));
	/* Who is still attached to the first writes there no more, and is told. */
	require_ok(flagstore_set(first, "late", true));
	require(flagstore_sync(first, 3000) != FLAGSTORE_OK);
	require_ok(flagstore_set(second, "flag", false));
	require_in_step(second);
	require_int(-1, saved(directory, "late"));
	flagstore_close(first);
	require_in_step(second);
	flagstore_close(second);
	require_ok(flagstore_unlink("second"));
}

static void create_and_show(void *argument)
{
	const char *directory = argument;
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	char name[KEY_ROOM];
	flagstore *store;
	int result;

	key_of(name, "race", (unsigned)getpid());
	await(0);
	result = flagstore_create(name, &options, &store);
	require(result == FLAGSTORE_OK || result == FLAGSTORE_EEXISTS);
	if (result == FLAGSTORE_OK) {
		signs[2]++;
		signs[16] = (uint32_t)getpid();
		flagstore_close(store);
	}
}

static void of_two_segments_created_at_once_one_gets_the_directory(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		const char *directory = in_memory("raced");
		flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_ASYNC, 0);
		pid_t pids[2];
		char name[KEY_ROOM];

		/* So many that the two meet while they read them. */
		for (unsigned i = 0; i < 20000; i++)
			require_ok(flagstore_set(store, key_of(name, "flag", i), true));
		flagstore_close(store);
		require_ok(flagstore_unlink(SEGMENT));
		forget_signs();
		for (int i = 0; i < 2; i++)
			pids[i] = child(create_and_show, (void *)(uintptr_t)directory);
		show(0);
		child_succeeds(pids[0]);
		child_succeeds(pids[1]);
		require_int(1, signs[2]);
		require_ok(flagstore_unlink(key_of(name, "race", signs[16])));
	}
}

static void a_segment_from_before_a_reboot_gives_way_to_its_directory(void **state)
{
	const char *directory = on_disk("rebooted");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	flagstore *store = fresh(SEGMENT, &options);
	uint64_t boot = 0;
	int file;

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	flagstore_close(store);
	file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);
	require(file >= 0 && pread(file, &boot, sizeof boot, offsetof(struct fs_header, boot)) == sizeof boot);
	boot ^= 1;
	require(pwrite(file, &boot, sizeof boot, offsetof(struct fs_header, boot)) == sizeof boot);
	close(file);
	require_error_says(FLAGSTORE_ENOTREADY, "reboot", flagstore_attach(SEGMENT, NULL, &store));
	require_ok(flagstore_unlink(SEGMENT));
	require_ok(flagstore_create(SEGMENT, &options, &store));
	require(flagstore_get(store, "flag"));
	flagstore_close(store);
}

/* --------------------------------------------------------------------------------------------------- backups */

enum { TWINS = 40 };

static void turn_twins(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];
	bool value = false;

	(void)argument;
	for (unsigned i = 0; !signs[1]; i++) {
		flagstore_batch *batch;
		unsigned twin = i % TWINS;

		value = twin ? value : !value;
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_set(batch, key_of(key, "left", twin), value));
		require_ok(flagstore_batch_set(batch, key_of(key, "right", twin), value));
		require_ok(flagstore_batch_commit(batch, NULL));
		if (i % 256 == 0)
			show(2);
	}
	flagstore_close(store);
}

struct twins {
	unsigned count, bystanders;
	int left[TWINS], right[TWINS];
};

static int see_twin(const char *key, size_t length, bool value, void *argument)
{
	struct twins *twins = argument;
	char text[KEY_ROOM];
	unsigned number;

	memcpy(text, key, length);
	text[length] = 0;
	if (sscanf(text, "left.%u", &number) == 1)
		twins->left[number] = value;
	else if (sscanf(text, "right.%u", &number) == 1)
		twins->right[number] = value;
	else
		twins->bystanders++;
	twins->count++;
	return 0;
}

/* Twins are turned in ascending order: those of the new value stand before those of the old one. */
static void require_one_moment(const char *file)
{
	struct twins twins = {.count = 0};
	unsigned turns = 0;

	require_ok(flagstore_read_saved(file, see_twin, &twins));
	require_int(2000, twins.bystanders);
	require_int(2 * TWINS + 2000, twins.count);
	for (unsigned i = 0; i < TWINS; i++) {
		require_int(twins.left[i], twins.right[i]);
		turns += i && twins.left[i] != twins.left[i - 1];
	}
	require(turns <= 1);
}

static void back_up_while_twins_turn(const struct flagstore_options *options)
{
	flagstore *store = fresh(SEGMENT, options);
	pid_t writer;
	char key[KEY_ROOM];

	forget_signs();
	for (unsigned i = 0; i < 2000; i++)
		require_ok(flagstore_set(store, key_of(key, "bystander", i), i % 2));
	for (unsigned i = 0; i < TWINS; i++) {
		require_ok(flagstore_set(store, key_of(key, "left", i), false));
		require_ok(flagstore_set(store, key_of(key, "right", i), false));
	}
	writer = child(turn_twins, NULL);
	await(2);
	for (unsigned i = 0; i < 60; i++) {
		const char *file = in_memory("backup");
		uint64_t flags;

		require_ok(flagstore_backup(store, file, &flags));
		require_int(2000 + 2 * TWINS, flags);
		require_one_moment(file);
		require_error(FLAGSTORE_EEXISTS, flagstore_backup(store, file, NULL));
	}
	show(1);
	child_succeeds(writer);
	require_healthy(store);
	flagstore_close(store);
}

static void a_backup_is_of_one_moment(void **state)
{
	struct flagstore_options volatile_options = FLAGSTORE_OPTIONS_INIT, options = persisting(in_memory("backed-up"), FLAGSTORE_ASYNC);

	(void)state;
	volatile_options.max_bytes = 64 << 20;
	back_up_while_twins_turn(&options);
	back_up_while_twins_turn(&volatile_options);
}

/* Compared while batches go on: what is half applied is no difference, and is not made one. */
static void verifying_and_reconciling_while_batches_go_on_finds_and_makes_no_difference(void **state)
{
	const char *directory = in_memory("compared");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	flagstore *store = fresh(SEGMENT, &options);
	pid_t writer;

	(void)state;
	forget_signs();
	writer = child(turn_twins, NULL);
	await(2);
	for (unsigned i = 0; i < 100; i++) {
		struct flagstore_verification found = verify(store, i % 2 ? FLAGSTORE_VERIFY : FLAGSTORE_REPAIR_LMDB);

		require_int(0, found.missing + found.surplus + found.different);
		if (i % 10 == 0) {
			/* The whole table is compared with the next flush. */
			store->journal->reconcile++;
			require_ok(flagstore_sync(store, 10000));
		}
	}
	show(1);
	child_succeeds(writer);
	require_in_step(store);
	flagstore_close(store);
}

/* ----------------------------------------------------------------------------------------------------- damage */

static void work_on_anything(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	for (unsigned i = 0; !signs[1]; i++) {
		int result = flagstore_set(store, key_of(key, argument, i % 100), i / 100 % 2);

		require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTDURABLE || result == FLAGSTORE_ETIMEDOUT || result == FLAGSTORE_EPERSIST);
		if (i % 10 == 0)
			(void)flagstore_delete(store, key);
	}
	flagstore_close(store);
}

/* Not the lock: writers trust each other for that. */
static void scribble(flagstore *store, uint64_t *random)
{
	_Atomic uint64_t *page = (void *)store->journal, *ring = page + FS_PAGE / 8;
	uint64_t kind = random_next(random) % 4, word = random_next(random);

	if (kind == 0)
		word %= 1000000;
	if (kind == 1)
		word = ~(word % 4096);
	if (random_next(random) % 2)
		atomic_store(&page[8 + random_next(random) % (FS_PAGE / 8 - 8)], word);
	else
		atomic_store(&ring[random_next(random) % store->ring_words], word);
}

/* A deletion of which a byte of the key changes is the deletion of another flag, and so on. */
static void a_record_of_which_any_word_has_changed_is_not_believed(void **state)
{
	const char *directory = in_memory("changed");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	_Atomic uint64_t *ring;
	flagstore *store;

	(void)state;
	options.flags = FLAGSTORE_NO_FLUSHER;
	store = fresh(SEGMENT, &options);
	ring = (_Atomic uint64_t *)(void *)store->journal + FS_PAGE / 8;
	for (size_t word = 0; word < fs_record_bytes(strlen("doubtful flag")) / 8; word++) {
		uint64_t position, reconciles = persistence(store).reconciles;

		require_ok(flagstore_set(store, "doubtful flag", true));
		require_in_step(store);
		position = atomic_load(&store->journal->head);
		require_ok(flagstore_delete(store, "doubtful flag"));
		atomic_fetch_xor(&ring[(position / 8 + word) % store->ring_words], UINT64_C(1) << (word * 5 + 9) % 64);
		require_in_step(store);
		require(persistence(store).reconciles > reconciles);
	}
	flagstore_close(store);
}

static void a_damaged_journal_harms_nobody_and_is_made_good(void **state)
{
	const char *directory = in_memory("damaged");
	struct flagstore_options options = persisting(directory, FLAGSTORE_ASYNC);
	struct flagstore_breaker_limits limits = {50, 30, 1200, 5};
	uint64_t random = 11;
	flagstore *store;
	int64_t end;

	(void)state;
	options.lock_wait_ms = 500;
	store = fresh(SEGMENT, &options);
	for (unsigned round = 0; round < 3; round++) {
		pid_t left, right;

		forget_signs();
		left = child(work_on_anything, "left");
		right = child(work_on_anything, "right");
		for (end = now_ms() + 400; now_ms() < end; pause_us(300))
			scribble(store, &random);
		/* What an administrator had to set, he has to set again. */
		require_ok(flagstore_set_breaker(store, &limits));
		require_ok(flagstore_force_breaker(store, false));
		show(1);
		require_int(0, child_status(left, 20000));
		require_int(0, child_status(right, 20000));
		await_breaker(store, FLAGSTORE_BREAKER_CLOSED, 20000);
		require_in_step(store);
		require_ok(flagstore_set(store, "after", round % 2));
		require_in_step(store);
	}
	require(persistence(store).reconciles > 0);
	flagstore_close(store);
}

/* ---------------------------------------------------------------------------------------------------- stopped */

/* Stops itself between steps until its journal record has been announced, and is left so. */
static void step_and_set(void *argument)
{
	require_ok(flagstore_set(inherited, "kept.warm", true));
	require(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	raise(SIGSTOP);
	require_ok(flagstore_set(inherited, argument, true));
}

static void step_until_announced(pid_t pid, const flagstore *store)
{
	int status;

	require(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	while (atomic_load(&store->journal->next) == atomic_load(&store->journal->head)) {
		require(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		require(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	}
}

static void one_that_is_stopped_in_the_journal_holds_nobody_longer_than_he_wants(void **state)
{
	const char *directory = in_memory("stopped");
	struct flagstore_options options = persisting(directory, FLAGSTORE_SYNC);
	flagstore *store;
	int64_t began;
	pid_t pid;
	int result;

	(void)state;
	options.lock_wait_ms = 1000;
	options.flags = FLAGSTORE_NO_FLUSHER;
	inherited = store = fresh(SEGMENT, &options);
	require_ok(flagstore_set(store, "kept.warm", false));
	require_ok(flagstore_set(store, "known", false));
	pid = child(step_and_set, "known");
	step_until_announced(pid, store);
	began = now_ms();
	result = flagstore_sync(store, 200);
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTDURABLE);
	require(now_ms() - began < 5000);
	began = now_ms();
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_set(store, "kept.warm", false));
	require(now_ms() - began < 1900);
	require(child_kill(pid));
	require_ok(flagstore_set(store, "kept.warm", false));
	require_in_step(store);
	flagstore_close(store);
}

/* Sets without end. */
static void set_without_end(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_NO_FLUSHER);

	(void)argument;
	for (unsigned i = 0;; i++) {
		require_ok(flagstore_set(store, "busy", i % 2));
		show(2);
	}
}

static void one_that_is_stopped_in_a_flush_opens_the_breaker(void **state)
{
	const char *directory = on_disk("asleep");
	flagstore *store = fresh_durable(SEGMENT, directory, FLAGSTORE_SYNC, FLAGSTORE_NO_FLUSHER);
	struct flagstore_breaker_limits impatient = {.commit_ms = 200};
	bool caught = false;
	pid_t pid;

	(void)state;
	forget_signs();
	require_ok(flagstore_set_breaker(store, &impatient));
	pid = child(set_without_end, NULL);
	await(2);
	for (unsigned i = 0; i < 100 && !caught; i++) {
		int64_t began = now_ms();

		require(kill(pid, SIGSTOP) == 0);
		pause_us(2000);
		caught = fs_file_locked(store->fd, FS_LOCK_FLUSH);
		/* Before that commit is over, if one is under way. */
		require_ok(flagstore_set(store, "flag", i % 2));
		require(now_ms() - began < 10000);
		require(kill(pid, SIGCONT) == 0);
		pause_us(1000 + 137 * (long)i);
	}
	require(caught);
	require_int(1, persistence(store).trips);
	require(child_kill(pid));
	await_breaker(store, FLAGSTORE_BREAKER_OPEN, 1);
	for (int64_t end = now_ms() + 20000; persistence(store).breaker != FLAGSTORE_BREAKER_CLOSED;) {
		require(now_ms() < end);
		require_ok(flagstore_set(store, "flag", now_ms() % 2));
		pause_us(20000);
	}
	require_in_step(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_segment_is_filled_from_its_directory),
		cmocka_unit_test(a_synchronous_change_is_durable_when_it_returns),
		cmocka_unit_test(an_asynchronous_change_is_written_by_itself),
		cmocka_unit_test(a_clock_that_is_set_back_delays_nothing),
		cmocka_unit_test(a_flag_that_has_changed_since_it_was_found_is_not_journaled),
		cmocka_unit_test(a_barrier_makes_everything_durable),
		cmocka_unit_test(a_barrier_ends_while_others_go_on_writing),
		cmocka_unit_test(a_set_to_the_value_that_is_there_waits_until_that_is_durable),
		cmocka_unit_test(a_foreign_writer_that_does_not_end_opens_the_breaker),
		cmocka_unit_test(what_a_foreign_writer_changed_is_found_and_repaired_either_way),
		cmocka_unit_test(an_environment_that_others_enlarge_is_followed),
		cmocka_unit_test(an_environment_that_becomes_too_small_grows),
		cmocka_unit_test(readers_that_were_killed_are_cleared_away),
		cmocka_unit_test(what_lmdb_has_is_always_what_the_table_was_at_some_moment),
		cmocka_unit_test(batches_are_whole_between_transactions_too),
		cmocka_unit_test(writers_that_find_the_journal_full_write_it),
		cmocka_unit_test(a_batch_that_finds_the_journal_full_looks_again),
		cmocka_unit_test(a_batch_larger_than_the_journal_is_refused),
		cmocka_unit_test(two_stores_of_one_process_share_a_segment),
		cmocka_unit_test(a_parent_that_is_killed_in_a_flush_leaves_nobody_stuck),
		cmocka_unit_test(a_child_that_only_reads_keeps_none_of_its_dead_parents_locks),
		cmocka_unit_test(a_directory_is_one_segments_until_that_is_unlinked),
		cmocka_unit_test(of_two_segments_created_at_once_one_gets_the_directory),
		cmocka_unit_test(a_segment_from_before_a_reboot_gives_way_to_its_directory),
		cmocka_unit_test(a_backup_is_of_one_moment),
		cmocka_unit_test(verifying_and_reconciling_while_batches_go_on_finds_and_makes_no_difference),
		cmocka_unit_test(a_record_of_which_any_word_has_changed_is_not_believed),
		cmocka_unit_test(a_damaged_journal_harms_nobody_and_is_made_good),
		cmocka_unit_test(one_that_is_stopped_in_the_journal_holds_nobody_longer_than_he_wants),
		cmocka_unit_test(one_that_is_stopped_in_a_flush_opens_the_breaker),
	};

	choose_tests();
	return cmocka_run_group_tests(tests, setup, durable_teardown);
}

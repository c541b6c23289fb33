/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * batches.c: several changes as one, as the batch's process and others see them.
 */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "batches"

static flagstore_batch *begin(flagstore *store)
{
	flagstore_batch *batch = NULL;

	require_ok(flagstore_batch_begin(store, &batch));
	return batch;
}

static size_t commit(flagstore_batch *batch)
{
	size_t changed = SIZE_MAX;

	require_ok(flagstore_batch_commit(batch, &changed));
	return changed;
}

static void a_batch_inserts_flips_and_deletes(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	flagstore_batch *batch;

	(void)state;
	require_ok(flagstore_set(store, "flipped", false));
	require_ok(flagstore_set(store, "turned over", true));
	require_ok(flagstore_set(store, "deleted", true));
	require_ok(flagstore_set(store, "same", true));
	batch = begin(store);
	require_ok(flagstore_batch_set(batch, "inserted", true));
	require_ok(flagstore_batch_set(batch, "flipped", true));
	require_ok(flagstore_batch_set(batch, "same", true));
	require_ok(flagstore_batch_toggle(batch, "turned over"));
	require_ok(flagstore_batch_delete(batch, "deleted"));
	require(!flagstore_get(store, "inserted") && lookup(store, "deleted").exists);
	require_int(4, commit(batch));
	require(flagstore_get(store, "inserted") && flagstore_get(store, "flipped") && flagstore_get(store, "same"));
	require(!flagstore_get(store, "turned over") && !lookup(store, "deleted").exists);
	require_int(1, lookup(store, "inserted").changes);
	require_int(2, lookup(store, "flipped").changes);
	require_int(1, lookup(store, "same").changes);
	require(lookup(store, "inserted").writer != 0 && lookup(store, "inserted").changed_ms != 0);
	require(lookup(store, "flipped").writer != 0 && lookup(store, "flipped").changed_ms != 0);
	require_int(4, info(store).flags);
	require_healthy(store);
	flagstore_close(store);
}

static void an_empty_or_aborted_batch_changes_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	flagstore_batch *batch;
	uint64_t before;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	before = digest_of(path_of(SEGMENT));
	require_int(0, commit(begin(store)));
	batch = begin(store);
	require_ok(flagstore_batch_set(batch, "b", true));
	require_ok(flagstore_batch_delete(batch, "a"));
	flagstore_batch_abort(batch);
	require(before == digest_of(path_of(SEGMENT)));
	flagstore_close(store);
}

static void a_batch_of_sets_to_the_same_values_changes_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	uint64_t versions[100];
	flagstore_batch *batch;
	char key[KEY_ROOM];

	(void)state;
	batch = begin(store);
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_batch_set(batch, key_of(key, "flag", i), i % 2));
	require_int(100, commit(batch));
	for (unsigned i = 0; i < 100; i++)
		versions[i] = lookup(store, key_of(key, "flag", i)).version;
	batch = begin(store);
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_batch_set(batch, key_of(key, "flag", i), i % 2));
	require_int(0, commit(batch));
	for (unsigned i = 0; i < 100; i++)
		require(versions[i] == lookup(store, key_of(key, "flag", i)).version);
	flagstore_close(store);
}

/* A program of one-letter changes of one key: t, f: set; x: toggle; d: delete. after: t, f or - (missing). */
static void changes_of_one_key_take_effect_in_order(void **state)
{
	static const struct {
		char before;
		const char *changes;
		char after;
	} cases[] = {
		{'-', "tf", 'f'}, {'-', "ft", 't'}, {'-', "tx", 'f'}, {'-', "td", '-'},  {'-', "tdt", 't'}, {'-', "txxd", '-'},
		{'t', "d", '-'},  {'t', "df", 'f'}, {'t', "dt", 't'}, {'t', "dtx", 'f'}, {'t', "xx", 't'},  {'t', "xxx", 'f'},
		{'f', "dtd", '-'}, {'f', "tft", 't'}, {'f', "dtdtd", '-'}, {'f', "dtdtdf", 'f'},
	};
	flagstore *store = fresh(SEGMENT, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		flagstore_batch *batch = begin(store);
		struct flagstore_flag before, after;

		(void)flagstore_delete(store, "a");
		if (cases[i].before != '-')
			require_ok(flagstore_set(store, "a", cases[i].before == 't'));
		before = lookup(store, "a");
		for (const char *change = cases[i].changes; *change; change++)
			if (*change == 'x')
				require_ok(flagstore_batch_toggle(batch, "a"));
			else if (*change == 'd')
				require_ok(flagstore_batch_delete(batch, "a"));
			else
				require_ok(flagstore_batch_set(batch, "a", *change == 't'));
		(void)commit(batch);
		after = lookup(store, "a");
		require_int(cases[i].after != '-', after.exists);
		require_int(cases[i].after == 't', after.value);
		if (before.exists && after.exists && before.value != after.value)
			require(before.version != after.version);
		require_healthy(store);
	}
	flagstore_close(store);
}

static void a_batch_with_a_wrong_change_changes_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	flagstore_batch *batch = begin(store);
	struct flagstore_flag before;
	uint64_t flags;
	char key[KEY_ROOM];
	size_t changed = 77;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	before = lookup(store, "a");
	for (unsigned i = 0; i < 500; i++)
		require_ok(flagstore_batch_set(batch, key_of(key, "flag", i), true));
	require_ok(flagstore_batch_toggle(batch, "a"));
	require_ok(flagstore_batch_toggle(batch, "nobody"));
	flags = info(store).flags;
	require_error_says(FLAGSTORE_ENOTFOUND, "change 502", flagstore_batch_commit(batch, &changed));
	require_int(77, changed);
	require_int(flags, info(store).flags);
	require(lookup(store, "a").version == before.version);
	require(!lookup(store, "flag.0").exists);
	require_healthy(store);

	/* It stays, and once the flag is there it can be committed. */
	require_ok(flagstore_set(store, "nobody", false));
	require_int(502, commit(batch));
	require(flagstore_get(store, "nobody") && !flagstore_get(store, "a") && flagstore_get(store, "flag.499"));

	batch = begin(store);
	require_ok(flagstore_batch_delete(batch, "a"));
	require_ok(flagstore_batch_delete(batch, "a"));
	require_error_says(FLAGSTORE_ENOTFOUND, "change 2", flagstore_batch_commit(batch, NULL));
	require(lookup(store, "a").exists);
	flagstore_batch_abort(batch);

	batch = begin(store);
	require_ok(flagstore_batch_delete(batch, "a"));
	require_ok(flagstore_batch_toggle(batch, "a"));
	require_error(FLAGSTORE_ENOTFOUND, flagstore_batch_commit(batch, NULL));
	require(lookup(store, "a").exists);
	flagstore_batch_abort(batch);
	require_healthy(store);
	flagstore_close(store);
}

static void the_largest_batch_works_and_one_more_change_is_refused(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	flagstore_batch *batch = begin(store);
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < FLAGSTORE_BATCH_MAX; i++)
		require_ok(flagstore_batch_set(batch, key_of(key, "flag", i), i % 2));
	require_error_says(FLAGSTORE_ETOOBIG, "4096", flagstore_batch_set(batch, "one more", true));
	require_error(FLAGSTORE_ETOOBIG, flagstore_batch_toggle(batch, "flag.0"));
	require_error(FLAGSTORE_ETOOBIG, flagstore_batch_delete(batch, "flag.0"));
	require_int(FLAGSTORE_BATCH_MAX, commit(batch));
	require_int(FLAGSTORE_BATCH_MAX, info(store).flags);
	require(!lookup(store, "one more").exists);

	batch = begin(store);
	for (unsigned i = 0; i < FLAGSTORE_BATCH_MAX; i++)
		require_ok(flagstore_batch_delete(batch, key_of(key, "flag", i)));
	require_int(FLAGSTORE_BATCH_MAX, commit(batch));
	require_int(0, info(store).flags);
	require_healthy(store);
	flagstore_close(store);
}

static void a_batch_of_long_keys_works(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	char key[FLAGSTORE_KEY_MAX + 1];

	(void)state;
	for (int round = 0; round < 3; round++) {
		flagstore_batch *batch = begin(store);

		for (int i = 0; i < 300; i++) {
			size_t length = 30 + (size_t)(i * 37 % 226);

			memset(key, 'k', sizeof key);
			snprintf(key, sizeof key, "%d", i);
			key[strlen(key)] = 'k';
			if (round == 1)
				require_ok(flagstore_batch_delete_n(batch, key, length));
			else
				require_ok(flagstore_batch_set_n(batch, key, length, true));
			memset(key, 'x', sizeof key); /* the batch has its own copy */
		}
		require_int(300, commit(batch));
		require_int(round == 1 ? 0 : 300, info(store).flags);
		require_healthy(store);
	}
	flagstore_close(store);
}

static void a_read_only_store_has_no_batches(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	flagstore_batch *batch = NULL;

	(void)state;
	require_error_says(FLAGSTORE_EREADONLY, path_of(SEGMENT), flagstore_batch_begin(reader, &batch));
	require(!batch);
	flagstore_close(reader);
	flagstore_close(store);
}

/* ----------------------------------------------------------------------------- seen by other processes
 *
 * A group is 40 flags that are changed by whole batches only. Batch n makes them: all false, all true, or (every third)
 * all missing. So in any snapshot all are alike. */
enum { GROUP = 40 };

static void change_the_group(flagstore *store, unsigned n)
{
	flagstore_batch *batch = begin(store);
	char key[KEY_ROOM];

	for (unsigned i = 0; i < GROUP; i++)
		if (n % 3 == 2)
			require_ok(flagstore_batch_delete(batch, key_of(key, "group", i)));
		else
			require_ok(flagstore_batch_set(batch, key_of(key, "group", i), n % 3));
	require_int(GROUP, commit(batch));
}

/* Counts its batches, so that the parent can wait for the first. */
static void change_the_group_for_ever(void *argument)
{
	unsigned *batches = argument;
	flagstore *store = attach(SEGMENT, 0);

	for (unsigned n = 0;; n++) {
		change_the_group(store, n % 3);
		__atomic_fetch_add(batches, 1, __ATOMIC_SEQ_CST);
	}
}

static pid_t start_changing_the_group(unsigned *batches)
{
	pid_t pid;

	__atomic_store_n(batches, 0, __ATOMIC_SEQ_CST);
	pid = child(change_the_group_for_ever, batches);
	while (!__atomic_load_n(batches, __ATOMIC_SEQ_CST))
		pause_us(100);
	return pid;
}

/* The state that all flags of the group share: 0, 1, 2 (missing). -1: no quiet moment. */
static int snapshot_of_the_group(flagstore *store)
{
	char places[GROUP][KEY_ROOM];
	const char *keys[GROUP];
	struct flagstore_flag flags[GROUP];
	int result;

	for (unsigned i = 0; i < GROUP; i++)
		keys[i] = key_of(places[i], "group", i);
	result = flagstore_snapshot(store, keys, NULL, GROUP, flags);
	if (result == FLAGSTORE_EBUSY)
		return -1;
	require_int(FLAGSTORE_OK, result);
	for (int i = 1; i < GROUP; i++) {
		require_int(flags[0].exists, flags[i].exists);
		require_int(flags[0].value, flags[i].value);
	}
	return flags[0].exists ? flags[0].value : 2;
}

static void watch_the_group(unsigned snapshots, bool killing)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, NULL), *reader;
	unsigned seen[4] = {0}, *batches = shared_memory(sizeof *batches);
	pid_t pid = start_changing_the_group(batches);
	uint64_t random = 11;

	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = 10;
	require_ok(flagstore_attach(SEGMENT, &options, &reader));
	/* On a busy machine the other process may not run for a while. */
	for (unsigned i = 0; i < snapshots || (!killing && !(seen[1] && seen[2] && seen[3]) && i < 1000 * snapshots); i++) {
		if (killing) {
			pause_us((long)(random_next(&random) % 2000));
			require(child_kill(pid));
		}
		seen[snapshot_of_the_group(store) + 1]++;
		seen[snapshot_of_the_group(reader) + 1]++;
		if (killing) {
			flagstore_batch *batch = begin(store);
			char key[KEY_ROOM];

			for (unsigned k = 0; k < GROUP; k++)
				require_ok(flagstore_batch_set(batch, key_of(key, "group", k), false));
			for (unsigned k = 0; k < GROUP; k++)
				require_ok(flagstore_batch_toggle(batch, key_of(key, "group", k)));
			(void)commit(batch);
			require_int(1, snapshot_of_the_group(store));
			require_healthy(store);
			pid = start_changing_the_group(batches);
		}
	}
	require(child_kill(pid));
	printf("# snapshots: false %u, true %u, missing %u, no quiet moment %u\n", seen[1], seen[2], seen[3], seen[0]);
	require(seen[1] && seen[2] && seen[3]);
	require_healthy(store);
	flagstore_close(reader);
	flagstore_close(store);
}

static void another_process_sees_a_batch_whole_or_not_at_all(void **state)
{
	(void)state;
	watch_the_group(3000, false);
}

static void a_batch_that_is_killed_anywhere_happened_whole_or_not_at_all(void **state)
{
	(void)state;
	watch_the_group(500, true);
}

struct rivals {
	unsigned committed;
};

static void turn_the_group_over(void *argument)
{
	struct rivals *rivals = argument;
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	for (int round = 0; round < 500; round++) {
		flagstore_batch *batch = begin(store);

		/* In another order each time: locks are taken in one order all the same. */
		for (unsigned i = 0; i < GROUP; i++)
			require_ok(flagstore_batch_toggle(batch, key_of(key, "group", (i * 7 + (unsigned)getpid()) % GROUP)));
		require_int(GROUP, commit(batch));
		__atomic_fetch_add(&rivals->committed, 1, __ATOMIC_SEQ_CST);
	}
	flagstore_close(store);
}

static void batches_of_rivals_lose_nothing_and_never_block_each_other(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct rivals *rivals = shared_memory(sizeof *rivals);
	char key[KEY_ROOM];
	pid_t pids[4];

	(void)state;
	change_the_group(store, 0);
	for (int i = 0; i < 4; i++)
		pids[i] = child(turn_the_group_over, rivals);
	for (int i = 0; i < 4; i++)
		child_succeeds(pids[i]);
	require_int(2000, rivals->committed);
	for (unsigned i = 0; i < GROUP; i++)
		require_int(2001, lookup(store, key_of(key, "group", i)).changes);
	require_healthy(store);
	flagstore_close(store);
}

static void flip_beside_the_batches(void *argument)
{
	unsigned *flips = argument;
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	for (unsigned round = 0; round < 20000; round++) {
		require_ok(flagstore_toggle(store, key_of(key, "group", round % GROUP), NULL));
		flips[round % GROUP]++;
	}
	flagstore_close(store);
}

static void flips_and_batches_of_the_same_flags_lose_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	unsigned *flips = shared_memory(GROUP * sizeof *flips);
	struct rivals *rivals = shared_memory(sizeof *rivals);
	char key[KEY_ROOM];
	pid_t pids[3];

	(void)state;
	change_the_group(store, 0);
	pids[0] = child(turn_the_group_over, rivals);
	pids[1] = child(flip_beside_the_batches, flips);
	pids[2] = child(turn_the_group_over, rivals);
	for (int i = 0; i < 3; i++)
		child_succeeds(pids[i]);
	for (unsigned i = 0; i < GROUP; i++)
		require_int(1001 + flips[i], lookup(store, key_of(key, "group", i)).changes);
	require_healthy(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest batches[] = {
		cmocka_unit_test(a_batch_inserts_flips_and_deletes),
		cmocka_unit_test(an_empty_or_aborted_batch_changes_nothing),
		cmocka_unit_test(a_batch_of_sets_to_the_same_values_changes_nothing),
		cmocka_unit_test(changes_of_one_key_take_effect_in_order),
		cmocka_unit_test(a_batch_with_a_wrong_change_changes_nothing),
		cmocka_unit_test(the_largest_batch_works_and_one_more_change_is_refused),
		cmocka_unit_test(a_batch_of_long_keys_works),
		cmocka_unit_test(a_read_only_store_has_no_batches),
		cmocka_unit_test(another_process_sees_a_batch_whole_or_not_at_all),
		cmocka_unit_test(a_batch_that_is_killed_anywhere_happened_whole_or_not_at_all),
		cmocka_unit_test(batches_of_rivals_lose_nothing_and_never_block_each_other),
		cmocka_unit_test(flips_and_batches_of_the_same_flags_lose_nothing),
	};

	return cmocka_run_group_tests(batches, segments_setup, segments_teardown);
}

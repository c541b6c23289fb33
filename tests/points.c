/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * points.c: reads and changes of one flag, as one process sees them. From inside the library it takes only the hash.
 */
#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "key.h"

#define SEGMENT "points"

static void a_missing_flag_reads_false_and_can_be_told_from_a_false_one(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag flag;

	(void)state;
	memset(&flag, 0xff, sizeof flag);
	require(!flagstore_get(store, "missing"));
	require_error(FLAGSTORE_ENOTFOUND, flagstore_lookup(store, "missing", &flag));
	require(!flag.exists && !flag.value);
	require(flag.version == 0 && flag.changes == 0 && flag.changed_ms == 0 && flag.writer == 0);

	require_ok(flagstore_set(store, "missing", false));
	require(!flagstore_get(store, "missing"));
	require_ok(flagstore_lookup(store, "missing", &flag));
	require(flag.exists && !flag.value && flag.version != 0);
	flagstore_close(store);
}

static void set_inserts_and_flips(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	require(flagstore_get(store, "a"));
	require_ok(flagstore_set(store, "a", false));
	require(!flagstore_get(store, "a"));
	require(lookup(store, "a").exists);
	require_int(1, info(store).flags);
	require_int(0, info(store).true_flags);
	flagstore_close(store);
}

static void a_set_to_the_same_value_writes_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	uint64_t before;
	char key[KEY_ROOM];
	bool inserted = true;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 2));
	before = digest_of(path_of(SEGMENT));
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 2));
	require_ok(flagstore_set_if_absent(store, "flag.7", false, &inserted));
	require(!inserted);
	require(before == digest_of(path_of(SEGMENT)));

	/* And the digest does see a change. */
	require_ok(flagstore_set(store, "flag.7", false));
	require(before != digest_of(path_of(SEGMENT)));
	flagstore_close(store);
}

static void reads_write_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag flag;
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	flagstore_handle *handle;
	uint64_t before;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	before = digest_of(path_of(SEGMENT));
	require(flagstore_get(store, "a"));
	require(!flagstore_get(store, "b"));
	require_ok(flagstore_lookup(store, "a", &flag));
	require_ok(flagstore_handle_open(store, "a", &handle));
	require(flagstore_handle_get(handle));
	flagstore_handle_close(handle);
	require_ok(flagstore_cursor_open(store, &cursor));
	require_ok(flagstore_cursor_next(cursor, &entry));
	flagstore_cursor_close(cursor);
	require(before == digest_of(path_of(SEGMENT)));
	flagstore_close(store);
}

static void only_the_first_set_if_absent_inserts(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	bool inserted = false;

	(void)state;
	require_ok(flagstore_set_if_absent(store, "mark", true, &inserted));
	require(inserted);
	require_ok(flagstore_set_if_absent(store, "mark", false, &inserted));
	require(!inserted);
	require(flagstore_get(store, "mark"));
	require_int(1, lookup(store, "mark").changes);
	require_ok(flagstore_delete(store, "mark"));
	require_ok(flagstore_set_if_absent(store, "mark", false, &inserted));
	require(inserted);
	require(!flagstore_get(store, "mark"));
	flagstore_close(store);
}

struct mark_race {
	unsigned firsts[8];
	unsigned ready;
};

enum { MARKS = 2000 };

static void claim_marks(void *argument)
{
	struct mark_race *race = argument;
	flagstore *store = attach(SEGMENT, 0);
	unsigned self = __atomic_fetch_add(&race->ready, 1, __ATOMIC_SEQ_CST);
	char key[KEY_ROOM];

	while (__atomic_load_n(&race->ready, __ATOMIC_SEQ_CST) < 8)
		pause_us(10);
	for (unsigned i = 0; i < MARKS; i++) {
		bool inserted;

		require_ok(flagstore_set_if_absent(store, key_of(key, "mark", i), true, &inserted));
		race->firsts[self] += inserted;
	}
	flagstore_close(store);
}

static void of_8_processes_exactly_one_sets_each_mark(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct mark_race *race = shared_memory(sizeof *race);
	pid_t pids[8];
	unsigned firsts = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		pids[i] = child(claim_marks, race);
	for (int i = 0; i < 8; i++)
		child_succeeds(pids[i]);
	for (int i = 0; i < 8; i++)
		firsts += race->firsts[i];
	require_int(MARKS, firsts);
	require_int(MARKS, info(store).flags);
	flagstore_close(store);
}

static void toggle_turns_over_and_says_the_new_value(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	bool value = true;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	require_ok(flagstore_toggle(store, "a", &value));
	require(!value && !flagstore_get(store, "a"));
	require_ok(flagstore_toggle(store, "a", &value));
	require(value && flagstore_get(store, "a"));
	require_ok(flagstore_toggle(store, "a", NULL));
	require(!flagstore_get(store, "a"));
	flagstore_close(store);
}

static void changes_of_a_missing_flag_fail_and_change_nothing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag missing = {0}, existing;
	bool value = true;
	uint64_t before;

	(void)state;
	require_ok(flagstore_set(store, "other", true));
	existing = lookup(store, "other");
	before = digest_of(path_of(SEGMENT));
	require_error_says(FLAGSTORE_ENOTFOUND, path_of(SEGMENT), flagstore_toggle(store, "missing", &value));
	require(value);
	require_error_says(FLAGSTORE_ENOTFOUND, path_of(SEGMENT), flagstore_delete(store, "missing"));
	require_error_says(FLAGSTORE_ENOTFOUND, path_of(SEGMENT),
	                   flagstore_compare_and_set(store, "missing", false, true));
	require_error_says(FLAGSTORE_ENOTFOUND, path_of(SEGMENT),
	                   flagstore_compare_and_set_version(store, "missing", &existing, true));
	require_error_says(FLAGSTORE_ECONFLICT, path_of(SEGMENT),
	                   flagstore_compare_and_set_version(store, "other", &missing, false));
	require(before == digest_of(path_of(SEGMENT)));
	flagstore_close(store);
}

static void compare_and_set_changes_only_what_is_expected(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);

	(void)state;
	require_ok(flagstore_set(store, "a", false));
	require_error(FLAGSTORE_ECONFLICT, flagstore_compare_and_set(store, "a", true, false));
	require_error(FLAGSTORE_ECONFLICT, flagstore_compare_and_set(store, "a", true, true));
	require(!flagstore_get(store, "a"));
	require_ok(flagstore_compare_and_set(store, "a", false, true));
	require(flagstore_get(store, "a"));
	require_ok(flagstore_compare_and_set(store, "a", true, true));
	require(flagstore_get(store, "a"));
	flagstore_close(store);
}

static void compare_and_set_version_notices_there_and_back(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag seen, now;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	seen = lookup(store, "a");
	require_ok(flagstore_toggle(store, "a", NULL));
	require_ok(flagstore_toggle(store, "a", NULL));
	require_error(FLAGSTORE_ECONFLICT, flagstore_compare_and_set_version(store, "a", &seen, false));
	require(flagstore_get(store, "a"));
	seen = lookup(store, "a");
	require_ok(flagstore_compare_and_set_version(store, "a", &seen, true));
	now = lookup(store, "a");
	require(now.value && now.version != seen.version);
	require_int(seen.changes + 1, now.changes);
	require_ok(flagstore_compare_and_set_version(store, "a", &now, false));
	require(!flagstore_get(store, "a"));

	/* A flag of the same value that is another flag by now. */
	seen = lookup(store, "a");
	require_ok(flagstore_delete(store, "a"));
	require_error(FLAGSTORE_ENOTFOUND, flagstore_compare_and_set_version(store, "a", &seen, true));
	require_ok(flagstore_set(store, "a", false));
	require_error(FLAGSTORE_ECONFLICT, flagstore_compare_and_set_version(store, "a", &seen, true));
	require(!flagstore_get(store, "a"));
	flagstore_close(store);
}

static void compare_and_set_version_inserts_what_was_missing(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_flag missing = lookup(store, "a");

	(void)state;
	require_ok(flagstore_compare_and_set_version(store, "a", &missing, true));
	require(flagstore_get(store, "a"));
	require_error(FLAGSTORE_ECONFLICT, flagstore_compare_and_set_version(store, "a", &missing, false));
	require(flagstore_get(store, "a"));
	flagstore_close(store);
}

static void every_change_has_a_version_of_its_own(void **state)
{
	enum { CHANGES = 5000 };
	static uint64_t versions[CHANGES];
	flagstore *store = fresh(SEGMENT, NULL);
	uint32_t changes = 0;
	int inserted = 0;

	(void)state;
	for (int i = 0; i < CHANGES; i++) {
		struct flagstore_flag flag;

		if (i % 7 == 6) {
			require_ok(flagstore_delete(store, "a"));
			require(!lookup(store, "a").exists);
			changes = 0;
		}
		if (changes == 0)
			inserted++;
		require_ok(flagstore_set(store, "a", changes % 2 == 0));
		flag = lookup(store, "a");
		require_int(++changes, flag.changes);
		versions[i] = flag.version;
		require(flag.version != 0);
	}
	require(inserted > 700);
	for (int i = 0; i < CHANGES; i++)
		for (int j = 0; j < i; j++)
			if (versions[i] == versions[j])
				require_int(i, j);
	flagstore_close(store);
}

static void lookup_says_who_changed_it_and_when(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_worker worker;
	struct flagstore_flag flag;
	struct timespec now;
	int64_t before;

	(void)state;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	before = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	require_ok(flagstore_set(store, "a", true));
	flag = lookup(store, "a");
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	require(flag.changed_ms >= before && flag.changed_ms <= (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	require(flag.writer != 0);
	require_ok(flagstore_worker(store, flag.writer, &worker));
	require_int(flag.writer, worker.id);
	require_int(getpid(), worker.pid);
	require_int(getuid(), worker.uid);
	require(worker.alive && worker.self && worker.command[0]);

	pause_us(30000);
	require_ok(flagstore_toggle(store, "a", NULL));
	require(lookup(store, "a").changed_ms > flag.changed_ms);
	require_int(flag.writer, lookup(store, "a").writer);
	flagstore_close(store);
}

static void toggle_as_another_worker(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);

	require_ok(flagstore_toggle(store, "a", NULL));
	*(uint32_t *)argument = lookup(store, "a").writer;
	flagstore_close(store);
}

static void another_process_is_another_writer(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	uint32_t *writer = shared_memory(sizeof *writer), self;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	self = lookup(store, "a").writer;
	in_child(toggle_as_another_worker, writer);
	require(lookup(store, "a").writer == *writer);
	require(*writer != self);
	flagstore_close(store);
}

/* -------------------------------------------------------------------------------------------------- keys */

/* At the places where a key's bytes may be kept in another way. */
static const size_t lengths[] = {1, 2, 7, 8, 15, 16, 31, 32, 38, 39, 40, 41, 47, 48, 63, 64, 127, 128, 254, 255};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void keys_of_every_length_are_kept_apart(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	char key[FLAGSTORE_KEY_MAX + 1];

	(void)state;
	memset(key, 'k', sizeof key);
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++)
		require_ok(flagstore_set_n(store, key, length, length % 3 == 0));
	require_int(FLAGSTORE_KEY_MAX, info(store).flags);
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++) {
		char copy[FLAGSTORE_KEY_MAX + 1] = {0};

		memcpy(copy, key, length);
		require_int(length % 3 == 0, flagstore_get_n(store, key, length));
		require_int(length % 3 == 0, flagstore_get(store, copy));
	}
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length += 2)
		require_ok(flagstore_delete_n(store, key, length));
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++) {
		struct flagstore_flag flag;

		require_int(length % 2 ? FLAGSTORE_ENOTFOUND : FLAGSTORE_OK, flagstore_lookup_n(store, key, length, &flag));
	}
	require_healthy(store);
	flagstore_close(store);
}

static void keys_that_share_long_prefixes_are_kept_apart(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);

	(void)state;
	for (int l = 0; l < LENGTHS; l++)
		for (int last = 1; last < 256; last++) {
			char key[FLAGSTORE_KEY_MAX];

			memset(key, 'p', sizeof key);
			key[lengths[l] - 1] = (char)last;
			require_ok(flagstore_set_n(store, key, lengths[l], last % 2));
		}
	require_int(LENGTHS * 255, info(store).flags);
	for (int l = 0; l < LENGTHS; l++)
		for (int last = 1; last < 256; last++) {
			char key[FLAGSTORE_KEY_MAX];

			memset(key, 'p', sizeof key);
			key[lengths[l] - 1] = (char)last;
			require_int(last % 2, flagstore_get_n(store, key, lengths[l]));
		}
	require_healthy(store);
	flagstore_close(store);
}

/* ---- keys that look alike to a search: of one length, with the same tag, and with the same hash as far as slots have it */

enum { CANDIDATES = 5000000 };

struct candidate {
	uint64_t seen;
	uint32_t number;
};

static int compare_candidates(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	return a->seen < b->seen ? -1 : a->seen > b->seen;
}

static const char *candidate_key(char *place, uint32_t number)
{
	snprintf(place, KEY_ROOM, "flags that share the beginning of their names, %07u", number);
	return place;
}

static uint64_t seed_of(const char *name)
{
	struct fs_constants constants;
	int file = open(path_of(name), O_RDONLY | O_CLOEXEC);

	require(file >= 0 && pread(file, &constants, sizeof constants, 0) == sizeof constants);
	close(file);
	return constants.hash_seed;
}

static void keys_whose_hashes_collide_are_kept_apart(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct candidate *candidates = malloc(CANDIDATES * sizeof *candidates);
	unsigned collisions = 0;
	flagstore *store;
	uint64_t seed;

	(void)state;
	options.shards = 1;
	store = fresh(SEGMENT, &options);
	seed = seed_of(SEGMENT);
	require(candidates != NULL);
	for (uint32_t i = 0; i < CANDIDATES; i++) {
		char key[KEY_ROOM];

		candidate_key(key, i);
		candidates[i] = (struct candidate){fs_hash(seed, key, strlen(key)) & UINT64_C(0xffffffffff), i};
	}
	qsort(candidates, CANDIDATES, sizeof *candidates, compare_candidates);
	for (uint32_t i = 1; i < CANDIDATES; i++) {
		char one[KEY_ROOM], other[KEY_ROOM];

		if (candidates[i].seen != candidates[i - 1].seen)
			continue;
		collisions++;
		require_ok(flagstore_set(store, candidate_key(one, candidates[i].number), true));
		require(!lookup(store, candidate_key(other, candidates[i - 1].number)).exists);
		require_ok(flagstore_set(store, other, false));
		require(flagstore_get(store, one) && !flagstore_get(store, other));
		require_ok(flagstore_delete(store, one));
		require(!lookup(store, one).exists && lookup(store, other).exists);
	}
	free(candidates);
	require(collisions > 0);
	require_healthy(store);
	flagstore_close(store);
}

static void keys_of_any_bytes_but_nul_come_back_as_they_were(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	uint64_t random = 1;
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	char key[FLAGSTORE_KEY_MAX];
	unsigned seen = 0;

	(void)state;
	for (int l = 0; l < LENGTHS; l++) {
		for (size_t i = 0; i < lengths[l]; i++)
			key[i] = (char)(random_next(&random) % 255 + 1);
		require_ok(flagstore_set_n(store, key, lengths[l], true));
		require(flagstore_get_n(store, key, lengths[l]));
	}
	require_ok(flagstore_cursor_open(store, &cursor));
	while (flagstore_cursor_next(cursor, &entry) == FLAGSTORE_OK) {
		uint64_t again = 1;

		/* Which one it is, its length tells. */
		for (int l = 0; l < LENGTHS; l++) {
			for (size_t i = 0; i < lengths[l]; i++)
				key[i] = (char)(random_next(&again) % 255 + 1);
			if (lengths[l] == entry.length)
				require(memcmp(key, entry.key, entry.length) == 0);
		}
		require_int(0, entry.key[entry.length]);
		seen++;
	}
	require_int(LENGTHS, seen);
	flagstore_cursor_close(cursor);
	flagstore_close(store);
}

/* Every function that takes a key, on one key. */
static void require_no_key(flagstore *store, const char *key, size_t length)
{
	struct flagstore_flag flag = {0};
	flagstore_handle *handle = NULL;
	flagstore_batch *batch;
	bool value = false;

	require(!flagstore_get_n(store, key, length));
	require_error(FLAGSTORE_EKEY, flagstore_lookup_n(store, key, length, &flag));
	require_error(FLAGSTORE_EKEY, flagstore_set_n(store, key, length, true));
	require_error(FLAGSTORE_EKEY, flagstore_set_if_absent_n(store, key, length, true, &value));
	require_error(FLAGSTORE_EKEY, flagstore_toggle_n(store, key, length, &value));
	require_error(FLAGSTORE_EKEY, flagstore_compare_and_set_n(store, key, length, false, true));
	require_error(FLAGSTORE_EKEY, flagstore_compare_and_set_version_n(store, key, length, &flag, true));
	require_error(FLAGSTORE_EKEY, flagstore_delete_n(store, key, length));
	require_error(FLAGSTORE_EKEY, flagstore_handle_open_n(store, key, length, &handle));
	require(!handle);
	require_error(FLAGSTORE_EKEY, flagstore_wait_n(store, key, length, &flag, 0));
	require_error(FLAGSTORE_EKEY, flagstore_snapshot(store, &key, &length, 1, &flag));
	value = true;
	flagstore_get_many(store, &key, &length, 1, &value);
	require(!value);
	require_ok(flagstore_batch_begin(store, &batch));
	require_error(FLAGSTORE_EKEY, flagstore_batch_set_n(batch, key, length, true));
	require_error(FLAGSTORE_EKEY, flagstore_batch_toggle_n(batch, key, length));
	require_error(FLAGSTORE_EKEY, flagstore_batch_delete_n(batch, key, length));
	flagstore_batch_abort(batch);
}

static void keys_of_a_wrong_length_or_with_a_nul_are_refused(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	char key[FLAGSTORE_KEY_MAX + 2];
	uint64_t before = digest_of(path_of(SEGMENT));

	(void)state;
	memset(key, 'k', sizeof key);
	require_no_key(store, key, 0);
	require_no_key(store, key, 256);
	require_no_key(store, key, SIZE_MAX);
	for (int l = 0; l < LENGTHS; l++) {
		memset(key, 'k', sizeof key);
		key[lengths[l] - 1] = 0;
		require_no_key(store, key, lengths[l]);
		key[lengths[l] - 1] = 'k';
		key[lengths[l] / 2] = 0;
		require_no_key(store, key, lengths[l]);
	}
	require(before == digest_of(path_of(SEGMENT)));

	/* The forms for strings. */
	memset(key, 'k', sizeof key);
	key[256] = 0;
	require_error(FLAGSTORE_EKEY, flagstore_set(store, "", true));
	require_error_says(FLAGSTORE_EKEY, "256", flagstore_set(store, key, true));
	key[255] = 0;
	require_ok(flagstore_set(store, key, true));
	require(flagstore_get(store, key));
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------ errors */

static void every_error_has_a_sentence_and_a_name(void **state)
{
#define CODE(name, code, sentence) {FLAGSTORE_##name, #name},
	static const struct {
		int code;
		const char *name;
	} errors[] = {FLAGSTORE_ERRORS(CODE)};
#undef CODE

	(void)state;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		require(errors[i].code < 0);
		require(strlen(flagstore_strerror(errors[i].code)) > 10);
		require(strcmp(flagstore_error_name(errors[i].code), errors[i].name) == 0);
		for (size_t j = 0; j < i; j++)
			require(errors[i].code != errors[j].code);
	}
	require(strcmp(flagstore_error_name(FLAGSTORE_OK), "OK") == 0);
	require(strcmp(flagstore_error_name(-1000), "EUNKNOWN") == 0);
	require(strcmp(flagstore_error_name(1), "EUNKNOWN") == 0);
	require(strcmp(flagstore_error_name(INT_MIN), "EUNKNOWN") == 0);
	require(flagstore_strerror(-1000)[0] && flagstore_strerror(INT_MIN)[0] && flagstore_strerror(INT_MAX)[0]);
}

static void what_is_no_argument_is_refused(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *other = NULL;
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	(void)state;
	options.flags = 0x80;
	require_error(FLAGSTORE_EARGUMENT, flagstore_attach(SEGMENT, &options, &other));
	options.flags = 0;
	options.size = 3;
	require_error(FLAGSTORE_EARGUMENT, flagstore_attach(SEGMENT, &options, &other));
	require_error(FLAGSTORE_EARGUMENT, flagstore_create("new", &options, &other));
	require(!other);
	flagstore_close(NULL);
	flagstore_handle_close(NULL);
	flagstore_batch_abort(NULL);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest points[] = {
		cmocka_unit_test(a_missing_flag_reads_false_and_can_be_told_from_a_false_one),
		cmocka_unit_test(set_inserts_and_flips),
		cmocka_unit_test(a_set_to_the_same_value_writes_nothing),
		cmocka_unit_test(reads_write_nothing),
		cmocka_unit_test(only_the_first_set_if_absent_inserts),
		cmocka_unit_test(of_8_processes_exactly_one_sets_each_mark),
		cmocka_unit_test(toggle_turns_over_and_says_the_new_value),
		cmocka_unit_test(changes_of_a_missing_flag_fail_and_change_nothing),
		cmocka_unit_test(compare_and_set_changes_only_what_is_expected),
		cmocka_unit_test(compare_and_set_version_notices_there_and_back),
		cmocka_unit_test(compare_and_set_version_inserts_what_was_missing),
		cmocka_unit_test(every_change_has_a_version_of_its_own),
		cmocka_unit_test(lookup_says_who_changed_it_and_when),
		cmocka_unit_test(another_process_is_another_writer),
		cmocka_unit_test(keys_of_every_length_are_kept_apart),
		cmocka_unit_test(keys_that_share_long_prefixes_are_kept_apart),
		cmocka_unit_test(keys_whose_hashes_collide_are_kept_apart),
		cmocka_unit_test(keys_of_any_bytes_but_nul_come_back_as_they_were),
		cmocka_unit_test(keys_of_a_wrong_length_or_with_a_nul_are_refused),
		cmocka_unit_test(every_error_has_a_sentence_and_a_name),
		cmocka_unit_test(what_is_no_argument_is_refused),
	};

	return cmocka_run_group_tests(points, segments_setup, segments_teardown);
}

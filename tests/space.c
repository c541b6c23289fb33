/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * space.c: full file systems, segments at their maximum size, limits of the process, and how much room flags take.
 */
#include "support.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "space"

/* Short and long keys in turn, so that all kinds of blocks are wanted. */
static const char *mixed_key(char *place, unsigned i)
{
	int length = snprintf(place, FLAGSTORE_KEY_MAX + 1, "flag.%u", i);

	if (i % 8 == 7) {
		memset(place + length, 'l', FLAGSTORE_KEY_MAX - (size_t)length);
		place[40 + i * 29 % 216] = 0;
	}
	return place;
}

/* Inserts until error; returns how many flags there are. */
static unsigned fill(flagstore *store, int error, unsigned from)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	unsigned i = from;
	int result;

	while ((result = flagstore_set(store, mixed_key(key, i), i % 2)) == FLAGSTORE_OK)
		i++;
	require_int(error, result);
	require(strstr(flagstore_detail(), path_of(SEGMENT)) != NULL);
	require(!lookup(store, key).exists);
	return i;
}

static void require_all(const flagstore *store, unsigned count, unsigned turned)
{
	char key[FLAGSTORE_KEY_MAX + 1];

	for (unsigned i = 0; i < count; i++) {
		struct flagstore_flag flag = lookup(store, mixed_key(key, i));

		require(flag.exists);
		require_int((i + turned) % 2, flag.value);
	}
}

/* A batch needs a record of what is to be done, which it makes at the first one and keeps. */
static void make_record(flagstore *store)
{
	flagstore_batch *batch;
	char key[FLAGSTORE_KEY_MAX + 1];

	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 50; i++)
		require_ok(flagstore_batch_set(batch, mixed_key(key, i), i % 2));
	require_ok(flagstore_batch_commit(batch, NULL));
}

/* Everything but an insert goes on in a full segment of count flags. */
static void require_the_rest_goes_on(flagstore *store, unsigned count)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	flagstore_batch *batch;
	struct flagstore_flag flag;

	require_all(store, count, 0);
	require_all(reader, count, 0);
	for (unsigned i = 0; i < count; i++)
		require_ok(flagstore_toggle(store, mixed_key(key, i), NULL));
	require_all(reader, count, 1);

	/* What is given up can be taken again. */
	for (unsigned i = 0; i < count; i += 5) {
		require_ok(flagstore_delete(store, mixed_key(key, i)));
		require_ok(flagstore_set(store, key, (i + 1) % 2));
	}
	require_all(reader, count, 1);
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < count && i < 50; i++)
		require_ok(flagstore_batch_toggle(batch, mixed_key(key, i)));
	require_ok(flagstore_batch_commit(batch, NULL));
	for (unsigned i = 0; i < count && i < 50; i++)
		require_int(i % 2, flagstore_get(reader, mixed_key(key, i)));

	/* A batch that needs too much room changes nothing. */
	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_toggle(batch, "flag.0"));
	for (unsigned i = 0; i < FLAGSTORE_BATCH_MAX - 1; i++) {
		char other[KEY_ROOM];

		require_ok(flagstore_batch_set(batch, key_of(other, "too many", i), true));
	}
	require(flagstore_batch_commit(batch, NULL) != FLAGSTORE_OK);
	flagstore_batch_abort(batch);
	require(!flagstore_get(reader, "flag.0"));
	require_error(FLAGSTORE_ENOTFOUND, flagstore_lookup(reader, "too many.0", &flag));
	require_int(count, info(reader).flags);
	require_healthy(store);
	flagstore_close(reader);
}

/* ------------------------------------------------------------------------------------ a full file system */

static char mount_point[256];

static void resize(unsigned long flags, unsigned kilobytes)
{
	char options[64];

	snprintf(options, sizeof options, "size=%uk,mode=0700", kilobytes);
	require(mount("tiny", mount_point, "tmpfs", flags, options) == 0);
}

/* In a mount namespace of its own; ends with status 77 where that is not allowed. */
static void mount_tiny(unsigned kilobytes)
{
	char options[64];

	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		_exit(77);
	snprintf(options, sizeof options, "size=%uk,mode=0700", kilobytes);
	if (mount("tiny", mount_point, "tmpfs", 0, options) != 0)
		_exit(77);
	require(setenv("FLAGSTORE_DIR", mount_point, 1) == 0);
}

static void in_tiny(body *run)
{
	int status;

	snprintf(mount_point, sizeof mount_point, "%s/tiny", getenv("FLAGSTORE_DIR"));
	require(mkdir(mount_point, 0700) == 0);
	status = child_status(child(run, NULL), 120000);
	require(rmdir(mount_point) == 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("mounting a tmpfs is not allowed here");
	require_int(0, status);
}

static void fill_a_file_system_and_make_it_larger(void *argument)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	unsigned count, more;

	(void)argument;
	mount_tiny(1024);
	options.shards = 16;
	store = fresh(SEGMENT, &options);
	make_record(store);
	count = fill(store, FLAGSTORE_ENOSPACE, 0);
	require(strstr(flagstore_detail(), "full") != NULL || strstr(flagstore_detail(), "space") != NULL);
	require(count > 1000);
	require_the_rest_goes_on(store, count);

	resize(MS_REMOUNT, 4096);
	more = fill(store, FLAGSTORE_ENOSPACE, count);
	require(more > 2 * count);
	require_healthy(store);
	resize(MS_REMOUNT, 65536);
	for (unsigned i = more; i < 20000; i++) {
		char key[FLAGSTORE_KEY_MAX + 1];

		require_ok(flagstore_set(store, mixed_key(key, i), true));
	}
	require_healthy(store);
	printf("# 1 MiB took %u flags, 4 MiB %u\n", count, more);
	flagstore_close(store);
}

static void a_full_file_system_stops_inserts_and_nothing_else(void **state)
{
	(void)state;
	in_tiny(fill_a_file_system_and_make_it_larger);
}

static void reserve_more_than_there_is(void *argument)
{
	enum { FLAGS = 20000, BEFORE = 1000 };
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	(void)argument;
	mount_tiny(1024);
	options.shards = 4;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < BEFORE; i++) {
		char key[FLAGSTORE_KEY_MAX + 1];

		require_ok(flagstore_set(store, mixed_key(key, i), i % 2));
	}
	require_error(FLAGSTORE_ENOSPACE, flagstore_reserve(store, FLAGS));
	require(strstr(flagstore_detail(), path_of(SEGMENT)) != NULL);
	require_all(store, BEFORE, 0);
	require_healthy(store);
	/* Where it stopped it goes on. */
	resize(MS_REMOUNT, 65536);
	require_ok(flagstore_reserve(store, FLAGS));
	require_all(store, BEFORE, 0);
	require(info(store).slots >= FLAGS);
	require_healthy(store);
	flagstore_close(store);
}

static void a_reserve_in_a_full_file_system_loses_nothing(void **state)
{
	(void)state;
	in_tiny(reserve_more_than_there_is);
}

/* The room ends at another page each time, so at another block that was wanted. */
static void fill_file_systems_of_many_sizes(void *argument)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	(void)argument;
	options.shards = 4;
	options.workers = 8;
	mount_tiny(160);
	for (unsigned kilobytes = 160; kilobytes < 640; kilobytes += 4) {
		flagstore *store;
		uint64_t used;
		unsigned count;

		resize(MS_REMOUNT, kilobytes);
		store = fresh(SEGMENT, &options);
		make_record(store);
		count = fill(store, FLAGSTORE_ENOSPACE, 0);
		require_all(store, count, 0);
		require_healthy(store);
		used = info(store).used_bytes;
		/* Another failing insert must not lose what it took on the way. */
		for (int i = 0; i < 50; i++)
			require_int(count, fill(store, FLAGSTORE_ENOSPACE, count));
		require(info(store).used_bytes <= used);
		require_the_rest_goes_on(store, count);
		flagstore_close(store);
		require_ok(flagstore_unlink(SEGMENT));
	}
}

static void whatever_block_found_no_room_nothing_is_lost(void **state)
{
	(void)state;
	in_tiny(fill_file_systems_of_many_sizes);
}

static void create_without_room(void *argument)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;

	(void)argument;
	mount_tiny(16);
	options.shards = 1024;
	require_error_says(FLAGSTORE_ENOSPACE, path_of(SEGMENT), flagstore_create(SEGMENT, &options, &store));
	require(!store);
	require(access(path_of(SEGMENT), F_OK) != 0);
}

static void a_create_without_room_leaves_no_file(void **state)
{
	(void)state;
	in_tiny(create_without_room);
}

/* ------------------------------------------------------------------------------------------- other limits */

static void at_its_maximum_size_a_segment_stops_inserts_and_nothing_else(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	unsigned count;

	(void)state;
	options.max_bytes = 1 << 20;
	options.shards = 16;
	store = fresh(SEGMENT, &options);
	make_record(store);
	count = fill(store, FLAGSTORE_EFULL, 0);
	require(count > 1000);
	require_the_rest_goes_on(store, count);
	require(info(store).file_bytes <= 1 << 20);
	flagstore_close(store);
}

static void work_beyond_the_limit_of_the_process(void *argument)
{
	struct rlimit limit = {512 << 10, 512 << 10};
	flagstore *store = attach(SEGMENT, 0), *other = NULL;
	unsigned count;

	(void)argument;
	make_record(store);
	/* The signal that comes with a file beyond the limit stays deadly: it must not come. */
	require(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	count = fill(store, FLAGSTORE_EFULL, 0);
	require_the_rest_goes_on(store, count);
	flagstore_close(store);
	require_error_says(FLAGSTORE_ENOSPACE, "limit", flagstore_create("beyond", NULL, &other));
	require(!other && access(path_of("beyond"), F_OK) != 0);
}

static void the_file_size_limit_of_a_process_kills_nobody(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	(void)state;
	options.max_bytes = 2 << 20;
	options.shards = 4;
	store = fresh(SEGMENT, &options);
	in_child(work_beyond_the_limit_of_the_process, NULL);
	require_healthy(store);
	flagstore_close(store);
}

/* Where a deleted flag was there is room for another one, also for that of a batch. */
static void a_full_segment_takes_flags_in_place_of_deleted_ones(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore_batch *batch;
	flagstore *store;
	unsigned count;

	(void)state;
	options.max_bytes = 1 << 20;
	options.shards = 1;
	options.workers = 8;
	store = fresh(SEGMENT, &options);
	make_record(store);
	count = fill(store, FLAGSTORE_EFULL, 0);
	for (unsigned i = 0; i < 1000; i++) {
		mixed_key(key, i * 8 % count);
		require_ok(flagstore_delete(store, key));
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_set(batch, key, true));
		require_ok(flagstore_batch_set(batch, "flag.1", i % 2));
		require_ok(flagstore_batch_commit(batch, NULL));
		require(flagstore_get(store, key));
	}
	require_healthy(store);
	flagstore_close(store);
}

/* --------------------------------------------------------------------------------------------- frugality */

static uint64_t blocks_of(const char *name)
{
	struct stat status;

	require(stat(path_of(name), &status) == 0);
	return (uint64_t)status.st_blocks * 512;
}

/* Growth needs two buckets at once at most, of 512 slots. */
static void a_large_table_takes_room_little_by_little(void **state)
{
	enum { LARGE = 40000, MORE = 20000, STEP = 32 << 10 };
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, &options);
	uint64_t before = 0, growths;
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < LARGE; i++)
		require_ok(flagstore_set(store, key_of(key, "step", i), true));
	growths = info(store).growths;
	for (unsigned i = LARGE; i < LARGE + MORE; i++) {
		uint64_t now = blocks_of(SEGMENT);

		require(!before || now - before <= STEP);
		before = now;
		require_ok(flagstore_set(store, key_of(key, "step", i), true));
	}
	require(info(store).growths > growths + 20);
	flagstore_close(store);
}

static void a_hundred_flags_take_less_than_256_kib(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, &options);
	char key[FLAGSTORE_KEY_MAX + 1];

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_set(store, mixed_key(key, i), true));
	printf("# 100 flags: %llu bytes in blocks, %llu used\n", (unsigned long long)blocks_of(SEGMENT),
	       (unsigned long long)info(store).used_bytes);
	require(blocks_of(SEGMENT) < 256 << 10);
	flagstore_close(store);
}

static void a_large_table_takes_less_than_192_bytes_a_flag(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, &options);
	uint64_t most = 0;
	char key[KEY_ROOM];

	(void)state;
	for (unsigned i = 0; i < 400000; i++) {
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
		if (i >= 100000 && i % 10000 == 0 && info(store).file_bytes * 100 / i > most)
			most = info(store).file_bytes * 100 / i;
	}
	printf("# 100,000 to 400,000 flags: at most %llu.%02llu bytes a flag\n", (unsigned long long)most / 100,
	       (unsigned long long)most % 100);
	require(most < 19200);
	flagstore_close(store);
}

/* Inserts and deletes again and again, with 50 flags there at any time. */
static void churn(flagstore *store, unsigned from, unsigned to, unsigned keys)
{
	char key[FLAGSTORE_KEY_MAX + 1];

	for (unsigned i = from; i < to; i++) {
		require_ok(flagstore_set(store, mixed_key(key, i % keys), i % 2));
		if (i >= 50)
			require_ok(flagstore_delete(store, mixed_key(key, (i - 50) % keys)));
	}
}

/* Pages that the process has in memory. */
static unsigned long resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	require(file && fscanf(file, "%*u %lu", &pages) == 1);
	fclose(file);
	return pages;
}

/* CYCLES=n: so many, not a million or two. */
static void churn_in_rounds(unsigned otherwise, unsigned keys)
{
	flagstore *store = fresh(SEGMENT, NULL);
	const char *wanted = getenv("CYCLES");
	unsigned cycles = wanted ? (unsigned)strtoul(wanted, NULL, 10) : otherwise;
	unsigned long before;
	uint64_t used, blocks;

	churn(store, 0, cycles / 4, keys);
	used = info(store).used_bytes;
	blocks = blocks_of(SEGMENT);
	before = resident();
	churn(store, cycles / 4, cycles, keys);
	require(resident() <= before + before / 4);
	printf("# %u cycles: %llu bytes used after a quarter, %llu at the end\n", cycles, (unsigned long long)used,
	       (unsigned long long)info(store).used_bytes);
	require_int(50, info(store).flags);
	require(info(store).used_bytes <= used + used / 4);
	require(blocks_of(SEGMENT) <= blocks + blocks / 4);
	require(blocks_of(SEGMENT) < 512 << 10);
	require_healthy(store);
	flagstore_close(store);
}

static void inserts_and_deletes_of_few_keys_take_no_more_room(void **state)
{
	(void)state;
	churn_in_rounds(2000000, 100);
}

static void inserts_and_deletes_of_new_keys_take_no_more_room(void **state)
{
	(void)state;
	churn_in_rounds(1000000, UINT32_MAX);
}

static void what_a_large_table_gave_back_is_used_again(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	uint64_t used = 0;
	char key[FLAGSTORE_KEY_MAX + 1];

	(void)state;
	for (int round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 20000; i++)
			require_ok(flagstore_set(store, mixed_key(key, i), true));
		if (round == 1)
			used = info(store).used_bytes;
		for (unsigned i = 0; i < 20000; i++)
			require_ok(flagstore_delete(store, mixed_key(key, i)));
		require_int(0, info(store).flags);
	}
	require(info(store).used_bytes <= used + used / 8);
	require_healthy(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest space[] = {
		cmocka_unit_test(a_full_file_system_stops_inserts_and_nothing_else),
		cmocka_unit_test(a_reserve_in_a_full_file_system_loses_nothing),
		cmocka_unit_test(whatever_block_found_no_room_nothing_is_lost),
		cmocka_unit_test(a_create_without_room_leaves_no_file),
		cmocka_unit_test(at_its_maximum_size_a_segment_stops_inserts_and_nothing_else),
		cmocka_unit_test(the_file_size_limit_of_a_process_kills_nobody),
		cmocka_unit_test(a_full_segment_takes_flags_in_place_of_deleted_ones),
		cmocka_unit_test(a_large_table_takes_room_little_by_little),
		cmocka_unit_test(a_hundred_flags_take_less_than_256_kib),
		cmocka_unit_test(a_large_table_takes_less_than_192_bytes_a_flag),
		cmocka_unit_test(inserts_and_deletes_of_few_keys_take_no_more_room),
		cmocka_unit_test(inserts_and_deletes_of_new_keys_take_no_more_room),
		cmocka_unit_test(what_a_large_table_gave_back_is_used_again),
	};

	return cmocka_run_group_tests(space, segments_setup, segments_teardown);
}

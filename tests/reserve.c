/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reserve.c: room made before the flags come; space.c has what happens when there is none.
 */
#include "support.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "layout.h"

#define SEGMENT "reserve"
#define FLAGS 100000

static flagstore *fresh_of(uint64_t max_bytes, uint32_t shards)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	options.max_bytes = max_bytes;
	options.shards = shards;
	return fresh(SEGMENT, &options);
}

static void insert(flagstore *store, unsigned from, unsigned to)
{
	char key[KEY_ROOM];

	for (unsigned i = from; i < to; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 2));
}

static void require_values(const flagstore *store, unsigned count)
{
	char key[KEY_ROOM];

	for (unsigned i = 0; i < count; i++)
		require(flagstore_get(store, key_of(key, "flag", i)) == i % 2);
}

/* The number, too, which is exact while nobody writes. */
static void require_all(const flagstore *store, unsigned count)
{
	require_values(store, count);
	require_int(count, info(store).flags);
}

static void inserts_into_what_was_reserved_grow_nothing(void **state)
{
	flagstore *store = fresh_of(64 << 20, 64);
	struct flagstore_info ready, full;

	(void)state;
	require_ok(flagstore_reserve(store, FLAGS));
	ready = info(store);
	require_int(0, ready.flags);
	require(ready.slots >= FLAGS && ready.slots <= 2 * FLAGS);
	require_healthy(store);
	insert(store, 0, FLAGS);
	full = info(store);
	/* What falls into a bucket is left to chance; few get more than they have room for. */
	require(full.growths - ready.growths <= full.buckets / 50);
	require(full.used_bytes <= (uint64_t)FLAGS * 112);
	require_all(store, FLAGS);
	require_healthy(store);
	flagstore_close(store);
}

/* But for the few buckets that got more than their share: those grow. */
static void a_second_time_changes_nothing(void **state)
{
	flagstore *store = fresh_of(64 << 20, 4);
	struct flagstore_info before;

	(void)state;
	require_ok(flagstore_reserve(store, FLAGS));
	insert(store, 0, FLAGS / 2);
	before = info(store);
	require_ok(flagstore_reserve(store, FLAGS));
	require_ok(flagstore_reserve(store, FLAGS / 2));
	require_ok(flagstore_reserve(store, 0));
	require(info(store).growths - before.growths <= before.buckets / 50);
	require(info(store).used_bytes - before.used_bytes <= before.used_bytes / 50);
	require_all(store, FLAGS / 2);
	flagstore_close(store);
}

static void flags_that_are_there_stay(void **state)
{
	flagstore *store = fresh_of(64 << 20, 1);
	flagstore_handle *handle;
	char key[KEY_ROOM];

	(void)state;
	insert(store, 0, 1000);
	require_ok(flagstore_handle_open(store, key_of(key, "flag", 501), &handle));
	require_ok(flagstore_reserve(store, FLAGS));
	require(flagstore_handle_get(handle));
	require_all(store, 1000);
	require_healthy(store);
	insert(store, 1000, FLAGS);
	require_all(store, FLAGS);
	require_healthy(store);
	flagstore_handle_close(handle);
	flagstore_close(store);
}

static void few_flags_in_many_shards(void **state)
{
	flagstore *store = fresh_of(64 << 20, 1024);

	(void)state;
	/* Less than one for each. */
	require_ok(flagstore_reserve(store, 1023));
	require_int(0, info(store).slots);
	insert(store, 0, 3000);
	require_all(store, 3000);
	require_healthy(store);
	flagstore_close(store);
}

static void what_can_never_fit_is_refused_at_once(void **state)
{
	flagstore *store = fresh_of(4 << 20, 16);
	uint64_t used = info(store).used_bytes;

	(void)state;
	require_error(FLAGSTORE_EFULL, flagstore_reserve(store, FLAGS));
	require(strstr(flagstore_detail(), "has no room for 100000 flags") != NULL);
	require_error(FLAGSTORE_EFULL, flagstore_reserve(store, UINT64_MAX));
	require_int(used, info(store).used_bytes);
	flagstore_close(store);
}

/* Whatever number is not refused, there is room for it; and the refused one has taken none. */
static void what_is_not_refused_fits(void **state)
{
	(void)state;
	for (uint32_t shards = 1; shards <= 1024; shards *= 4) {
		unsigned accepted = 0;
		flagstore *store;

		for (unsigned flags = 1000; flags < 50000; flags += 997) {
			uint64_t used;
			int error;

			store = fresh_of(4 << 20, shards);
			used = info(store).used_bytes;
			error = flagstore_reserve(store, flags);
			if (!error)
				accepted = flags;
			else
				require_int(used, info(store).used_bytes);
			require(!error || error == FLAGSTORE_EFULL);
			flagstore_close(store);
			require_ok(flagstore_unlink(SEGMENT));
		}
		note("%u shards: %u flags", shards, accepted);
		require(accepted > 10000);
		store = fresh_of(4 << 20, shards);
		require_ok(flagstore_reserve(store, accepted));
		insert(store, 0, accepted / 2);
		/* What is ready need not be made again. */
		require_ok(flagstore_reserve(store, accepted));
		insert(store, accepted / 2, accepted);
		require_all(store, accepted);
		require_healthy(store);
		flagstore_close(store);
		require_ok(flagstore_unlink(SEGMENT));
	}
}

static void a_segment_may_be_created_with_room(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	(void)state;
	options.reserve = 20000;
	store = fresh(SEGMENT, &options);
	require(info(store).slots >= 20000);
	require_healthy(store);
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
	options.max_bytes = 2 << 20;
	require_error(FLAGSTORE_EFULL, flagstore_create(SEGMENT, &options, &store));
	require_error(FLAGSTORE_ENOSEGMENT, flagstore_attach(SEGMENT, NULL, &store));
}

/* A bucket that is deeper than its directory: its share would be next to nothing, and its neighbours' without end. */
static void a_damaged_depth_is_no_endless_loop(void **state)
{
	flagstore *store = fresh_of(4 << 20, 1);
	uint64_t directory, entry;
	off_t place;
	int file;

	(void)state;
	require_ok(flagstore_set(store, "a", true));
	file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);
	require(file >= 0);
	require(pread(file, &directory, sizeof directory, FS_PAGE + (off_t)offsetof(struct fs_shard, directory)) == sizeof directory);
	place = (off_t)(directory >> FS_WORD_LINE_SHIFT) * FS_LINE;
	require(pread(file, &entry, sizeof entry, place) == sizeof entry);
	entry |= FS_WORD_DEPTH_MASK;
	require(pwrite(file, &entry, sizeof entry, place) == sizeof entry);
	close(file);
	require_error(FLAGSTORE_ECORRUPT, flagstore_reserve(store, 10000));
	flagstore_close(store);
}

static void a_reader_reserves_nothing(void **state)
{
	flagstore *store = fresh_of(4 << 20, 4), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);

	(void)state;
	require_error(FLAGSTORE_EREADONLY, flagstore_reserve(reader, 1000));
	flagstore_close(reader);
	flagstore_close(store);
}

static void reserve_all(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);

	(void)argument;
	for (unsigned flags = 1000; flags <= FLAGS; flags += 1000)
		require_ok(flagstore_reserve(store, flags));
	flagstore_close(store);
}

static void others_go_on_meanwhile(void **state)
{
	flagstore *store = fresh_of(256 << 20, 8);
	pid_t one, other;

	(void)state;
	insert(store, 0, 100);
	one = child(reserve_all, NULL);
	other = child(reserve_all, NULL);
	for (unsigned i = 1; i < FLAGS / 100; i++) {
		insert(store, i * 100, i * 100 + 100);
		if (i % 100 == 0)
			require_values(store, i * 100 + 100);
	}
	child_succeeds(one);
	child_succeeds(other);
	require_all(store, FLAGS);
	require_healthy(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest reserve[] = {
		cmocka_unit_test(inserts_into_what_was_reserved_grow_nothing),
		cmocka_unit_test(a_second_time_changes_nothing),
		cmocka_unit_test(flags_that_are_there_stay),
		cmocka_unit_test(few_flags_in_many_shards),
		cmocka_unit_test(what_can_never_fit_is_refused_at_once),
		cmocka_unit_test(what_is_not_refused_fits),
		cmocka_unit_test(a_segment_may_be_created_with_room),
		cmocka_unit_test(a_damaged_depth_is_no_endless_loop),
		cmocka_unit_test(a_reader_reserves_nothing),
		cmocka_unit_test(others_go_on_meanwhile),
	};

	return cmocka_run_group_tests(reserve, segments_setup, segments_teardown);
}

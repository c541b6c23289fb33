/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * truncation.c: segments that are cut short while they are in use. Without flagstore_catch_sigbus() that ends the process, which
 * flagstore(7) says; with it, the flags are gone, the store says so, and everything else goes on. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "cut"

enum { FLAGS = 2000 };

static flagstore *make_segment(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char key[KEY_ROOM];
	flagstore *store;

	options.max_bytes = 4 << 20;
	options.shards = 4;
	options.workers = 4;
	/* What was cut is no segment any more, perhaps. */
	(void)unlink(path_of(SEGMENT));
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < FLAGS; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
	return store;
}

static void cut(off_t size)
{
	require(truncate(path_of(SEGMENT), size) == 0);
}

/* Of FLAGS true ones. */
static unsigned count_true(const flagstore *store)
{
	char key[KEY_ROOM];
	unsigned count = 0;

	for (unsigned i = 0; i < FLAGS; i++)
		count += flagstore_get(store, key_of(key, "flag", i));
	return count;
}

static void attach_and_read_what_is_cut(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_READ_ONLY);

	(void)argument;
	require_int(FLAGS, count_true(store));
	cut(0);
	(void)count_true(store);
}

static void unless_asked_for_it_is_the_end_of_the_process(void **state)
{
	int status;

	(void)state;
	flagstore_close(make_segment());
	status = child_status(child(attach_and_read_what_is_cut, NULL), 10000);
#ifdef __SANITIZE_ADDRESS__
	/* It makes an end of its own. */
	require(status != 0);
#else
	require(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#endif
}

/* Everything that can be asked of a store that is lost. */
static void require_lost(flagstore *store)
{
	struct flagstore_flag flag;
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	const char *keys[] = {"flag.1", "flag.2"};
	struct flagstore_flag flags[2];
	uint64_t findings;
	bool inserted;
	int result;

	require_error(FLAGSTORE_ETRUNCATED, flagstore_lookup(store, "no such flag", &flag));
	require(!flag.exists);
	require(info(store).truncated);
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_snapshot(store, keys, NULL, 2, flags));
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_check(store, NULL, NULL, &findings, NULL));
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_wait(store, "no such flag", &flag, -1));
	require_ok(flagstore_cursor_open(store, &cursor));
	do
		result = flagstore_cursor_next(cursor, &entry);
	while (result == FLAGSTORE_OK || result == FLAGSTORE_ECORRUPT);
	require_int(FLAGSTORE_ETRUNCATED, result);
	require_error(FLAGSTORE_ENOTFOUND, flagstore_cursor_next(cursor, &entry));
	flagstore_cursor_close(cursor);
	if (info(store).read_only)
		return;
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_set(store, "flag.1", false));
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_toggle(store, "flag.1", NULL));
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_delete(store, "flag.1"));
	require_error_says(FLAGSTORE_ETRUNCATED, "cut short", flagstore_set_if_absent(store, "new", true, &inserted));
}

/* Each part of the file is the first to be missing once. */
/* From BEHIND_LOCKS on the locks stay. */
enum { BEHIND_LOCKS = 5 };
static const off_t cuts[] = {0, 4096, 8192, 12288, 16384, 32768, 65536, 100000, 131072};

static void use_what_is_cut(void *argument)
{
	uint32_t flags = *(uint32_t *)argument;

	require_ok(flagstore_catch_sigbus());
	require_ok(flagstore_catch_sigbus());
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		flagstore *other = make_segment(), *store = attach(SEGMENT, flags);
		flagstore_handle *handle;
		flagstore_watch *watch;
		struct flagstore_change change;
		unsigned before = count_true(store);

		note("cut to %lld bytes", (long long)cuts[i]);
		require_int(FLAGS, before);
		require_ok(flagstore_handle_open(store, "flag.7", &handle));
		require_ok(flagstore_watch_open(store, &watch));
		require(!info(store).truncated);
		cut(cuts[i]);
		require(info(store).truncated);
		require(count_true(store) < FLAGS);
		(void)flagstore_handle_get(handle);
		require_lost(store);
		require_error(FLAGSTORE_ETRUNCATED, flagstore_watch_next(watch, &change, -1));
		flagstore_watch_close(watch);
		flagstore_handle_close(handle);
		flagstore_close(store);
		flagstore_close(other);
	}
	/* A sound one beside, or after, takes no notice. */
	for (int i = 0; i < 3; i++) {
		flagstore *store = make_segment();

		require_int(FLAGS, count_true(store));
		require_ok(flagstore_set(store, "flag.1", false));
		require_healthy(store);
		require(!info(store).truncated);
		flagstore_close(store);
	}
}

static void a_reader_sees_its_flags_go(void **state)
{
	uint32_t flags = FLAGSTORE_READ_ONLY;

	(void)state;
	in_child(use_what_is_cut, &flags);
}

static void a_writer_sees_its_flags_go(void **state)
{
	uint32_t flags = 0;

	(void)state;
	in_child(use_what_is_cut, &flags);
}

/* Writes, without an end, to a segment that is cut meanwhile, and then to one that is not. */
static void write_what_is_cut(void *argument)
{
	unsigned *writes = argument;
	flagstore *store = attach(SEGMENT, 0);
	flagstore *sound;
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char key[KEY_ROOM];
	int result = FLAGSTORE_OK;

	require_ok(flagstore_catch_sigbus());
	while (result != FLAGSTORE_ETRUNCATED) {
		unsigned i = __atomic_add_fetch(writes, 1, __ATOMIC_RELAXED) % 3000;

		result = flagstore_delete(store, key_of(key, "flag", i));
		if (result != FLAGSTORE_ETRUNCATED)
			result = flagstore_set(store, key_of(key, "flag", (i + 1500) % 3000), i % 2);
	}
	flagstore_close(store);
	options.max_bytes = 1 << 20;
	require_ok(flagstore_create(SEGMENT "-sound", &options, &sound));
	for (unsigned i = 0; i < 1000; i++)
		require_ok(flagstore_set(sound, key_of(key, "flag", i), true));
	require_healthy(sound);
	flagstore_close(sound);
	require_ok(flagstore_unlink(SEGMENT "-sound"));
}

static void a_write_under_way_comes_to_nothing_and_its_process_goes_on(void **state)
{
	unsigned *writes = shared_memory(sizeof *writes);

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		unsigned seen = *writes + 100 + round * 7;
		pid_t writer;

		flagstore_close(make_segment());
		writer = child(write_what_is_cut, writes);
		for (int64_t end = now_ms() + 10000; __atomic_load_n(writes, __ATOMIC_RELAXED) < seen;)
			require(now_ms() < end);
		/* Not the locks: the C library may be in the middle of one. */
		cut(cuts[BEHIND_LOCKS + round % (sizeof cuts / sizeof *cuts - BEHIND_LOCKS)]);
		child_succeeds(writer);
	}
}

/* ------------------------------------------------------------------------------------------- other signals */

static sig_atomic_t volatile passed_on;

static void count_plain(int number)
{
	(void)number;
	passed_on++;
}

static void *page_of_theirs;

/* A handler of the program's own, for its own mapping. */
static void mend(int number, siginfo_t *signal, void *context)
{
	(void)number;
	(void)context;
	passed_on++;
	if (signal->si_code == BUS_ADRERR)
		require(mmap(page_of_theirs, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page_of_theirs);
}

static char touch_a_foreign_page(void)
{
	int file = memfd_create("foreign", 0);

	require(file >= 0);
	page_of_theirs = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	require(page_of_theirs != MAP_FAILED);
	return *(char volatile *)page_of_theirs;
}

static void pass_on_to_siginfo(void *argument)
{
	struct sigaction action = {.sa_sigaction = mend};

	(void)argument;
	action.sa_flags = SA_SIGINFO;
	require(sigaction(SIGBUS, &action, NULL) == 0);
	require_ok(flagstore_catch_sigbus());
	require_int(0, touch_a_foreign_page());
	require_int(1, passed_on);
	raise(SIGBUS);
	require_int(2, passed_on);
}

static void pass_on_to_plain(void *argument)
{
	(void)argument;
	signal(SIGBUS, count_plain);
	require_ok(flagstore_catch_sigbus());
	raise(SIGBUS);
	require_int(1, passed_on);
}

static void ignore(void *argument)
{
	(void)argument;
	signal(SIGBUS, SIG_IGN);
	require_ok(flagstore_catch_sigbus());
	raise(SIGBUS);
}

static void die_by_access(void *argument)
{
	(void)argument;
	require_ok(flagstore_catch_sigbus());
	touch_a_foreign_page();
}

static void die_by_raise(void *argument)
{
	(void)argument;
	require_ok(flagstore_catch_sigbus());
	raise(SIGBUS);
}

static void require_sigbus(body *run)
{
	int status = child_status(child(run, NULL), 10000);

	require(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void what_is_not_ours_goes_to_the_handler_before(void **state)
{
	(void)state;
	in_child(pass_on_to_siginfo, NULL);
	in_child(pass_on_to_plain, NULL);
	in_child(ignore, NULL);
}

static void or_ends_the_process(void **state)
{
	(void)state;
	require_sigbus(die_by_access);
	require_sigbus(die_by_raise);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(unless_asked_for_it_is_the_end_of_the_process),
		cmocka_unit_test(a_reader_sees_its_flags_go),
		cmocka_unit_test(a_writer_sees_its_flags_go),
		cmocka_unit_test(a_write_under_way_comes_to_nothing_and_its_process_goes_on),
		cmocka_unit_test(what_is_not_ours_goes_to_the_handler_before),
		cmocka_unit_test(or_ends_the_process),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

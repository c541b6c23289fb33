/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * environments.c: what the surroundings may do to a process: a wall clock that jumps, a process number that is used again, a file
 * system that is read-only, threads that come and go by the thousand, or are cancelled.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#include "layout.h"

#define SEGMENT "environment"

/* --------------------------------------------------------------------------------------------------- the clock */

static int64_t clock_shift_s;

/* In place of the C library's, for the library under test too: the wall clock of this process is wrong by so much. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, clock, now);

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += clock_shift_s;
	return (int)result;
}

static void change_everything(flagstore *store)
{
	struct flagstore_flag flag, after;
	flagstore_batch *batch;
	char key[KEY_ROOM];
	int64_t start;

	for (unsigned i = 0; i < 500; i++)
		require_ok(flagstore_set(store, key_of(key, "clock", i), true));
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 500; i++)
		require_ok(flagstore_batch_delete(batch, key_of(key, "clock", i)));
	require_ok(flagstore_batch_commit(batch, NULL));

	flag = lookup(store, "flag");
	require_ok(flagstore_toggle(store, "flag", NULL));
	after = flag;
	require_ok(flagstore_wait(store, "flag", &after, 10000));
	require_int(flag.changes + 1, after.changes);
	start = now_ms();
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_wait(store, "flag", &after, 50));
	require(now_ms() - start >= 49 && now_ms() - start < 5000);
}

static void a_wall_clock_that_jumps_changes_nothing_but_the_times_that_are_shown(void **state)
{
	static const int64_t shifts[] = {0, 365 * 86400, -400 * 86400, -60LL * 365 * 86400, 5000LL * 365 * 86400};
	flagstore *store = fresh(SEGMENT, NULL);

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
		clock_shift_s = shifts[i];
		change_everything(store);
		flagstore_close(store);
		store = attach(SEGMENT, 0);
		require_int(i + 2, lookup(store, "flag").changes);
		require_int(1, info(store).flags);
		require_healthy(store);
	}
	clock_shift_s = 365 * 86400;
	require_ok(flagstore_toggle(store, "flag", NULL));
	require(lookup(store, "flag").changed_ms > info(store).created_ms + INT64_C(364) * 86400000);
	clock_shift_s = 0;
	flagstore_close(store);
}

/* -------------------------------------------------------------------------------------------- process numbers */

static void attach_and_die(void *argument)
{
	(void)argument;
	(void)attach(SEGMENT, 0);
	kill(getpid(), SIGKILL);
}

/* The dead worker's number now belongs to a process that lives: this one. */
static void give_my_number_to_the_dead(const flagstore *store)
{
	struct flagstore_worker workers[4];
	int file = open(info(store).path, O_RDWR | O_CLOEXEC);
	uint64_t pid = (uint64_t)getpid();
	struct fs_constants constants;
	size_t count = flagstore_workers(store, workers, 4);

	require(file >= 0 && pread(file, &constants, sizeof constants, 0) == sizeof constants);
	require_int(2, count);
	for (size_t i = 0; i < count; i++) {
		off_t entry = (off_t)(constants.header_size + constants.shards * sizeof(struct fs_shard) +
		                      ((workers[i].id & ((1u << FS_WORKER_INDEX_BITS) - 1)) - 1) * sizeof(struct fs_worker));

		if (!workers[i].self)
			require(pwrite(file, &pid, sizeof pid, entry + (off_t)offsetof(struct fs_worker, pid)) == sizeof pid);
	}
	close(file);
}

static void a_process_number_that_is_used_again_does_not_bring_the_dead_to_life(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL);
	struct flagstore_worker workers[4];

	(void)state;
	child_status(child(attach_and_die, NULL), 20000);
	give_my_number_to_the_dead(store);
	require_int(2, flagstore_workers(store, workers, 4));
	require(workers[0].pid == getpid() && workers[1].pid == getpid());
	require_int(1, workers[0].alive + workers[1].alive);
	require_int(1, info(store).workers);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------ read-only */

static void use_what_is_read_only(void *argument)
{
	char from[128], name[256];
	flagstore *store = NULL;

	snprintf(from, sizeof from, "%s/mounted", getenv("FLAGSTORE_DIR"));
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", from, "tmpfs", 0, "size=4m") != 0)
		_exit(77);
	setenv("FLAGSTORE_DIR", from, 1);
	store = fresh(SEGMENT, argument);
	require_ok(flagstore_set(store, "flag", true));
	flagstore_close(store);
	require_int(0, mount(NULL, from, NULL, MS_REMOUNT | MS_RDONLY, "size=4m"));

	snprintf(name, sizeof name, "%s/flagstore.%s", from, SEGMENT);
	require_error_says(FLAGSTORE_EPERMISSION, name, flagstore_attach(SEGMENT, NULL, &store));
	require_error_says(FLAGSTORE_EPERMISSION, from, flagstore_create("another", NULL, &store));
	require_error_says(FLAGSTORE_EPERMISSION, name, flagstore_unlink(SEGMENT));
	store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require(flagstore_get(store, "flag"));
	require_error(FLAGSTORE_EREADONLY, flagstore_toggle(store, "flag", NULL));
	require_healthy(store);
	flagstore_close(store);
}

static void a_segment_on_a_read_only_file_system_can_be_read(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char folder[128];
	int status;

	(void)state;
	options.max_bytes = 1 << 20;
	snprintf(folder, sizeof folder, "%s/mounted", getenv("FLAGSTORE_DIR"));
	require_int(0, mkdir(folder, 0700));
	status = child_status(child(use_what_is_read_only, &options), 20000);
	require_int(0, rmdir(folder));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("a mount is not allowed here");
	require_int(0, status);
}

/* -------------------------------------------------------------------------------------------------- threads */

enum { THREADS = 2000, AT_ONCE = 50 };

static flagstore *shared;

static void *write_some(void *argument)
{
	char key[KEY_ROOM];

	key_of(key, "thread", *(const unsigned *)argument);
	require_ok(flagstore_set(shared, key, true));
	require_ok(flagstore_toggle(shared, "all", NULL));
	require_ok(flagstore_delete(shared, key));
	return NULL;
}

static void two_thousand_threads_come_and_go(void **state)
{
	unsigned numbers[AT_ONCE];
	pthread_t threads[AT_ONCE];
	uint64_t used = 0;

	(void)state;
	shared = fresh(SEGMENT, NULL);
	require_ok(flagstore_set(shared, "all", false));
	for (unsigned i = 0; i < THREADS; i += AT_ONCE) {
		for (unsigned j = 0; j < AT_ONCE; j++) {
			numbers[j] = i + j;
			require_int(0, pthread_create(&threads[j], NULL, write_some, &numbers[j]));
		}
		for (unsigned j = 0; j < AT_ONCE; j++)
			require_int(0, pthread_join(threads[j], NULL));
		if (i == THREADS / 2)
			used = info(shared).used_bytes;
	}
	require_int(THREADS + 1, lookup(shared, "all").changes);
	require_int(1, info(shared).workers);
	require_int(used, info(shared).used_bytes);
	require_healthy(shared);
	flagstore_close(shared);
}

/* Cancelled wherever deferred cancellation finds a place: between the calls, or in one that is not done then. */
static void *write_until_cancelled(void *argument)
{
	char key[KEY_ROOM];

	for (unsigned i = 0;; i++) {
		key_of(key, argument, i % 300);
		require_ok(flagstore_set(shared, key, i % 2));
		require_ok(flagstore_delete(shared, key));
		pthread_testcancel();
	}
	return NULL;
}

static void cancelled_threads_leave_no_lock_behind(void **state)
{
	uint64_t random = 5;

	(void)state;
	shared = fresh(SEGMENT, NULL);
	for (unsigned i = 0; i < 60; i++) {
		char name[16];
		pthread_t thread;
		void *result;

		snprintf(name, sizeof name, "cancelled.%u", i);
		require_int(0, pthread_create(&thread, NULL, write_until_cancelled, name));
		pause_us((long)(random_next(&random) % 3000));
		require_int(0, pthread_cancel(thread));
		require_int(0, pthread_join(thread, &result));
		require(result == PTHREAD_CANCELED);
		require_ok(flagstore_set(shared, "after", i % 2));
	}
	require_int(0, info(shared).recoveries);
	require_healthy(shared);
	flagstore_close(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wall_clock_that_jumps_changes_nothing_but_the_times_that_are_shown),
		cmocka_unit_test(a_process_number_that_is_used_again_does_not_bring_the_dead_to_life),
		cmocka_unit_test(a_segment_on_a_read_only_file_system_can_be_read),
		cmocka_unit_test(two_thousand_threads_come_and_go),
		cmocka_unit_test(cancelled_threads_leave_no_lock_behind),
	};

	return cmocka_run_group_tests(tests, segments_setup, segments_teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * waiters.c: a writer that waits for a shard's lock, among others that wait, is killed right when its turn has come.
 *
 * An unlock wakes one of those who sleep, here the victim. It is killed before it runs; meanwhile the lock is taken
 * again by one who did not sleep and so knows of no sleepers, and given back without waking anybody. The other one that
 * sleeps must not sleep on. All are on one processor, so that the victim does not run until it is dead. This program
 * takes the shard's lock itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"
#include "support.h"

#define SEGMENT "waiters"

enum { TRIES = 20, LONGEST_MS = 5000 };

static flagstore *store;

static void insert(void *argument)
{
	struct sched_param none = {.sched_priority = 0};

	/* Whoever is woken does not take the processor from the one that wakes it. */
	(void)sched_setscheduler(0, SCHED_BATCH, &none);
	require_ok(flagstore_set(store, argument, true));
}

static pthread_mutex_t *lock_of_the_shard(void)
{
	int file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);
	char *bytes;

	require(file >= 0);
	bytes = mmap(NULL, 2 * FS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	require(bytes != MAP_FAILED);
	close(file);
	return &((struct fs_shard *)(bytes + FS_PAGE))->mutex;
}

/* Until the child sleeps on the lock. */
static void let_sleep(pid_t pid, const char *key)
{
	char path[64], state = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	for (int i = 0; i < 1000 && state != 'S'; i++) {
		FILE *file = fopen(path, "r");

		pause_us(1000);
		require(file != NULL && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
		fclose(file);
	}
	pause_us(20000);
	require(!flagstore_get(store, key));
}

static void a_waiter_that_is_killed_when_it_is_woken_leaves_no_other_asleep(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	int64_t longest = 0;
	pthread_mutex_t *lock;
	cpu_set_t one;

	(void)state;
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	require(sched_setaffinity(0, sizeof one, &one) == 0);
	options.shards = 1;
	options.lock_wait_ms = 2 * LONGEST_MS;
	store = fresh(SEGMENT, &options);
	lock = lock_of_the_shard();
	for (unsigned i = 0; i < TRIES; i++) {
		char killed[KEY_ROOM], other[KEY_ROOM];
		pid_t victim, sleeper;
		int64_t start;

		note("try %u", i);
		require_int(0, pthread_mutex_lock(lock));
		victim = child(insert, (void *)key_of(killed, "killed", i));
		let_sleep(victim, killed);
		sleeper = child(insert, (void *)key_of(other, "other", i));
		let_sleep(sleeper, other);
		pthread_mutex_unlock(lock);
		/* If the victim was faster, this try shows nothing. */
		if (pthread_mutex_trylock(lock) == 0) {
			child_kill(victim);
			pthread_mutex_unlock(lock);
		} else {
			child_succeeds(victim);
		}
		start = now_ms();
		child_succeeds(sleeper);
		if (now_ms() - start > longest)
			longest = now_ms() - start;
		require(longest < LONGEST_MS);
		require(flagstore_get(store, other));
	}
	printf("# the other one slept for %lld ms at most\n", (long long)longest);
	require_healthy(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_waiter_that_is_killed_when_it_is_woken_leaves_no_other_asleep),
	};

	return cmocka_run_group_tests(tests, segments_setup, segments_teardown);
}

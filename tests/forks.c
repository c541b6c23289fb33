/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * forks.c: servers that attach in the parent and work in the children.
 */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT "forks"

enum { CHILDREN = 6, FLIPS = 3000 };

struct server {
	flagstore *store;
	flagstore_handle *handle;
	struct report {
		uint32_t writer;
		pid_t pid;
		uint32_t written; /* set to 1 when the child has written */
		uint32_t leave;
	} *reports;
	unsigned self;
};

static struct server start(void)
{
	struct server server = {.store = fresh(SEGMENT, NULL), .reports = shared_memory(CHILDREN * sizeof *server.reports)};

	require_ok(flagstore_set(server.store, "ready", true));
	require_ok(flagstore_set(server.store, "shared", false));
	require_ok(flagstore_handle_open(server.store, "ready", &server.handle));
	return server;
}

static void stop(struct server *server)
{
	flagstore_handle_close(server->handle);
	flagstore_close(server->store);
}

/* Writes with the parent's store and says as which worker; then stays until it may leave. */
static void work(void *argument)
{
	struct server *server = argument;
	struct report *report = &server->reports[server->self];
	char key[KEY_ROOM];

	require(flagstore_get(server->store, "ready"));
	require(flagstore_handle_get(server->handle));
	require_ok(flagstore_set(server->store, key_of(key, "child", server->self), true));
	report->writer = lookup(server->store, key).writer;
	report->pid = getpid();
	for (int i = 0; i < FLIPS; i++)
		require_ok(flagstore_toggle(server->store, "shared", NULL));
	__atomic_store_n(&report->written, 1, __ATOMIC_SEQ_CST);
	for (int64_t end = now_ms() + 60000; now_ms() < end && !__atomic_load_n(&report->leave, __ATOMIC_SEQ_CST);)
		pause_us(1000);
	stop(server);
}

static void wait_until_written(struct server *server, unsigned self)
{
	int64_t end = now_ms() + 20000;

	while (!__atomic_load_n(&server->reports[self].written, __ATOMIC_SEQ_CST)) {
		require(now_ms() < end);
		pause_us(1000);
	}
}

static void children_of_a_prefork_server_become_workers_of_their_own(void **state)
{
	struct server server = start();
	struct flagstore_worker worker;
	pid_t pids[CHILDREN];
	char key[KEY_ROOM];

	(void)state;
	require_int(1, info(server.store).workers);
	for (server.self = 0; server.self < CHILDREN; server.self++)
		pids[server.self] = child(work, &server);
	for (unsigned i = 0; i < CHILDREN; i++)
		wait_until_written(&server, i);
	require_int(CHILDREN + 1, info(server.store).workers);
	for (unsigned i = 0; i < CHILDREN; i++) {
		require_int(pids[i], server.reports[i].pid);
		require_int(server.reports[i].writer, lookup(server.store, key_of(key, "child", i)).writer);
		require_ok(flagstore_worker(server.store, server.reports[i].writer, &worker));
		require_int(pids[i], worker.pid);
		require(worker.alive && !worker.self);
		for (unsigned j = 0; j < i; j++)
			require(server.reports[i].writer != server.reports[j].writer);
	}
	require_int(CHILDREN * FLIPS + 1, lookup(server.store, "shared").changes);

	/* Half of them leave, half are killed; the parent's own entry stays. */
	for (unsigned i = 0; i < CHILDREN; i++)
		if (i % 2) {
			__atomic_store_n(&server.reports[i].leave, 1, __ATOMIC_SEQ_CST);
			child_succeeds(pids[i]);
		} else {
			require(child_kill(pids[i]));
		}
	require_int(1, info(server.store).workers);
	require_ok(flagstore_worker(server.store, lookup(server.store, "ready").writer, &worker));
	require(worker.alive && worker.self && worker.pid == getpid());
	require_healthy(server.store);
	stop(&server);
}

enum { THREADS = 4 };

static _Atomic unsigned sat, closed;

static void *sit(void *argument)
{
	struct server *server = argument;

	require_ok(flagstore_set(server->store, "sat", true));
	atomic_fetch_add(&sat, 1);
	while (!closed)
		pause_us(100);
	return NULL;
}

/* Its threads are still there when it closes the store, and end later. */
static void sit_and_close(void *argument)
{
	struct server *server = argument;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		require(pthread_create(&threads[i], NULL, sit, server) == 0);
	while (sat < THREADS)
		pause_us(100);
	require_ok(flagstore_set(server->store, "sat", false));
	stop(server);
	closed = 1;
	for (int i = 0; i < THREADS; i++)
		require(pthread_join(threads[i], NULL) == 0);
}

static void a_child_that_closes_gives_back_the_seats_of_all_its_threads(void **state)
{
	struct flagstore_seat seats[16];
	struct server server = start();

	(void)state;
	in_child(sit_and_close, &server);
	require_int(1, flagstore_seats(server.store, seats, 16));
	require(seats[0].self);
	stop(&server);
}

static void only_read(void *argument)
{
	struct server *server = argument;

	require(flagstore_get(server->store, "ready"));
	require(flagstore_handle_get(server->handle));
	require_int(1, info(server->store).workers);
}

static void a_child_that_only_reads_is_no_worker(void **state)
{
	struct server server = start();

	(void)state;
	in_child(only_read, &server);
	require_int(1, info(server.store).workers);
	stop(&server);
}

static void fork_again(void *argument)
{
	struct server *server = argument;
	pid_t pid;

	/* Once before its own first write, and once after it. */
	server->self = 1;
	pid = child(work, server);
	wait_until_written(server, 1);
	server->self = 2;
	require_ok(flagstore_set(server->store, "between", true));
	require(lookup(server->store, "between").writer != server->reports[1].writer);
	(void)child(work, server);
	wait_until_written(server, 2);
	require(server->reports[1].writer != server->reports[2].writer);
	require_int(4, info(server->store).workers);
	for (int i = 0; i < CHILDREN; i++)
		__atomic_store_n(&server->reports[i].leave, 1, __ATOMIC_SEQ_CST);
	child_succeeds(pid);
	require(wait(NULL) > 0);
	stop(server);
}

static void a_fork_of_a_fork_is_a_worker_too(void **state)
{
	struct server server = start();

	(void)state;
	in_child(fork_again, &server);
	require_int(1, info(server.store).workers);
	require_int(2 * FLIPS + 1, lookup(server.store, "shared").changes);
	require_healthy(server.store);
	stop(&server);
}

static void leave_a_child_behind(void *argument)
{
	struct server *server = argument;
	pid_t pid = fork();

	require(pid >= 0);
	if (pid == 0) {
		require(prctl(PR_SET_PDEATHSIG, 0) == 0);
		while (getppid() == server->reports[1].pid)
			pause_us(500);
		work(server);
		_exit(0);
	}
}

static void start_and_leave(void *argument)
{
	struct server *server = argument;

	/* The segment is attached by this process, which is gone when its child begins to write. */
	server->store = attach(SEGMENT, 0);
	require_ok(flagstore_handle_open(server->store, "ready", &server->handle));
	require_ok(flagstore_toggle(server->store, "ready", NULL));
	require_ok(flagstore_toggle(server->store, "ready", NULL));
	server->reports[1].pid = getpid();
	leave_a_child_behind(server);
}

static void a_child_that_outlives_its_parent_goes_on(void **state)
{
	struct server server = start(), inner = server;
	struct flagstore_worker worker;

	(void)state;
	/* So that it becomes this process's child and can be waited for. */
	require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	in_child(start_and_leave, &inner);
	wait_until_written(&server, 0);
	require_int(2, info(server.store).workers);
	require_ok(flagstore_worker(server.store, server.reports[0].writer, &worker));
	require(worker.alive && worker.pid == server.reports[0].pid);
	require_int(FLIPS + 1, lookup(server.store, "shared").changes);
	__atomic_store_n(&server.reports[0].leave, 1, __ATOMIC_SEQ_CST);
	require_int(0, child_status(server.reports[0].pid, 10000));
	require_int(1, info(server.store).workers);
	require(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
	require_healthy(server.store);
	stop(&server);
}

static void close_in_the_child(void *argument)
{
	stop(argument);
}

static void a_close_in_the_child_takes_nothing_from_the_parent(void **state)
{
	struct server server = start();
	uint32_t writer = lookup(server.store, "ready").writer;
	struct flagstore_worker worker;

	(void)state;
	in_child(close_in_the_child, &server);
	require_ok(flagstore_worker(server.store, writer, &worker));
	require(worker.alive && worker.self);
	require(flagstore_handle_get(server.handle));
	require_ok(flagstore_toggle(server.store, "shared", NULL));
	require_int(writer, lookup(server.store, "shared").writer);
	require_int(1, info(server.store).workers);
	stop(&server);
}

static void stay_idle(void *argument)
{
	(void)argument;
	pause_us(20000000);
}

static void a_close_in_the_parent_counts_while_children_live(void **state)
{
	struct server server = start();
	flagstore *other = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	pid_t pid = child(stay_idle, NULL);

	(void)state;
	require_int(1, info(other).workers);
	stop(&server);
	require_int(0, info(other).workers);
	require(child_kill(pid));
	flagstore_close(other);
}

struct storm {
	flagstore *store;
	bool stop;
};

static void *write_for_ever(void *argument)
{
	struct storm *storm = argument;
	char prefix[32], key[KEY_ROOM];

	/* Each thread has keys of its own; the batches share theirs. */
	snprintf(prefix, sizeof prefix, "storm-%d", (int)gettid());
	for (unsigned i = 0; !__atomic_load_n(&storm->stop, __ATOMIC_RELAXED); i++) {
		flagstore_batch *batch;

		require_ok(flagstore_set(storm->store, key_of(key, prefix, i % 2000), i % 2));
		require_ok(flagstore_delete(storm->store, key));
		require_ok(flagstore_set(storm->store, key, true));
		if (i % 16)
			continue;
		require_ok(flagstore_batch_begin(storm->store, &batch));
		for (unsigned k = 0; k < 20; k++)
			require_ok(flagstore_batch_set(batch, key_of(key, "batch", k), i % 32));
		require_ok(flagstore_batch_commit(batch, NULL));
	}
	return NULL;
}

static void write_a_little(void *argument)
{
	struct storm *storm = argument;
	char prefix[32], key[KEY_ROOM];

	snprintf(prefix, sizeof prefix, "child-%d", (int)getpid());
	require(flagstore_get(storm->store, "ready"));
	for (unsigned i = 0; i < 100; i++) {
		require_ok(flagstore_set(storm->store, key_of(key, prefix, i), i % 2));
		require_ok(flagstore_toggle(storm->store, key, NULL));
	}
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_delete(storm->store, key_of(key, prefix, i)));
	flagstore_close(storm->store);
}

static void a_fork_while_other_threads_write_is_safe(void **state)
{
	struct storm storm = {.store = fresh(SEGMENT, NULL)};
	pthread_t threads[3];

	(void)state;
	require_ok(flagstore_set(storm.store, "ready", true));
	for (int i = 0; i < 3; i++)
		require(pthread_create(&threads[i], NULL, write_for_ever, &storm) == 0);
	for (int i = 0; i < 150; i++) {
		pid_t pids[2] = {child(write_a_little, &storm), child(write_a_little, &storm)};

		child_succeeds(pids[0]);
		if (i % 2)
			child_succeeds(pids[1]);
		else
			(void)child_kill(pids[1]);
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		require(pthread_join(threads[i], NULL) == 0);
	require_int(1, info(storm.store).workers);
	require_healthy(storm.store);
	flagstore_close(storm.store);
}

static void use_after_exec(void *argument)
{
	(void)argument;
	/* Nothing of the store may live on in another program: no descriptor, so no lock. */
	execl("/bin/sh", "sh", "-c", "ls -l /proc/self/fd | grep -q 'flagstore\\.forks' && exit 1; exit 0", (char *)NULL);
	_exit(127);
}

static void nothing_is_left_open_after_exec(void **state)
{
	struct server server = start();

	(void)state;
	in_child(use_after_exec, NULL);
	stop(&server);
}

static void begin_with_a_batch(void *argument)
{
	flagstore *store = *(flagstore **)argument;
	flagstore_batch *batch;

	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_toggle(batch, "ready"));
	require_ok(flagstore_batch_set(batch, "new", true));
	require_ok(flagstore_batch_commit(batch, NULL));
}

static void a_childs_first_write_may_be_a_batch(void **state)
{
	struct server server = start();
	uint32_t writer = lookup(server.store, "ready").writer;

	(void)state;
	in_child(begin_with_a_batch, &server.store);
	require(!flagstore_get(server.store, "ready") && flagstore_get(server.store, "new"));
	require(lookup(server.store, "new").writer != writer);
	require_healthy(server.store);
	stop(&server);
}

int main(void)
{
	const struct CMUnitTest forks[] = {
		cmocka_unit_test(children_of_a_prefork_server_become_workers_of_their_own),
		cmocka_unit_test(a_child_that_closes_gives_back_the_seats_of_all_its_threads),
		cmocka_unit_test(a_child_that_only_reads_is_no_worker),
		cmocka_unit_test(a_fork_of_a_fork_is_a_worker_too),
		cmocka_unit_test(a_child_that_outlives_its_parent_goes_on),
		cmocka_unit_test(a_close_in_the_child_takes_nothing_from_the_parent),
		cmocka_unit_test(a_close_in_the_parent_counts_while_children_live),
		cmocka_unit_test(a_fork_while_other_threads_write_is_safe),
		cmocka_unit_test(nothing_is_left_open_after_exec),
		cmocka_unit_test(a_childs_first_write_may_be_a_batch),
	};

	return cmocka_run_group_tests(forks, segments_setup, segments_teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * deaths.c: writers killed, or stopped, inside of a write. Linked with the library that calls fs_point() at each step of every
 * write (src/point.h). For each kind of write (operations.h) a child dies at its first point, then in a fresh copy of the same
 * segment another at the second, and so on until one comes through. After each death all readers, the next writer and the
 * checker are asked.
 */
#include "afterlife.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "point.h"

/* ------------------------------------------------------------------------------------------------ points */

/* Shared with the children. */
static struct {
	unsigned long passed;  /* points since it was armed */
	unsigned long fatal;   /* the signal comes at this one; 0: never */
	int signal;
	char name[64];         /* of the point where it came */
	unsigned long deaths;
} *points;

/* In this process only. */
static bool armed;

void fs_point(const char *name)
{
	if (!armed)
		return;
	if (++points->passed != points->fatal)
		return;
	strncpy(points->name, name, sizeof points->name - 1);
	points->deaths += points->signal == SIGKILL;
	kill(getpid(), points->signal);
}

static void arm(unsigned long fatal, int number)
{
	points->passed = 0;
	points->fatal = fatal;
	points->signal = number;
	memset(points->name, 0, sizeof points->name);
}

/* Runs body in a child that dies at the point; false when it came through. */
static bool dies_at(unsigned long point, body *run, void *argument)
{
	int status;

	arm(point, SIGKILL);
	status = child_status(child(run, argument), 20000);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	require_int(0, status);
	return false;
}

static void operate(void *argument)
{
	const struct scene *scene = argument;
	flagstore *store = attach(VICTIM, 0);

	armed = true;
	require_int(FLAGSTORE_OK, scene->operation->run(store, scene));
	armed = false;
	require(require_whole(store, scene));
	flagstore_close(store);
}

static unsigned long points_of(body *run, struct scene *scene)
{
	copy_file(path_of(scene->segment), path_of(VICTIM));
	require(!dies_at(0, run, scene));
	require_ok(flagstore_unlink(VICTIM));
	return points->passed;
}

/* A long write passes many points that are alike: of those beyond the first 200 some are left out. */
static unsigned long step_after(unsigned long point, unsigned long all)
{
	return point < 200 || getenv("FLAGSTORE_TEST_EVERY_POINT") ? 1 : 1 + all / 400;
}

static void kill_at_every_point_of(const struct operation *operation)
{
	struct scene scene;
	unsigned long all, point, tried = 0, happened = 0;
	struct witnesses witnesses;
	struct recovery recovery;

	open_scene(operation, &scene);
	all = points_of(operate, &scene);
	require(all > 0);
	for (point = 1; point <= all; point += step_after(point, all)) {
		/* Called anew each time: where a file has room already, none is taken, and there is one point less. */
		call_witnesses(&witnesses, &scene);
		require(dies_at(point, operate, &scene));
		note("%s, killed at point %lu (%s)", scene.operation->name, point, points->name);
		happened += require_recovered(&witnesses, point % FIRSTS, &recovery);
		dismiss_witnesses(&witnesses);
		tried++;
	}
	printf("# %-55s %5lu points, killed at %4lu, had happened %4lu times\n", operation->name, all, tried, happened);
	close_scene(&scene);
}

static void a_writer_killed_at_any_point_harms_nobody(void **state)
{
	(void)state;
	for (unsigned i = 0; i < operations_count; i++)
		kill_at_every_point_of(&operations[i]);
}

/* ------------------------------------------------------------------------------- recovery that dies as well */

static void come_next(void *argument)
{
	flagstore *store;

	(void)argument;
	armed = true;
	/* It recovers when it attaches. */
	store = attach(VICTIM, 0);
	write_everywhere(store);
	armed = false;
	flagstore_close(store);
}

/* The writer dies at its point; the next one at its first, the one after it at its second ... */
static unsigned long die_in_a_row(struct witnesses *witnesses, struct scene *scene, unsigned long point)
{
	unsigned long deaths = 1, next = 1;
	struct recovery recovery;

	rewind_victim(witnesses);
	(void)dies_at(point, operate, scene);
	note("%s, killed at point %lu (%s)", scene->operation->name, point, points->name);
	while (dies_at(next, come_next, NULL)) {
		note("%s, killed at point %lu, the last of those after it at %lu (%s)", scene->operation->name, point, next,
		     points->name);
		if (deaths % 8 == 0)
			require_reader_unharmed(witnesses);
		deaths++;
		next++;
		/* Most of the points behind belong to the inserts, which have had their turn. */
		if (deaths > 60)
			next += next / 8;
	}
	(void)require_recovered(witnesses, FIRST_NEIGHBOUR, &recovery);
	return deaths;
}

static void a_recovery_killed_again_and_again_comes_to_its_end(void **state)
{
	unsigned long deaths = 0;

	(void)state;
	for (unsigned i = 0; i < operations_count; i++) {
		struct witnesses witnesses;
		struct scene scene;
		unsigned long all, step;

		open_scene(&operations[i], &scene);
		all = points_of(operate, &scene);
		step = getenv("FLAGSTORE_TEST_EVERY_POINT") ? 1 : 1 + all / 12;
		call_witnesses(&witnesses, &scene);
		for (unsigned long point = 1; point <= all; point += step)
			deaths += die_in_a_row(&witnesses, &scene, point);
		dismiss_witnesses(&witnesses);
		close_scene(&scene);
	}
	printf("# %lu deaths in a row\n", deaths);
}

/* Another copy for each pair of places, chosen by chance. */
static void a_recovery_killed_anywhere_is_done_by_the_next(void **state)
{
	struct recovery recovery;
	uint64_t random = 17;
	unsigned pairs = 0;

	(void)state;
	for (unsigned i = 0; i < operations_count; i++) {
		struct witnesses witnesses;
		struct scene scene;
		unsigned long all;

		open_scene(&operations[i], &scene);
		all = points_of(operate, &scene);
		call_witnesses(&witnesses, &scene);
		for (int round = 0; round < 30; round++) {
			unsigned long point = 1 + random_next(&random) % all, second = 1 + random_next(&random) % 60;

			rewind_victim(&witnesses);
			(void)dies_at(point, operate, &scene);
			note("%s, killed at point %lu (%s)", scene.operation->name, point, points->name);
			(void)dies_at(second, come_next, NULL);
			note("%s, killed at point %lu, then the next at %lu (%s)", scene.operation->name, point, second, points->name);
			(void)require_recovered(&witnesses, FIRST_NEIGHBOUR, &recovery);
			pairs++;
		}
		dismiss_witnesses(&witnesses);
		close_scene(&scene);
	}
	printf("# %u pairs of deaths\n", pairs);
}

/* ----------------------------------------------------------------------------- create, attach, close, check */

static void create_victim(void *argument)
{
	flagstore *store = NULL;

	(void)argument;
	armed = true;
	require_ok(flagstore_create(VICTIM, NULL, &store));
	armed = false;
	flagstore_close(store);
}

static void a_creator_killed_at_any_point_is_taken_over(void **state)
{
	unsigned long point = 1;
	unsigned ready = 0;

	(void)state;
	for (; dies_at(point, create_victim, NULL); point++) {
		flagstore *store = NULL;
		int result = flagstore_attach(VICTIM, NULL, &store);

		if (result == FLAGSTORE_OK)
			ready++;
		else
			require(result == FLAGSTORE_ENOTREADY || result == FLAGSTORE_ENOTSEGMENT || result == FLAGSTORE_ENOSEGMENT);
		if (result)
			require_ok(flagstore_create(VICTIM, NULL, &store));
		write_everywhere(store);
		require_healthy(store);
		require_int(1, info(store).workers);
		flagstore_close(store);
		require_ok(flagstore_unlink(VICTIM));
	}
	printf("# create: killed at %lu points, the segment was ready at %u\n", point - 1, ready);
	require(point > 1);
	require_ok(flagstore_unlink(VICTIM));
}

static void attach_write_and_close(void *argument)
{
	flagstore *store;

	(void)argument;
	armed = true;
	store = attach(VICTIM, 0);
	require_ok(flagstore_toggle(store, "bystander.1", NULL));
	require_ok(flagstore_toggle(store, "bystander.1", NULL));
	flagstore_close(store);
	armed = false;
}

static void one_that_attaches_or_closes_may_be_killed_at_any_point(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_worker worker;
	unsigned long point;
	char key[KEY_ROOM];
	flagstore *store;

	(void)state;
	/* One entry for this process, and one that goes from one to the next. */
	options.workers = 2;
	store = fresh(VICTIM, &options);
	for (unsigned i = 0; i < 10; i++)
		require_ok(flagstore_set(store, bystander(key, i), true));
	for (point = 1; dies_at(point, attach_write_and_close, NULL); point++) {
		flagstore *other = attach(VICTIM, 0);

		require_ok(flagstore_toggle(other, "bystander.1", NULL));
		require_int(2, info(store).workers);
		require_ok(flagstore_worker(store, lookup(store, "bystander.1").writer, &worker));
		require(worker.alive && worker.pid == getpid());
		flagstore_close(other);
		require_healthy(store);
	}
	printf("# attach, flips and close: killed at %lu points\n", point - 1);
	require(point > 2);
	flagstore_close(store);
	require_ok(flagstore_unlink(VICTIM));
}

/* --------------------------------------------------------------------------------------- many on one table */

/* A life's work: all kinds of write, on keys of all kinds. */
static void write_for_ever(void *argument)
{
	uint64_t random = *(const uint64_t *)argument;
	flagstore *store = attach(VICTIM, 0);
	char key[FLAGSTORE_KEY_MAX + 1];

	armed = true;
	for (;;) {
		uint64_t dice = random_next(&random);
		int length = snprintf(key, sizeof key, "flag.%u", (unsigned)(dice % 40));
		flagstore_batch *batch;

		if (dice % 5 == 0) {
			memset(key + length, 'l', 100);
			key[length + 100] = 0;
		}
		switch (dice >> 32 & 7) {
		case 0:
			require_ok(flagstore_batch_begin(store, &batch));
			for (int i = 0; i < 6; i++) {
				require_ok(flagstore_batch_set(batch, key, i % 2));
				key[0]++;
			}
			require_ok(flagstore_batch_delete(batch, "bystander.0"));
			require_ok(flagstore_batch_set(batch, "bystander.0", false));
			require_ok(flagstore_batch_commit(batch, NULL));
			break;
		case 1:
		case 2:
			(void)flagstore_toggle(store, key, NULL);
			break;
		case 3:
		case 4:
			(void)flagstore_delete(store, key);
			break;
		default:
			require_ok(flagstore_set(store, key, dice >> 40 & 1));
		}
	}
}

static void two_thousand_deaths_leak_no_room(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	uint64_t random = 23, used = 0;
	flagstore *store;
	char key[KEY_ROOM];

	(void)state;
	options.shards = 4;
	options.max_bytes = 16 << 20;
	store = fresh(VICTIM, &options);
	for (unsigned i = 0; i < 20; i++)
		require_ok(flagstore_set(store, bystander(key, i), i % 2));
	for (int death = 0; death < 2000; death++) {
		require(dies_at(1 + random_next(&random) % 400, write_for_ever, &random));
		if (death % 10 == 0)
			require_healthy(store);
		if (death == 1000)
			used = info(store).used_bytes;
	}
	require_healthy(store);
	printf("# 2000 deaths: %llu bytes used after 1000, %llu after all, %llu flags, %llu recoveries\n", (unsigned long long)used,
	       (unsigned long long)info(store).used_bytes, (unsigned long long)info(store).flags,
	       (unsigned long long)info(store).recoveries);
	require(info(store).recoveries > 600);
	require(info(store).used_bytes <= used + used / 8);
	for (unsigned i = 1; i < 20; i++)
		require_int(i % 2, flagstore_get(store, bystander(key, i)));
	flagstore_close(store);
	require_ok(flagstore_unlink(VICTIM));
}

/* ------------------------------------------------------------------------------------------ stopped writers */

static void insert_one(void *argument)
{
	flagstore *store = attach(VICTIM, 0);

	armed = true;
	require_ok(flagstore_set(store, argument, true));
	armed = false;
	flagstore_close(store);
}

/* A child that has stopped itself inside of an insert, with the lock in its hand. */
static pid_t stop_inside(body *insert, char *key)
{
	unsigned long point = 1;

	for (;; point++) {
		int status;
		pid_t pid;

		arm(point, SIGSTOP);
		pid = child(insert, key);
		require(waitpid(pid, &status, WUNTRACED) == pid);
		require(WIFSTOPPED(status));
		if (strcmp(points->name, "locked") == 0)
			return pid;
		kill(pid, SIGCONT);
		child_succeeds(pid);
		{
			flagstore *store = attach(VICTIM, 0);

			require_ok(flagstore_delete(store, key));
			flagstore_close(store);
		}
	}
}

static flagstore *fresh_with_limit(uint32_t lock_wait_ms)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	options.shards = 1;
	options.lock_wait_ms = lock_wait_ms;
	store = fresh(VICTIM, &options);
	require_ok(flagstore_set(store, "flag", true));
	return store;
}

static void a_stopped_writer_stops_neither_readers_nor_flips(void **state)
{
	flagstore *store = fresh_with_limit(300);
	char key[] = "inserted", name[32];
	flagstore_batch *batch;
	pid_t pid = stop_inside(insert_one, key);
	int64_t start = now_ms();

	(void)state;
	require(flagstore_get(store, "flag"));
	require_ok(flagstore_toggle(store, "flag", NULL));
	require(!flagstore_get(store, "flag"));
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_compare_and_set(store, "flag", true, false));
	require(now_ms() - start < 200);

	/* What needs the lock ends at the limit, and says who has it. */
	snprintf(name, sizeof name, "%d", (int)pid);
	start = now_ms();
	require_error_says(FLAGSTORE_ETIMEDOUT, name, flagstore_set(store, "other", true));
	require(now_ms() - start >= 299 && now_ms() - start < 1500);
	require_error_says(FLAGSTORE_ETIMEDOUT, name, flagstore_delete(store, "flag"));
	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_set(batch, "other", true));
	require_error_says(FLAGSTORE_ETIMEDOUT, name, flagstore_batch_commit(batch, NULL));
	require(!lookup(store, "other").exists && lookup(store, "flag").exists);

	/* It goes on as if nothing had been. */
	kill(pid, SIGCONT);
	child_succeeds(pid);
	require(flagstore_get(store, "inserted"));
	require_ok(flagstore_batch_commit(batch, NULL));
	require(flagstore_get(store, "other"));
	require_int(0, info(store).recoveries);
	require_healthy(store);
	flagstore_close(store);
}

static void those_who_wait_for_a_lock_go_on_when_its_holder_is_killed(void **state)
{
	flagstore *store = fresh_with_limit(20000);
	char key[] = "inserted", others[4][16];
	pid_t pid = stop_inside(insert_one, key), waiting[4];
	int64_t start;

	(void)state;
	arm(0, 0);
	for (int i = 0; i < 4; i++) {
		snprintf(others[i], sizeof others[i], "other.%d", i);
		waiting[i] = child(insert_one, others[i]);
	}
	pause_us(200000);
	require(!lookup(store, "other.0").exists);
	start = now_ms();
	require(child_kill(pid));
	for (int i = 0; i < 4; i++)
		child_succeeds(waiting[i]);
	require(now_ms() - start < 2000);
	for (int i = 0; i < 4; i++)
		require(flagstore_get(store, others[i]));
	require_int(1, info(store).recoveries);
	require_healthy(store);
	flagstore_close(store);
}

/* Holds the lock, and has much memory, which is long to dump. */
static void insert_one_amply(void *argument)
{
	const size_t ample = 256u << 20;
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	void *memory = mmap(NULL, ample, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	require(memory != MAP_FAILED && setrlimit(RLIMIT_CORE, &unlimited) == 0 && chdir(getenv("FLAGSTORE_DIR")) == 0);
	insert_one(argument);
	munmap(memory, ample);
}

static bool is_dumping_core(pid_t pid)
{
	char path[64], line[128];
	bool dumping = false;
	FILE *status;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof line, status))
		dumping = dumping || strcmp(line, "CoreDumping:\t1\n") == 0;
	if (status)
		fclose(status);
	return dumping;
}

/* Under one of the names that the kernel gives it by default. */
static void remove_core(pid_t pid)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/core", getenv("FLAGSTORE_DIR"));
	unlink(path);
	snprintf(path, sizeof path, "%s/core.%d", getenv("FLAGSTORE_DIR"), (int)pid);
	unlink(path);
}

/* The kernel frees the locks of a process only when it has written the dump. */
static void a_writer_that_dumps_core_is_waited_for_and_named(void **state)
{
	flagstore *store = fresh_with_limit(20);
	char key[] = "inserted", name[32];
	pid_t pid = stop_inside(insert_one_amply, key);
	unsigned dumping = 0, named = 0;
	int status;

	(void)state;
	snprintf(name, sizeof name, "%d", (int)pid);
	require(kill(pid, SIGQUIT) == 0 && kill(pid, SIGCONT) == 0);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		int64_t start = now_ms();
		bool before = is_dumping_core(pid);
		int error;

		require_ok(flagstore_toggle(store, "flag", NULL));
		error = flagstore_set(store, "other", true);
		require(now_ms() - start < 1500);
		require(error == FLAGSTORE_OK || error == FLAGSTORE_ETIMEDOUT);
		dumping += before;
		if (error) {
			require(strstr(flagstore_detail(), name) && strstr(flagstore_detail(), "dumping core"));
			named++;
		}
	}
	require(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
	remove_core(pid);
	printf("# seen dumping core %u times; %u writes named it\n", dumping, named);
	require_ok(flagstore_set(store, "other", true));
	require(flagstore_get(store, "other"));
	require_int(1, info(store).recoveries);
	require_healthy(store);
	flagstore_close(store);
	if (!WCOREDUMP(status))
		skip_because("this system writes no core dumps here");
}

static void wait_for_the_flag(void *argument)
{
	flagstore *store = attach(VICTIM, 0);
	struct flagstore_flag flag = *(const struct flagstore_flag *)argument;

	require_ok(flagstore_wait(store, "flag", &flag, 20000));
	flagstore_close(store);
}

static void flip_the_flag(void *argument)
{
	flagstore *store = attach(VICTIM, 0);

	(void)argument;
	armed = true;
	require_ok(flagstore_toggle(store, "flag", NULL));
	armed = false;
	flagstore_close(store);
}

static void a_change_whose_writer_died_before_it_woke_anybody_is_not_missed(void **state)
{
	flagstore *store = fresh_with_limit(300);
	struct flagstore_flag before = lookup(store, "flag");
	unsigned long point = 1;
	bool died = true;

	(void)state;
	for (; died; point++) {
		pid_t waiting = child(wait_for_the_flag, &before);
		int64_t start;

		pause_us(30000);
		died = dies_at(point, flip_the_flag, NULL);
		if (lookup(store, "flag").version == before.version)
			require_ok(flagstore_toggle(store, "flag", NULL));
		start = now_ms();
		child_succeeds(waiting);
		require(now_ms() - start < 3000);
		before = lookup(store, "flag");
	}
	flagstore_close(store);
}

static void clear_in_a_batch(void *argument)
{
	flagstore *store = attach(VICTIM, 0);
	flagstore_batch *batch;

	(void)argument;
	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_set(batch, "flag", false));
	armed = true;
	require_ok(flagstore_batch_commit(batch, NULL));
	armed = false;
	flagstore_close(store);
}

/* Set to what it still seems to be, while a batch that was committed waits to be carried out. */
static void a_set_comes_after_the_batch_of_a_dead_writer(void **state)
{
	flagstore *store = fresh_with_limit(300);
	unsigned long point = 1;
	bool died = true;

	(void)state;
	for (; died; point++) {
		require_ok(flagstore_set(store, "flag", true));
		died = dies_at(point, clear_in_a_batch, NULL);
		require_ok(flagstore_set(store, "flag", true));
		/* Restores whatever is still to be restored. */
		require_healthy(store);
		require(flagstore_get(store, "flag"));
	}
	flagstore_close(store);
}

static int setup(void **state)
{
	points = shared_memory(sizeof *points);
	return segments_setup(state);
}

int main(void)
{
	const struct CMUnitTest deaths[] = {
		cmocka_unit_test(a_writer_killed_at_any_point_harms_nobody),
		cmocka_unit_test(a_recovery_killed_again_and_again_comes_to_its_end),
		cmocka_unit_test(a_recovery_killed_anywhere_is_done_by_the_next),
		cmocka_unit_test(a_creator_killed_at_any_point_is_taken_over),
		cmocka_unit_test(one_that_attaches_or_closes_may_be_killed_at_any_point),
		cmocka_unit_test(two_thousand_deaths_leak_no_room),
		cmocka_unit_test(a_stopped_writer_stops_neither_readers_nor_flips),
		cmocka_unit_test(a_writer_that_dumps_core_is_waited_for_and_named),
		cmocka_unit_test(those_who_wait_for_a_lock_go_on_when_its_holder_is_killed),
		cmocka_unit_test(a_change_whose_writer_died_before_it_woke_anybody_is_not_missed),
		cmocka_unit_test(a_set_comes_after_the_batch_of_a_dead_writer),
	};
	int failed = cmocka_run_group_tests(deaths, setup, segments_teardown);

	printf("# killed at %lu points in all\n", points->deaths);
	return failed;
}

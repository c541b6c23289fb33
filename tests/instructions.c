/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * instructions.c: processes killed after the machine instructions of what they do (stepper.h): of every kind of write (operations.h), of
 * the recovery that comes after a death, of creating, attaching and closing. After each death those who are attached, those who
 * come, the next writer and the checker are asked what they see (afterlife.h), and all starts anew from the same bytes.
 *
 * Every instruction is stepped over and looked at. Most leave what a death leaves just as it was (residue.h): so one kill stands for a
 * death after any instruction of a stretch that leaves the same.
 *
 *     KILL_ALL=1     kills in each stretch, and in recoveries after several deaths. Without it stretches are left out where there are
 *                    many, each n-th remaining, and n is printed
 *     KILL_FIRSTS=1  kills in each stretch as often as there are those who may come next; without it they take turns
 *     KILL_EVERY=n   kills also at each n-th instruction; 1: at every one, which takes days
 *     KILL_ONLY=TEXT only what has TEXT in its name
 *     KILL_JOBS=n    so many processes share the work (1)
 */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "afterlife.h"
#include "stepper.h"

/* What is done in a child and killed everywhere. All but run happens in a lane, a process of its own. */
struct job {
	const char *what;
	body *run;
	const struct scene *scene;
	const char *image; /* where it begins, if not with the scene */
	void (*open)(const struct job *job);
	void (*rewind)(void);
	/* What must hold now. True when what was killed has happened all the same. */
	bool (*judge)(const struct job *job, enum first first);
	void (*close)(void);
	unsigned firsts; /* who may come first; 1: it makes no difference */
	unsigned sample; /* so many stretches, if not all */
};

/* What the lanes of a job, or all jobs, have seen. */
struct counts {
	unsigned long instructions;
	unsigned long stretches;
	unsigned long stride; /* every n-th stretch */
	unsigned long planned;
	unsigned long kills;
	unsigned long happened;
	unsigned long elsewhere; /* kills at another instruction than the trace has there, also when tried again */
	unsigned long recoveries[FIRSTS];
	long longest_us;
};

enum { JOBS_MAX = 64, TRIES = 4 };

/* A table with more flags takes long to be recovered step by step: after one death, not 8, and not in the short form. */
enum { SMALL_TABLE = 100 };

static struct counts *row; /* shared with the lanes */
static struct counts totals;
static unsigned long operations_killed, violations;

/* ---------------------------------------------------------------------------------------------------- lanes */

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && strtoul(text, NULL, 10) ? strtoul(text, NULL, 10) : otherwise;
}

static bool all(void)
{
	return getenv("KILL_ALL");
}

static unsigned lanes(void)
{
	unsigned long count = number_from("KILL_JOBS", 1);

	return count < JOBS_MAX ? (unsigned)count : JOBS_MAX;
}

static void add(unsigned long *count, unsigned long more)
{
	__atomic_fetch_add(count, more, __ATOMIC_RELAXED);
}

static void note_recovery(enum first first, const struct recovery *recovery)
{
	long longest = __atomic_load_n(&row->longest_us, __ATOMIC_RELAXED);

	add(&row->recoveries[first], recovery->recoveries);
	while (recovery->recoveries && recovery->longest_us > longest &&
	       !__atomic_compare_exchange_n(&row->longest_us, &longest, recovery->longest_us, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* The heap that a child inherits decides which way it takes through malloc(). So the trace is made of a child that is forked after
 * the same calls as all that follow. */
static struct trace trace_in_lane(const struct job *job)
{
	const struct trace none = {.pc = (unsigned long[]){0}, .passes = (unsigned[]){0}};

	job->rewind();
	(void)stepper_kill(&none, 0, job->run, NULL);
	(void)job->judge(job, FIRST_NEIGHBOUR);
	job->rewind();
	return stepper_trace(job->run, NULL, path_of(VICTIM));
}

static unsigned long stretches_of(const struct trace *trace)
{
	unsigned long count = 0;

	for (unsigned long k = 0; k <= trace->count; k++)
		count += trace->fresh[k];
	return count;
}

static void kill_once(const struct job *job, const struct trace *trace, unsigned long k, enum first first)
{
	bool exact = false, happened = false;

	note("%s, killed after instruction %lu of %lu", job->what, k, trace->count);
	for (int tries = 0; tries < TRIES && !exact; tries++) {
		job->rewind();
		exact = stepper_kill(trace, k, job->run, NULL);
		happened = job->judge(job, first);
	}
	add(&row->elsewhere, !exact);
	add(&row->happened, happened);
	add(&row->kills, 1);
}

/* Whether there is a kill after instruction k, which begins stretch number stretch if it is the first of one. */
static bool is_kill_point(const struct trace *trace, unsigned long k, unsigned long stretch)
{
	unsigned long every = number_from("KILL_EVERY", 0);

	return (trace->fresh[k] && stretch % row->stride == 0) || (every && k % every == 0);
}

static bool each_first(void)
{
	return getenv("KILL_FIRSTS");
}

static void kill_at(const struct job *job, const struct trace *trace, unsigned long k, unsigned long number)
{
	if (!each_first())
		kill_once(job, trace, k, number % FIRSTS);
	for (enum first first = 0; each_first() && first < job->firsts; first++)
		kill_once(job, trace, k, first);
}

/* The first instruction of a stretch. */
static unsigned long begin_of(const struct trace *trace, unsigned long stretch)
{
	unsigned long k = 0;

	while (stretch)
		stretch -= trace->fresh[++k];
	return k;
}

static void plan(const struct job *job, const struct trace *trace)
{
	unsigned long stretches = stretches_of(trace);

	row->instructions = trace->count;
	row->stretches = stretches;
	row->stride = all() || stretches <= job->sample / 2 ? 1 : stretches / (job->sample / 2 + 1);
	row->planned = (stretches + row->stride - 1) / row->stride * (each_first() ? job->firsts : 1);
}

struct lane {
	const struct job *job;
	unsigned number;
};

static void run_lane(void *argument)
{
	const struct lane *lane = argument;
	unsigned long stretch = 0, point = 0;
	struct trace trace;

	require_int(0, segments_own());
	lane->job->open(lane->job);
	trace = trace_in_lane(lane->job);
	plan(lane->job, &trace);
	for (unsigned long k = 0; k <= trace.count; k++) {
		if (is_kill_point(&trace, k, stretch) && point++ % lanes() == lane->number)
			kill_at(lane->job, &trace, k, point);
		stretch += trace.fresh[k];
	}
	lane->job->rewind();
	lane->job->close();
	stepper_drop(&trace);
	require_int(0, segments_teardown(NULL));
}

/* ----------------------------------------------------------------------------------------------------- jobs */

static void show_progress(const struct job *job)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%.60s: %lu of %lu kills", job->what, row->kills, row->planned);
}

static bool all_succeed(const struct job *job, const pid_t *pids)
{
	bool success = true;

	for (unsigned i = 0; i < lanes(); i++) {
		int status;
		pid_t ended;

		while ((ended = waitpid(pids[i], &status, WNOHANG)) == 0) {
			show_progress(job);
			pause_us(20000);
		}
		success = ended == pids[i] && status == 0 && success;
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	return success;
}

static void sum_up(const struct job *job, bool success)
{
	unsigned long recoveries = 0;

	for (int i = 0; i < FIRSTS; i++) {
		recoveries += row->recoveries[i];
		totals.recoveries[i] += row->recoveries[i];
	}
	totals.kills += row->kills;
	totals.happened += row->happened;
	totals.elsewhere += row->elsewhere;
	totals.longest_us = row->longest_us > totals.longest_us ? row->longest_us : totals.longest_us;
	operations_killed++;
	violations += !success;
	totals.instructions += row->instructions;
	totals.stretches += row->stretches;
	printf("# %-58s %7lu %9lu %5lu %6lu %6lu %6lu %6.2f %s\n", job->what, row->instructions, row->stretches, row->stride, row->kills,
	       row->happened, recoveries, (double)row->longest_us / 1000, success ? "0" : "1 (see above)");
	fflush(stdout);
}

static void print_titles(void)
{
	printf("# %-58s %7s %9s %5s %6s %6s %6s %6s %s\n", "", "INSTRS", "STRETCHES", "EVERY", "KILLS", "DONE", "RECOV.", "MAX MS",
	       "VIOLATIONS");
}

static bool wanted(const char *what)
{
	const char *only = getenv("KILL_ONLY");

	return !only || strstr(what, only);
}

static void run_job(const struct job *job)
{
	struct lane crew[JOBS_MAX];
	pid_t pids[JOBS_MAX];

	memset(row, 0, sizeof *row);
	for (unsigned i = 0; i < lanes(); i++) {
		crew[i] = (struct lane){job, i};
		pids[i] = child(run_lane, &crew[i]);
	}
	sum_up(job, all_succeed(job, pids));
}

/* --------------------------------------------------------------------------------------------- every write */

/* Of this lane. */
static struct witnesses witnesses;

static void open_write(const struct job *job)
{
	call_witnesses(&witnesses, job->scene);
	if (job->image)
		witnesses.image = job->image;
}

static void rewind_write(void)
{
	rewind_victim(&witnesses);
}

static void close_write(void)
{
	dismiss_witnesses(&witnesses);
}

/* As a forked child of somebody who is attached, which it is before the first step: by a write that changes nothing. */
static flagstore *enter(void)
{
	require_int(FLAGSTORE_ENOTFOUND, flagstore_delete(witnesses.neighbour, "not there"));
	return witnesses.neighbour;
}

static void operate(void *argument)
{
	const struct scene *scene = witnesses.scene;
	flagstore *store = enter();
	int result;

	(void)argument;
	stepper_here();
	result = scene->operation->run(store, scene);
	stepper_here();
	require_int(FLAGSTORE_OK, result);
}

static bool judge_write(const struct job *job, enum first first)
{
	struct recovery recovery;
	bool happened = require_recovered(&witnesses, first, &recovery);

	(void)job;
	note_recovery(first, &recovery);
	return happened;
}

/* For those who have another segment directory. */
static const char *copy_path(char path[PATH_MAX], const char *segment)
{
	snprintf(path, PATH_MAX, "%s", path_of(segment));
	return path;
}

static void a_writer_killed_after_any_instruction_harms_nobody(void **state)
{
	unsigned long before = violations;

	(void)state;
	print_titles();
	for (unsigned i = 0; i < operations_count; i++) {
		struct scene scene;
		char path[PATH_MAX];

		if (!wanted(operations[i].name))
			continue;
		open_scene(&operations[i], &scene);
		scene.segment = copy_path(path, scene.segment);
		run_job(&(struct job){operations[i].name, operate, &scene, NULL, open_write, rewind_write, judge_write, close_write, FIRSTS, 40});
		close_scene(&scene);
	}
	require_int(before, violations);
}

/* ----------------------------------------------------------------------------------------------- recovery */

/* One who was attached before the death writes: he recovers the one shard that there is. */
static void recover_by_writing(void *argument)
{
	flagstore *store = enter();

	(void)argument;
	stepper_here();
	require_ok(flagstore_set(store, "next.0", true));
	stepper_here();
}

static void recover_by_attaching(void *argument)
{
	flagstore *store;

	(void)argument;
	stepper_here();
	store = attach(VICTIM, 0);
	stepper_here();
	flagstore_close(store);
}

/* The segment as a writer left it that died after instruction k of its write. Returns how many shards are left to be recovered. */
static uint64_t die_at(const struct trace *trace, unsigned long k, const char *segment)
{
	struct recovery recovery;

	rewind_write();
	(void)stepper_kill(trace, k, operate, NULL);
	copy_file(path_of(VICTIM), path_of(segment));
	(void)require_recovered(&witnesses, FIRST_NEIGHBOUR, &recovery);
	return recovery.recoveries;
}

static void kill_recoveries_of(const struct operation *operation)
{
	char what[160], path[PATH_MAX], died[PATH_MAX];
	struct scene scene;
	struct trace trace;
	unsigned deaths;

	open_scene(operation, &scene);
	deaths = all() && scene.bystanders <= SMALL_TABLE ? 8 : 1;
	if (!all() && scene.bystanders > SMALL_TABLE) {
		printf("# recovery: %.60s: left to make check-kill\n", operation->name);
		close_scene(&scene);
		return;
	}
	scene.segment = copy_path(path, scene.segment);
	call_witnesses(&witnesses, &scene);
	trace = stepper_trace(operate, NULL, path_of(VICTIM));
	for (unsigned i = 1; i <= deaths; i++) {
		unsigned long k = begin_of(&trace, stretches_of(&trace) * i / (deaths + 1));
		bool writing = operation->shards == 1 && i % 2;

		if (!die_at(&trace, k, "died"))
			continue;
		snprintf(what, sizeof what, "recovery by %s: %.60s, dead at %lu", writing ? "write" : "attach", operation->name, k);
		run_job(&(struct job){what, writing ? recover_by_writing : recover_by_attaching, &scene, copy_path(died, "died"), open_write,
		                      rewind_write, judge_write, close_write, FIRSTS, 16});
		require_ok(flagstore_unlink("died"));
	}
	rewind_write();
	dismiss_witnesses(&witnesses);
	stepper_drop(&trace);
	close_scene(&scene);
}

static void a_recovery_killed_after_any_instruction_is_done_by_the_next(void **state)
{
	unsigned long before = violations;

	(void)state;
	print_titles();
	for (unsigned i = 0; i < operations_count; i++)
		if (wanted("recovery") || wanted(operations[i].name))
			kill_recoveries_of(&operations[i]);
	require_int(before, violations);
}

/* ------------------------------------------------------------------------------- create, attach and close */

static void create_victim(void *argument)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	int result;

	(void)argument;
	options.max_bytes = 1 << 20;
	options.shards = 4;
	options.workers = 4;
	stepper_here();
	result = flagstore_create(VICTIM, &options, &store);
	stepper_here();
	require_ok(result);
	flagstore_close(store);
}

static void open_nothing(const struct job *job)
{
	(void)job;
}

static void remove_victim(void)
{
	int result = flagstore_unlink(VICTIM);

	/* A file in which nothing stands yet is not known to be a segment. */
	if (result == FLAGSTORE_ENOTSEGMENT)
		require_int(0, unlink(path_of(VICTIM)));
	else
		require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOSEGMENT);
}

static void close_nothing(void)
{
}

static bool judge_create(const struct job *job, enum first first)
{
	flagstore *store = NULL;
	int result = flagstore_attach(VICTIM, NULL, &store);

	(void)job;
	(void)first;
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTREADY || result == FLAGSTORE_ENOSEGMENT);
	if (result)
		require_ok(flagstore_create(VICTIM, NULL, &store));
	write_everywhere(store);
	require_healthy(store);
	require_int(1, info(store).workers);
	flagstore_close(store);
	return result == FLAGSTORE_OK;
}

/* Attached in the lane to a segment that has one worker entry besides. */
static flagstore *host;

static void open_host(const struct job *job)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	(void)job;
	options.workers = 2;
	host = fresh(VICTIM, &options);
	require_ok(flagstore_set(host, "flag", true));
}

static void attach_victim(void *argument)
{
	flagstore *store;
	int result;

	(void)argument;
	stepper_here();
	result = flagstore_attach(VICTIM, NULL, &store);
	stepper_here();
	require_ok(result);
	flagstore_close(store);
}

static void close_victim(void *argument)
{
	flagstore *store = attach(VICTIM, 0);

	(void)argument;
	stepper_here();
	flagstore_close(store);
	stepper_here();
}

static bool judge_host(const struct job *job, enum first first)
{
	flagstore *other = attach(VICTIM, 0);

	(void)job;
	(void)first;
	require_ok(flagstore_toggle(other, "flag", NULL));
	require_int(2, info(host).workers);
	flagstore_close(other);
	require_healthy(host);
	return false;
}

static void close_host(void)
{
	flagstore_close(host);
	require_ok(flagstore_unlink(VICTIM));
}

static void one_that_creates_attaches_or_closes_may_be_killed_after_any_instruction(void **state)
{
	const struct job jobs[] = {
		{"create", create_victim, NULL, NULL, open_nothing, remove_victim, judge_create, close_nothing, 1, 150},
		{"attach", attach_victim, NULL, NULL, open_host, close_nothing, judge_host, close_host, 1, 150},
		{"close", close_victim, NULL, NULL, open_host, close_nothing, judge_host, close_host, 1, 150},
	};
	unsigned long before = violations;

	(void)state;
	print_titles();
	for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
		if (wanted(jobs[i].what))
			run_job(&jobs[i]);
	require_int(before, violations);
}

static int setup(void **state)
{
	row = shared_memory(sizeof *row);
	return segments_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_killed_after_any_instruction_harms_nobody),
		cmocka_unit_test(a_recovery_killed_after_any_instruction_is_done_by_the_next),
		cmocka_unit_test(one_that_creates_attaches_or_closes_may_be_killed_after_any_instruction),
	};
	int failed = cmocka_run_group_tests(tests, setup, segments_teardown);

	printf("#\n");
	for (int i = 0; i < FIRSTS; i++)
		printf("# %lu shards recovered by %s\n", totals.recoveries[i], first_names[i]);
	printf("# %lu of the kill points had another instruction than when traced (a clock, a process number)\n", totals.elsewhere);
	printf("# %lu instructions stepped over, %lu stretches that leave the same\n", totals.instructions, totals.stretches);
	printf("# %lu operations, %lu kill points, %lu recoveries, largest recovery time %.2f ms, %lu violations\n", operations_killed,
	       totals.kills, totals.recoveries[0] + totals.recoveries[1] + totals.recoveries[2], (double)totals.longest_us / 1000, violations);
	return failed;
}

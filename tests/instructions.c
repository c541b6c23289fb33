/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * instructions.c: writers killed after every single machine instruction. For each kind of write (operations.h) a child is
 * single-stepped once, which gives the instructions that it runs, one after the other. Then, for each k of them, another child on a
 * fresh copy of the same segment runs to instruction k and is killed there; readers, the next writer and the checker are asked
 * what they see (afterlife.h).
 *
 * To come to instruction k without a stop at each before it, a hardware breakpoint waits for an instruction shortly before k that has run
 * seldom so far; only from there on is single-stepped. All children are forks of this process, so their addresses are the same.
 *
 * KILL_EVERY=n kills at every n-th instruction of the operations of more than 1500; 1, at each of all. Without it n is chosen for each, so
 * that the whole takes a minute. It is printed. */
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "afterlife.h"

/* What is printed at the end. */
static struct {
	unsigned long operations;
	unsigned long kills;
	uint64_t recoveries;
	int64_t longest_us;
	unsigned long elsewhere; /* kills that came at another instruction than the trace had there */
} totals;

/* ----------------------------------------------------------------------------------------------- the child */

/* One place for both, so that the second is known by the first. */
static __attribute__((noinline)) void trap(void)
{
	__asm__ volatile("int3");
}

static void trap_first(void)
{
	require(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	trap();
}

/* Stops before and after the write; between the two traps nothing runs but the write. */
static void operate(void *argument)
{
	const struct scene *scene = argument;
	flagstore *store = attach(VICTIM, 0);
	int result;

	trap_first();
	result = scene->operation->run(store, scene);
	trap();
	require_int(FLAGSTORE_OK, result);
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------- tracing */

/* What a write executes: pc[i] is the instruction that comes after i others, passes[i] how often it has come up by then, itself included. */
struct trace {
	unsigned long *pc;
	unsigned *passes;
	unsigned long count;
};

/* A stop costs about the same whether a breakpoint or a single step brought it; so many instructions are worth looking back over. */
enum { LOOK_BACK = 300 };

static unsigned long int3_end; /* where a child is right behind its trap */
static bool no_breakpoints;    /* the machine has none for us: everything is single-stepped */

static unsigned long pc_of(pid_t pid)
{
	struct user_regs_struct registers;

	require(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0);
	return registers.rip;
}

/* Lets the child run until its next stop; false when it has ended instead. */
static bool go_on(enum __ptrace_request how, pid_t pid)
{
	int status;

	require(ptrace(how, pid, NULL, NULL) == 0);
	require(waitpid(pid, &status, 0) == pid);
	if (!WIFSTOPPED(status))
		return false;
	require_int(SIGTRAP, WSTOPSIG(status));
	return true;
}

/* A child right before the write. */
static pid_t start(body *run, void *argument)
{
	pid_t pid = child(run, argument);
	int status;

	require(waitpid(pid, &status, 0) == pid);
	require(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	int3_end = pc_of(pid);
	return pid;
}

static void finish(pid_t pid)
{
	require(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
	child_succeeds(pid);
}

static void append(struct trace *trace, unsigned long pc)
{
	if (trace->count % 1024 == 0) {
		trace->pc = realloc(trace->pc, (trace->count + 1024) * sizeof *trace->pc);
		trace->passes = realloc(trace->passes, (trace->count + 1024) * sizeof *trace->passes);
		require(trace->pc && trace->passes);
	}
	trace->pc[trace->count++] = pc;
}

static int compare_places(const void *left, const void *right, void *pcs)
{
	unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
	const unsigned long *pc = pcs;

	return pc[a] != pc[b] ? (pc[a] > pc[b]) - (pc[a] < pc[b]) : (a > b) - (a < b);
}

/* Counts by sorting: equal instructions stand together then, in the order in which they came. */
static void count_passes(struct trace *trace)
{
	unsigned *order = malloc(trace->count * sizeof *order);

	require(order != NULL);
	for (unsigned i = 0; i < trace->count; i++)
		order[i] = i;
	qsort_r(order, trace->count, sizeof *order, compare_places, trace->pc);
	for (unsigned i = 0; i < trace->count; i++)
		trace->passes[order[i]] = i && trace->pc[order[i]] == trace->pc[order[i - 1]] ? trace->passes[order[i - 1]] + 1 : 1;
	/* A repeated string instruction is stepped over once for each repetition, and met by a breakpoint who knows how often. */
	for (unsigned i = 1; i < trace->count; i++)
		if (trace->pc[order[i]] == trace->pc[order[i - 1]] && order[i] == order[i - 1] + 1)
			for (unsigned j = i - 1; j < trace->count && trace->pc[order[j]] == trace->pc[order[i]]; j++)
				trace->passes[order[j]] = UINT_MAX;
	free(order);
}

static struct trace trace_of(body *run, void *argument)
{
	struct trace trace = {NULL, NULL, 0};
	pid_t pid = start(run, argument);

	/* The second trap ends it; single-stepped over, it leaves the child at the same place as the first. */
	append(&trace, int3_end);
	do {
		require(go_on(PTRACE_SINGLESTEP, pid));
		append(&trace, pc_of(pid));
	} while (trace.pc[trace.count - 1] != int3_end);
	trace.count--;
	finish(pid);
	count_passes(&trace);
	return trace;
}

static bool set_breakpoint(pid_t pid, unsigned long pc, bool on)
{
	/* Debug register 7: local enable of breakpoint 0, on execution. */
	return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), pc) == 0 &&
	       ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), on ? 1L : 0L) == 0;
}

/* The cheapest way to instruction k: the breakpoint's place. 0: step from the start. */
static unsigned long best_place(const struct trace *trace, unsigned long k)
{
	unsigned long best = 0, cost = k;

	for (unsigned long back = 0; back < LOOK_BACK && back < k; back++) {
		unsigned long place = k - back;

		if (trace->passes[place] + back < cost) {
			cost = trace->passes[place] + back;
			best = place;
		}
	}
	return best;
}

/* Runs the child to the breakpoint's place; false when it came somewhere else. */
static bool run_to(const struct trace *trace, unsigned long place, pid_t pid)
{
	/* It stands at instruction 0 already, which therefore is not come to. */
	unsigned i = trace->pc[place] == trace->pc[0] ? 1 : 0;

	if (!set_breakpoint(pid, trace->pc[place], true)) {
		no_breakpoints = true;
		return false;
	}
	for (; i < trace->passes[place]; i++)
		if (!go_on(PTRACE_CONT, pid) || pc_of(pid) != trace->pc[place])
			return false;
	return set_breakpoint(pid, trace->pc[place], false);
}

/* Runs a child to instruction k of its write and kills it there. Should it have taken another way than the one that was traced (a
 * clock, another process), it is killed where it is, which is an instruction of its write as well. */
static void kill_at(const struct trace *trace, unsigned long k, body *run, void *argument)
{
	unsigned long place = no_breakpoints ? 0 : best_place(trace, k);
	pid_t pid = start(run, argument);
	bool there = !place || run_to(trace, place, pid);

	for (; there && place < k; place++)
		there = go_on(PTRACE_SINGLESTEP, pid);
	totals.elsewhere += !there || pc_of(pid) != trace->pc[k];
	(void)child_kill(pid);
}

/* --------------------------------------------------------------------------------------------- every write */

/* How many instructions from one kill to the next. */
static unsigned long stride_of(unsigned long count)
{
	const char *every = getenv("KILL_EVERY");
	unsigned long stride = every ? strtoul(every, NULL, 10) : count / 60;

	return count <= 1500 && every ? 1 : stride ? stride : 1;
}

static void begin(const char *what)
{
	totals.operations++;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", what);
}

static void say(const char *what, unsigned long count, unsigned long stride, unsigned long kills, unsigned long happened)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	printf("# %-52s %7lu instructions, every %3lu: %6lu kills, had happened %6lu times\n", what, count, stride, kills, happened);
	fflush(stdout);
}

/* One death, and all that must hold after it. */
static bool die_and_recover(const struct trace *trace, unsigned long k, body *run, struct scene *scene)
{
	flagstore_handle *handles[TOUCHED_MAX];
	flagstore *reader = open_before(scene, handles);
	struct recovery recovery;
	bool happened;

	kill_at(trace, k, run, scene);
	require_readers_unharmed(reader, handles, scene);
	happened = require_recovered(scene, &recovery);
	require_handles_follow(reader, handles, scene);
	close_before(reader, handles, scene);
	totals.kills++;
	totals.recoveries += recovery.recoveries;
	totals.longest_us = recovery.longest_us > totals.longest_us ? recovery.longest_us : totals.longest_us;
	return happened;
}

static struct trace trace_in_victim(body *run, struct scene *scene)
{
	struct trace trace;

	copy_file(path_of(scene->segment), path_of(VICTIM));
	trace = trace_of(run, scene);
	require_ok(flagstore_unlink(VICTIM));
	return trace;
}

static void drop(struct trace *trace)
{
	free(trace->pc);
	free(trace->passes);
}

static void kill_everywhere(const char *what, body *run, struct scene *scene)
{
	unsigned long happened = 0, kills = 0, stride;
	struct trace trace;

	begin(what);
	trace = trace_in_victim(run, scene);
	stride = stride_of(trace.count);
	for (unsigned long k = 0; k <= trace.count; k += stride, kills++) {
		note("%s, killed after instruction %lu of %lu", what, k, trace.count);
		happened += die_and_recover(&trace, k, run, scene);
	}
	say(what, trace.count, stride, kills, happened);
	drop(&trace);
}

static void a_writer_killed_after_any_instruction_harms_nobody(void **state)
{
	(void)state;
	for (unsigned i = 0; i < operations_count; i++) {
		struct scene scene;

		open_scene(&operations[i], &scene);
		kill_everywhere(operations[i].name, operate, &scene);
		close_scene(&scene);
	}
}

/* ----------------------------------------------------------------------------------------------- recovery */

/* The next writer after a death: his first write recovers. */
static void come_next(void *argument)
{
	flagstore *store = attach(VICTIM, 0);

	(void)argument;
	trap_first();
	write_everywhere(store);
	trap();
	flagstore_close(store);
}

/* The segment as a writer left it that died after instruction k of its write: the scene of the recovery. */
static void die_in_scene(const struct trace *trace, unsigned long k, struct scene *scene)
{
	copy_file(path_of(scene->segment), path_of(VICTIM));
	kill_at(trace, k, operate, scene);
	copy_file(path_of(VICTIM), path_of("died"));
	require_ok(flagstore_unlink(VICTIM));
}

/* The write's deaths, at DEATHS places; after each of them the recovery's, everywhere. */
static void kill_recoveries_of(const struct operation *operation)
{
	enum { DEATHS = 5 };
	char what[160];
	struct scene scene;
	struct trace trace;

	open_scene(operation, &scene);
	trace = trace_in_victim(operate, &scene);
	for (unsigned long i = 1; i <= DEATHS; i++) {
		struct scene after = scene;
		unsigned long k = trace.count * i / (DEATHS + 1);

		die_in_scene(&trace, k, &scene);
		after.segment = "died";
		snprintf(what, sizeof what, "recovery: %.60s, dead at %lu", operation->name, k);
		kill_everywhere(what, come_next, &after);
		require_ok(flagstore_unlink("died"));
	}
	drop(&trace);
	close_scene(&scene);
}

static void a_recovery_killed_after_any_instruction_is_done_by_the_next(void **state)
{
	(void)state;
	for (unsigned i = 0; i < operations_count; i++)
		kill_recoveries_of(&operations[i]);
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
	trap_first();
	result = flagstore_create(VICTIM, &options, &store);
	trap();
	require_ok(result);
	flagstore_close(store);
}

static void a_creator_killed_after_any_instruction_is_taken_over(void **state)
{
	unsigned long stride, kills = 0, ready = 0;
	struct trace trace;

	(void)state;
	begin("create");
	trace = trace_of(create_victim, NULL);
	require_ok(flagstore_unlink(VICTIM));
	stride = stride_of(trace.count);
	for (unsigned long k = 0; k <= trace.count; k += stride, kills++) {
		flagstore *store = NULL;
		int result;

		note("create, killed after instruction %lu of %lu", k, trace.count);
		kill_at(&trace, k, create_victim, NULL);
		result = flagstore_attach(VICTIM, NULL, &store);
		ready += result == FLAGSTORE_OK;
		require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTREADY || result == FLAGSTORE_ENOSEGMENT);
		if (result)
			require_ok(flagstore_create(VICTIM, NULL, &store));
		write_everywhere(store);
		require_healthy(store);
		require_int(1, info(store).workers);
		flagstore_close(store);
		require_ok(flagstore_unlink(VICTIM));
		totals.kills++;
	}
	say("create", trace.count, stride, kills, ready);
	drop(&trace);
}

static void attach_victim(void *argument)
{
	flagstore *store;
	int result;

	(void)argument;
	trap_first();
	result = flagstore_attach(VICTIM, NULL, &store);
	trap();
	require_ok(result);
	flagstore_close(store);
}

static void close_victim(void *argument)
{
	flagstore *store = attach(VICTIM, 0);

	(void)argument;
	trap_first();
	flagstore_close(store);
	trap();
}

/* One entry for this process, and one that goes from one to the next. */
static void kill_everywhere_as_a_worker(const char *what, body *run)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	unsigned long stride, kills = 0;
	struct trace trace;
	flagstore *store;

	begin(what);
	options.workers = 2;
	store = fresh(VICTIM, &options);
	require_ok(flagstore_set(store, "flag", true));
	trace = trace_of(run, NULL);
	stride = stride_of(trace.count);
	for (unsigned long k = 0; k <= trace.count; k += stride, kills++) {
		flagstore *other;

		note("%s, killed after instruction %lu of %lu", what, k, trace.count);
		kill_at(&trace, k, run, NULL);
		other = attach(VICTIM, 0);
		require_ok(flagstore_toggle(other, "flag", NULL));
		require_int(2, info(store).workers);
		flagstore_close(other);
		totals.kills++;
	}
	require_healthy(store);
	flagstore_close(store);
	require_ok(flagstore_unlink(VICTIM));
	say(what, trace.count, stride, kills, 0);
	drop(&trace);
}

static void one_that_attaches_or_closes_may_be_killed_after_any_instruction(void **state)
{
	(void)state;
	kill_everywhere_as_a_worker("attach", attach_victim);
	kill_everywhere_as_a_worker("close", close_victim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_killed_after_any_instruction_harms_nobody),
		cmocka_unit_test(a_recovery_killed_after_any_instruction_is_done_by_the_next),
		cmocka_unit_test(a_creator_killed_after_any_instruction_is_taken_over),
		cmocka_unit_test(one_that_attaches_or_closes_may_be_killed_after_any_instruction),
	};
	cpu_set_t one;
	int failed;

	/* On one processor a stop is a switch of processes and no more. */
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	failed = cmocka_run_group_tests(tests, segments_setup, segments_teardown);
	printf("# %lu operations, %lu kill points, %llu recoveries, largest recovery time %.2f ms, %d violations\n", totals.operations,
	       totals.kills, (unsigned long long)totals.recoveries, (double)totals.longest_us / 1000, failed);
	if (totals.elsewhere)
		printf("# at %lu of them the child was at another instruction than when it was traced\n", totals.elsewhere);
	return failed;
}

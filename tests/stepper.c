/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stepper.c: single steps, by ptrace. To come to instruction k without a stop at each before it, a breakpoint (int3) waits for an
 * instruction shortly before k that has come up seldom so far; only from there on is single-stepped. All children are forks of the
 * same process, so their addresses are the same. x86-64 only.
 */
#include "stepper.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

/* The most instructions that a work may have. */
enum { TRACE_MAX = 4 << 20 };

/* How far before k a breakpoint is looked for; and what one pass of a breakpoint costs, in single steps. */
enum { LOOK_BACK = 400, PASS_COST = 3 };

#define INT3 0xccul

/* ----------------------------------------------------------------------------------------------- the child */

/* One place for both, so that the second is known by the first. */
static __attribute__((noinline)) void trap(void)
{
	__asm__ volatile("int3");
}

void stepper_here(void)
{
	static bool begun;

	if (!begun)
		require(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	begun = true;
	trap();
}

/* ------------------------------------------------------------------------------------------------- stopping */

static unsigned long pc_of(pid_t pid)
{
	long pc = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);

	require(pc != -1);
	return (unsigned long)pc;
}

static bool ended; /* the child, by itself, and has been waited for */

/* Lets the child run until its next stop; false when it has ended instead. */
static bool go_on(enum __ptrace_request how, pid_t pid)
{
	int status;

	require(ptrace(how, pid, NULL, NULL) == 0);
	require(waitpid(pid, &status, 0) == pid);
	ended = !WIFSTOPPED(status);
	if (ended)
		return false;
	require_int(SIGTRAP, WSTOPSIG(status));
	return true;
}

/* A child right before its work; *begin is where it stands: right behind its trap. */
static pid_t start(body *run, void *argument, unsigned long *begin)
{
	pid_t pid = child(run, argument);
	int status;

	require(waitpid(pid, &status, 0) == pid);
	require(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	ended = false;
	*begin = pc_of(pid);
	return pid;
}

/* It stands at its second trap, and goes on to its end by itself. */
static void let_go(pid_t pid)
{
	require(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
	child_succeeds(pid);
}

/* -------------------------------------------------------------------------------------------------- tracing */

static void *reserve(size_t bytes)
{
	/* Not from the heap: it would be another one for the children that come after. */
	void *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	require(place != MAP_FAILED);
	return place;
}

static int compare_places(const void *left, const void *right, void *pcs)
{
	const unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
	const unsigned long *pc = pcs;

	return pc[a] != pc[b] ? (pc[a] > pc[b]) - (pc[a] < pc[b]) : (a > b) - (a < b);
}

/* In the kernel's own page of code, which can't be written. */
static bool is_vdso(unsigned long pc)
{
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);

	return pc >= vdso && pc < vdso + 0x4000;
}

/* Counts by sorting: equal instructions stand together then, in the order in which they came. */
static void count_passes(struct trace *trace)
{
	unsigned *order = reserve(trace->count * sizeof *order);

	for (unsigned i = 0; i < trace->count; i++)
		order[i] = i;
	qsort_r(order, trace->count, sizeof *order, compare_places, trace->pc);
	for (unsigned i = 0; i < trace->count; i++) {
		bool same = i && trace->pc[order[i]] == trace->pc[order[i - 1]];

		/* A repeated string instruction is stepped over once for each repetition, and met by a breakpoint who knows how often. */
		if (is_vdso(trace->pc[order[i]]) || (same && (order[i] == order[i - 1] + 1 || trace->passes[order[i - 1]] == UINT_MAX)))
			trace->passes[order[i]] = UINT_MAX;
		else
			trace->passes[order[i]] = same ? trace->passes[order[i - 1]] + 1 : 1;
	}
	/* Also the first of the repetitions. */
	for (unsigned i = (unsigned)trace->count - 1; i > 0; i--)
		if (trace->pc[order[i]] == trace->pc[order[i - 1]] && trace->passes[order[i]] == UINT_MAX)
			trace->passes[order[i - 1]] = UINT_MAX;
	munmap(order, trace->count * sizeof *order);
}

/* The code is the same in the caller, the child's parent. */
static bool is_system_call(unsigned long pc)
{
	static const unsigned char opcode[] = {0x0f, 0x05};

	return memcmp((const void *)pc, opcode, sizeof opcode) == 0;
}

struct trace stepper_trace(body *run, void *argument, const char *path)
{
	struct trace trace = {reserve(TRACE_MAX * sizeof *trace.pc), reserve(TRACE_MAX * sizeof *trace.passes), reserve(TRACE_MAX), 0};
	struct residue *residue = residue_of(path);
	pid_t pid = start(run, argument, &trace.pc[0]);

	(void)residue_changed(residue, pid, true);
	trace.fresh[0] = true;
	/* The second trap ends it; single-stepped over, it leaves the child at the same place as the first. */
	do {
		unsigned long pc = trace.pc[trace.count];

		require(trace.count < TRACE_MAX - 1);
		require(go_on(PTRACE_SINGLESTEP, pid));
		trace.pc[++trace.count] = pc_of(pid);
		/* A clock is read there, anew until no tick of the kernel came between: with slow steps that would never end. */
		trace.fresh[trace.count] = !is_vdso(pc) && residue_changed(residue, pid, is_system_call(pc));
	} while (trace.pc[trace.count] != trace.pc[0]);
	trace.count--;
	let_go(pid);
	residue_drop(residue);
	count_passes(&trace);
	return trace;
}

void stepper_drop(struct trace *trace)
{
	munmap(trace->pc, TRACE_MAX * sizeof *trace->pc);
	munmap(trace->passes, TRACE_MAX * sizeof *trace->passes);
	munmap(trace->fresh, TRACE_MAX);
}

/* -------------------------------------------------------------------------------------------------- killing */

/* The cheapest way to instruction k: the breakpoint's place. 0: step from the start. */
static unsigned long best_place(const struct trace *trace, unsigned long k)
{
	unsigned long best = 0, cost = k;

	for (unsigned long back = 0; back < LOOK_BACK && back < k; back++) {
		unsigned long place = k - back, passes = trace->passes[place];

		if (passes != UINT_MAX && passes * PASS_COST + back < cost) {
			cost = passes * PASS_COST + back;
			best = place;
		}
	}
	return best;
}

/* Runs the child to a place whose passes[] is known; false when it came somewhere else. */
static bool run_to(const struct trace *trace, unsigned long place, pid_t pid)
{
	unsigned long pc = trace->pc[place], code, trapping;

	/* It stands at the first instruction already. */
	unsigned pass = pc == trace->pc[0] ? 1 : 0;

	code = (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, pc, NULL);
	trapping = (code & ~0xfful) | INT3;
	for (;;) {
		if (pass == trace->passes[place])
			return true;
		if (pc_of(pid) == pc && !go_on(PTRACE_SINGLESTEP, pid))
			return false;
		require(ptrace(PTRACE_POKETEXT, pid, pc, trapping) == 0);
		if (!go_on(PTRACE_CONT, pid))
			return false;
		require(ptrace(PTRACE_POKETEXT, pid, pc, code) == 0);
		if (pc_of(pid) != pc + 1)
			return false;
		require(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rip), pc) == 0);
		pass++;
	}
}

bool stepper_kill(const struct trace *trace, unsigned long k, body *run, void *argument)
{
	unsigned long place = best_place(trace, k), begin;
	pid_t pid = start(run, argument, &begin);
	bool there = begin == trace->pc[0] && (!place || run_to(trace, place, pid));

	for (; there && place < k; place++)
		there = go_on(PTRACE_SINGLESTEP, pid);
	there = there && pc_of(pid) == trace->pc[k];
	/* One that took another way, for the clock's sake, may have ended by itself before: then it can't be exact either. */
	return !ended && child_kill(pid) && there;
}

/* ------------------------------------------------------------------------------------------------- interrupting */

unsigned long stepper_count(body *run, void *argument)
{
	unsigned long count = 0, begin;
	pid_t pid = start(run, argument, &begin);

	do {
		require(go_on(PTRACE_SINGLESTEP, pid));
		count++;
	} while (pc_of(pid) != begin);
	let_go(pid);
	return count - 1;
}

bool stepper_interrupt(unsigned long k, body *run, void *argument, body *meanwhile, void *with)
{
	unsigned long begin;
	pid_t pid = start(run, argument, &begin);

	for (unsigned long i = 0; i < k; i++) {
		require(go_on(PTRACE_SINGLESTEP, pid));
		if (pc_of(pid) == begin) {
			let_go(pid);
			return false;
		}
	}
	meanwhile(with);
	require(go_on(PTRACE_CONT, pid));
	require(pc_of(pid) == begin);
	let_go(pid);
	return true;
}

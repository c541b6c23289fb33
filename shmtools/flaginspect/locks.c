/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect locks: for each lock that is held, who holds it, since when, who waits for it, what state its holder is in, and what to do.
 *
 * Of a lock that nobody will give back there are four kinds: its holder is stopped, traced or frozen; it writes its core, which it has to
 * end before the kernel frees the lock; it is dead, and the next writer restores the shard; or the lock word was left by another boot or
 * by a system whose robust futexes do not work. The first word of the mutex tells: linux/futex.h. */
#include <inttypes.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>

#include "columns.h"
#include "commands.h"
#include "describe.h"
#include "output.h"
#include "phase.h"
#include "process.h"
#include "quantity.h"
#include "seat.h"

static bool all;

struct waiter {
	pid_t process, thread;
	uint64_t offset; /* of the futex */
};

struct view {
	const struct source *source;
	bool ours; /* numbers of processes mean something here */
	struct waiter *waiters;
	size_t waiters_count;
	pid_t looking; /* process whose threads are being looked at */
	struct columns *columns;
	json_t *list;
};

struct lock {
	uint32_t shard, word, holder;
	pid_t thread, process;
	bool owner_died;
	enum process_state state;
	uint64_t since_ns; /* ago */
	size_t waiters;
};

/* ----------------------------------------------------------------------------------------------------- waiters */

static void note_sleeper(pid_t thread, uint64_t offset, void *argument)
{
	struct view *view = argument;

	view->waiters = reallocarray(view->waiters, view->waiters_count + 1, sizeof *view->waiters);
	if (!view->waiters)
		failure_memory();
	view->waiters[view->waiters_count++] = (struct waiter){view->looking, thread, offset};
}

static void find_waiters(struct view *view)
{
	struct mappers mappers;

	mappers_find(view->source, &mappers);
	for (size_t i = 0; i < mappers.count; i++) {
		view->looking = mappers.all[i].pid;
		mapper_sleepers(view->source, &mappers.all[i], note_sleeper, view);
	}
	mappers_free(&mappers);
}

static uint64_t mutex_offset(const struct view *view, uint32_t shard)
{
	return (uint64_t)((const char *)&view->source->store->shards[shard].mutex - view->source->store->map);
}

/* -------------------------------------------------------------------------------------------------------- lock */

static void read_lock(const struct view *view, uint32_t index, struct lock *lock)
{
	const struct fs_shard *shard = &view->source->store->shards[index];
	uint64_t since = atomic_load_explicit(&shard->since_ns, memory_order_relaxed), now = fs_monotonic_ns();

	*lock = (struct lock){.shard = index, .word = __atomic_load_n((const uint32_t *)(const void *)&shard->mutex, __ATOMIC_RELAXED)};
	lock->holder = fs_mark_worker(atomic_load_explicit(&shard->holder, memory_order_relaxed));
	lock->thread = (pid_t)(lock->word & FUTEX_TID_MASK);
	lock->owner_died = lock->word & FUTEX_OWNER_DIED;
	lock->since_ns = view->ours && now > since ? now - since : 0;
	lock->state = !view->ours ? PROCESS_UNKNOWN : lock->thread ? process_state_of(lock->thread) : PROCESS_GONE;
	lock->process = view->ours && lock->thread ? process_of_thread(lock->thread) : 0;
	for (size_t i = 0; i < view->waiters_count; i++)
		lock->waiters += view->waiters[i].offset == mutex_offset(view, index);
}

static const char *state_text(const struct lock *lock)
{
	if (lock->owner_died)
		return "died";
	return lock->thread ? process_state_text(lock->state) : "free";
}

/* What to do, in a sentence. */
static void advise(const struct view *view, const struct lock *lock, char *advice, size_t size)
{
	int pid = (int)(lock->process ? lock->process : lock->thread);

	if (lock->owner_died) {
		snprintf(advice, size, "nothing: the next writer of the shard restores it; `flagctl check' as a writer does so at once");
		return;
	}
	if (!lock->thread) {
		snprintf(advice, size, "nothing");
		return;
	}
	if (view->source->kind != SOURCE_LIVE) {
		snprintf(advice, size, "nothing: nobody is attached; whoever attaches next finds the lock as a dead writer left it");
		return;
	}
	switch (lock->state) {
	case PROCESS_STOPPED:
		snprintf(advice, size, "kill -CONT %d lets it go on; kill -KILL %d frees the lock, and the next writer restores the shard", pid, pid);
		break;
	case PROCESS_TRACED:
		snprintf(advice, size, "a debugger holds process %d: detach it (TracerPid: in /proc/%d/status), or kill -KILL %d", pid, pid, pid);
		break;
	case PROCESS_FROZEN:
		snprintf(advice, size, "its control group is frozen: thaw it (/proc/%d/cgroup says which one)", pid);
		break;
	case PROCESS_DUMPING:
		snprintf(advice, size, "it died and writes its core; wait: the lock is freed when it is written. Smaller cores: coredump_filter in core(5)");
		break;
	case PROCESS_ZOMBIE:
		snprintf(advice, size, "it died, and the kernel is about to free the lock; look again");
		break;
	case PROCESS_GONE:
		snprintf(advice, size, "it is gone, and the lock was not freed: robust futexes do not work here (see `flagctl doctor'), or the lock "
		         "is of another boot; stop all workers and attach anew");
		break;
	case PROCESS_UNKNOWN:
		snprintf(advice, size, "its holder is in another PID namespace, or may not be looked at: run this there, or as root");
		break;
	case PROCESS_RUNNING:
	case PROCESS_SLEEPING:
		if (lock->since_ns < 1000000000)
			snprintf(advice, size, "nothing: it is at work");
		else
			snprintf(advice, size, "it is alive and has it for long: see where it is (cat /proc/%d/stack, gdb -p %d); kill -KILL %d frees the lock",
			         pid, pid, pid);
		break;
	}
}

static struct who holder_text(const struct view *view, const struct lock *lock)
{
	struct who who = {"-"};

	if (!lock->word)
		return who;
	who = describe_writer(view->source->store, lock->holder);
	/* One without an entry. */
	if (lock->holder == 0 && lock->process)
		snprintf(who.text, sizeof who.text, "%.128s[%d]", process_name_of(lock->process).text, (int)lock->process);
	return who;
}

static json_t *waiters_json(const struct view *view, uint32_t shard)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->waiters_count; i++)
		if (view->waiters[i].offset == mutex_offset(view, shard))
			json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)view->waiters[i].process, "thread",
			                                      (json_int_t)view->waiters[i].thread, "command",
			                                      process_name_of(view->waiters[i].process).text));
	return list;
}

static void add_lock(struct view *view, const struct lock *lock)
{
	const struct fs_shard *shard = &view->source->store->shards[lock->shard];
	char advice[320], index[16], thread[16], waiters[16];

	advise(view, lock, advice, sizeof advice);
	if (cli_json) {
		json_array_append_new(view->list, json_pack("{s:I, s:b, s:s, s:I, s:s, s:I, s:s, s:o, s:s}", "shard", (json_int_t)lock->shard, "held",
		                                            lock->thread != 0, "holder", holder_text(view, lock).text, "thread", (json_int_t)lock->thread,
		                                            "state", state_text(lock), "since_ns", (json_int_t)(lock->word ? lock->since_ns : 0), "doing",
		                                            phase_text(shard), "waiters", waiters_json(view, lock->shard), "advice", advice));
		return;
	}
	snprintf(index, sizeof index, "%" PRIu32, lock->shard);
	snprintf(thread, sizeof thread, "%d", (int)lock->thread);
	snprintf(waiters, sizeof waiters, "%zu%s", lock->waiters, !lock->waiters && lock->word & FUTEX_WAITERS ? "+" : "");
	columns_row(view->columns, index, lock->word ? holder_text(view, lock).text : "-", lock->thread ? thread : "-", state_text(lock),
	            lock->word && view->ours ? duration_text(lock->since_ns).text : "-", waiters, phase_text(shard), advice);
}

static bool is_worth_a_line(const struct lock *lock)
{
	return all || lock->word || lock->waiters;
}

static int show(const struct source *source)
{
	static const struct column layout[] = {
		{"SHARD", COLUMN_RIGHT},   {"HOLDER", COLUMN_LEFT}, {"THREAD", COLUMN_RIGHT},  {"STATE", COLUMN_LEFT},
		{"SINCE", COLUMN_RIGHT}, {"WAITERS", COLUMN_RIGHT}, {"DOING", COLUMN_LEFT}, {"WHAT TO DO", COLUMN_LEFT},
	};
	struct view view = {.source = source, .ours = process_numbers_are_ours(source)};
	uint32_t shown = 0;

	view.columns = columns_open(layout, sizeof layout / sizeof *layout);
	view.list = json_array();
	if (source->kind == SOURCE_LIVE)
		find_waiters(&view);
	for (uint32_t i = 0; i < source->store->constants.shards; i++) {
		struct lock lock;

		read_lock(&view, i, &lock);
		if (!is_worth_a_line(&lock))
			continue;
		add_lock(&view, &lock);
		shown++;
	}
	if (cli_json)
		output_json(json_incref(view.list));
	else if (shown)
		columns_print(view.columns, stdout);
	else
		printf("no lock of %" PRIu32 " is held or waited for\n", source->store->constants.shards);
	json_decref(view.list);
	columns_close(view.columns);
	free(view.waiters);
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], show);
}

static const struct cli_option options[] = {
	CLI_SWITCH('a', "all", &all, "also locks that are free"),
	CLI_OPTIONS_END,
};

const struct cli_command command_locks = {
	.name = "locks",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print who holds which lock, who waits for it, and what to do",
	.options = options,
	.run = run,
};

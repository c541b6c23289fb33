/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durable-deaths.c: writers of a segment that persists, killed after machine instructions of their writes (stepper.h), and at each system
 * call, before and behind it, of what they do to LMDB: a flush, a comparison with the whole table, a creation, a close. After each death
 * somebody else comes, who finds the write done or not done, writes himself, and finds table and LMDB in step; and LMDB has what had
 * been acknowledged.
 *
 *     KILL_ALL=1     at every system call, and after every instruction that leaves something new behind; without it some are left out
 *     KILL_EVERY=n   after each n-th of the other instructions too; 1: after every one
 *     KILL_ONLY=TEXT only what has TEXT in its name
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "durability.h"
#include "stepper.h"

#include "section.h"

#define VICTIM "victim"

/* In the parent, and inherited by each victim. */
static flagstore *store;
static const char *directory, *copy;

static unsigned long instruction_kills, call_kills, elsewhere, happened;

enum { ACKNOWLEDGED = 4, TOUCHED_MAX = 8 };

/* Without $KILL_ALL: not at each stop. No divisor of what repeats: entry and exit, or the six who come first. */
enum { CALL_STEP = 7 };
static _Atomic uint32_t *acknowledged;

/* What a flag is. */
enum presence { MISSING = -1, IS_FALSE = 0, IS_TRUE = 1 };

static struct touched {
	const char *key;
	enum presence before, after;
} insert_touches[] = {{"inserted", MISSING, IS_TRUE}, {.key = NULL}},
  flip_touches[] = {{"flipped", IS_FALSE, IS_TRUE}, {.key = NULL}},
  delete_touches[] = {{"deleted", IS_TRUE, MISSING}, {.key = NULL}},
  long_touches[] = {{"a key that is longer than what fits into the slot, so that it stands in a cell", MISSING, IS_FALSE}, {.key = NULL}},
  batch_touches[] = {
	  {"batch.flip.1", IS_FALSE, IS_TRUE}, {"batch.flip.2", IS_TRUE, IS_FALSE}, {"batch.new.1", MISSING, IS_TRUE},
	  {"batch.new.2", MISSING, IS_FALSE},  {"batch.old.1", IS_TRUE, MISSING},   {"batch.old.2", IS_FALSE, MISSING},
	  {"batch.flip.3", IS_FALSE, IS_TRUE}, {.key = NULL},
  };

static enum presence presence_of(const char *key)
{
	struct flagstore_flag flag = lookup(store, key);

	return flag.exists ? flag.value : MISSING;
}

static void make(const char *key, enum presence wanted)
{
	if (wanted != MISSING)
		require_ok(flagstore_set(store, key, wanted == IS_TRUE));
	else if (presence_of(key) != MISSING)
		require_ok(flagstore_delete(store, key));
}

static void restore(const struct touched *touched)
{
	for (; touched->key; touched++)
		make(touched->key, touched->before);
	require_ok(flagstore_sync(store, 20000));
}

static int write_all_of(const struct touched *touched)
{
	flagstore_batch *batch;
	int result;

	if (!touched[1].key && touched->after == MISSING)
		return flagstore_delete(store, touched->key);
	if (!touched[1].key)
		return flagstore_set(store, touched->key, touched->after == IS_TRUE);
	require_ok(flagstore_batch_begin(store, &batch));
	for (; touched->key; touched++)
		require_ok(touched->after == MISSING ? flagstore_batch_delete(batch, touched->key)
		                                     : flagstore_batch_set(batch, touched->key, touched->after == IS_TRUE));
	result = flagstore_batch_commit(batch, NULL);
	return result;
}

/* -------------------------------------------------------------------------------------------- what must hold */

/* Each point read by itself: a batch that is being finished may show some of its flags before others. */
static void require_old_or_new(const struct touched *touched)
{
	for (; touched->key; touched++) {
		enum presence now = presence_of(touched->key);

		require(now == touched->before || now == touched->after);
	}
}

/* Whether it has happened, wholly. */
static bool require_whole(const struct touched *touched)
{
	bool new = presence_of(touched->key) == touched->after;

	for (; touched->key; touched++) {
		if (presence_of(touched->key) != (new ? touched->after : touched->before))
			fprintf(stderr, "# \"%s\" is not %s\n", touched->key, new ? "as after the write, as others are" : "as before the write, as others are");
		require_int(new ? touched->after : touched->before, presence_of(touched->key));
	}
	return new;
}

/* Flips need no shard's lock; an insert would. */
static void write_everywhere(void)
{
	char key[KEY_ROOM];

	for (unsigned i = 0; i < 12; i++)
		require_ok(flagstore_toggle(store, key_of(key, "next", i), NULL));
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		struct fs_deadline deadline = {.set = false};

		require_ok(fs_enter_locked(store, i, &deadline));
		fs_leave(store, i);
	}
}

enum first { VERIFY_FIRST, SAME_FIRST, OTHERS_FIRST, RECONCILE_FIRST, BACKUP_FIRST, SYNC_FIRST, FIRSTS };

/* The flags as they are there: all as before, or all as after the write. Returns whether they are as after it. */
static bool require_whole_in(const char *path, const struct touched *touched)
{
	const char *keys[TOUCHED_MAX] = {NULL};
	int values[TOUCHED_MAX];
	unsigned count = 0;
	bool new;

	for (; touched[count].key; count++)
		keys[count] = touched[count].key;
	saved_all(path, count, keys, values);
	new = values[0] == (int)touched->after;
	for (unsigned i = 0; i < count; i++)
		require_int(new ? touched[i].after : touched[i].before, values[i]);
	return new;
}

/* What LMDB had at the moment of the death is a moment of the table, too. */
static void require_whole_saved(const struct touched *touched)
{
	copy_saved(directory, copy);
	(void)require_whole_in(copy, touched);
}

static void come_first(enum first first, const struct touched *touched)
{
	const char *file = in_memory("backup");

	switch (first) {
	case VERIFY_FIRST:
		require_in_step(store);
		break;
	case SAME_FIRST:
		require_ok(flagstore_set(store, touched->key, true));
		/* That was a write of its own: what the victim did is undone, when all of it can be seen. */
		write_everywhere();
		for (; touched->key; touched++)
			make(touched->key, touched->before);
		break;
	case OTHERS_FIRST:
		write_everywhere();
		break;
	case RECONCILE_FIRST:
		store->journal->reconcile++;
		break;
	case BACKUP_FIRST:
		require_ok(flagstore_backup(store, file, NULL));
		(void)require_whole_in(file, touched);
		break;
	default:
		require_ok(flagstore_sync(store, 20000));
		break;
	}
}

static bool require_recovered(const struct touched *touched, enum first first)
{
	int64_t began = now_ms();
	bool new;

	require_old_or_new(touched);
	require_whole_saved(touched);
	come_first(first, touched);
	require_in_step(store);
	write_everywhere();
	new = require_whole(touched);
	if (!new)
		require_ok(write_all_of(touched));
	require(require_whole(touched));
	require_in_step(store);
	copy_saved(directory, copy);
	require(require_whole_in(copy, touched));
	/* Nobody waited until some patience was over. */
	require(now_ms() - began < 4000);
	return new;
}

/* ------------------------------------------------------------------------------------- after every instruction */

static const struct touched *work;

/* As in instructions.c: a forked child of somebody who is attached; it enters by a write, which in a synchronous segment opens LMDB. */
static void write_stepped(void *argument)
{
	int result;

	(void)argument;
	require_ok(flagstore_toggle(store, "warm", NULL));
	stepper_here();
	result = write_all_of(work);
	stepper_here();
	require_ok(result);
}

static bool wanted(const char *what)
{
	const char *only = getenv("KILL_ONLY");

	return !only || strstr(what, only);
}

static void kill_after(const struct trace *trace, unsigned long k, enum first first)
{
	bool exact = false;

	for (int tries = 0; tries < 3 && !exact; tries++) {
		restore(work);
		exact = stepper_kill(trace, k, write_stepped, NULL);
		happened += require_recovered(work, first);
		instruction_kills++;
	}
	elsewhere += !exact;
}

static struct trace trace_it(void)
{
	const struct trace none = {.pc = (unsigned long[]){0}, .passes = (unsigned[]){0}};

	restore(work);
	(void)stepper_kill(&none, 0, write_stepped, NULL);
	(void)require_recovered(work, VERIFY_FIRST);
	restore(work);
	return stepper_trace(write_stepped, NULL, path_of(VICTIM));
}

static void kill_everywhere_in(const char *what, const struct touched *touched, unsigned sample)
{
	unsigned long before = instruction_kills, stretches = 0, stretch = 0, stride, kills = 0;
	unsigned long every = getenv("KILL_EVERY") ? strtoul(getenv("KILL_EVERY"), NULL, 10) : 0;
	struct trace trace;

	if (!wanted(what))
		return;
	work = touched;
	trace = trace_it();
	for (unsigned long k = 0; k <= trace.count; k++)
		stretches += trace.fresh[k];
	stride = getenv("KILL_ALL") || stretches <= sample ? 1 : stretches / sample;
	for (unsigned long k = 0; k <= trace.count; k++) {
		note("%s, killed after instruction %lu of %lu; first to come: %d", what, k, trace.count, (int)(kills % FIRSTS));
		/* Twice: some of those who come first put right what others would stumble upon. Never two of these come one after the other. */
		for (int time = 0; time < 2 && ((every && k % every == 0) || (trace.fresh[k] && stretch % stride == 0)); time++)
			kill_after(&trace, k, kills++ % FIRSTS);
		stretch += trace.fresh[k];
	}
	printf("# %-44s %6lu instructions, %4lu stretches, %6lu kills\n", what, trace.count, stretches, instruction_kills - before);
	fflush(stdout);
	stepper_drop(&trace);
}

static void open_segment(uint32_t durability)
{
	/* A commit that is single-stepped is slow. */
	struct flagstore_breaker_limits patient = {.commit_ms = 3600000};
	struct flagstore_options options;

	directory = strdup(in_memory("deaths"));
	copy = strdup(in_memory("deaths-copy"));
	options = persisting(directory, durability);
	/* All of it is compared after each step. */
	options.max_bytes = 2 << 20;
	options.shards = 4;
	options.flags = FLAGSTORE_NO_FLUSHER;
	store = fresh(VICTIM, &options);
	require_ok(flagstore_set_breaker(store, &patient));
	for (unsigned i = 0; i < 12; i++) {
		char key[KEY_ROOM];

		require_ok(flagstore_set(store, key_of(key, "next", i), i % 2));
	}
	require_ok(flagstore_set(store, "warm", false));
}

static void close_segment(void)
{
	flagstore_close(store);
	require_ok(flagstore_unlink(VICTIM));
}

static void a_writer_killed_after_any_instruction_leaves_table_and_lmdb_in_step(void **state)
{
	(void)state;
	open_segment(FLAGSTORE_ASYNC);
	kill_everywhere_in("an insert", insert_touches, 6);
	kill_everywhere_in("an insert of a long key", long_touches, 4);
	kill_everywhere_in("a flip", flip_touches, 16);
	kill_everywhere_in("a delete", delete_touches, 6);
	kill_everywhere_in("a batch over several shards", batch_touches, 12);
	close_segment();
}

static void a_synchronous_writer_too(void **state)
{
	(void)state;
	/* Steps through a commit take long: in the short form one of the two does. */
	open_segment(FLAGSTORE_SYNC);
	kill_everywhere_in("a synchronous flip", flip_touches, 4);
	if (getenv("KILL_ALL"))
		kill_everywhere_in("a synchronous batch", batch_touches, 0);
	close_segment();
}

/* --------------------------------------------------------------------------------------- at each system call */

static body *traced;

static void be_traced(void *argument)
{
	require(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	raise(SIGSTOP);
	traced(argument);
}

/* Kills it at the k-th stop before or behind a system call. False when it has ended before. */
static bool kill_at_call(unsigned long k, body *run, void *argument)
{
	pid_t pid;
	int status;

	traced = run;
	pid = child(be_traced, argument);
	require(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	require(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD) == 0);
	for (unsigned long stop = 0; stop < k; stop++) {
		require(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		require(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status)) {
			require_int(0, status);
			return false;
		}
		require(WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80));
	}
	require(child_kill(pid));
	call_kills++;
	return true;
}

/* prepare and judge in this process; until the victim comes through. */
static void kill_at_each_call(const char *what, void (*prepare)(void), body *run, void (*judge)(enum first first))
{
	unsigned long before = call_kills, step = getenv("KILL_ALL") ? 1 : CALL_STEP;

	if (!wanted(what))
		return;
	for (unsigned long k = 1;; k += step) {
		bool killed;

		note("%s, killed at stop %lu before or behind a system call", what, k);
		prepare();
		killed = kill_at_call(k, run, NULL);
		judge(k / step % FIRSTS);
		if (!killed)
			break;
	}
	printf("# %-44s %6lu kills at system calls\n", what, call_kills - before);
	fflush(stdout);
}

static void leave_pending(void)
{
	work = batch_touches;
	restore(work);
	for (unsigned i = 0; i < 12; i++) {
		char key[KEY_ROOM];

		require_ok(flagstore_toggle(store, key_of(key, "next", i), NULL));
	}
	require_ok(write_all_of(work));
	require(persistence(store).pending_bytes > 0);
}

static void leave_pending_and_distrusted(void)
{
	leave_pending();
	store->journal->reconcile++;
}

static void sync_all(void *argument)
{
	(void)argument;
	require_ok(flagstore_sync(store, 20000));
}

static void judge_flush(enum first first)
{
	require(require_recovered(work, first) || first == SAME_FIRST);
}

static void forget_acknowledged(void)
{
	char key[KEY_ROOM];

	*acknowledged = 0;
	work = flip_touches;
	restore(work);
	for (unsigned i = 0; i < ACKNOWLEDGED; i++)
		make(key_of(key, "acknowledged", i), MISSING);
	require_ok(flagstore_sync(store, 20000));
}

static void set_and_acknowledge(void *argument)
{
	char key[KEY_ROOM];

	(void)argument;
	for (unsigned i = 0; i < ACKNOWLEDGED; i++) {
		require_ok(flagstore_set(store, key_of(key, "acknowledged", i), true));
		++*acknowledged;
	}
}

static void judge_acknowledged(enum first first)
{
	static const char *const keys[ACKNOWLEDGED] = {"acknowledged.0", "acknowledged.1", "acknowledged.2", "acknowledged.3"};
	int there[ACKNOWLEDGED];

	copy_saved(directory, copy);
	saved_all(copy, ACKNOWLEDGED, keys, there);
	for (unsigned i = 0; i < ACKNOWLEDGED; i++)
		require(i < *acknowledged ? there[i] == 1 : i == *acknowledged || there[i] == -1);
	(void)require_recovered(work, first);
}

static void pend_and_close(void *argument)
{
	flagstore *own = attach(VICTIM, FLAGSTORE_NO_FLUSHER);

	(void)argument;
	require_ok(flagstore_toggle(own, "warm", NULL));
	flagstore_close(own);
}

static void restore_flip(void)
{
	work = flip_touches;
	restore(work);
}

static void judge_anything(enum first first)
{
	(void)require_recovered(work, first);
}

static void one_that_writes_to_lmdb_may_be_killed_at_any_system_call(void **state)
{
	(void)state;
	open_segment(FLAGSTORE_ASYNC);
	kill_at_each_call("a flush", leave_pending, sync_all, judge_flush);
	kill_at_each_call("a comparison with the whole table", leave_pending_and_distrusted, sync_all, judge_flush);
	kill_at_each_call("an attach and a close that flushes", restore_flip, pend_and_close, judge_anything);
	close_segment();
	open_segment(FLAGSTORE_SYNC);
	kill_at_each_call("synchronous sets", forget_acknowledged, set_and_acknowledge, judge_acknowledged);
	close_segment();
}

/* -------------------------------------------------------------------------------------------------- creation */

static void remove_created(void)
{
	int result = flagstore_unlink(VICTIM);

	if (result == FLAGSTORE_ENOTSEGMENT)
		require_int(0, unlink(path_of(VICTIM)));
	else
		require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOSEGMENT);
}

static struct flagstore_options creating(void)
{
	struct flagstore_options options = persisting(directory, FLAGSTORE_SYNC);

	options.max_bytes = 1 << 20;
	options.shards = 4;
	options.workers = 4;
	options.flags = FLAGSTORE_NO_FLUSHER | FLAGSTORE_CREATE;
	return options;
}

static void create(void *argument)
{
	struct flagstore_options options = creating();
	flagstore *created;

	(void)argument;
	require_ok(flagstore_create(VICTIM, &options, &created));
	require_ok(flagstore_toggle(created, "kept", NULL));
	flagstore_close(created);
}

static void judge_created(enum first first)
{
	struct flagstore_options options = creating();

	/* By who creates it anew, or by who attaches or creates. */
	if (first % 2)
		remove_created();
	require_ok(flagstore_attach(VICTIM, &options, &store));
	require(lookup(store, "kept").exists && flagstore_get(store, "steady"));
	require_int(2, info(store).flags);
	require_ok(flagstore_set(store, "kept", true));
	require_in_step(store);
	flagstore_close(store);
	remove_created();
}

static void a_creation_may_be_killed_at_any_system_call(void **state)
{
	struct flagstore_options options;

	(void)state;
	directory = strdup(in_memory("created"));
	options = creating();
	store = fresh(VICTIM, &options);
	require_ok(flagstore_set(store, "kept", true));
	require_ok(flagstore_set(store, "steady", true));
	flagstore_close(store);
	kill_at_each_call("a creation, a synchronous change, a close", remove_created, create, judge_created);
}

static int setup(void **state)
{
	acknowledged = shared_memory(4096);
	return durable_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_killed_after_any_instruction_leaves_table_and_lmdb_in_step),
		cmocka_unit_test(a_synchronous_writer_too),
		cmocka_unit_test(one_that_writes_to_lmdb_may_be_killed_at_any_system_call),
		cmocka_unit_test(a_creation_may_be_killed_at_any_system_call),
	};
	int failed;

	choose_tests();
	failed = cmocka_run_group_tests(tests, setup, durable_teardown);
	printf("# %lu kill points after instructions (%lu of them not where they were traced), %lu at system calls; %lu of the writes had "
	       "happened\n", instruction_kills, elsewhere, call_kills, happened);
	printf("# lost %d\n", failed);
	return failed;
}

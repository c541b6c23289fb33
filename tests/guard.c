/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.c: seats, their events, and the guard. Writers that break the rules are made by hand, so that they meet for certain: by a mark that
 * somebody else has left in a shard, and by changes without the lock in a laboratory segment. */
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"

#define SEGMENT "guard"

enum { SEATS_MAX = 64, EVENTS_MAX = 128 };

/* ------------------------------------------------------------------------------------------------- helpers */

static flagstore *laboratory(uint32_t seats)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	options.max_bytes = 16 << 20;
	options.shards = 1;
	options.seats = seats;
	options.laboratory = true;
	return fresh(SEGMENT, &options);
}

static struct fs_shard *map_shard(void)
{
	int file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);
	char *bytes;

	require(file >= 0);
	bytes = mmap(NULL, 2 * FS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	require(bytes != MAP_FAILED);
	close(file);
	return (struct fs_shard *)(void *)(bytes + FS_PAGE);
}

static void unmap_shard(struct fs_shard *shard)
{
	require_int(0, munmap((char *)shard - FS_PAGE, 2 * FS_PAGE));
}

static size_t seats_of(const flagstore *store, struct flagstore_seat *seats)
{
	size_t count = flagstore_seats(store, seats, SEATS_MAX);

	require(count <= SEATS_MAX);
	return count;
}

static struct flagstore_seat own_seat(const flagstore *store)
{
	struct flagstore_seat seats[SEATS_MAX];
	size_t count = seats_of(store, seats);

	for (size_t i = 0; i < count; i++)
		if (seats[i].self)
			return seats[i];
	require_int(1, 0); /* the thread has a seat */
	return seats[0];
}

static size_t conflicts_of(const flagstore *store, struct flagstore_conflict *conflict)
{
	return flagstore_conflicts(store, conflict, 1);
}

/* In a process of its own, which stays until it is told to go. */
struct visitor {
	pid_t pid;
	int go[2], came[2];
};

static struct visitor *visiting;

static void visit(void (*what)(void))
{
	char byte = 0;

	what();
	require_int(1, write(visiting->came[1], &byte, 1));
	require_int(1, read(visiting->go[0], &byte, 1));
}

static void invite(struct visitor *visitor, body *run)
{
	char byte;

	require(pipe(visitor->go) == 0 && pipe(visitor->came) == 0);
	visiting = visitor;
	visitor->pid = child(run, NULL);
	require_int(1, read(visitor->came[0], &byte, 1));
}

static void see_off(struct visitor *visitor)
{
	char byte = 0;

	require_int(1, write(visitor->go[1], &byte, 1));
	child_succeeds(visitor->pid);
	for (int i = 0; i < 2; i++) {
		close(visitor->go[i]);
		close(visitor->came[i]);
	}
}

/* --------------------------------------------------------------------------------------------------- seats */

static flagstore *shared_store;

static void *write_once(void *seat)
{
	require_ok(flagstore_toggle(shared_store, "flag", NULL));
	*(struct flagstore_seat *)seat = own_seat(shared_store);
	return NULL;
}

static void a_thread_has_a_seat_while_it_lives(void **state)
{
	struct flagstore_seat mine, others, seats[SEATS_MAX];
	flagstore *reader;
	pthread_t thread;

	(void)state;
	shared_store = laboratory(8);
	reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require_ok(flagstore_set(shared_store, "flag", true));
	mine = own_seat(shared_store);
	require(mine.alive && mine.pid == getpid() && mine.thread == getpid() && mine.activity == FLAGSTORE_IDLE && mine.locks == 1);
	require_int(0, pthread_create(&thread, NULL, write_once, &others));
	require_int(0, pthread_join(thread, NULL));
	require(others.thread != mine.thread && others.seat != mine.seat && others.alive);
	require_int(1, (long long)seats_of(reader, seats));
	require(seats[0].seat == mine.seat && seats[0].alive && !seats[0].self);
	require_int(1, info(reader).seats);
	flagstore_close(shared_store);
	require_int(0, (long long)seats_of(reader, seats));
	flagstore_close(reader);
}

static void *write_and_wait(void *barrier)
{
	require_ok(flagstore_toggle(shared_store, "flag", NULL));
	pthread_barrier_wait(barrier);
	return NULL;
}

static void threads_without_a_seat_write_all_the_same(void **state)
{
	pthread_barrier_t barrier;
	pthread_t threads[4];

	(void)state;
	shared_store = laboratory(2);
	require_ok(flagstore_set(shared_store, "flag", true));
	require_int(0, pthread_barrier_init(&barrier, NULL, 4));
	for (int i = 0; i < 4; i++)
		require_int(0, pthread_create(&threads[i], NULL, write_and_wait, &barrier));
	for (int i = 0; i < 4; i++)
		require_int(0, pthread_join(threads[i], NULL));
	require_int(5, lookup(shared_store, "flag").changes);
	require_int(3, info(shared_store).standing);
	pthread_barrier_destroy(&barrier);
	require_healthy(shared_store);
	flagstore_close(shared_store);
}

static void write_as_child(void *argument)
{
	(void)argument;
	require_ok(flagstore_toggle(shared_store, "flag", NULL));
	*(struct flagstore_seat *)argument = own_seat(shared_store);
	raise(SIGKILL);
}

static void a_child_has_its_own_and_a_dead_ones_is_used_again(void **state)
{
	struct flagstore_seat *childs = shared_memory(sizeof *childs), mine, seats[SEATS_MAX];
	pid_t first, second;

	(void)state;
	shared_store = laboratory(2);
	require_ok(flagstore_set(shared_store, "flag", true));
	mine = own_seat(shared_store);
	first = child(write_as_child, childs);
	(void)child_status(first, 10000);
	require(childs->seat != mine.seat && childs->thread == first && childs->pid == first);
	require_int(2, (long long)seats_of(shared_store, seats));
	require(seats[0].alive != seats[1].alive);
	second = child(write_as_child, childs);
	(void)child_status(second, 10000);
	require(childs->seat != mine.seat && childs->thread == second);
	require_int(0, info(shared_store).standing);
	/* The parent has kept its own. */
	require_ok(flagstore_toggle(shared_store, "flag", NULL));
	require(own_seat(shared_store).seat == mine.seat);
	flagstore_close(shared_store);
}

/* --------------------------------------------------------------------------------------------------- events */

static size_t read_events(const flagstore *store, struct flagstore_event *all)
{
	flagstore_events *events;
	size_t count = 0;

	require_ok(flagstore_events_open(store, &events));
	while (count < EVENTS_MAX && flagstore_events_next(events, &all[count], 0) == FLAGSTORE_OK)
		count++;
	require_int(0, (long long)flagstore_events_lost(events));
	flagstore_events_close(events);
	return count;
}

static void every_change_is_an_event(void **state)
{
	static const int operations[] = {FLAGSTORE_INSERT, FLAGSTORE_FLIP, FLAGSTORE_FLIP, FLAGSTORE_DELETE, FLAGSTORE_INSERT};
	struct flagstore_event all[EVENTS_MAX], mine[EVENTS_MAX];
	flagstore *store = laboratory(4), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	flagstore_batch *batch;
	size_t count, changes = 0;

	(void)state;
	require_ok(flagstore_set(store, "other", true));
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_toggle(store, "flag", NULL));
	require_ok(flagstore_batch_begin(store, &batch));
	require_ok(flagstore_batch_toggle(batch, "flag"));
	require_ok(flagstore_batch_commit(batch, NULL));
	require_ok(flagstore_delete(store, "flag"));
	require_ok(flagstore_set(store, "flag", false));

	require_ok(flagstore_history(reader, "flag", mine, EVENTS_MAX, &count));
	require_int(5, (long long)count);
	for (size_t i = 0; i < count; i++) {
		note("change %zu", i);
		require_int(operations[i], mine[i].operation);
		require_int(i == 2, mine[i].batch);
		require(mine[i].thread == getpid() && !mine[i].unlocked && mine[i].shard == 0);
		require(mine[i].before.exists == (i != 0 && i != 4) && mine[i].after.exists == (i != 3));
	}
	require(mine[0].after.value && !mine[1].after.value && mine[2].after.value && mine[2].before.version == mine[1].after.version);
	require(mine[4].after.version == lookup(reader, "flag").version);
	require_ok(flagstore_history(reader, "flag", mine, 2, &count));
	require(count == 5 && mine[0].operation == FLAGSTORE_DELETE && mine[1].operation == FLAGSTORE_INSERT);
	require_ok(flagstore_history(reader, "not there", mine, EVENTS_MAX, &count));
	require_int(0, (long long)count);

	count = read_events(reader, all);
	require_int(FLAGSTORE_ATTACH, all[0].kind);
	for (size_t i = 0; i < count; i++)
		changes += all[i].kind == FLAGSTORE_CHANGE;
	require_int(6, (long long)changes);
	flagstore_close(store);
	flagstore_close(reader);
}

static void a_reader_follows_and_counts_what_it_lost(void **state)
{
	flagstore *store = laboratory(4);
	struct flagstore_event event;
	flagstore_events *events;
	unsigned seen = 0;

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_events_open(store, &events));
	while (flagstore_events_next(events, &event, 0) == FLAGSTORE_OK)
		;
	require_error(FLAGSTORE_ETIMEDOUT, flagstore_events_next(events, &event, 1));
	for (int i = 0; i < 100; i++)
		require_ok(flagstore_toggle(store, "flag", NULL));
	while (flagstore_events_next(events, &event, 0) == FLAGSTORE_OK)
		seen++;
	require_int(FS_SEAT_EVENTS, seen);
	require_int(100 - FS_SEAT_EVENTS, (long long)flagstore_events_lost(events));
	require_int(101, event.after.changes);
	flagstore_events_close(events);
	flagstore_close(store);
}

/* Takes the shard's lock as the library does, and dies with it. */
static void die_in_a_section(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);
	struct fs_shard *shard = map_shard();
	struct flagstore_seat seat;

	(void)argument;
	require_ok(flagstore_toggle(store, "flag", NULL));
	seat = own_seat(store);
	require_int(0, pthread_mutex_lock(&shard->mutex));
	shard->mark = FS_MARK_LOCKED | (uint64_t)(seat.seat + 1) << FS_MARK_SEAT_SHIFT | (uint64_t)seat.thread << FS_MARK_WORKER_BITS | seat.worker;
	raise(SIGKILL);
}

static void a_death_is_an_event_and_its_seat_is_free(void **state)
{
	flagstore *store = laboratory(4);
	struct flagstore_event all[EVENTS_MAX];
	struct flagstore_seat seats[SEATS_MAX];
	bool death = false, recovery = false;
	size_t count;
	pid_t dead;

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_DETECT, 0));
	dead = child(die_in_a_section, NULL);
	(void)child_status(dead, 10000);
	require_int(2, (long long)seats_of(store, seats));
	require_ok(flagstore_set(store, "another", true));
	require_int(1, (long long)seats_of(store, seats));
	count = read_events(store, all);
	for (size_t i = 0; i < count; i++) {
		death = death || (all[i].kind == FLAGSTORE_DEATH && all[i].other_thread == dead && all[i].shard == 0);
		recovery = recovery || (all[i].kind == FLAGSTORE_RECOVERY && all[i].other_thread == dead && all[i].duration_ns > 0);
	}
	require(death && recovery);
	/* A dead writer is no conflict. */
	require_int(0, (long long)info(store).conflicts);
	require_healthy(store);
	flagstore_close(store);
}

/* ---------------------------------------------------------------------------------------------------- guard */

static void only_a_laboratory_may_be_written_without_locking(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, NULL), *other;

	(void)state;
	options.flags = FLAGSTORE_UNLOCKED;
	require_error_says(FLAGSTORE_ENOTLABORATORY, "was not created as a laboratory segment", flagstore_attach(SEGMENT, &options, &other));
	options.flags |= FLAGSTORE_READ_ONLY;
	require_error(FLAGSTORE_EARGUMENT, flagstore_attach(SEGMENT, &options, &other));
	require_error(FLAGSTORE_EARGUMENT, flagstore_set_guard(store, (enum flagstore_guard)5, 0));
	require_error(FLAGSTORE_EARGUMENT, flagstore_set_guard(store, FLAGSTORE_GUARD_AUDIT, 60001));
	flagstore_close(store);
}

static void the_mode_is_the_segments(void **state)
{
	flagstore *store = laboratory(4), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	uint32_t window;

	(void)state;
	require_int(FLAGSTORE_GUARD_OFF, flagstore_guard(reader, &window));
	require_int(15, window);
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_AUDIT, 100));
	require_int(FLAGSTORE_GUARD_AUDIT, flagstore_guard(reader, &window));
	require_int(100, window);
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_DETECT, 0));
	require_int(FLAGSTORE_GUARD_DETECT, flagstore_guard(reader, &window));
	require_int(100, window);
	require_error(FLAGSTORE_EREADONLY, flagstore_set_guard(reader, FLAGSTORE_GUARD_OFF, 0));
	require_healthy(store);
	flagstore_close(store);
	flagstore_close(reader);
}

static void leave_a_mark(void)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_UNLOCKED);
	struct fs_shard *shard = map_shard();
	struct flagstore_seat seat;

	require_ok(flagstore_set(store, "of the visitor", true));
	seat = own_seat(store);
	shard->mark = (uint64_t)(seat.seat + 1) << FS_MARK_SEAT_SHIFT | (uint64_t)seat.thread << FS_MARK_WORKER_BITS | seat.worker;
}

static void visit_and_leave_a_mark(void *argument)
{
	(void)argument;
	visit(leave_a_mark);
}

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool is_in_this_program(const struct flagstore_conflict *conflict, const struct flagstore_place *place)
{
	return place->module < conflict->modules && ends_in(conflict->module[place->module].path, "/guard") &&
	       conflict->module[place->module].build_id_length <= 20 && place->offset;
}

static void who_finds_anothers_mark_records_both(void **state)
{
	static struct flagstore_conflict conflict;
	flagstore *store = laboratory(4);
	struct visitor visitor;
	bool on_stack = false;

	(void)state;
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_DETECT, 0));
	require_ok(flagstore_set(store, "flag", true));
	require_int(0, (long long)conflicts_of(store, &conflict));
	invite(&visitor, visit_and_leave_a_mark);
	require_ok(flagstore_set(store, "new", true));
	require_int(1, (long long)conflicts_of(store, &conflict));
	require_int(FLAGSTORE_CONFLICT_ENTRY, conflict.kind);
	require(conflict.count == 1 && conflict.shard == 0 && strcmp(conflict.key, "new") == 0 && conflict.guard == FLAGSTORE_GUARD_DETECT);
	require(conflict.noticed.pid == getpid() && conflict.noticed.operation == FLAGSTORE_INSERT && !conflict.noticed.unlocked);
	require(conflict.other.pid == visitor.pid && conflict.other.unlocked && conflict.other.operation == FLAGSTORE_INSERT);
	require(is_in_this_program(&conflict, &conflict.noticed.site) && is_in_this_program(&conflict, &conflict.other.site));
	for (uint32_t i = 0; i < conflict.frames; i++)
		on_stack = on_stack || is_in_this_program(&conflict, &conflict.stack[i]);
	require(on_stack);
	require(strcmp(conflict.other.command, "guard") == 0);
	/* The mark is gone; nothing more happens. */
	require_ok(flagstore_set(store, "newer", true));
	require_int(1, (long long)info(store).conflicts);
	see_off(&visitor);
	require_healthy(store);
	flagstore_close(store);
}

static void change_unlocked(void)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_UNLOCKED);

	require_ok(flagstore_toggle(store, "flag", NULL));
}

static void visit_and_change_unlocked(void *argument)
{
	(void)argument;
	visit(change_unlocked);
}

static void change_properly(void)
{
	flagstore *store = attach(SEGMENT, 0);

	require_ok(flagstore_toggle(store, "flag", NULL));
	require_ok(flagstore_delete(store, "mine"));
	require_ok(flagstore_set(store, "mine", true));
}

static void visit_and_change_properly(void *argument)
{
	(void)argument;
	visit(change_properly);
}

static void the_audit_sees_two_that_passed_without_a_lock_between(void **state)
{
	static struct flagstore_conflict conflict;
	flagstore *store = laboratory(4);
	struct visitor visitor;

	(void)state;
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_AUDIT, 60000));
	require_ok(flagstore_set(store, "flag", true));
	require_ok(flagstore_set(store, "mine", true));
	/* All who keep the rules may follow one another as closely as they like. */
	invite(&visitor, visit_and_change_properly);
	require_ok(flagstore_toggle(store, "flag", NULL));
	require_ok(flagstore_delete(store, "mine"));
	see_off(&visitor);
	require_int(0, (long long)info(store).conflicts);
	/* The visitor without the lock notices us, and then we him. */
	invite(&visitor, visit_and_change_unlocked);
	require_int(1, (long long)info(store).conflicts);
	require_int(1, (long long)conflicts_of(store, &conflict));
	require(conflict.kind == FLAGSTORE_CONFLICT_SLOT && conflict.noticed.pid == visitor.pid && conflict.noticed.unlocked);
	require(conflict.other.pid == getpid() && !conflict.other.unlocked && strcmp(conflict.key, "flag") == 0);
	require_ok(flagstore_toggle(store, "flag", NULL));
	require_int(2, (long long)conflicts_of(store, &conflict));
	require(conflict.kind == FLAGSTORE_CONFLICT_SLOT && conflict.noticed.pid == getpid() && !conflict.noticed.unlocked);
	require(conflict.other.pid == visitor.pid && conflict.other.unlocked && conflict.other.operation == FLAGSTORE_FLIP);
	require(is_in_this_program(&conflict, &conflict.other.site) && conflict.offset);
	see_off(&visitor);
	flagstore_close(store);
}

static void enforce_makes_all_lock(void **state)
{
	flagstore *store = laboratory(4), *unlocked = attach(SEGMENT, FLAGSTORE_UNLOCKED);
	struct fs_shard *shard = map_shard();
	uint64_t epoch;

	(void)state;
	require_ok(flagstore_set(store, "flag", true));
	epoch = shard->epoch;
	require_ok(flagstore_set(unlocked, "without", true));
	require(shard->epoch == epoch);
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_ENFORCE, 0));
	require_ok(flagstore_set(unlocked, "with", true));
	require(shard->epoch == epoch + 1);
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_OFF, 0));
	require_ok(flagstore_set(unlocked, "without again", true));
	require(shard->epoch == epoch + 1);
	require_healthy(store);
	unmap_shard(shard);
	flagstore_close(unlocked);
	flagstore_close(store);
}

static void abort_here(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);

	(void)argument;
	require(dup2(open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO) >= 0);
	signal(SIGABRT, SIG_DFL);
	(void)flagstore_set(store, "new", true);
}

static void abort_says_why_and_leaves_a_dump(void **state)
{
	flagstore *store = laboratory(4), *dump;
	static struct flagstore_conflict conflict;
	char line[1024] = "", path[512];
	struct visitor visitor;
	int status, file;
	pid_t pid;

	(void)state;
	require(chdir(getenv("FLAGSTORE_DIR")) == 0 && setenv("FLAGSTORE_DUMP_DIR", getenv("FLAGSTORE_DIR"), 1) == 0);
	require_ok(flagstore_set(store, "flag", true));
	invite(&visitor, visit_and_leave_a_mark);
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_ABORT, 0));
	pid = child(abort_here, NULL);
	status = child_status(pid, 10000);
	require(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	file = open("said", O_RDONLY | O_CLOEXEC);
	require(file >= 0 && read(file, line, sizeof line - 1) > 0);
	close(file);
	note("%.200s", line);
	require(strncmp(line, "fatal: concurrent flag table writes: segment ", 45) == 0 && strchr(line, '\n') == line + strlen(line) - 1);
	snprintf(path, sizeof path, "%s/flagstore." SEGMENT ".%d.dump", getenv("FLAGSTORE_DIR"), (int)pid);
	require(strstr(line, path));
	dump = attach(path, FLAGSTORE_READ_ONLY);
	require(lookup(dump, "flag").value && !lookup(dump, "new").exists);
	require_int(1, (long long)conflicts_of(dump, &conflict));
	require(conflict.noticed.pid == pid && conflict.other.pid == visitor.pid);
	flagstore_close(dump);
	/* The dead one is nothing new for the others. */
	require_ok(flagstore_set_guard(store, FLAGSTORE_GUARD_OFF, 0));
	require_ok(flagstore_set(store, "new", true));
	require_healthy(store);
	see_off(&visitor);
	require_error(FLAGSTORE_EEXISTS, flagstore_dump(store, path));
	require_int(0, unlink(path));
	require_int(0, unlink("said"));
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_thread_has_a_seat_while_it_lives),
		cmocka_unit_test(threads_without_a_seat_write_all_the_same),
		cmocka_unit_test(a_child_has_its_own_and_a_dead_ones_is_used_again),
		cmocka_unit_test(every_change_is_an_event),
		cmocka_unit_test(a_reader_follows_and_counts_what_it_lost),
		cmocka_unit_test(a_death_is_an_event_and_its_seat_is_free),
		cmocka_unit_test(only_a_laboratory_may_be_written_without_locking),
		cmocka_unit_test(the_mode_is_the_segments),
		cmocka_unit_test(who_finds_anothers_mark_records_both),
		cmocka_unit_test(the_audit_sees_two_that_passed_without_a_lock_between),
		cmocka_unit_test(enforce_makes_all_lock),
		cmocka_unit_test(abort_says_why_and_leaves_a_dump),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * workteam.h: the part of workload.h with several workers: processes if the table can be shared by them (PEER_PROCESSES), otherwise
 * threads, which is an advantage: they share one address space and need no page tables of their own.
 *
 * Each first does something untimed, because a process that has just been forked has to be given each page that it touches, once:
 * workers live long. Then all wait in a read of a pipe, and begin when its other end is closed. Time counts from then until the last has
 * done its part. Nobody ends before: what a process takes to end is none of it. */
#ifndef WORKTEAM_H
#define WORKTEAM_H

/* What a worker gets and what it leaves; in memory that all share. */
struct member {
	struct workload *workload;
	struct team *team;
	unsigned number;
	pthread_t thread;
	pid_t pid;
	bool begun, finished;
	int64_t ended_ns;
	uint64_t operations, wrong, trues;
	uint64_t wanted; /* operations */
};

typedef void member_part(struct member *member, struct peer *peer);

struct team {
	unsigned count;
	int gate[2], exit[2]; /* pipes that are closed when all may begin, and when all may end */
	int done[2];          /* a pipe that gets a byte from each who is through */
	member_part *prepare, *part; /* prepare may be NULL */
	int64_t begun_ns;
	bool strangers; /* they don't use the table that is there */
	bool alone;     /* nobody disturbs */
	unsigned stop;  /* atomic */
	struct member member[WORKLOAD_WORKERS];
};

static struct team *team_open(struct workload *workload, unsigned count, member_part *prepare, member_part *part, uint64_t wanted)
{
	void *map = mmap(NULL, sizeof(struct team), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct team *team = map == MAP_FAILED ? NULL : (struct team *)map;

	if (!team)
		return NULL;
	for (int i = 0; i < 2; i++)
		team->gate[i] = team->exit[i] = team->done[i] = -1;
	team->count = count;
	team->prepare = prepare;
	team->part = part;
	for (unsigned i = 0; i < count; i++) {
		team->member[i].workload = workload;
		team->member[i].team = team;
		team->member[i].number = i;
		team->member[i].wanted = wanted;
	}
	return team;
}

static void team_close(struct team *team)
{
	munmap(team, sizeof *team);
}

/* A byte, or 0 when there is no other end any more. */
static ssize_t read_byte(int end)
{
	ssize_t got;
	char byte;

	do
		got = read(end, &byte, 1);
	while (got < 0 && errno == EINTR);
	return got;
}

static void work(struct member *member, struct peer *peer)
{
	bool begins;

	if (member->team->prepare)
		member->team->prepare(member, peer);
	__atomic_store_n(&member->begun, true, __ATOMIC_RELEASE);
	PEER_SLEEPS();
	begins = read_byte(member->team->gate[0]) == 0;
	PEER_WAKES();
	if (!begins)
		return;
	member->team->part(member, peer);
	member->ended_ns = workload_now();
	member->finished = true;
}

static void *work_along(void *argument)
{
	struct member *member = (struct member *)argument;
	struct team *team = member->team;
	struct peer *peer = team->strangers ? NULL : peer_enter(member->workload->peer);

	if (peer || team->strangers)
		work(member, peer);
	if (peer)
		PEER_SLEEPS();
	if (write(team->done[1], "", 1) != 1)
		member->wrong++;
	/* Who waits for the bytes sees the end of them if a process died before its own. */
	if (PEER_PROCESSES)
		close(team->done[1]);
	read_byte(team->exit[0]);
	if (peer) {
		PEER_WAKES();
		peer_leave(peer);
	}
	return NULL;
}

static bool team_start_one(struct team *team, struct member *member)
{
	pid_t pid;

	if (!PEER_PROCESSES)
		return pthread_create(&member->thread, NULL, work_along, member) == 0;
	pid = fork();
	if (pid == 0) {
		close(team->gate[1]);
		close(team->exit[1]);
		work_along(member);
		_exit(0);
	}
	/* Not before: a child would write its 0 there. */
	member->pid = pid;
	return pid > 0;
}

static void team_end_one(struct member *member)
{
	if (PEER_PROCESSES)
		while (waitpid(member->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	else
		pthread_join(member->thread, NULL);
}

/* Somebody who can't begin is noticed by what it has not done; so there is a limit to the waiting. */
static void await_all(const struct team *team, unsigned started)
{
	const struct timespec moment = {0, 1000000};

	for (unsigned waits = 0; waits < 10000; waits++) {
		unsigned begun = 0;

		for (unsigned i = 0; i < started; i++)
			begun += __atomic_load_n(&team->member[i].begun, __ATOMIC_ACQUIRE);
		if (begun == started)
			return;
		nanosleep(&moment, NULL);
	}
}

static void await_done(struct team *team, unsigned started)
{
	if (PEER_PROCESSES)
		close(team->done[1]);
	while (started > 0 && read_byte(team->done[0]) == 1)
		started--;
}

static bool open_pipes(struct team *team)
{
	return pipe(team->gate) == 0 && pipe(team->exit) == 0 && pipe(team->done) == 0;
}

static void close_if_open(int end)
{
	if (end >= 0)
		close(end);
}

/* Lets all do their part, and adds up what they leave. Returns the nanoseconds that it took. */
static int64_t team_run(struct team *team, struct outcome *outcome)
{
	unsigned started = 0;
	int64_t ended = 0;

	if (!open_pipes(team)) {
		for (int i = 0; i < 2; i++) {
			close_if_open(team->gate[i]);
			close_if_open(team->exit[i]);
		}
		outcome->wrong++;
		return 1;
	}
	fflush(stdout);
	while (started < team->count && team_start_one(team, &team->member[started]))
		started++;
	PEER_SLEEPS();
	await_all(team, started);
	team->begun_ns = workload_now();
	close(team->gate[1]);
	await_done(team, started);
	close(team->exit[1]);
	for (unsigned i = 0; i < started; i++)
		team_end_one(&team->member[i]);
	PEER_WAKES();
	close(team->gate[0]);
	close(team->exit[0]);
	close(team->done[0]);
	if (!PEER_PROCESSES)
		close(team->done[1]);
	for (unsigned i = 0; i < team->count; i++) {
		const struct member *member = &team->member[i];

		outcome->wrong += member->wrong + !member->finished;
		outcome->operations += member->operations;
		if (member->ended_ns > ended)
			ended = member->ended_ns;
	}
	return ended - team->begun_ns;
}

/* ------------------------------------------------------------------------------- 99 % get, 1 % flip, 2 workers */

/* Each worker flips its own keys, and reads all others; keys of the other worker can have any value. */
static uint64_t mix_loop(struct peer *peer, const unsigned char *record, size_t count, bool invert, unsigned own, unsigned foreign)
{
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		record = keypack_read(record, &key);
		if (key.bits & own)
			wrong += !peer_set(peer, key.bytes, key.length, key_value(&key) != invert);
		else
			wrong += (peer_get(peer, key.bytes, key.length) != key_value(&key)) & !(key.bits & foreign);
	}
	return wrong;
}

/* Both blocks, or the stretch from where this worker begins: half of the keys away from where the other one does. */
static void mix_once(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	struct stretches stretches =
		choose_stretches(member->workload, member->wanted, pack->access.count > pack->block ? 0 : member->number * pack->block / 2);
	unsigned own = member->number == 0 ? KEYPACK_FIRST : KEYPACK_SECOND, foreign = own ^ (KEYPACK_FIRST | KEYPACK_SECOND);

	do {
		member->wrong += mix_loop(peer, stretches.there, stretches.count, true, own, foreign);
		member->wrong += mix_loop(peer, stretches.back, stretches.count, false, own, foreign);
		member->operations += 2 * stretches.count;
	} while (member->operations < member->wanted);
}

static void mix_prepare(struct member *member, struct peer *peer)
{
	mix_once(member, peer);
	member->operations = 0;
}

/* Nanoseconds an operation of each worker. */
static void time_mix(struct workload *workload, struct outcome *outcome)
{
	int64_t begun = workload_now();
	struct team *team;

	outcome->wrong += walk(workload, loop_get, WORKLOAD_WARM);
	team = team_open(workload, 2, mix_prepare, mix_once, affordable(workload, WORKLOAD_WARM, workload_now() - begun));
	if (!team)
		return;
	outcome->value = (double)team_run(team, outcome) * 2 / (double)outcome->operations;
	outcome->possible = true;
	team_close(team);
	/* All flags have their old values again. */
	outcome->wrong += walk(workload, loop_get, WORKLOAD_LEAST);
}

/* -------------------------------------------------------------------------------- toggle one flag, 2 workers */

static void toggle_part(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	struct keypack_key key;

	keypack_read(keypack_first(pack, &pack->access), &key);
	for (; member->operations < member->wanted; member->operations++)
		member->trues += peer_toggle(peer, key.bytes, key.length);
}

static int64_t toggle_team(struct workload *workload, uint64_t each, struct outcome *outcome)
{
	struct team *team = team_open(workload, 2, NULL, toggle_part, each);
	int64_t took;

	if (!team)
		return 1;
	took = team_run(team, outcome);
	/* Every second toggle of an even number has turned it on, or one was lost. */
	outcome->wrong += team->member[0].trues + team->member[1].trues != each;
	team_close(team);
	return took;
}

/* Elapsed nanoseconds for each toggle of either. */
static void time_toggles(struct workload *workload, struct outcome *outcome)
{
	struct outcome warm = outcome_nothing;
	int64_t took = toggle_team(workload, 10 * WORKLOAD_LEAST, &warm);

	outcome->wrong += warm.wrong;
	took = toggle_team(workload, affordable(workload, 10 * WORKLOAD_LEAST, took) & ~UINT64_C(1), outcome);
	outcome->value = (double)took / (double)outcome->operations;
	outcome->possible = true;
}

/* ------------------------------------------------------------------------------------- 64 workers, 10,000 keys */

/* What the processor has worked for this thread: all workers prepare at once, and wait for each other. */
static int64_t thread_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Turns flags over and back, for as long as there is time; whoever else does so at the same moment, in the end each has its old value. */
static void experiment_prepare(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->access);
	int64_t begun = thread_time();
	struct keypack_key key;

	for (uint64_t i = 0; i < pack->block && (i % 64 || thread_time() - begun < WORKLOAD_PREPARE_NS); i++) {
		record = keypack_read(record, &key);
		peer_toggle(peer, key.bytes, key.length);
		peer_toggle(peer, key.bytes, key.length);
	}
	/* The records themselves. */
	record = keypack_first(pack, &pack->access);
	for (uint64_t i = 0; i < pack->access.count; i++)
		record = keypack_read(record, &key);
	member->trues = record[-1];
}

/* Each starts at another place of the access list. */
static void experiment_part(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	const unsigned char *first = keypack_first(pack, &pack->access), *record;
	uint64_t next = pack->access.count / member->team->count * member->number;
	struct keypack_key key;

	record = skip_records(first, next);
	for (uint64_t i = 0; i < member->wanted; i += 2) {
		if (next++ == pack->access.count) {
			next = 1;
			record = first;
		}
		record = keypack_read(record, &key);
		member->wrong += !peer_set(peer, key.bytes, key.length, true);
		member->wrong += !peer_get(peer, key.bytes, key.length);
	}
	member->operations = member->wanted;
}

/* Elapsed nanoseconds for each operation of anybody. Starting the workers is not counted. Afterwards all flags are true. */
static void time_experiment(struct workload *workload, struct outcome *outcome)
{
	struct team *team;
	size_t trues = 0;

	workload->experimented = true;
	team = team_open(workload, WORKLOAD_WORKERS, experiment_prepare, experiment_part, WORKLOAD_EXPERIMENT / WORKLOAD_WORKERS & ~1);
	if (!team)
		return;
	outcome->value = (double)team_run(team, outcome) / (double)outcome->operations;
	if (!PEER_NO_LIST) {
		outcome->wrong += peer_list(workload->peer, &trues) != workload->pack->load.count;
		outcome->wrong += trues != workload->pack->load.count;
	}
	outcome->possible = true;
	team_close(team);
}

/* -------------------------------------------------------------------------- readers, and a flag that is flipped */

/* The last one flips the first flag of the access list without pause. */
static void flip_until_stopped(struct member *member, struct peer *peer, const struct keypack_key *key)
{
	bool value = key_value(key);

	while (!__atomic_load_n(&member->team->stop, __ATOMIC_RELAXED)) {
		value = !value;
		member->wrong += !peer_set(peer, key->bytes, key->length, value);
		member->trues++;
	}
	member->wrong += !peer_set(peer, key->bytes, key->length, key_value(key));
}

static bool is_flipper(const struct member *member)
{
	return !member->team->alone && member->number == member->team->count - 1;
}

static bool time_is_over(const struct member *member)
{
	return workload_now() - member->team->begun_ns > member->workload->budget_ns;
}

/* Ends the flipper when the first reader is through. */
static void reader_ends(struct member *member)
{
	__atomic_store_n(&member->team->stop, 1, __ATOMIC_RELAXED);
	member->trues = (uint64_t)(workload_now() - member->team->begun_ns);
}

static void disturbed_prepare(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	const unsigned char *at = keypack_first(pack, &pack->access);

	member->wrong += loop_get(peer, &at, (size_t)pack->block, false);
}

static void disturbed_part(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	const unsigned char *first = keypack_first(pack, &pack->access), *at = first;
	struct keypack_key flipped;
	uint64_t next = 0;

	keypack_read(first, &flipped);
	if (is_flipper(member)) {
		flip_until_stopped(member, peer, &flipped);
		return;
	}
	/* At least once, however late this one comes to run. */
	do {
		uint64_t wrong = 0;

		for (unsigned i = 0; i < 256; i++) {
			struct keypack_key key;

			if (next++ == pack->access.count) {
				next = 1;
				at = first;
			}
			at = keypack_read(at, &key);
			if (peer_get(peer, key.bytes, key.length) != key_value(&key))
				wrong += key.length != flipped.length || memcmp(key.bytes, flipped.bytes, key.length) != 0;
		}
		member->wrong += wrong;
		member->operations += 256;
	} while (!time_is_over(member));
	reader_ends(member);
}

static void same_line_part(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	struct keypack_key key;
	uint64_t others = 0;

	keypack_read(keypack_first(pack, &pack->access), &key);
	if (is_flipper(member)) {
		flip_until_stopped(member, peer, &key);
		return;
	}
	do {
		for (unsigned i = 0; i < 256; i++)
			others += peer_get(peer, key.bytes, key.length) != key_value(&key);
		member->operations += 256;
	} while (!time_is_over(member));
	reader_ends(member);
	/* While it is flipped either value is right. */
	if (member->team->alone)
		member->wrong += others;
}

static double reader_ns(struct workload *workload, unsigned readers, member_part *part, bool alone, struct outcome *outcome, double *flips)
{
	struct team *team = team_open(workload, readers + !alone, disturbed_prepare, part, 0);
	double ns = 0;

	if (!team)
		return 0;
	team->alone = alone;
	team_run(team, outcome);
	for (unsigned i = 0; i < readers; i++)
		ns += (double)team->member[i].trues / (double)(team->member[i].operations + 1) / (double)readers;
	if (!alone)
		*flips = (double)team->member[readers].trues / ((double)team->member[0].trues + 1) * 1e9;
	team_close(team);
	return ns;
}

/* As many readers as there are other processors. Nanoseconds a get of each; first without the flipper, for comparison. */
static void time_disturbed(struct workload *workload, struct outcome *outcome, bool same_line)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned readers = processors < 2 ? 1 : processors > 32 ? 31 : (unsigned)processors - 1;
	member_part *part = same_line ? same_line_part : disturbed_part;
	double flips = 0, quiet = reader_ns(workload, readers, part, true, outcome, &flips);

	outcome->value = reader_ns(workload, readers, part, false, outcome, &flips);
	outcome_add(outcome, "undisturbed", quiet);
	outcome_add(outcome, "readers", readers);
	outcome_add(outcome, "flips_per_second", flips);
	outcome->possible = true;
}

/* --------------------------------------------------------------------------------------------------- attach */

#ifdef PEER_ATTACH
/* In a process of its own, which has not used the table before. */
static void attach_part(struct member *member, struct peer *peer)
{
	const struct keypack *pack = member->workload->pack;
	struct keypack_key key;
	int64_t begun = workload_now();

	(void)peer;
	keypack_read(keypack_first(pack, &pack->access), &key);
	do {
		member->wrong += !peer_attach(member->workload->directory, key.bytes, key.length, key_value(&key));
		member->operations++;
	} while (workload_now() - begun < member->workload->budget_ns);
}

static void time_attach(struct workload *workload, struct outcome *outcome)
{
	struct team *team = team_open(workload, 1, NULL, attach_part, 0);

	if (!team)
		return;
	team->strangers = true;
	outcome->value = (double)team_run(team, outcome) / (double)outcome->operations;
	outcome->possible = true;
	team_close(team);
}
#endif

#endif

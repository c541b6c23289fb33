/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * workload.h: what is done to a table when it is measured, for any table. A file that includes this has defined before, as static
 * functions, so that the compiler may inline them into the loops:
 *
 *	#define PEER_PROCESSES    1: other processes can share the table, and workers are processes; 0: they are threads
 *	struct peer;              a table
 *	struct peer *peer_open(const char *directory, size_t expected);
 *	                          makes an empty one; what it needs may lie in the directory; NULL: it could not
 *	void peer_close(struct peer *);
 *	                          frees it and removes what is in the directory
 *	struct peer *peer_enter(struct peer *), void peer_leave(struct peer *);
 *	                          around all that a worker does; enter answers what that worker is to use
 *	bool peer_get(struct peer *, const char *key, size_t length);
 *	bool peer_set(struct peer *, const char *key, size_t length, bool value);          true: done
 *	bool peer_set_if_absent(struct peer *, const char *key, size_t length, bool value); true: inserted
 *	bool peer_toggle(struct peer *, const char *key, size_t length);                    the new value
 *	bool peer_delete(struct peer *, const char *key, size_t length);                    true: it was there
 *	size_t peer_list(struct peer *, size_t *trues);
 *	                          visits all flags, keys too; their number, and how many are true
 *	size_t peer_memory(struct peer *);
 *	                          bytes of memory or file blocks really in use; 0: look at the process's own memory
 *
 * and may have defined, where these are macros of the same name in capitals:
 *
 *	PEER_ALONE                1: one thread at a time; what takes several workers is left out
 *	PEER_NO_LIST              1: peer_list() can't be done
 *	PEER_SLEEPS, PEER_WAKES   what to call before a thread sleeps, and after
 *	PEER_GET_MANY             void peer_get_many(struct peer *, const char *const *keys, const size_t *lengths, size_t count, bool *values);
 *	PEER_RESERVE              bool peer_reserve(struct peer *, size_t count); room for so many flags; true: done
 *	PEER_HANDLE               typedef peer_handle, peer_handle *peer_handle_open(struct peer *, key, length),
 *	                          bool peer_handle_get(peer_handle *), void peer_handle_close(peer_handle *)
 *	PEER_ATTACH               bool peer_attach(const char *directory, key, length, value);
 *	                          attaches to the table anew, gets a flag, detaches; true: the flag had this value
 *
 * Every answer is compared with what it must be, also inside of timed loops; `wrong` counts those that differ. In C and in C++. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keypack.h"
#include "workloads.h"

#ifndef PEER_ALONE
#define PEER_ALONE 0
#endif
#ifndef PEER_NO_LIST
#define PEER_NO_LIST 0
#endif
#ifndef PEER_SLEEPS
#define PEER_SLEEPS() ((void)0)
#define PEER_WAKES() ((void)0)
#endif

#define WORKLOAD_WARM UINT64_C(2000)  /* operations by which the speed is estimated, before any are timed */
#define WORKLOAD_LEAST UINT64_C(1000) /* operations timed, at least */

enum {
	WORKLOAD_WORKERS = 64,        /* of WORK_EXPERIMENT; the most of any */
	WORKLOAD_EXPERIMENT = 1000000, /* operations of all of them */
	WORKLOAD_PREPARE_NS = 10000000,
	WORKLOAD_HANDLES = 1000000,   /* the most that are opened */
	WORKLOAD_FLAG_BYTES = 100,    /* of a table's memory, about */
	WORKLOAD_MORE = 4,
};

/* What came out. */
struct outcome {
	bool possible; /* the peer has what the work is about */
	double value;  /* nanoseconds an operation; WORK_MEMORY: bytes a flag; WORK_LONGEST and WORK_PAUSE: nanoseconds */
	uint64_t operations, wrong;
	struct {
		const char *name;
		double value;
	} more[WORKLOAD_MORE]; /* what else is known; the first without a name ends them */
};

struct workload {
	const char *directory;
	const struct keypack *pack;
	struct peer *peer; /* NULL: there is none yet */
	int64_t budget_ns; /* for how long to work; more or less */
	uint64_t next;     /* where in the access list the next loop starts */
	const unsigned char *at;
	size_t memory_before;
	int64_t filled_ns; /* how long it took to fill the table */
	bool experimented; /* the table is not as it is when it has just been filled */
};

/* A loop over `count` records from *at, which it moves on. With `invert` the flags are taken to have the other value than that of the
 * record. Returns the number of wrong answers. */
typedef uint64_t workload_loop(struct peer *peer, const unsigned char **at, size_t count, bool invert);

static const struct outcome outcome_nothing = {false, 0, 0, 0, {{NULL, 0}}};
static volatile size_t workload_nothing; /* 0, and the compiler does not know it */

static inline int64_t workload_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void outcome_add(struct outcome *outcome, const char *name, double value)
{
	size_t i = 0;

	while (i < WORKLOAD_MORE - 1 && outcome->more[i].name)
		i++;
	outcome->more[i].name = name;
	outcome->more[i].value = value;
}

static inline bool key_value(const struct keypack_key *key)
{
	return (key->bits & KEYPACK_TRUE) != 0;
}

/* --------------------------------------------------------------------------------------------------- loops */

/* What is done with a key; the number of wrong answers. Inlined into the loop. */
typedef uint64_t workload_step(struct peer *peer, const struct keypack_key *key, bool invert);

static inline __attribute__((always_inline)) uint64_t each_key(struct peer *peer, const unsigned char **at, size_t count, bool invert,
                                                               workload_step *step)
{
	const unsigned char *record = *at;
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		record = keypack_read(record, &key);
		wrong += step(peer, &key, invert);
	}
	*at = record;
	return wrong;
}

static inline uint64_t step_get(struct peer *peer, const struct keypack_key *key, bool invert)
{
	return peer_get(peer, key->bytes, key->length) != (key_value(key) != invert);
}

static uint64_t loop_get(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return each_key(peer, at, count, invert, step_get);
}

/* Where the next key stands depends on the answer (by 0, which the processor can't know), so that it can't begin with the next get
 * before this one is done. */
static uint64_t loop_dependent(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	const unsigned char *record = *at;
	size_t nothing = workload_nothing;
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		const unsigned char *next = keypack_read(record, &key);
		size_t answer = peer_get(peer, key.bytes, key.length);

		wrong += answer != (size_t)(key_value(&key) != invert);
		record = next + (answer & nothing);
	}
	*at = record;
	return wrong;
}

static inline uint64_t step_miss(struct peer *peer, const struct keypack_key *key, bool invert)
{
	(void)invert;
	return peer_get(peer, key->bytes, key->length);
}

static uint64_t loop_miss(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return each_key(peer, at, count, invert, step_miss);
}

/* Sets each flag to what its record says. */
static inline uint64_t step_set(struct peer *peer, const struct keypack_key *key, bool invert)
{
	return !peer_set(peer, key->bytes, key->length, key_value(key) != invert);
}

static uint64_t loop_set(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return each_key(peer, at, count, invert, step_set);
}

static inline uint64_t step_delete(struct peer *peer, const struct keypack_key *key, bool invert)
{
	(void)invert;
	return !peer_delete(peer, key->bytes, key->length);
}

static uint64_t loop_delete(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return each_key(peer, at, count, invert, step_delete);
}

#ifdef PEER_GET_MANY
static inline __attribute__((always_inline)) uint64_t get_many(struct peer *peer, const unsigned char **at, size_t count, bool invert,
                                                               size_t batch, bool one_by_one)
{
	const unsigned char *record = *at;
	const char *keys[32];
	size_t lengths[32];
	bool wanted[32], values[32];
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t done = 0; done < count; done += batch) {
		size_t now = count - done < batch ? count - done : batch;

		for (size_t i = 0; i < now; i++) {
			record = keypack_read(record, &key);
			keys[i] = key.bytes;
			lengths[i] = key.length;
			wanted[i] = key_value(&key) != invert;
		}
		if (!one_by_one)
			peer_get_many(peer, keys, lengths, now, values);
		for (size_t i = 0; i < now && one_by_one; i++)
			values[i] = peer_get(peer, keys[i], lengths[i]);
		for (size_t i = 0; i < now; i++)
			wrong += values[i] != wanted[i];
	}
	*at = record;
	return wrong;
}

static uint64_t loop_many16(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return get_many(peer, at, count, invert, 16, false);
}

static uint64_t loop_many32(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return get_many(peer, at, count, invert, 32, false);
}

/* The same from the caller's side, without get_many. */
static uint64_t loop_one_by_one(struct peer *peer, const unsigned char **at, size_t count, bool invert)
{
	return get_many(peer, at, count, invert, 32, true);
}
#endif

/* ------------------------------------------------------------------------------------------- loops are timed */

/* Goes on through the access list, round and round. */
static uint64_t walk(struct workload *workload, workload_loop *loop, uint64_t count)
{
	const struct keypack *pack = workload->pack;
	uint64_t wrong = 0;

	while (count > 0) {
		size_t now;

		if (!workload->at || workload->next == pack->access.count) {
			workload->next = 0;
			workload->at = keypack_first(pack, &pack->access);
		}
		now = pack->access.count - workload->next < count ? pack->access.count - workload->next : count;
		wrong += loop(workload->peer, &workload->at, now, false);
		workload->next += now;
		count -= now;
	}
	return wrong;
}

/* How many operations the time is good for, when so many took so long. */
static uint64_t affordable(const struct workload *workload, uint64_t operations, int64_t took_ns)
{
	double count = (double)workload->budget_ns * (double)operations / (double)(took_ns > 0 ? took_ns : 1);

	return count < WORKLOAD_LEAST ? WORKLOAD_LEAST : count > 1e9 ? 1000000000 : (uint64_t)count;
}

static void time_walk(struct workload *workload, workload_loop *loop, struct outcome *outcome)
{
	int64_t begun = workload_now();

	outcome->wrong += walk(workload, loop, WORKLOAD_WARM);
	outcome->operations = affordable(workload, WORKLOAD_WARM, workload_now() - begun);
	begun = workload_now();
	outcome->wrong += walk(workload, loop, outcome->operations);
	outcome->value = (double)(workload_now() - begun) / (double)outcome->operations;
	outcome->possible = true;
}

#ifdef PEER_GET_MANY
/* A turn: whole batches, and no divisor of an access list, or each of the two would see the same part of it for ever. */
#define MANY_TURN UINT64_C(1024)

/* Turn by turn with single gets, for comparison: how busy the machine is changes from moment to moment. */
static void time_many(struct workload *workload, workload_loop *loop, struct outcome *outcome)
{
	int64_t begun = workload_now(), together = 0, apart = 0;
	uint64_t wanted;

	outcome->wrong += walk(workload, loop, WORKLOAD_WARM);
	wanted = affordable(workload, WORKLOAD_WARM, workload_now() - begun);
	while (outcome->operations < wanted) {
		int64_t between;

		begun = workload_now();
		outcome->wrong += walk(workload, loop, MANY_TURN);
		between = workload_now();
		outcome->wrong += walk(workload, loop_one_by_one, MANY_TURN);
		apart += workload_now() - between;
		together += between - begun;
		outcome->operations += MANY_TURN;
	}
	outcome->value = (double)together / (double)outcome->operations;
	outcome_add(outcome, "one_by_one", (double)apart / (double)outcome->operations);
	outcome->possible = true;
}
#endif

static void time_misses(struct workload *workload, struct outcome *outcome)
{
	const struct keypack *pack = workload->pack;
	uint64_t left, warm = pack->missing.count < WORKLOAD_WARM ? pack->missing.count : WORKLOAD_WARM;
	const unsigned char *at = keypack_first(pack, &pack->missing);
	int64_t begun = workload_now();

	outcome->wrong += loop_miss(workload->peer, &at, warm, false);
	outcome->operations = left = affordable(workload, warm, workload_now() - begun);
	begun = workload_now();
	while (left > 0) {
		uint64_t now = left < pack->missing.count ? left : pack->missing.count;

		at = keypack_first(pack, &pack->missing);
		outcome->wrong += loop_miss(workload->peer, &at, now, false);
		left -= now;
	}
	outcome->value = (double)(workload_now() - begun) / (double)outcome->operations;
	outcome->possible = true;
}

/* A stretch of the access list in which each key stands once, and another one with the same keys: for workloads that change flags in the
 * first and change them back in the second. Where blocks are short a stretch is a whole one, and the second has another order. */
struct stretches {
	const unsigned char *there, *back;
	size_t count;
};

static const unsigned char *skip_records(const unsigned char *record, uint64_t count)
{
	struct keypack_key key;

	while (count-- > 0)
		record = keypack_read(record, &key);
	return record;
}

/* From record number `start` on, if there is one block alone; in the others the stretch ends with the block. */
static struct stretches choose_stretches(const struct workload *workload, uint64_t operations, uint64_t start)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *first = keypack_first(pack, &pack->access);
	struct stretches stretches = {first, first, (size_t)pack->block};

	if (pack->access.count > pack->block) {
		stretches.back = skip_records(first, pack->block);
		return stretches;
	}
	stretches.there = stretches.back = skip_records(first, start);
	stretches.count = (size_t)(pack->block - start);
	if (stretches.count > operations / 2)
		stretches.count = (size_t)(operations / 2);
	return stretches;
}

static int64_t run_loop(struct workload *workload, workload_loop *loop, const unsigned char *from, size_t count, bool invert,
                        struct outcome *outcome)
{
	int64_t begun = workload_now();

	outcome->wrong += loop(workload->peer, &from, count, invert);
	return workload_now() - begun;
}

static void time_flips(struct workload *workload, struct outcome *outcome)
{
	struct stretches stretches = choose_stretches(workload, WORKLOAD_LEAST, 0);
	int64_t took = run_loop(workload, loop_set, stretches.there, stretches.count, true, outcome);
	uint64_t wanted;

	/* Read back what has been set. */
	run_loop(workload, loop_get, stretches.there, stretches.count, true, outcome);
	took += run_loop(workload, loop_set, stretches.back, stretches.count, false, outcome);
	run_loop(workload, loop_get, stretches.there, stretches.count, false, outcome);

	wanted = affordable(workload, 2 * stretches.count, took);
	stretches = choose_stretches(workload, wanted, 0);
	took = 0;
	while (outcome->operations < wanted) {
		took += run_loop(workload, loop_set, stretches.there, stretches.count, true, outcome);
		took += run_loop(workload, loop_set, stretches.back, stretches.count, false, outcome);
		outcome->operations += 2 * stretches.count;
	}
	outcome->value = (double)took / (double)outcome->operations;
	outcome->possible = true;
}

static void time_same(struct workload *workload, struct outcome *outcome)
{
	time_walk(workload, loop_set, outcome);
	outcome->wrong += walk(workload, loop_get, WORKLOAD_LEAST);
}

/* Marks against doing things twice: each second one is new. They are deleted again without being timed; so that the table does not
 * grow much, that happens whenever it has a sixteenth more. */
static uint64_t loop_absent(struct peer *peer, const unsigned char **at, const unsigned char **missing, size_t count)
{
	const unsigned char *known = *at, *new_one = *missing;
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		known = keypack_read(known, &key);
		wrong += peer_set_if_absent(peer, key.bytes, key.length, !key_value(&key));
		new_one = keypack_read(new_one, &key);
		wrong += !peer_set_if_absent(peer, key.bytes, key.length, true);
	}
	*at = known;
	*missing = new_one;
	return wrong;
}

static int64_t absent_once(struct workload *workload, struct stretches stretches, struct outcome *outcome)
{
	const unsigned char *first = keypack_first(workload->pack, &workload->pack->missing), *missing = first, *at = stretches.there;
	int64_t begun = workload_now(), took;

	outcome->wrong += loop_absent(workload->peer, &at, &missing, stretches.count);
	took = workload_now() - begun;
	run_loop(workload, loop_delete, first, stretches.count, false, outcome);
	return took;
}

static void time_absent(struct workload *workload, struct outcome *outcome)
{
	uint64_t most = workload->pack->load.count / 16 + 1, wanted;
	struct stretches stretches = choose_stretches(workload, WORKLOAD_LEAST, 0);
	int64_t took;

	if (most > workload->pack->missing.count)
		most = workload->pack->missing.count;
	if (stretches.count > most)
		stretches.count = (size_t)most;
	took = absent_once(workload, stretches, outcome);
	wanted = affordable(workload, 2 * stretches.count, took);
	stretches = choose_stretches(workload, wanted, 0);
	if (stretches.count > most)
		stretches.count = (size_t)most;
	took = 0;
	while (outcome->operations < wanted) {
		took += absent_once(workload, stretches, outcome);
		outcome->operations += 2 * stretches.count;
	}
	outcome->value = (double)took / (double)outcome->operations;
	outcome->possible = true;
}

/* Each flag is deleted and another one inserted; then the other way round. */
static uint64_t loop_churn(struct peer *peer, const unsigned char *gone, const unsigned char *come, size_t count)
{
	struct keypack_key key;
	uint64_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		gone = keypack_read(gone, &key);
		wrong += !peer_delete(peer, key.bytes, key.length);
		come = keypack_read(come, &key);
		wrong += !peer_set(peer, key.bytes, key.length, key_value(&key));
	}
	return wrong;
}

static int64_t churn_once(struct workload *workload, struct stretches stretches, struct outcome *outcome)
{
	const unsigned char *missing = keypack_first(workload->pack, &workload->pack->missing);
	int64_t begun = workload_now();

	outcome->wrong += loop_churn(workload->peer, stretches.there, missing, stretches.count);
	outcome->wrong += loop_churn(workload->peer, missing, stretches.there, stretches.count);
	return workload_now() - begun;
}

static struct stretches churn_stretches(const struct workload *workload, uint64_t operations)
{
	struct stretches stretches = choose_stretches(workload, operations / 2, 0);

	if (stretches.count > workload->pack->missing.count)
		stretches.count = (size_t)workload->pack->missing.count;
	return stretches;
}

static void time_churn(struct workload *workload, struct outcome *outcome)
{
	struct stretches stretches = churn_stretches(workload, WORKLOAD_LEAST);
	int64_t took = churn_once(workload, stretches, outcome);
	uint64_t wanted = affordable(workload, 4 * stretches.count, took);

	stretches = churn_stretches(workload, wanted);
	took = 0;
	while (outcome->operations < wanted) {
		took += churn_once(workload, stretches, outcome);
		outcome->operations += 4 * stretches.count;
	}
	outcome->value = (double)took / (double)outcome->operations;
	outcome->possible = true;
	run_loop(workload, loop_get, stretches.there, stretches.count, false, outcome);
}

/* ------------------------------------------------------------------------------------------------- handles */

#ifdef PEER_HANDLE
/* Handles in the order in which they are read. They lie one behind the other, as those of a program that opens all at its start. */
struct handles {
	peer_handle **handle;
	bool *wanted;
	size_t count;
};

static void handles_close(struct handles *handles)
{
	for (size_t i = 0; i < handles->count; i++)
		peer_handle_close(handles->handle[i]);
	free(handles->handle);
	free(handles->wanted);
}

static bool handles_open(struct handles *handles, struct workload *workload)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->access);
	size_t most = pack->block < WORKLOAD_HANDLES ? (size_t)pack->block : WORKLOAD_HANDLES;
	struct keypack_key key;

	handles->count = 0;
	handles->handle = (peer_handle **)calloc(most, sizeof *handles->handle);
	handles->wanted = (bool *)calloc(most, sizeof *handles->wanted);
	if (!handles->handle || !handles->wanted)
		return false;
	for (; handles->count < most; handles->count++) {
		record = keypack_read(record, &key);
		handles->wanted[handles->count] = key_value(&key);
		handles->handle[handles->count] = peer_handle_open(workload->peer, key.bytes, key.length);
		if (!handles->handle[handles->count])
			return false;
	}
	return true;
}

static uint64_t loop_handles(const struct handles *handles)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < handles->count; i++)
		wrong += peer_handle_get(handles->handle[i]) != handles->wanted[i];
	return wrong;
}

static uint64_t loop_hot(const struct handles *handles, uint64_t count)
{
	peer_handle *handle = handles->handle[0];
	uint64_t trues = 0;

	/* A read takes no longer than the counting of its rounds. */
#pragma GCC unroll 8
	for (uint64_t i = 0; i < count; i++)
		trues += peer_handle_get(handle);
	return handles->wanted[0] ? count - trues : trues;
}

static void time_handles(struct workload *workload, struct outcome *outcome, bool hot)
{
	struct handles handles;
	int64_t begun, took;
	uint64_t wanted;

	if (!handles_open(&handles, workload)) {
		handles_close(&handles);
		outcome->wrong++;
		return;
	}
	begun = workload_now();
	outcome->wrong += hot ? loop_hot(&handles, handles.count) : loop_handles(&handles);
	wanted = affordable(workload, handles.count, workload_now() - begun);
	begun = workload_now();
	while (outcome->operations < wanted) {
		outcome->wrong += hot ? loop_hot(&handles, wanted) : loop_handles(&handles);
		outcome->operations += hot ? wanted : handles.count;
	}
	took = workload_now() - begun;
	outcome->value = (double)took / (double)outcome->operations;
	outcome->possible = true;
	handles_close(&handles);
}
#endif

/* ----------------------------------------------------------------------------------------- filling a table */

/* Memory of the process's own in bytes, without what it shares with others through files. */
static size_t own_memory(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[128];
	size_t kilobytes = 0;

	while (file && fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %zu", &kilobytes);
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

static void empty_table(struct workload *workload)
{
	if (workload->peer)
		peer_close(workload->peer);
	workload->memory_before = own_memory();
	workload->peer = peer_open(workload->directory, (size_t)workload->pack->load.count);
	workload->experimented = false;
}

/* The longest of many short times: of those during which the scheduler left the processor to this thread, and of all. */
struct laps {
	int64_t last, longest, longest_of_all;
	long taken; /* how often the processor had been taken away, as of the last look */
};

/* No lap that was interrupted is shorter. */
#define LAP_LOOK_NS 2000

static long times_taken(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static struct laps laps_begin(void)
{
	struct laps laps = {0, 0, 0, times_taken()};

	laps.last = workload_now();
	return laps;
}

static inline void lap(struct laps *laps)
{
	int64_t now = workload_now(), took = now - laps->last;

	laps->longest_of_all = took > laps->longest_of_all ? took : laps->longest_of_all;
	if (took > LAP_LOOK_NS) {
		long taken = times_taken();

		if (taken == laps->taken && took > laps->longest)
			laps->longest = took;
		laps->taken = taken;
		now = workload_now();
	}
	laps->last = now;
}

static void outcome_laps(struct outcome *outcome, const struct laps *laps)
{
	outcome->value = (double)laps->longest;
	outcome_add(outcome, "longest_of_all", (double)laps->longest_of_all);
}

/* Sets every key once, and times each. */
static uint64_t fill_one_by_one(struct workload *workload, struct laps *laps)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->load);
	struct keypack_key key;
	uint64_t wrong = 0;

	*laps = laps_begin();
	for (uint64_t i = 0; i < pack->load.count; i++) {
		record = keypack_read(record, &key);
		wrong += !peer_set(workload->peer, key.bytes, key.length, key_value(&key));
		lap(laps);
	}
	return wrong;
}

static uint64_t fill(struct workload *workload)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->load);

	return loop_set(workload->peer, &record, (size_t)pack->load.count, false);
}

/* All keys are there with their values; of slow tables only some are looked up. */
static uint64_t verify(struct workload *workload, int64_t filled_ns)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->load);
	uint64_t count = pack->load.count;

	if (filled_ns > INT64_C(5000000000) && count > 100000)
		count = 100000;
	return loop_get(workload->peer, &record, (size_t)count, false);
}

static void time_fill(struct workload *workload, struct outcome *outcome, enum work work)
{
	bool one_by_one = work == WORK_LONGEST;
	int64_t begun, took;
	struct laps laps = {0, 0, 0, 0};

	empty_table(workload);
	if (!workload->peer) {
		outcome->wrong++;
		return;
	}
#ifdef PEER_RESERVE
	/* Before the clock runs. Such a table is larger than one that grew; for other works it is not the right one. */
	workload->experimented = work == WORK_RESERVED;
	if (work == WORK_RESERVED && !peer_reserve(workload->peer, (size_t)workload->pack->load.count))
		return;
#endif
	outcome->operations = workload->pack->load.count;
	begun = workload_now();
	outcome->wrong += one_by_one ? fill_one_by_one(workload, &laps) : fill(workload);
	took = workload->filled_ns = workload_now() - begun;
	outcome->value = (double)took / (double)outcome->operations;
	if (one_by_one)
		outcome_laps(outcome, &laps);
	outcome->wrong += verify(workload, took);
	outcome->possible = true;
}

/* What the longest insert can't be told from: how long the machine is away from a loop that only looks at the clock and touches fresh memory,
 * as much as the table has, and for as long as it took to fill it. Where a host gives memory to a virtual machine when it is first
 * touched, a page may take as long as many inserts. */
static void time_pause(const struct workload *workload, struct outcome *outcome)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)workload->pack->load.count * WORKLOAD_FLAG_BYTES / page * page + page;
	char *fresh = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t begun = workload_now();
	size_t touched = 0;
	struct laps laps;

	if (fresh == MAP_FAILED)
		return;
	laps = laps_begin();
	do {
		double share = (double)(laps.last - begun) / (double)(workload->filled_ns + 1);

		if (touched < size && (double)touched <= share * (double)size) {
			((volatile char *)fresh)[touched] = 1;
			touched += page;
		}
		lap(&laps);
		outcome->operations++;
	} while (laps.last - begun < workload->filled_ns);
	munmap(fresh, size);
	outcome_laps(outcome, &laps);
	outcome->possible = true;
}

static void time_list(struct workload *workload, struct outcome *outcome)
{
	const struct keypack *pack = workload->pack;
	const unsigned char *record = keypack_first(pack, &pack->load);
	size_t wanted = 0, trues;
	struct keypack_key key;
	int64_t begun;

	for (uint64_t i = 0; i < pack->load.count; i++) {
		record = keypack_read(record, &key);
		wanted += key_value(&key);
	}
	begun = workload_now();
	do {
		trues = 0;
		outcome->wrong += peer_list(workload->peer, &trues) != pack->load.count;
		outcome->wrong += trues != wanted;
		outcome->operations += pack->load.count;
	} while (workload_now() - begun < workload->budget_ns);
	outcome->value = (double)(workload_now() - begun) / (double)outcome->operations;
	outcome->possible = true;
}

/* Bytes a flag of a table that has just been filled, by a process that has done nothing else. */
static void weigh(struct workload *workload, struct outcome *outcome)
{
	size_t bytes = peer_memory(workload->peer);

	outcome->possible = true;
	outcome->operations = workload->pack->load.count;
	if (bytes == 0)
		bytes = own_memory() - workload->memory_before;
	outcome->value = (double)bytes / (double)outcome->operations;
}

#include "workteam.h"

/* ------------------------------------------------------------------------------------------------ all workloads */

static bool takes_several(enum work work)
{
	return work == WORK_MIX || work == WORK_TOGGLE || work == WORK_DISTURBED || work == WORK_SAME_LINE || work == WORK_EXPERIMENT;
}

/* Does one work on the table, filling it first if it has to be and is not. */
static void workload_do(struct workload *workload, enum work work, struct outcome *outcome)
{
	*outcome = outcome_nothing;
	if (PEER_ALONE && takes_several(work))
		return;
#ifndef PEER_RESERVE
	if (work == WORK_RESERVED)
		return;
#endif
	if (work == WORK_INSERT || work == WORK_RESERVED || work == WORK_LONGEST) {
		time_fill(workload, outcome, work);
		return;
	}
	if (!workload->peer || workload->experimented) {
		time_fill(workload, outcome, WORK_INSERT);
		if (!outcome->possible || outcome->wrong)
			return;
		*outcome = outcome_nothing;
	}
	switch (work) {
	case WORK_GET:
		time_walk(workload, loop_get, outcome);
		break;
	case WORK_DEPENDENT:
		time_walk(workload, loop_dependent, outcome);
		break;
	case WORK_MISS:
		time_misses(workload, outcome);
		break;
#ifdef PEER_HANDLE
	case WORK_HANDLE:
	case WORK_HOT:
		time_handles(workload, outcome, work == WORK_HOT);
		break;
#endif
#ifdef PEER_GET_MANY
	case WORK_MANY16:
		time_many(workload, loop_many16, outcome);
		break;
	case WORK_MANY32:
		time_many(workload, loop_many32, outcome);
		break;
#endif
	case WORK_FLIP:
		time_flips(workload, outcome);
		break;
	case WORK_SAME:
		time_same(workload, outcome);
		break;
	case WORK_ABSENT:
		time_absent(workload, outcome);
		break;
	case WORK_CHURN:
		time_churn(workload, outcome);
		break;
	case WORK_PAUSE:
		time_pause(workload, outcome);
		break;
	case WORK_LIST:
		if (!PEER_NO_LIST)
			time_list(workload, outcome);
		break;
	case WORK_MEMORY:
		weigh(workload, outcome);
		break;
	case WORK_MIX:
		time_mix(workload, outcome);
		break;
	case WORK_EXPERIMENT:
		time_experiment(workload, outcome);
		break;
	case WORK_TOGGLE:
		time_toggles(workload, outcome);
		break;
	case WORK_DISTURBED:
	case WORK_SAME_LINE:
		time_disturbed(workload, outcome, work == WORK_SAME_LINE);
		break;
#ifdef PEER_ATTACH
	case WORK_ATTACH:
		time_attach(workload, outcome);
		break;
#endif
	default:
		break;
	}
}

#endif

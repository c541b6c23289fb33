/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * recorder.c: operations, done and recorded (recorder.h says how).
 */
#include "recorder.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

unsigned recorder_pick(struct recorder *recorder, unsigned below)
{
	return (unsigned)(random_next(&recorder->random) % below);
}

static bool chance(struct recorder *recorder, unsigned one_in)
{
	return recorder_pick(recorder, one_in) == 0;
}

/* ------------------------------------------------------------------------------------------------- the clock */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void hold_back_loads(void)
{
#ifdef __x86_64__
	__builtin_ia32_lfence();
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

struct ball {
	_Atomic uint64_t given; /* lowest bit: whose turn it is */
	_Atomic uint32_t wrong;
};

enum { THROWS = 5000 };

static void throw_and_catch(struct ball *ball, uint64_t side)
{
	for (int i = 0; i < THROWS; i++) {
		uint64_t given, now;

		while (((given = atomic_load_explicit(&ball->given, memory_order_acquire)) & 1) != side)
			sched_yield();
		hold_back_loads();
		now = clock_ns();
		if (now >> 1 < given >> 1)
			atomic_fetch_add(&ball->wrong, 1);
		atomic_store_explicit(&ball->given, clock_ns() >> 1 << 1 | (side ^ 1), memory_order_release);
	}
}

static void other_side(void *argument)
{
	throw_and_catch(argument, 1);
}

bool clock_is_one(void)
{
	struct ball *ball = shared_memory(sizeof *ball);
	pid_t pid = child(other_side, ball);

	throw_and_catch(ball, 0);
	child_succeeds(pid);
	return atomic_load(&ball->wrong) == 0;
}

/* ------------------------------------------------------------------------------------------------- recording */

/* The record stands before it counts, and counts before the operation begins: wherever the process dies, what is in the
 * log is whole. */
static struct event *begin(struct recorder *recorder, const struct event *asked)
{
	uint32_t used = atomic_load_explicit(&recorder->log->used, memory_order_relaxed);
	struct event *event = &recorder->log->events[used];

	require(used < LOG_ROOM);
	*event = *asked;
	event->who = recorder->who;
	event->began = clock_ns();
	atomic_store_explicit(&recorder->log->used, used + 1, memory_order_release);
	hold_back_loads();
	return event;
}

static void end(struct event *event, int result)
{
	uint64_t now = clock_ns();

	event->result = (int16_t)result;
	__atomic_store_n(&event->ended, now, __ATOMIC_RELEASE);
}

/* An operation that must not fail in any other way. */
static void require_result_of(int result)
{
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTFOUND || result == FLAGSTORE_ECONFLICT);
}

static struct sight sight_of(const struct flagstore_flag *flag)
{
	return (struct sight){flag->version, flag->changes, flag->exists, flag->value};
}

/* --------------------------------------------------------------------------------- the store, and its planted faults
 */

static bool store_get(struct recorder *recorder, unsigned flag)
{
	bool value;

	if (recorder->fault == FAULT_STALE_READ && chance(recorder, 8))
		return recorder->stale[flag];
	value = flagstore_get(recorder->store, recorder->keys[flag]);
	if (chance(recorder, 4))
		recorder->stale[flag] = value;
	return value;
}

static int store_toggle(struct recorder *recorder, unsigned flag, bool *value)
{
	const char *key = recorder->keys[flag];
	struct flagstore_flag found;
	int result;

	if (recorder->fault != FAULT_LOST_UPDATE)
		return flagstore_toggle(recorder->store, key, value);
	result = flagstore_lookup(recorder->store, key, &found);
	if (result)
		return result;
	*value = !found.value;
	sched_yield();
	return flagstore_set(recorder->store, key, *value);
}

static int change_one_by_one(struct recorder *recorder, const uint8_t wishes[MODEL_FLAGS], uint32_t *changed)
{
	*changed = 0;
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		struct flagstore_flag before;

		if (wishes[i] == WISH_NOTHING)
			continue;
		(void)flagstore_lookup(recorder->store, recorder->keys[i], &before);
		*changed += !before.exists || before.value != (wishes[i] == WISH_TRUE);
		require_ok(flagstore_set(recorder->store, recorder->keys[i], wishes[i] == WISH_TRUE));
		sched_yield();
	}
	return FLAGSTORE_OK;
}

static int store_batch(struct recorder *recorder, const uint8_t wishes[MODEL_FLAGS], uint32_t *changed)
{
	flagstore_batch *batch;
	size_t count = 0;
	int result;

	if (recorder->fault == FAULT_TORN_BATCH && !memchr(wishes, WISH_TOGGLE, MODEL_FLAGS) &&
	    !memchr(wishes, WISH_DELETE, MODEL_FLAGS))
		return change_one_by_one(recorder, wishes, changed);
	require_ok(flagstore_batch_begin(recorder->store, &batch));
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		if (wishes[i] == WISH_TOGGLE)
			require_ok(flagstore_batch_toggle(batch, recorder->keys[i]));
		else if (wishes[i] == WISH_DELETE)
			require_ok(flagstore_batch_delete(batch, recorder->keys[i]));
		else if (wishes[i] != WISH_NOTHING)
			require_ok(flagstore_batch_set(batch, recorder->keys[i], wishes[i] == WISH_TRUE));
	}
	result = flagstore_batch_commit(batch, &count);
	if (result)
		flagstore_batch_abort(batch);
	*changed = (uint32_t)count;
	return result;
}

static int store_snapshot(struct recorder *recorder, struct flagstore_flag flags[MODEL_FLAGS])
{
	const char *keys[MODEL_FLAGS];

	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		keys[i] = recorder->keys[i];
	if (recorder->fault != FAULT_TORN_SNAPSHOT)
		return flagstore_snapshot(recorder->store, keys, NULL, MODEL_FLAGS, flags);
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		(void)flagstore_lookup(recorder->store, keys[i], &flags[i]);
		sched_yield();
	}
	return FLAGSTORE_OK;
}

/* ------------------------------------------------------------------------------------------------- operations */

static void record_get(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_GET, .flag = (uint8_t)flag});
	bool value = store_get(recorder, flag);

	event->answer = value;
	end(event, FLAGSTORE_OK);
}

static void record_handle_get(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_HANDLE_GET, .flag = (uint8_t)flag});
	bool value = flagstore_handle_get(recorder->handles[flag]);

	event->answer = value;
	end(event, FLAGSTORE_OK);
}

/* Each flag is read for itself: as many reads as flags, that all began before the call and ended after it. */
static void record_get_many(struct recorder *recorder, unsigned flag)
{
	struct event *events[MODEL_FLAGS];
	const char *keys[MODEL_FLAGS];
	bool values[MODEL_FLAGS];

	(void)flag;
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		keys[i] = recorder->keys[i];
		events[i] = begin(recorder, &(struct event){.act = ACT_GET_MANY, .flag = (uint8_t)i});
	}
	flagstore_get_many(recorder->store, keys, NULL, MODEL_FLAGS, values);
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		events[i]->answer = values[i];
		end(events[i], FLAGSTORE_OK);
	}
}

static void record_lookup(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_LOOKUP, .flag = (uint8_t)flag});
	struct flagstore_flag found;
	int result = flagstore_lookup(recorder->store, recorder->keys[flag], &found);

	event->sights[flag] = sight_of(&found);
	end(event, result);
	require_int(result == FLAGSTORE_OK, found.exists);
	if (!recorder->whole)
		recorder->seen[flag] = event->sights[flag];
}

static void record_set(struct recorder *recorder, unsigned flag)
{
	bool value = chance(recorder, 2);
	struct event *event = begin(recorder, &(struct event){.act = ACT_SET, .flag = (uint8_t)flag, .desired = value});
	int result = flagstore_set(recorder->store, recorder->keys[flag], value);

	end(event, result);
	require_ok(result);
}

static void record_set_if_absent(struct recorder *recorder, unsigned flag)
{
	bool value = chance(recorder, 2), inserted = false;
	struct event asked = {.act = ACT_SET_IF_ABSENT, .flag = (uint8_t)flag, .desired = value};
	struct event *event = begin(recorder, &asked);
	int result = flagstore_set_if_absent(recorder->store, recorder->keys[flag], value, &inserted);

	event->answer = inserted;
	end(event, result);
	require_ok(result);
}

static void record_toggle(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_TOGGLE, .flag = (uint8_t)flag});
	bool value = false;
	int result = store_toggle(recorder, flag, &value);

	event->answer = result == FLAGSTORE_OK && value;
	end(event, result);
	require_result_of(result);
}

static void record_compare(struct recorder *recorder, unsigned flag)
{
	bool expected = chance(recorder, 2), desired = chance(recorder, 4) ? expected : !expected;
	struct event asked = {.act = ACT_COMPARE, .flag = (uint8_t)flag, .expected = expected, .desired = desired};
	struct event *event = begin(recorder, &asked);
	int result = flagstore_compare_and_set(recorder->store, recorder->keys[flag], expected, desired);

	end(event, result);
	require_result_of(result);
}

static void record_compare_version(struct recorder *recorder, unsigned flag)
{
	struct sight seen = recorder->seen[flag];
	struct flagstore_flag expected = {.exists = seen.exists, .value = seen.value, .version = seen.version};
	bool desired = chance(recorder, 2);
	struct event asked = {.act = ACT_COMPARE_VERSION, .flag = (uint8_t)flag, .desired = desired}, *event;
	int result;

	asked.sights[flag] = seen;
	event = begin(recorder, &asked);
	result = flagstore_compare_and_set_version(recorder->store, recorder->keys[flag], &expected, desired);
	end(event, result);
	require_result_of(result);
}

static void record_delete(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_DELETE, .flag = (uint8_t)flag});
	int result = flagstore_delete(recorder->store, recorder->keys[flag]);

	end(event, result);
	require_result_of(result);
}

static void record_batch(struct recorder *recorder, unsigned flag)
{
	/* Deletes are rare, as each makes toggles and deletes fail until somebody inserts the flag again. */
	static const uint8_t wishes[] = {WISH_FALSE,  WISH_FALSE,  WISH_TRUE,   WISH_TRUE,
	                                 WISH_TOGGLE, WISH_DELETE, WISH_NOTHING};
	bool sets_alone = chance(recorder, 2);
	struct event asked = {.act = ACT_BATCH}, *event;
	uint32_t changed = 0;
	int result;

	(void)flag;
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		asked.wishes[i] = wishes[recorder_pick(recorder, sets_alone ? 4 : sizeof wishes)];
	event = begin(recorder, &asked);
	result = store_batch(recorder, asked.wishes, &changed);
	event->changed = result ? 0 : changed;
	end(event, result);
	require_result_of(result);
}

static void record_snapshot(struct recorder *recorder, unsigned flag)
{
	struct event *event = begin(recorder, &(struct event){.act = ACT_SNAPSHOT});
	struct flagstore_flag found[MODEL_FLAGS];
	int result = store_snapshot(recorder, found);

	(void)flag;
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		event->sights[i] = sight_of(&found[i]);
	end(event, result);
	require_ok(result);
	memcpy(recorder->seen, event->sights, sizeof recorder->seen);
}

/* How often each is done, out of the sum: with flags that are judged apart, and with those that are judged as a whole.
 */
static const struct {
	void (*record)(struct recorder *recorder, unsigned flag);
	unsigned apart, whole;
} choices[] = {
	{record_get, 20, 6},    {record_handle_get, 14, 3}, {record_get_many, 4, 1},
	{record_lookup, 14, 4}, {record_set, 16, 0},        {record_set_if_absent, 8, 8},
	{record_toggle, 8, 12}, {record_compare, 8, 8},     {record_compare_version, 10, 8},
	{record_delete, 5, 5},  {record_batch, 2, 20},      {record_snapshot, 2, 25},
};

enum { CHOICES = sizeof choices / sizeof *choices };

static unsigned weight_of(const struct recorder *recorder, unsigned choice)
{
	return recorder->whole ? choices[choice].whole : choices[choice].apart;
}

void recorder_act(struct recorder *recorder)
{
	unsigned sum = 0, choice = 0, left;

	/* What a death leaves half done is a batch or what recorder_fill() does; of the rest it finds either nothing or all
	 * done. */
	if (recorder->dying && chance(recorder, 2)) {
		record_batch(recorder, 0);
		return;
	}
	for (unsigned i = 0; i < CHOICES; i++)
		sum += weight_of(recorder, i);
	for (left = recorder_pick(recorder, sum); left >= weight_of(recorder, choice); choice++)
		left -= weight_of(recorder, choice);
	choices[choice].record(recorder, recorder_pick(recorder, MODEL_FLAGS));
}

void recorder_look(struct recorder *recorder)
{
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		record_lookup(recorder, i);
}

void recorder_fill(struct recorder *recorder)
{
	enum { FILLERS = 400 };
	unsigned i = recorder_pick(recorder, FILLERS);
	char key[KEY_ROOM];
	int result;

	/* A quarter of the keys are too long for their slot. */
	snprintf(key, sizeof key, "filler.%u.%u%s", recorder->who, i, i % 4 ? "" : ".0123456789.0123456789.0123456789");
	if (recorder_pick(recorder, 4)) {
		require_ok(flagstore_set(recorder->store, key, true));
		return;
	}
	result = flagstore_delete(recorder->store, key);
	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTFOUND);
}

void recorder_open(struct recorder *recorder, flagstore *store, struct log *log, uint8_t who, uint64_t random)
{
	*recorder = (struct recorder){.store = store, .log = log, .who = who, .random = random};
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		key_of(recorder->keys[i], "flag", i);
		require_ok(flagstore_handle_open(store, recorder->keys[i], &recorder->handles[i]));
	}
}

void recorder_close(struct recorder *recorder)
{
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		flagstore_handle_close(recorder->handles[i]);
}

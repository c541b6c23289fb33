/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * writer.c: the process that changes flags in all ways until it is killed. Before each call the ledger knows what is to
 * be, behind it what has been acknowledged; then the flag is looked up, and must be so.
 *
 * Own flags rise and fall like a tide: mostly inserts until most of a part of them, up to a half, are there, then mostly deletes until
 * hardly any is, then another part of another size. So buckets fill, grow, split, and are rebuilt for the slots of dead flags, again and
 * again. */
#include "writer.h"

#include <flagstore.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditor.h"
#include "clock.h"
#include "failure.h"

enum {
	NEIGHBOURS = 64, /* fewer than the least number of own flags */
};

struct writer {
	flagstore *store;
	struct ledger *ledger;
	struct ledger_post *post;
	uint32_t number;
	uint64_t random;
	struct stopwatch watch;
	enum window window; /* when the call began */
	uint32_t there; /* own flags that exist */
	bool rising;
	uint32_t first, extent; /* the part of the own flags that is inserted while rising */
};

/* xorshift64* (Vigna 2014); the state must not be 0. */
static uint32_t pick(struct writer *writer, uint32_t below)
{
	writer->random ^= writer->random >> 12;
	writer->random ^= writer->random << 25;
	writer->random ^= writer->random >> 27;
	return (uint32_t)((writer->random * UINT64_C(2685821657736338717)) >> 32) % below;
}

/* --------------------------------------------------------------------------------------------- around a call */

static enum window window_now(const struct writer *writer)
{
	return atomic_load_explicit(&writer->ledger->away, memory_order_relaxed) ? WINDOW_DEAD : WINDOW_ALIVE;
}

static void begin(struct writer *writer)
{
	int64_t took;

	writer->window = window_now(writer);
	ledger_begin(writer->post);
	/* What lies behind is of no interest, but for the processor having been taken away. */
	stopwatch_lap(&writer->watch, &took);
}

/* Returns whether the call has made its change. A full segment and a lock that somebody keeps are no faults; what would be one of the
 * segment or of this program ends the process. A write of an own flag can't meet another state than the one that was
 * acknowledged. */
static bool end(struct writer *writer, int error)
{
	struct ledger_post *post = writer->post;
	int64_t took;
	bool interrupted = stopwatch_lap(&writer->watch, &took);

	timing_add(&post->writes[writer->window == WINDOW_DEAD ? WINDOW_DEAD : window_now(writer)], took, interrupted);
	if (error == FLAGSTORE_OK) {
		ledger_acknowledge(writer->ledger, writer->number);
		return true;
	}
	ledger_forget(post);
	if (error == FLAGSTORE_ENOTFOUND || error == FLAGSTORE_ECONFLICT) {
		if (post->plan.deed != DEED_SHARING)
			ledger_count(&post->finds.wrong, 1);
	} else if (error == FLAGSTORE_ENOSPACE || error == FLAGSTORE_EFULL || error == FLAGSTORE_ETIMEDOUT) {
		ledger_count(&post->refused, 1);
	} else {
		_exit(failure_of_library(error));
	}
	return false;
}

static void expect(struct writer *writer, bool right)
{
	if (!right)
		ledger_count(&writer->post->finds.wrong, 1);
}

/* Looks whether an own flag is what the ledger says, in the way that a reader does. */
static void look_back(struct writer *writer, uint32_t word)
{
	int32_t known = ledger_value(writer->ledger, writer->number, word), seen = LEDGER_MISSING;
	struct flagstore_flag flag;

	if (flagstore_lookup(writer->store, ledger_key(writer->ledger, writer->number, word), &flag) == FLAGSTORE_OK)
		seen = flag.value ? LEDGER_TRUE : LEDGER_FALSE;
	if (seen == known)
		return;
	ledger_count(&writer->post->finds.lost, 1);
	ledger_store(writer->ledger, writer->number, word, seen);
}

static int32_t state_of(bool value)
{
	return value ? LEDGER_TRUE : LEDGER_FALSE;
}

/* ------------------------------------------------------------------------------------------------ own flags */

static void plan_one(struct writer *writer, enum deed deed, uint32_t word, int32_t after)
{
	ledger_plan(writer->post, deed);
	ledger_change(writer->post, word, after);
	begin(writer);
}

static void insert_flag(struct writer *writer, uint32_t word, const char *key)
{
	static const struct flagstore_flag missing;
	bool value = pick(writer, 2), inserted = true;
	int error;

	switch (pick(writer, 3)) {
	case 0:
		plan_one(writer, DEED_INSERTING, word, state_of(value));
		error = flagstore_set(writer->store, key, value);
		break;
	case 1:
		plan_one(writer, DEED_MARKING, word, state_of(value));
		error = flagstore_set_if_absent(writer->store, key, value, &inserted);
		break;
	default:
		plan_one(writer, DEED_COMPARING, word, state_of(value));
		error = flagstore_compare_and_set_version(writer->store, key, &missing, value);
		break;
	}
	if (!end(writer, error))
		return;
	writer->there++;
	expect(writer, inserted);
}

static void delete_flag(struct writer *writer, uint32_t word, const char *key)
{
	plan_one(writer, DEED_DELETING, word, LEDGER_MISSING);
	if (end(writer, flagstore_delete(writer->store, key)))
		writer->there--;
}

static void flip_flag(struct writer *writer, uint32_t word, const char *key, bool value)
{
	struct flagstore_flag now;
	bool result = !value;
	int error;

	switch (pick(writer, 4)) {
	case 0:
		plan_one(writer, DEED_SETTING, word, state_of(!value));
		error = flagstore_set(writer->store, key, !value);
		break;
	case 1:
		plan_one(writer, DEED_TOGGLING, word, state_of(!value));
		error = flagstore_toggle(writer->store, key, &result);
		break;
	case 2:
		plan_one(writer, DEED_COMPARING, word, state_of(!value));
		error = flagstore_compare_and_set(writer->store, key, value, !value);
		break;
	default:
		if (flagstore_lookup(writer->store, key, &now)) {
			look_back(writer, word);
			return;
		}
		plan_one(writer, DEED_COMPARING, word, state_of(!value));
		error = flagstore_compare_and_set_version(writer->store, key, &now, !value);
		break;
	}
	if (end(writer, error))
		expect(writer, result == !value);
}

static void rise(struct writer *writer)
{
	uint32_t flags = writer->ledger->flags;

	writer->rising = true;
	writer->first = pick(writer, flags);
	writer->extent = flags / 16 + pick(writer, flags / 2 - flags / 16);
}

static void turn_tide(struct writer *writer)
{
	if (writer->rising && writer->there > writer->extent - writer->extent / 8)
		writer->rising = false;
	else if (!writer->rising && writer->there <= writer->ledger->flags / 64)
		rise(writer);
}

static uint32_t pick_own(struct writer *writer)
{
	uint32_t flags = writer->ledger->flags;

	return writer->rising ? (writer->first + pick(writer, writer->extent)) % flags : pick(writer, flags);
}

static void write_own(struct writer *writer)
{
	uint32_t word = pick_own(writer);
	int32_t state = ledger_value(writer->ledger, writer->number, word);
	const char *key = ledger_key(writer->ledger, writer->number, word);
	bool with_tide = pick(writer, 8) != 0;

	if (state == LEDGER_MISSING && writer->rising == with_tide)
		insert_flag(writer, word, key);
	else if (state != LEDGER_MISSING && writer->rising != with_tide)
		delete_flag(writer, word, key);
	else if (state != LEDGER_MISSING)
		flip_flag(writer, word, key, state == LEDGER_TRUE);
	else
		return;
	look_back(writer, word);
	turn_tide(writer);
}

/* ------------------------------------------------------------------------------------------------- batches */

static flagstore_batch *begin_batch(struct writer *writer)
{
	flagstore_batch *batch;
	int error = flagstore_batch_begin(writer->store, &batch);

	if (error)
		_exit(failure_of_library(error));
	return batch;
}

static int commit(struct writer *writer, flagstore_batch *batch)
{
	int error;

	begin(writer);
	error = flagstore_batch_commit(batch, NULL);
	end(writer, error);
	if (error)
		flagstore_batch_abort(batch);
	return error;
}

/* Every flag in it changes, so that old and new can be told apart. */
static void add_to_batch(struct writer *writer, flagstore_batch *batch, uint32_t word)
{
	int32_t state = ledger_value(writer->ledger, writer->number, word), after;
	const char *key = ledger_key(writer->ledger, writer->number, word);
	bool turned = state != LEDGER_TRUE;
	int error;

	if (state == LEDGER_MISSING) {
		after = state_of(pick(writer, 2));
		error = flagstore_batch_set(batch, key, after == LEDGER_TRUE);
	} else if (!writer->rising || pick(writer, 4) == 0) {
		after = LEDGER_MISSING;
		error = flagstore_batch_delete(batch, key);
	} else {
		after = state_of(turned);
		error = pick(writer, 2) ? flagstore_batch_toggle(batch, key) : flagstore_batch_set(batch, key, turned);
	}
	if (error)
		_exit(failure_of_library(error));
	ledger_change(writer->post, word, after);
}

static uint32_t count_there(const struct writer *writer, const struct ledger_plan *plan)
{
	uint32_t there = 0;

	for (uint32_t i = 0; i < plan->count; i++)
		there += ledger_value(writer->ledger, writer->number, plan->changes[i].word) != LEDGER_MISSING;
	return there;
}

/* Neighbours, whose keys are strewn over all shards. While the tide falls only some of the missing ones, or it would never be low. */
static void fill_batch(struct writer *writer, flagstore_batch *batch)
{
	uint32_t first = pick_own(writer), count = 2 + pick(writer, LEDGER_PLAN_MAX - 1);

	for (uint32_t i = 0; i < NEIGHBOURS && writer->post->plan.count < count; i++) {
		uint32_t word = (first + i) % writer->ledger->flags;

		if (writer->rising || ledger_value(writer->ledger, writer->number, word) != LEDGER_MISSING || pick(writer, 64) == 0)
			add_to_batch(writer, batch, word);
	}
}

static void write_batch(struct writer *writer)
{
	const struct ledger_plan *plan = &writer->post->plan;
	flagstore_batch *batch = begin_batch(writer);
	uint32_t there;

	ledger_plan(writer->post, DEED_BATCHING);
	fill_batch(writer, batch);
	if (plan->count == 0) {
		flagstore_batch_abort(batch);
		return;
	}
	there = count_there(writer, plan);
	if (!commit(writer, batch))
		writer->there += count_there(writer, plan) - there;
	for (uint32_t i = 0; i < plan->count; i++)
		look_back(writer, plan->changes[i].word);
	turn_tide(writer);
}

/* --------------------------------------------------------------------------------------------- shared flags */

static void change_by(struct writer *writer, uint32_t word, int32_t difference)
{
	ledger_change(writer->post, word, ledger_value(writer->ledger, writer->number, word) + difference);
}

static void turn_common(struct writer *writer)
{
	uint32_t word = writer->ledger->flags + pick(writer, LEDGER_COMMON);
	const char *key = ledger_key(writer->ledger, 0, word);
	struct flagstore_flag now;
	int error;

	ledger_plan(writer->post, DEED_SHARING);
	change_by(writer, word, 1);
	switch (pick(writer, 3)) {
	case 0:
		begin(writer);
		error = flagstore_toggle(writer->store, key, NULL);
		break;
	case 1:
		now.value = flagstore_get(writer->store, key);
		begin(writer);
		error = flagstore_compare_and_set(writer->store, key, now.value, !now.value);
		break;
	default:
		error = flagstore_lookup(writer->store, key, &now);
		begin(writer);
		if (!error)
			error = flagstore_compare_and_set_version(writer->store, key, &now, !now.value);
		break;
	}
	end(writer, error);
	/* Nobody deletes it. */
	expect(writer, error != FLAGSTORE_ENOTFOUND);
}

static void turn_several(struct writer *writer)
{
	uint32_t first = pick(writer, LEDGER_COMMON), count = 2 + pick(writer, 4);
	flagstore_batch *batch = begin_batch(writer);

	ledger_plan(writer->post, DEED_SHARING);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t word = writer->ledger->flags + (first + i) % LEDGER_COMMON;

		if (flagstore_batch_toggle(batch, ledger_key(writer->ledger, 0, word)))
			failure_memory();
		change_by(writer, word, 1);
	}
	/* Nobody deletes any. */
	expect(writer, commit(writer, batch) != FLAGSTORE_ENOTFOUND);
}

/* Of any number of writers one inserts a mark, and one deletes it. */
static void change_mark(struct writer *writer)
{
	uint32_t word = writer->ledger->flags + LEDGER_COMMON + pick(writer, LEDGER_MARKS);
	const char *key = ledger_key(writer->ledger, 0, word);
	bool inserted = false;
	int error;

	ledger_plan(writer->post, DEED_SHARING);
	if (pick(writer, 2)) {
		change_by(writer, word, -1);
		begin(writer);
		end(writer, flagstore_delete(writer->store, key));
		return;
	}
	change_by(writer, word, 1);
	begin(writer);
	error = flagstore_set_if_absent(writer->store, key, pick(writer, 2), &inserted);
	end(writer, !error && !inserted ? FLAGSTORE_ECONFLICT : error);
}

static int add_group_change(flagstore_batch *batch, const char *key, uint32_t change)
{
	switch (change) {
	case 0:
	case 1:
		return flagstore_batch_set(batch, key, change);
	case 2:
		return flagstore_batch_toggle(batch, key);
	default:
		return flagstore_batch_delete(batch, key);
	}
}

/* As a whole: others may have deleted it meanwhile, as a whole. */
static void change_group(struct writer *writer)
{
	uint32_t group = pick(writer, LEDGER_GROUPS), change = pick(writer, 4);
	flagstore_batch *batch = begin_batch(writer);

	ledger_plan(writer->post, DEED_SHARING);
	for (uint32_t i = 0; i < LEDGER_GROUP; i++) {
		if (add_group_change(batch, ledger_group_key(writer->ledger, group, i), change))
			failure_memory();
	}
	commit(writer, batch);
}

/* -------------------------------------------------------------------------------------------------- process */

static void write_something(struct writer *writer)
{
	switch (pick(writer, 32)) {
	case 0:
		turn_several(writer);
		break;
	case 1:
		change_group(writer);
		break;
	case 2:
	case 3:
		turn_common(writer);
		break;
	case 4:
	case 5:
		change_mark(writer);
		break;
	case 6:
	case 7:
	case 8:
		write_batch(writer);
		break;
	default:
		write_own(writer);
		break;
	}
}

static void work(struct writer *writer)
{
	uint32_t warm = atomic_load_explicit(&writer->post->warm, memory_order_relaxed);

	write_something(writer);
	if (warm < LEDGER_WARM)
		atomic_store_explicit(&writer->post->warm, warm + 1, memory_order_relaxed);
}

static void stand_still(struct writer *writer)
{
	struct ledger *ledger = writer->ledger;

	atomic_store_explicit(&writer->post->parked, atomic_load_explicit(&ledger->pause, memory_order_relaxed),
	                      memory_order_release);
	while (muster_phase(&ledger->muster) == PHASE_PAUSE)
		clock_sleep_until(clock_now() + MILLISECOND / 4);
}

static void do_now(struct writer *writer, enum deed deed)
{
	atomic_store_explicit(&writer->post->doing, (uint32_t)deed, memory_order_relaxed);
}

/* Whoever was killed at this post is replaced from here on. */
static void begin_work(struct writer *writer)
{
	struct ledger_post *post = writer->post;
	int64_t killed_ns = atomic_load_explicit(&post->killed_ns, memory_order_relaxed);

	if (killed_ns)
		histogram_add(&post->away, (uint64_t)(clock_now() - killed_ns));
	atomic_store_explicit(&post->killed_ns, 0, memory_order_relaxed);
	atomic_fetch_and_explicit(&writer->ledger->away, ~(UINT64_C(1) << writer->number), memory_order_relaxed);
	do_now(writer, DEED_BETWEEN);
	stopwatch_start(&writer->watch);
}

static int take_over(struct writer *writer)
{
	int error;

	do_now(writer, DEED_AUDITING);
	error = auditor_settle(writer->ledger, writer->number, writer->store, &writer->post->finds);
	if (error)
		return error;
	auditor_compare_recent(writer->ledger, writer->number, writer->store, &writer->post->finds);
	writer->there = ledger_there(writer->ledger, writer->number);
	if (pick(writer, 2))
		rise(writer);
	turn_tide(writer);
	return FLAGSTORE_OK;
}

int writer_work(const char *name, struct ledger *ledger, uint32_t post)
{
	struct writer writer = {.ledger = ledger, .post = &ledger->post[post], .number = post};
	int error = flagstore_attach(name, NULL, &writer.store);

	arc4random_buf(&writer.random, sizeof writer.random);
	writer.random |= 1;
	if (!error)
		error = take_over(&writer);
	if (error) {
		error = failure_of_library(error);
		flagstore_close(writer.store);
		return error;
	}
	begin_work(&writer);
	for (;;) {
		enum phase phase = muster_phase(&ledger->muster);

		if (phase == PHASE_STOP)
			break;
		if (phase == PHASE_PAUSE)
			stand_still(&writer);
		else
			work(&writer);
	}
	flagstore_close(writer.store);
	return STATUS_DONE;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * events.c: reading the event rings. Each is read without a lock while its thread writes on; what was overwritten meanwhile is counted as
 * lost. A reader collects what is new in all rings, puts it in the order of time, and hands it out; then it collects again. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "event.h"
#include "sigbus.h"
#include "table.h"
#include "wait.h"

#define LOOK_AGAIN_NS 5000000

struct record {
	int64_t time_ns;
	int64_t order_ns; /* the latest time in the ring up to here: times of changes are coarse, and clocks are set back */
	uint64_t number, what, who, slot, identity, before, after;
	uint32_t seat;
};

struct records {
	struct record *all;
	size_t count, room;
};

struct flagstore_events {
	const flagstore *store;
	uint64_t *next; /* by seat: the number of the first event that was not read yet */
	struct records records;
	size_t given;   /* of the records */
	uint64_t lost;
};

/* ---------------------------------------------------------------------------------------------------- rings */

enum reading { READ, UNDER_WAY, OVERWRITTEN };

static enum reading read_record(const struct fs_seat *seat, uint64_t number, struct record *record)
{
	const struct fs_event *event = &seat->events[number % FS_SEAT_EVENTS];
	/* acquire: pairs with the release with which the record was finished */
	uint64_t stamp = atomic_load_explicit(&event->stamp, memory_order_acquire);

	if (stamp != number * 2 + 2)
		return stamp == number * 2 + 1 ? UNDER_WAY : OVERWRITTEN;
	record->number = number;
	record->time_ns = atomic_load_explicit(&event->time_ns, memory_order_relaxed);
	record->what = atomic_load_explicit(&event->what, memory_order_relaxed);
	record->who = atomic_load_explicit(&event->who, memory_order_relaxed);
	record->slot = atomic_load_explicit(&event->slot, memory_order_relaxed);
	record->identity = atomic_load_explicit(&event->identity, memory_order_relaxed);
	record->before = atomic_load_explicit(&event->before, memory_order_relaxed);
	record->after = atomic_load_explicit(&event->after, memory_order_relaxed);
	/* pairs with the fence in fs_event_write(): who has read a newer field sees a newer stamp */
	fs_acquire_fence();
	return atomic_load_explicit(&event->stamp, memory_order_relaxed) == stamp ? READ : OVERWRITTEN;
}

static bool make_place(struct records *records)
{
	size_t room = records->room ? records->room * 2 : 256;
	struct record *all;

	if (records->count < records->room)
		return true;
	all = realloc(records->all, room * sizeof *all);
	if (!all)
		return false;
	records->all = all;
	records->room = room;
	return true;
}

/* Adds what the seat's ring has from event *next on. The count of a ring is untrusted: a ring is never read more than once round. */
static bool read_ring(const struct fs_seat *seat, uint32_t index, uint64_t *next, uint64_t *lost, struct records *records)
{
	uint64_t end = atomic_load_explicit(&seat->next, memory_order_acquire), from = *next;
	int64_t order_ns = INT64_MIN;

	if (from > end || end - from > FS_SEAT_EVENTS) {
		uint64_t oldest = end > FS_SEAT_EVENTS ? end - FS_SEAT_EVENTS : 0;

		*lost += from <= end ? oldest - from : 0;
		from = oldest;
	}
	for (; from < end; from++) {
		struct record *record;

		if (!make_place(records))
			return false;
		record = &records->all[records->count];
		if (read_record(seat, from, record) != READ) {
			(*lost)++;
			continue;
		}
		order_ns = record->time_ns > order_ns ? record->time_ns : order_ns;
		record->order_ns = order_ns;
		record->seat = index;
		records->count++;
	}
	*next = end;
	return true;
}

static int compare_times(const void *left, const void *right)
{
	const struct record *a = left, *b = right;

	if (a->order_ns != b->order_ns)
		return a->order_ns < b->order_ns ? -1 : 1;
	if (a->seat != b->seat)
		return a->seat < b->seat ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

/* ----------------------------------------------------------------------------------------------- what it says */

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_event_name(int kind)
{
	switch (kind) {
		FLAGSTORE_EVENTS(NAME_OF)
	default:
		return "unknown";
	}
}

const char *flagstore_operation_name(int operation)
{
	switch (operation) {
		FLAGSTORE_OPERATIONS(NAME_OF)
	default:
		return "unknown";
	}
}

static struct flagstore_flag flag_of(uint64_t word)
{
	if (!fs_word_holds(word))
		return (struct flagstore_flag){.exists = false};
	return (struct flagstore_flag){
		.exists = true,
		.value = fs_word_value(word),
		.version = fs_word_version(word),
		.changes = fs_word_changes(word),
	};
}

static void describe(const struct record *record, struct flagstore_event *event)
{
	*event = (struct flagstore_event){
		.kind = (int)(record->what & 0xff),
		.time_ns = record->time_ns,
		.seat = record->seat,
		.number = record->number,
		.writer = fs_mark_worker(record->who),
		.thread = fs_mark_thread(record->who),
		.shard = (uint32_t)(record->what >> FS_EVENT_SHARD_SHIFT),
	};
	switch (event->kind) {
	case FLAGSTORE_CHANGE:
		event->operation = (int)(record->what >> 8 & 0xff);
		event->batch = record->what >> FS_EVENT_BATCH_BIT & 1;
		event->unlocked = record->what >> FS_EVENT_UNLOCKED_BIT & 1;
		event->offset = (fs_line)record->slot * (uint64_t)FS_LINE;
		event->before = flag_of(record->before);
		event->after = flag_of(record->after);
		break;
	case FLAGSTORE_GROWTH:
	case FLAGSTORE_SPLIT:
	case FLAGSTORE_DOUBLING:
		event->offset = (fs_line)record->slot * (uint64_t)FS_LINE;
		event->duration_ns = record->identity;
		break;
	case FLAGSTORE_CONFLICT:
		event->offset = (fs_line)record->before * (uint64_t)FS_LINE;
		event->other_writer = fs_mark_worker(record->slot);
		event->other_thread = fs_mark_thread(record->slot);
		break;
	case FLAGSTORE_WAIT:
	case FLAGSTORE_DEATH:
	case FLAGSTORE_RECOVERY:
		event->duration_ns = record->identity;
		event->other_writer = fs_mark_worker(record->slot);
		event->other_thread = fs_mark_thread(record->slot);
		break;
	case FLAGSTORE_MISMATCH:
	case FLAGSTORE_RECONCILIATION:
		event->offset = record->slot;
		event->duration_ns = record->identity;
		break;
	case FLAGSTORE_GUARD:
	case FLAGSTORE_BREAKER:
		event->from = (int)(record->before & 0xff);
		event->to = (int)(record->after & 0xff);
		break;
	default:
		break;
	}
}

/* --------------------------------------------------------------------------------------------------- reader */

int flagstore_events_open(const flagstore *store, flagstore_events **events)
{
	flagstore_events *made = calloc(1, sizeof *made);

	if (made)
		made->next = calloc(store->constants.seats, sizeof *made->next);
	if (!made || !made->next) {
		free(made);
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to read the events of segment %s", store->path);
	}
	made->store = store;
	*events = made;
	return FLAGSTORE_OK;
}

/* What is new since the last time, in the order of time. */
static int collect(flagstore_events *events)
{
	const struct fs_seat *seat;

	events->records.count = events->given = 0;
	for (uint32_t i = 0; (seat = fs_seat_at(events->store, i)); i++) {
		bool first = !events->next[i];
		uint64_t lost = 0;

		if (!read_ring(seat, i, &events->next[i], &lost, &events->records))
			return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to read the events of segment %s", events->store->path);
		/* What had been overwritten before the reader was opened is nothing that it lost. */
		events->lost += first ? 0 : lost;
	}
	qsort(events->records.all, events->records.count, sizeof *events->records.all, compare_times);
	return fs_unless_lost(events->store, FLAGSTORE_OK);
}

int flagstore_events_next(flagstore_events *events, struct flagstore_event *event, int timeout_ms)
{
	struct fs_patience patience = fs_patience(timeout_ms);
	struct timespec sleep;

	while (events->given == events->records.count) {
		int error = collect(events);

		if (error)
			return error;
		if (events->records.count)
			break;
		if (!fs_next_sleep(&patience, LOOK_AGAIN_NS, &sleep))
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: nothing happened within %d ms", events->store->path, timeout_ms);
		nanosleep(&sleep, NULL);
	}
	describe(&events->records.all[events->given++], event);
	return FLAGSTORE_OK;
}

uint64_t flagstore_events_lost(const flagstore_events *events)
{
	return events->lost;
}

void flagstore_events_close(flagstore_events *events)
{
	if (!events)
		return;
	free(events->records.all);
	free(events->next);
	free(events);
}

/* -------------------------------------------------------------------------------------------------- history */

/* The slot's identity covers hash and incarnation; so a record that has the one that this key would have had is this key's. */
static bool is_change_of(const struct record *record, uint64_t hash)
{
	return (record->what & 0xff) == FLAGSTORE_CHANGE && record->identity == fs_identity(hash, record->after);
}

/* By the words, which have the exact order of the changes of one life, and of the lives. */
static int compare_words(const void *left, const void *right)
{
	const struct record *a = left, *b = right;
	uint64_t first = fs_word_version(a->after), second = fs_word_version(b->after);

	if (first != second)
		return first < second ? -1 : 1;
	return compare_times(left, right);
}

int flagstore_history_n(const flagstore *store, const char *key, size_t length, struct flagstore_event *events, size_t room, size_t *count)
{
	struct records records = {NULL, 0, 0};
	const struct fs_seat *seat;
	struct fs_key sought;
	size_t kept = 0, first;

	if (!fs_key_make(store, key, length, &sought))
		return fs_fail(FLAGSTORE_EKEY, "there can't be a flag with a key of %zu bytes that has a history", length);
	for (uint32_t i = 0; (seat = fs_seat_at(store, i)); i++) {
		uint64_t next = 0, lost = 0;

		records.count = kept;
		if (!read_ring(seat, i, &next, &lost, &records)) {
			free(records.all);
			return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for the history of a flag of segment %s", store->path);
		}
		for (size_t j = kept; j < records.count; j++)
			if (is_change_of(&records.all[j], sought.hash))
				records.all[kept++] = records.all[j];
	}
	qsort(records.all, kept, sizeof *records.all, compare_words);
	first = kept > room ? kept - room : 0;
	for (size_t i = first; i < kept; i++)
		describe(&records.all[i], &events[i - first]);
	free(records.all);
	*count = kept;
	return fs_unless_lost(store, FLAGSTORE_OK);
}

int flagstore_history(const flagstore *store, const char *key, struct flagstore_event *events, size_t room, size_t *count)
{
	return flagstore_history_n(store, key, strlen(key), events, room, count);
}

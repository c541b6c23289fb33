/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * model.c: looks at a segment, and what has changed between two of them. Counts are compared with those of the look before. Writers without
 * the lock that meet lose counts: one that went back has grown by nothing, and one that went below 0 is 0. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "census.h"
#include "failure.h"
#include "names.h"
#include "nanoseconds.h"
#include "source.h"

enum {
	EVENTS_A_POLL = 100000,   /* writers that are faster than this reader must not keep it for ever */
	CENSUS_EVERY = 50,        /* a count of all slots may follow when so many times its length have passed */
};

#define BLOCKED_NS INT64_C(1000000000)

/* How long damage that was seen is told of: writers that do not wait for each other meet now and then, and counts are looked at only when
 * nobody changes the shard. */
#define CORRUPT_NS INT64_C(3000000000)

struct seat_before {
	uint64_t events;     /* of its ring, at the last look */
	uint64_t other;      /* events since then that were seen, and are no changes */
	int64_t taken_ms;
	uint64_t locks, waits, waited_ns;
};

struct model {
	const flagstore *store;
	flagstore_events *events;
	struct names *names;
	struct flagstore_info info; /* as it was first: what never changes */
	int64_t looked_ns, census_ns;
	struct fs_census census;
	int64_t corrupt_until_ns;   /* and why */
	char corrupt_reason[sizeof((struct frame *)0)->reason];
	uint64_t growths, recoveries, conflicts;
	bool looked_before;
	bool counting;              /* events are of this interval, not of the time before the first look */
	struct source_shard *shards_before;
	struct seat_before *seats_before;
	uint64_t *shards_waited_ns;
	struct flagstore_worker *workers;
	size_t worker_count;
	struct flagstore_seat *seats;
	struct flagstore_conflict *conflict_records;
	struct model_event *ring;   /* the tail, before it is put in order */
	uint64_t ring_next;
	struct model_hot *hot;      /* what is counted in this interval, while the last frame is still shown */
	size_t hot_count;
	uint32_t *hot_index;        /* by hash: index + 1 in hot */
	uint64_t events_seen;
	struct frame frame;
};

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		failure_memory();
	return memory;
}

static uint64_t since(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : 0;
}

/* No shard has as many as would be seen then. */
static uint32_t at_least_0(uint32_t live)
{
	return live <= INT32_MAX ? live : 0;
}

/* ------------------------------------------------------------------------------------------------------ who */

static struct model_who who_is(struct model *model, uint32_t worker, pid_t thread)
{
	struct model_who who = {.worker = worker, .thread = thread};
	struct flagstore_worker asked;
	const struct flagstore_worker *found = NULL;

	for (size_t i = 0; i < model->worker_count && !found; i++)
		if (model->workers[i].id == worker)
			found = &model->workers[i];
	if (!found && worker != 0 && flagstore_worker(model->store, worker, &asked) == FLAGSTORE_OK)
		found = &asked;
	if (!found)
		return who;
	who.pid = found->pid;
	memcpy(who.command, found->command, sizeof who.command);
	return who;
}

static void list_workers(struct model *model)
{
	size_t room = model->info.workers_max, count = flagstore_workers(model->store, model->workers, room);

	model->worker_count = count < room ? count : room;
}

/* --------------------------------------------------------------------------------------------------- events */

enum {
	COUNTED = 4096, /* flags whose changes are counted in one interval */
	HOT_INDEX = 4 * COUNTED,
};

static struct model_hot *hot_of(struct model *model, uint32_t shard, uint64_t life)
{
	size_t place = (size_t)((life * UINT64_C(0x9e3779b97f4a7c15) ^ shard * UINT64_C(0xd6e8feb86659fd93)) >> 20) % HOT_INDEX;

	for (; model->hot_index[place]; place = (place + 1) % HOT_INDEX) {
		struct model_hot *hot = &model->hot[model->hot_index[place] - 1];

		if (hot->life == life && hot->shard == shard)
			return hot;
	}
	if (model->hot_count == COUNTED)
		return NULL;
	model->hot[model->hot_count] = (struct model_hot){.shard = shard, .life = life};
	model->hot_index[place] = (uint32_t)++model->hot_count;
	return &model->hot[model->hot_count - 1];
}

/* A flag counts its own changes, so those between the first and the last that were seen are known even when their events are lost. A
 * deleted flag has no count any more: its delete is one change more. */
static void count_change(struct model *model, const struct model_event *seen)
{
	const struct flagstore_event *event = &seen->event;
	struct model_hot *hot = hot_of(model, event->shard, source_life(event));
	uint32_t number;

	if (!hot)
		return;
	number = event->after.exists ? event->after.changes : event->before.changes + 1;
	if (hot->changes == 0)
		hot->first = hot->last = number;
	if (number < hot->first)
		hot->first = number;
	if (number >= hot->last) {
		hot->last = number;
		hot->event = *event;
		hot->who = seen->who;
	}
	hot->changes = (uint64_t)(hot->last - hot->first) + 1;
	if (hot->key.length == 0)
		hot->key = seen->key;
}

static void take_event(struct model *model, const struct flagstore_event *event)
{
	struct model_event *seen = &model->ring[model->ring_next++ % MODEL_TAIL];

	seen->event = *event;
	seen->key.length = 0;
	seen->who = who_is(model, event->writer, event->thread);
	seen->other = who_is(model, event->other_writer, event->other_thread);
	if (event->kind == FLAGSTORE_CHANGE)
		names_find(model->names, event, &seen->key);
	if (!model->counting)
		return;
	model->events_seen++;
	if (event->kind == FLAGSTORE_CHANGE)
		count_change(model, seen);
	else if (event->seat < model->info.seats_max)
		model->seats_before[event->seat].other++;
	if (event->kind == FLAGSTORE_WAIT && event->shard < model->info.shards)
		model->shards_waited_ns[event->shard] += event->duration_ns;
}

static int read_events(struct model *model)
{
	struct flagstore_event event;
	int error = FLAGSTORE_OK;

	for (int i = 0; i < EVENTS_A_POLL && !error; i++) {
		error = flagstore_events_next(model->events, &event, 0);
		if (!error)
			take_event(model, &event);
	}
	return error == FLAGSTORE_ETIMEDOUT ? FLAGSTORE_OK : error;
}

/* The frame that was shown is over; counting for the next one begins with the first poll behind it. */
static void begin_interval(struct model *model)
{
	if (model->counting)
		return;
	model->hot_count = 0;
	model->events_seen = 0;
	memset(model->hot_index, 0, HOT_INDEX * sizeof *model->hot_index);
	memset(model->shards_waited_ns, 0, model->info.shards * sizeof *model->shards_waited_ns);
	for (uint32_t i = 0; i < model->info.seats_max; i++)
		model->seats_before[i].other = 0;
	model->counting = true;
}

int model_poll(struct model *model)
{
	begin_interval(model);
	list_workers(model);
	return read_events(model);
}

static int compare_hot(const void *left, const void *right)
{
	const struct model_hot *a = left, *b = right;

	return (a->changes < b->changes) - (a->changes > b->changes);
}

/* Lives are counted, for they are what events tell; but it is a key that is hot, also one that is deleted and inserted again and again. */
static void join_lives(struct frame *frame)
{
	size_t kept = 0;

	for (size_t i = 0; i < frame->hot_count; i++) {
		const struct model_hot *hot = &frame->hot[i];
		size_t same = 0;

		while (same < kept && (hot->key.length == 0 || frame->hot[same].key.length != hot->key.length ||
		                       memcmp(frame->hot[same].key.bytes, hot->key.bytes, hot->key.length) != 0))
			same++;
		if (same == kept) {
			frame->hot[kept++] = *hot;
			continue;
		}
		frame->hot[same].changes += hot->changes;
		if (hot->event.time_ns >= frame->hot[same].event.time_ns && hot->life > frame->hot[same].life) {
			frame->hot[same].life = hot->life;
			frame->hot[same].event = hot->event;
			frame->hot[same].who = hot->who;
		}
	}
	frame->hot_count = kept;
}

static void look_at_events(struct model *model)
{
	struct frame *frame = &model->frame;
	uint64_t first = model->ring_next > MODEL_TAIL ? model->ring_next - MODEL_TAIL : 0;

	qsort(model->hot, model->hot_count, sizeof *model->hot, compare_hot);
	frame->hot_count = model->hot_count < MODEL_HOT ? model->hot_count : MODEL_HOT;
	memcpy(frame->hot, model->hot, frame->hot_count * sizeof *frame->hot);
	names_complete(model->names, frame->hot, frame->hot_count);
	join_lives(frame);
	frame->events_seen = model->events_seen;
	frame->tail_count = 0;
	for (uint64_t i = first; i < model->ring_next; i++)
		frame->tail[frame->tail_count++] = model->ring[i % MODEL_TAIL];
}

/* ---------------------------------------------------------------------------------------- shards and threads */

static void look_at_shards(struct model *model)
{
	struct frame *frame = &model->frame;

	frame->flags = frame->growths = frame->recoveries = 0;
	frame->locks = frame->waits = 0;
	for (uint32_t i = 0; i < model->info.shards; i++) {
		struct source_shard *before = &model->shards_before[i], now;
		struct model_shard *shard = &frame->shards[i];

		source_shard(model->store, i, &now);
		*shard = (struct model_shard){
			.index = i,
			.locks = (double)since(now.locks, before->locks) / frame->seconds,
			.waits = (double)since(now.waits, before->waits) / frame->seconds,
			.waited_ns = model->shards_waited_ns[i],
			.live = at_least_0(now.live),
			.held = now.held,
			.orphaned = now.orphaned,
			.held_ns = now.held_ns,
		};
		if (now.held || now.orphaned)
			shard->holder = who_is(model, now.holder_worker, now.holder_thread);
		frame->flags += shard->live;
		frame->growths += now.growths;
		frame->recoveries += now.recoveries;
		frame->locks += shard->locks;
		frame->waits += shard->waits;
		*before = now;
	}
	frame->new_growths = since(frame->growths, model->growths);
	frame->new_recoveries = since(frame->recoveries, model->recoveries);
	model->growths = frame->growths;
	model->recoveries = frame->recoveries;
}

static double ring_changes(struct model *model, uint32_t seat)
{
	struct seat_before *before = &model->seats_before[seat];
	uint64_t now = before->events, written;

	if (!source_seat_events(model->store, seat, &now))
		return 0;
	written = since(now, before->events);
	before->events = now;
	model->frame.events_written += written;
	return (double)(written > before->other ? written - before->other : 0) / model->frame.seconds;
}

static void add_thread(struct model *model, const struct flagstore_seat *seat, double changes)
{
	struct frame *frame = &model->frame;
	struct seat_before *before = &model->seats_before[seat->seat], fresh = {.events = before->events};
	struct model_thread *thread = &frame->threads[frame->thread_count];

	if (before->taken_ms != seat->taken_ms)
		*before = fresh;
	*thread = (struct model_thread){
		.who = who_is(model, seat->worker, seat->thread),
		.seated = true,
		.alive = seat->alive,
		.activity = seat->activity,
		.shard = seat->shard,
		.since_ns = seat->since_ns,
		.locks = (double)since(seat->locks, before->locks) / frame->seconds,
		.waits = (double)since(seat->waits, before->waits) / frame->seconds,
		.changes = changes,
		.waited_ns = since(seat->waited_ns, before->waited_ns),
	};
	memcpy(thread->name, seat->name, sizeof thread->name);
	if (seat->activity == FLAGSTORE_WAITING) {
		thread->behind = who_is(model, seat->behind_worker, seat->behind_thread);
		if (seat->alive && seat->shard < model->info.shards)
			frame->shards[seat->shard].waiters++;
	}
	frame->waited_ns += thread->waited_ns;
	before->taken_ms = seat->taken_ms;
	before->locks = seat->locks;
	before->waits = seat->waits;
	before->waited_ns = seat->waited_ns;
	/* Of a thread that is gone only what it left undone is worth a line. */
	if (seat->alive || seat->activity != FLAGSTORE_IDLE)
		frame->thread_count++;
}

/* A worker none of whose threads has a seat: it has written nothing yet. */
static void add_worker(struct model *model, const struct flagstore_worker *worker)
{
	struct frame *frame = &model->frame;

	if (!worker->alive)
		return;
	frame->workers++;
	for (size_t i = 0; i < frame->thread_count; i++)
		if (frame->threads[i].who.worker == worker->id)
			return;
	frame->threads[frame->thread_count++] = (struct model_thread){
		.who = who_is(model, worker->id, 0),
		.alive = true,
		.shard = UINT32_MAX,
	};
}

static void look_at_threads(struct model *model)
{
	struct frame *frame = &model->frame;
	size_t room = model->info.seats_max, count = flagstore_seats(model->store, model->seats, room), next = 0;

	count = count < room ? count : room;
	frame->thread_count = 0;
	frame->waited_ns = frame->events_written = 0;
	frame->changes = 0;
	frame->workers = 0;
	frame->seats = (uint32_t)count;
	/* All rings, also of seats that were given back meanwhile; the seats come in the order of their numbers. */
	for (uint32_t i = 0; i < model->info.seats_max; i++) {
		double changes = ring_changes(model, i);

		frame->changes += changes;
		if (next < count && model->seats[next].seat == i)
			add_thread(model, &model->seats[next++], changes);
	}
	for (size_t i = 0; i < model->worker_count; i++)
		add_worker(model, &model->workers[i]);
}

/* ------------------------------------------------------------------------------------------------ conflicts */

static bool same_party(const struct flagstore_party *a, const struct flagstore_party *b)
{
	return strncmp(a->command, b->command, sizeof a->command) == 0 && a->operation == b->operation && a->unlocked == b->unlocked &&
	       a->site.module == b->site.module && a->site.offset == b->site.offset;
}

static struct model_group *group_of(struct frame *frame, const struct flagstore_conflict *conflict)
{
	for (size_t i = 0; i < frame->group_count; i++) {
		struct model_group *group = &frame->groups[i];

		if (group->last.kind == conflict->kind && same_party(&group->last.noticed, &conflict->noticed) &&
		    same_party(&group->last.other, &conflict->other))
			return group;
	}
	frame->groups[frame->group_count] = (struct model_group){.last = *conflict};
	return &frame->groups[frame->group_count++];
}

/* The records come newest first, so the first of a group is its last. */
static void look_at_conflicts(struct model *model)
{
	struct frame *frame = &model->frame;
	size_t count = flagstore_conflicts(model->store, model->conflict_records, MODEL_CONFLICTS);

	frame->group_count = 0;
	for (size_t i = 0; i < count && i < MODEL_CONFLICTS; i++) {
		struct model_group *group = group_of(frame, &model->conflict_records[i]);

		group->count += model->conflict_records[i].count;
		group->records++;
	}
}

/* --------------------------------------------------------------------------------------------------- health */

static void take_census(struct model *model)
{
	int64_t began = monotonic_now();

	if (began < model->census_ns)
		return;
	fs_census(model->store, 0, &model->census);
	model->census_ns = monotonic_now() + (monotonic_now() - began) * CENSUS_EVERY;
}

const char *model_health_word(enum model_health health)
{
	static const char *const words[] = {"HEALTHY", "BLOCKED", "CORRUPT"};

	return words[health];
}

static void judge_threads(struct frame *frame)
{
	for (size_t i = 0; i < frame->thread_count; i++) {
		const struct model_thread *thread = &frame->threads[i];

		/* How long a flush may take is the circuit breaker's business. */
		if (!thread->alive || thread->activity == FLAGSTORE_IDLE || thread->activity == FLAGSTORE_FLUSHING || thread->since_ns < BLOCKED_NS)
			continue;
		frame->health = MODEL_BLOCKED;
		if (thread->activity == FLAGSTORE_SYNCING)
			snprintf(frame->reason, sizeof frame->reason, "%.31s[%d] has waited %.1f s for its change to be durable", thread->who.command,
			         thread->who.pid, (double)thread->since_ns / 1e9);
		else if (thread->activity == FLAGSTORE_WAITING)
			snprintf(frame->reason, sizeof frame->reason, "%.31s[%d] waits %.1f s for shard %u behind %.31s[%d]", thread->who.command,
			         thread->who.pid, (double)thread->since_ns / 1e9, thread->shard, thread->behind.command, thread->behind.pid);
		else
			snprintf(frame->reason, sizeof frame->reason, "%.31s[%d] holds shard %u for %.1f s", thread->who.command, thread->who.pid,
			         thread->shard, (double)thread->since_ns / 1e9);
	}
}

/* As flagctl health does: counts, check values, and conflicts that are new since the last look. */
static void look_for_damage(struct model *model)
{
	const struct frame *frame = &model->frame;
	const struct fs_census *census = &model->census;

	if (census->wrong_shard != UINT32_MAX)
		snprintf(model->corrupt_reason, sizeof model->corrupt_reason, "shard %u has %u flags and says %d: flagctl check says more",
		         census->wrong_shard, census->counted, (int)census->said);
	else if (census->wrong_slot_shard != UINT32_MAX)
		snprintf(model->corrupt_reason, sizeof model->corrupt_reason, "shard %u, offset %#llx: a damaged flag: flagctl check says more",
		         census->wrong_slot_shard, (unsigned long long)census->wrong_slot);
	else if (frame->new_conflicts > 0)
		snprintf(model->corrupt_reason, sizeof model->corrupt_reason, "writers that do not wait for each other are at work");
	else
		return;
	model->corrupt_until_ns = monotonic_now() + CORRUPT_NS;
}

static void judge(struct model *model)
{
	struct frame *frame = &model->frame;

	frame->health = MODEL_HEALTHY;
	frame->reason[0] = '\0';
	if (frame->conflicts > 0)
		snprintf(frame->reason, sizeof frame->reason, "but the guard has seen conflicts: flags may be damaged, flagctl check says");
	for (uint32_t i = 0; i < model->info.shards; i++)
		if (frame->shards[i].orphaned)
			snprintf(frame->reason, sizeof frame->reason, "shard %u: its writer died, the next one repairs it", i);
	judge_threads(frame);
	look_for_damage(model);
	if (monotonic_now() >= model->corrupt_until_ns)
		return;
	frame->health = MODEL_CORRUPT;
	memcpy(frame->reason, model->corrupt_reason, sizeof frame->reason);
}

/* ---------------------------------------------------------------------------------------------------- a look */

static int look_at_header(struct model *model)
{
	struct frame *frame = &model->frame;
	struct source_header header;
	int64_t now = monotonic_now();
	int error = source_header(model->store, &header);

	if (error)
		return error;
	frame->time_ms = clock_now(CLOCK_REALTIME) / 1000000;
	frame->seconds = now > model->looked_ns ? (double)(now - model->looked_ns) / 1e9 : 1e-9;
	model->looked_ns = now;
	frame->retired = header.retired;
	frame->truncated = header.truncated;
	frame->file_bytes = header.file_bytes;
	frame->used_bytes = header.used_bytes;
	frame->standing = header.standing;
	frame->guard = (int)flagstore_guard(model->store, NULL);
	memcpy(frame->uuid, model->info.uuid, sizeof frame->uuid);
	/* Those before the first look are no news. */
	frame->new_conflicts = model->looked_before ? since(header.conflicts, model->conflicts) : 0;
	model->looked_before = true;
	frame->conflicts = model->conflicts = header.conflicts;
	return FLAGSTORE_OK;
}

int model_look(struct model *model, const struct frame **frame)
{
	int error = model_poll(model);

	if (!error)
		error = look_at_header(model);
	if (error)
		return error;
	look_at_shards(model);
	look_at_threads(model);
	look_at_events(model);
	look_at_conflicts(model);
	take_census(model);
	model->frame.true_flags = model->census.true_flags;
	model->frame.dead = model->census.dead;
	judge(model);
	model->counting = false;
	*frame = &model->frame;
	return FLAGSTORE_OK;
}

int model_open(const flagstore *store, struct model **out)
{
	struct model *model = allocate(1, sizeof *model);
	const struct frame *first;
	int error;

	*out = model;
	model->store = store;
	error = flagstore_info(store, &model->info);
	if (!error)
		error = flagstore_events_open(store, &model->events);
	if (error)
		return error;
	model->names = names_open(store);
	model->shards_before = allocate(model->info.shards, sizeof *model->shards_before);
	model->shards_waited_ns = allocate(model->info.shards, sizeof *model->shards_waited_ns);
	model->seats_before = allocate(model->info.seats_max, sizeof *model->seats_before);
	model->seats = allocate(model->info.seats_max, sizeof *model->seats);
	model->workers = allocate(model->info.workers_max, sizeof *model->workers);
	model->conflict_records = allocate(MODEL_CONFLICTS, sizeof *model->conflict_records);
	model->ring = allocate(MODEL_TAIL, sizeof *model->ring);
	model->hot = allocate(COUNTED, sizeof *model->hot);
	model->hot_index = allocate(HOT_INDEX, sizeof *model->hot_index);
	model->frame = (struct frame){
		.shard_count = model->info.shards,
		.workers_max = model->info.workers_max,
		.seats_max = model->info.seats_max,
		.max_bytes = model->info.max_bytes,
		.shards = allocate(model->info.shards, sizeof *model->frame.shards),
		.threads = allocate((size_t)model->info.seats_max + model->info.workers_max, sizeof *model->frame.threads),
		.hot = allocate(MODEL_HOT, sizeof *model->frame.hot),
		.groups = allocate(MODEL_CONFLICTS, sizeof *model->frame.groups),
		.tail = allocate(MODEL_TAIL, sizeof *model->frame.tail),
	};
	/* What is in the rings now happened before anybody looked. */
	list_workers(model);
	error = read_events(model);
	return error ? error : model_look(model, &first);
}

void model_close(struct model *model)
{
	flagstore_events_close(model->events);
	if (model->names)
		names_close(model->names);
	free(model->shards_before);
	free(model->shards_waited_ns);
	free(model->seats_before);
	free(model->seats);
	free(model->workers);
	free(model->conflict_records);
	free(model->ring);
	free(model->hot);
	free(model->hot_index);
	free(model->frame.shards);
	free(model->frame.threads);
	free(model->frame.hot);
	free(model->frame.groups);
	free(model->frame.tail);
	free(model);
}

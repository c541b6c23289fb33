/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * json.c: a frame for programs: numbers as they are, keys and commands encoded as vis(3) does it, null for what is not known. */
#include "json.h"

#include <string.h>

#include "keytext.h"
#include "output.h"
#include "phrase.h"

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *maybe(uint64_t value, bool known)
{
	return known ? number(value) : json_null();
}

static json_t *shard_number(uint32_t shard)
{
	return maybe(shard, shard != UINT32_MAX);
}

static json_t *text(const char *bytes, size_t size)
{
	return json_string(keytext_encode(bytes, strnlen(bytes, size)).text);
}

static json_t *key(const char *bytes, size_t length)
{
	return length ? json_string(keytext_encode(bytes, length).text) : json_null();
}

static json_t *who(const struct model_who *who)
{
	if (who->worker == 0)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o}", "worker", number(who->worker), "pid", maybe((uint64_t)who->pid, who->pid > 0), "thread",
	                 maybe((uint64_t)who->thread, who->thread > 0), "command", text(who->command, sizeof who->command));
}

static json_t *value(const struct flagstore_flag *flag)
{
	return flag->exists ? json_boolean(flag->value) : json_null();
}

static json_t *shard(const struct frame *frame, size_t index)
{
	const struct model_shard *shard = &frame->shards[index];

	return json_pack("{s:o, s:f, s:f, s:o, s:o, s:o, s:b, s:b, s:o, s:o}", "shard", number(shard->index), "locks_per_s", shard->locks,
	                 "waits_per_s", shard->waits, "waited_ns", number(shard->waited_ns), "waiting", number(shard->waiters), "flags",
	                 number(shard->live), "held", (int)shard->held, "orphaned", (int)shard->orphaned, "held_ns",
	                 number((uint64_t)shard->held_ns), "holder", who(&shard->holder));
}

static json_t *thread(const struct frame *frame, size_t index)
{
	const struct model_thread *thread = &frame->threads[index];

	return json_pack("{s:o, s:o, s:b, s:b, s:s, s:o, s:o, s:o, s:f, s:f, s:f, s:o}", "who", who(&thread->who), "name",
	                 text(thread->name, sizeof thread->name), "alive", (int)thread->alive, "seated", (int)thread->seated, "state",
	                 flagstore_activity_name((int)thread->activity), "shard", shard_number(thread->shard), "since_ns",
	                 number((uint64_t)thread->since_ns), "behind", who(&thread->behind), "changes_per_s", thread->changes, "locks_per_s",
	                 thread->locks, "waits_per_s", thread->waits, "waited_ns", number(thread->waited_ns));
}

static json_t *hot(const struct frame *frame, size_t index)
{
	const struct model_hot *hot = &frame->hot[index];

	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "key", key(hot->key.bytes, hot->key.length), "shard", number(hot->shard),
	                 "changes", number(hot->changes), "last", flagstore_operation_name(hot->event.operation), "value",
	                 value(&hot->event.after), "writer", who(&hot->who), "time_ns", number((uint64_t)hot->event.time_ns));
}

static json_t *party(const struct flagstore_party *party)
{
	return json_pack("{s:o, s:o, s:o, s:s, s:b}", "pid", maybe((uint64_t)party->pid, party->pid > 0), "thread",
	                 maybe((uint64_t)party->thread, party->thread > 0), "command", text(party->command, sizeof party->command), "operation",
	                 flagstore_operation_name(party->operation), "unlocked", (int)party->unlocked);
}

static json_t *group(const struct frame *frame, size_t index)
{
	const struct model_group *group = &frame->groups[index];
	const struct flagstore_conflict *last = &group->last;

	return json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "count", number(group->count), "records", number(group->records),
	                 "kind", flagstore_conflict_name(last->kind), "last_ns", number((uint64_t)last->last_ns), "shard",
	                 shard_number(last->shard), "key", key(last->key, last->key_length), "noticed", party(&last->noticed), "other",
	                 party(&last->other), "places", places_phrase(last).text);
}

static json_t *event(const struct frame *frame, size_t index)
{
	const struct model_event *seen = &frame->tail[index];
	const struct flagstore_event *event = &seen->event;

	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "time_ns", number((uint64_t)event->time_ns), "event",
	                 flagstore_event_name(event->kind), "seat", number(event->seat), "number", number(event->number), "shard",
	                 shard_number(event->shard), "who", who(&seen->who), "key", key(seen->key.bytes, seen->key.length), "what",
	                 event_phrase(seen).text);
}

static json_t *list(const struct frame *frame, size_t count, json_t *(*item)(const struct frame *, size_t))
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, item(frame, i));
	return array;
}

static json_t *rates(const struct frame *frame)
{
	return json_pack("{s:f, s:f, s:f}", "changes_per_s", frame->changes, "locks_per_s", frame->locks, "waits_per_s", frame->waits);
}

json_t *json_frame(const char *segment, const struct frame *frame)
{
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"time_ms", (uint64_t)frame->time_ms},
		{"flags", frame->flags},
		{"true_flags", frame->true_flags},
		{"dead_slots", frame->dead},
		{"waited_ns", frame->waited_ns},
		{"growths", frame->growths},
		{"recoveries", frame->recoveries},
		{"conflicts", frame->conflicts},
		{"new_conflicts", frame->new_conflicts},
		{"workers", frame->workers},
		{"workers_max", frame->workers_max},
		{"seats", frame->seats},
		{"seats_max", frame->seats_max},
		{"standing", frame->standing},
		{"file_bytes", frame->file_bytes},
		{"used_bytes", frame->used_bytes},
		{"max_bytes", frame->max_bytes},
		{"events_written", frame->events_written},
		{"events_seen", frame->events_seen},
	};
	json_t *document = json_pack("{s:o, s:s, s:s, s:s, s:b, s:f}", "segment", output_text(segment), "health",
	                             model_health_word(frame->health), "reason", text_phrase(frame->reason).text, "guard",
	                             flagstore_guard_name(frame->guard), "retired", (int)frame->retired, "seconds", frame->seconds);

	for (size_t i = 0; document && i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(document, numbers[i].name, number(numbers[i].number));
	json_object_update_new(document, rates(frame));
	json_object_set_new(document, "shards", list(frame, frame->shard_count, shard));
	json_object_set_new(document, "threads", list(frame, frame->thread_count, thread));
	json_object_set_new(document, "hottest", list(frame, frame->hot_count, hot));
	json_object_set_new(document, "conflict_groups", list(frame, frame->group_count, group));
	json_object_set_new(document, "events", list(frame, frame->tail_count, event));
	return document;
}

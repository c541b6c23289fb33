/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * happening.c: events of the flight recorder as text and JSON. An event names a slot, not a key: the key is told as long as the slot has
 * the life that the event was about. */
#include "happening.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "describe.h"
#include "facts.h"
#include "keytext.h"
#include "quantity.h"

static bool same_life(uint64_t word, const struct flagstore_flag *flag)
{
	return flag->exists && fs_word_version(word) >> FS_VERSION_BITS == flag->version >> FS_VERSION_BITS;
}

struct happening_key happening_key(const struct source *source, const struct flagstore_event *event)
{
	struct happening_key key = {""};
	const struct fs_slot *slot = event->offset % FS_LINE == 0 && event->offset / FS_LINE <= UINT32_MAX ?
	                             fs_at(source->store, (fs_line)(event->offset / FS_LINE), 1) : NULL;
	struct facts facts;

	if (event->kind != FLAGSTORE_CHANGE || !event->offset || !slot)
		return key;
	facts_read(source->store, slot, 0, &facts);
	if (facts.length && (same_life(facts.word, &event->after) || same_life(facts.word, &event->before)))
		snprintf(key.text, sizeof key.text, "%s", keytext_encode(facts.key, facts.length).text);
	return key;
}

static const char *state_of(const struct flagstore_flag *flag)
{
	return !flag->exists ? "missing" : flag->value ? "true" : "false";
}

struct happening_text happening_text(const struct source *source, const struct flagstore_event *event)
{
	struct happening_text text;
	const char *other = event->other_writer ? describe_writer(source->store, event->other_writer).text : "";

	switch (event->kind) {
	case FLAGSTORE_CHANGE:
		snprintf(text.text, sizeof text.text, "%s %s -> %s%s%s", flagstore_operation_name(event->operation), state_of(&event->before),
		         state_of(&event->after), event->batch ? ", in a batch" : "", event->unlocked ? ", WITHOUT THE LOCK" : "");
		break;
	case FLAGSTORE_WAIT:
		snprintf(text.text, sizeof text.text, "waited %s%s%.200s", duration_text(event->duration_ns).text, *other ? " behind " : "", other);
		break;
	case FLAGSTORE_CONFLICT:
		snprintf(text.text, sizeof text.text, "two writers at once%s%.200s", *other ? ": also " : "", other);
		break;
	case FLAGSTORE_GUARD:
		snprintf(text.text, sizeof text.text, "guard %s -> %s", flagstore_guard_name(event->from), flagstore_guard_name(event->to));
		break;
	case FLAGSTORE_BREAKER:
		snprintf(text.text, sizeof text.text, "circuit breaker %s -> %s", flagstore_breaker_name(event->from), flagstore_breaker_name(event->to));
		break;
	case FLAGSTORE_MISMATCH:
		snprintf(text.text, sizeof text.text, "%s flags were not in LMDB as they are in the table", count_text(event->offset).text);
		break;
	case FLAGSTORE_RECONCILIATION:
		snprintf(text.text, sizeof text.text, "LMDB was compared with the table in %s; %s flags corrected", duration_text(event->duration_ns).text,
		         count_text(event->offset).text);
		break;
	default:
		snprintf(text.text, sizeof text.text, "%s%s%s%.200s", event->duration_ns ? "took " : "",
		         event->duration_ns ? duration_text(event->duration_ns).text : "", *other ? " of " : "", other);
	}
	return text;
}

json_t *happening_json(const struct source *source, const struct flagstore_event *event)
{
	const char *key = happening_key(source, event).text;
	json_t *item = json_pack("{s:s, s:I, s:I, s:I, s:o, s:I, s:o}", "kind", flagstore_event_name(event->kind), "time_ns", (json_int_t)event->time_ns,
	                         "seat", (json_int_t)event->seat, "number", (json_int_t)event->number, "writer",
	                         describe_writer_json(source->store, event->writer), "thread", (json_int_t)event->thread, "shard",
	                         event->shard == UINT32_MAX ? json_null() : json_integer(event->shard));

	if (event->kind == FLAGSTORE_CHANGE) {
		json_object_set_new(item, "key", *key ? json_string(key) : json_null());
		json_object_set_new(item, "operation", json_string(flagstore_operation_name(event->operation)));
		json_object_set_new(item, "batch", json_boolean(event->batch));
		json_object_set_new(item, "unlocked", json_boolean(event->unlocked));
		json_object_set_new(item, "before", event->before.exists ? json_boolean(event->before.value) : json_null());
		json_object_set_new(item, "after", event->after.exists ? json_boolean(event->after.value) : json_null());
	}
	if (event->kind == FLAGSTORE_MISMATCH || event->kind == FLAGSTORE_RECONCILIATION)
		json_object_set_new(item, "flags", json_integer((json_int_t)event->offset));
	else if (event->offset)
		json_object_set_new(item, "offset", json_integer((json_int_t)event->offset));
	if (event->duration_ns)
		json_object_set_new(item, "duration_ns", json_integer((json_int_t)event->duration_ns));
	if (event->other_writer)
		json_object_set_new(item, "other", describe_writer_json(source->store, event->other_writer));
	if (event->kind == FLAGSTORE_BREAKER) {
		json_object_set_new(item, "from", json_string(flagstore_breaker_name(event->from)));
		json_object_set_new(item, "to", json_string(flagstore_breaker_name(event->to)));
	}
	if (event->kind == FLAGSTORE_GUARD) {
		json_object_set_new(item, "from", json_string(flagstore_guard_name(event->from)));
		json_object_set_new(item, "to", json_string(flagstore_guard_name(event->to)));
	}
	return item;
}

struct happening_time happening_time(int64_t time_ns)
{
	struct happening_time result = {"-"};
	time_t seconds = (time_t)(time_ns / 1000000000);
	struct tm parts;
	size_t length;

	if (time_ns <= 0 || !gmtime_r(&seconds, &parts))
		return result;
	length = strftime(result.text, sizeof result.text, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(result.text + length, sizeof result.text - length, ".%06dZ", (int)(time_ns % 1000000000 / 1000));
	return result;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * phrase.c: a frame in words. */
#include "phrase.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "keytext.h"
#include "quantity.h"
#include "value.h"

static struct phrase phrase(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct phrase phrase(const char *format, ...)
{
	struct phrase result;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result.text, sizeof result.text, format, arguments);
	va_end(arguments);
	return result;
}

/* At most size bytes of text that may have no end. */
static struct keytext encode(const char *text, size_t size)
{
	return keytext_encode(text, strnlen(text, size));
}

struct phrase rate_phrase(double rate)
{
	if (rate == 0)
		return phrase("0");
	return rate < 9.95 ? phrase("%.1f", rate) : phrase("%s", count_text((uint64_t)(rate + 0.5)).text);
}

struct phrase who_phrase(const struct model_who *who)
{
	if (who->worker == 0)
		return phrase("-");
	if (who->pid == 0)
		return phrase("thread %d", (int)who->thread);
	return phrase("%s[%d]", encode(who->command, sizeof who->command).text, (int)who->pid);
}

struct phrase key_phrase(const char *key, size_t length)
{
	return length ? phrase("%s", keytext_encode(key, length).text) : phrase("-");
}

struct phrase text_phrase(const char *text)
{
	return phrase("%s", encode(text, FLAGSTORE_KEY_MAX).text);
}

struct phrase command_phrase(const struct model_thread *thread)
{
	const char *name = thread->name;
	struct keytext command = encode(thread->who.command, sizeof thread->who.command);

	/* The kernel's names are cut after 15 bytes. */
	if (!*name || strncmp(name, thread->who.command, sizeof thread->name - 1) == 0)
		return phrase("%s", command.text);
	return phrase("%s/%s", command.text, encode(thread->name, sizeof thread->name).text);
}

struct phrase state_phrase(const struct model_thread *thread)
{
	const char *activity = flagstore_activity_name((int)thread->activity), *gone = thread->alive ? "" : "gone: was ";

	if (!thread->seated)
		return phrase("no write yet");
	if (thread->activity == FLAGSTORE_IDLE)
		return phrase("%s%s", gone, activity);
	if (thread->activity == FLAGSTORE_WAITING)
		return phrase("%s%s %s for shard %u behind %s", gone, activity, duration_text((uint64_t)thread->since_ns).text, thread->shard,
		              who_phrase(&thread->behind).text);
	if (thread->shard == UINT32_MAX)
		return phrase("%s%s for %s", gone, activity, duration_text((uint64_t)thread->since_ns).text);
	return phrase("%s%s shard %u for %s", gone, activity, thread->shard, duration_text((uint64_t)thread->since_ns).text);
}

struct phrase holder_phrase(const struct model_shard *shard)
{
	if (shard->orphaned)
		return phrase("%s, who is dead", who_phrase(&shard->holder).text);
	if (!shard->held)
		return phrase("-");
	return phrase("%s for %s", who_phrase(&shard->holder).text, duration_text((uint64_t)shard->held_ns).text);
}

/* At most so many bytes of it; what is cut ends in a tilde. */
static struct phrase cut(const char *text, size_t room)
{
	return strlen(text) <= room ? phrase("%s", text) : phrase("%.*s~", (int)room - 1, text);
}

/* The last part of the module's path, and the offset in it; empty when it is not known. */
static struct phrase module_phrase(const struct flagstore_conflict *conflict, const struct flagstore_place *place)
{
	const char *path, *base;
	size_t length;

	if (place->module >= conflict->modules || place->module >= FLAGSTORE_MODULES_MAX)
		return phrase("%s", "");
	path = conflict->module[place->module].path;
	length = strnlen(path, sizeof conflict->module[0].path);
	for (base = path + length; base > path && base[-1] != '/';)
		base--;
	return phrase("%s", keytext_encode(base, length - (size_t)(base - path)).text);
}

struct phrase party_phrase(const struct flagstore_conflict *conflict, const struct flagstore_party *party)
{
	struct phrase module = module_phrase(conflict, &party->site), command = phrase("%s", encode(party->command, sizeof party->command).text), rest;
	size_t room;

	if (party->pid == 0 && party->worker == 0)
		return phrase("-");
	/* A program's own code needs no second name; the kernel cuts names of commands after 15 bytes. */
	if (strncmp(module.text, command.text, strnlen(command.text, 15)) == 0 || !*module.text)
		rest = phrase("[%d] %s%s ", (int)party->pid, party->operation ? flagstore_operation_name(party->operation) : "?", party->unlocked ? "!" : "");
	else
		rest = phrase("[%d] %s%s %s", (int)party->pid, party->operation ? flagstore_operation_name(party->operation) : "?",
		              party->unlocked ? "!" : "", cut(module.text, PHRASE_MODULE).text);
	if (*module.text)
		snprintf(rest.text + strlen(rest.text), sizeof rest.text - strlen(rest.text), "+%#" PRIx64, party->site.offset);
	else
		snprintf(rest.text + strlen(rest.text), sizeof rest.text - strlen(rest.text), "?");
	room = strlen(rest.text) + PHRASE_COMMAND_LEAST < PHRASE_PARTY ? PHRASE_PARTY - strlen(rest.text) : PHRASE_COMMAND_LEAST;
	return phrase("%.64s%.200s", cut(command.text, room).text, rest.text);
}

static struct phrase place_phrase(const struct flagstore_conflict *conflict, const struct flagstore_place *place)
{
	struct phrase module = module_phrase(conflict, place);

	return *module.text ? phrase("%.600s+%#" PRIx64, module.text, place->offset) : phrase("-");
}

struct phrase places_phrase(const struct flagstore_conflict *conflict)
{
	return phrase("%.600s, %.600s", place_phrase(conflict, &conflict->noticed.site).text,
	              place_phrase(conflict, &conflict->other.site).text);
}

const char *flag_phrase(const struct flagstore_flag *flag)
{
	return flag->exists ? value_text(flag->value) : "missing";
}

struct phrase event_phrase(const struct model_event *seen)
{
	const struct flagstore_event *event = &seen->event;

	switch (event->kind) {
	case FLAGSTORE_CHANGE:
		return phrase("%s %s: %s to %s%s%s", flagstore_operation_name(event->operation), key_phrase(seen->key.bytes, seen->key.length).text,
		              flag_phrase(&event->before), flag_phrase(&event->after), event->batch ? ", in a batch" : "",
		              event->unlocked ? ", unlocked" : "");
	case FLAGSTORE_WAIT:
		return phrase("%s behind %s", duration_text(event->duration_ns).text, who_phrase(&seen->other).text);
	case FLAGSTORE_CONFLICT:
		return phrase("with %s", who_phrase(&seen->other).text);
	case FLAGSTORE_DEATH:
		return phrase("of %s", who_phrase(&seen->other).text);
	case FLAGSTORE_RECOVERY:
		return phrase("after %s, in %s", who_phrase(&seen->other).text, duration_text(event->duration_ns).text);
	case FLAGSTORE_GROWTH:
	case FLAGSTORE_SPLIT:
	case FLAGSTORE_DOUBLING:
		return phrase("in %s", duration_text(event->duration_ns).text);
	case FLAGSTORE_GUARD:
		return phrase("%s to %s", flagstore_guard_name(event->from), flagstore_guard_name(event->to));
	default:
		return phrase("-");
	}
}

struct phrase time_phrase(int64_t ns)
{
	/* Of "2024-05-31T09:00:00.123Z" the time alone. */
	struct quantity moment = moment_text(ns / 1000000);

	return strlen(moment.text) > 12 ? phrase("%.12s", moment.text + 11) : phrase("-");
}

/* "12 (+3)": since creation, and since the last look. */
static struct phrase grown(uint64_t all, uint64_t fresh)
{
	return fresh ? phrase("%s (+%s)", count_text(all).text, count_text(fresh).text) : phrase("%s", count_text(all).text);
}

static struct phrase seen_phrase(const struct frame *frame)
{
	if (frame->events_written <= frame->events_seen)
		return phrase("all events seen");
	return phrase("rings overflowed: %s of %s events seen", count_text(frame->events_seen).text, count_text(frame->events_written).text);
}

size_t header_phrases(const struct frame *frame, struct phrase items[PHRASE_ITEMS])
{
	size_t count = 0;

	items[count++] = phrase("%s%s%.400s", model_health_word(frame->health), frame->reason[0] ? ": " : "", text_phrase(frame->reason).text);
	if (frame->retired)
		items[count++] = phrase("UNLINKED: nobody can attach any more");
	items[count++] = phrase("%s changes/s", rate_phrase(frame->changes).text);
	items[count++] = phrase("%s waits/s%s%s", rate_phrase(frame->waits).text, frame->waited_ns ? " of " : "",
	                        frame->waited_ns ? duration_text(frame->waited_ns).text : "");
	items[count++] = phrase("guard %s, %s conflicts", flagstore_guard_name(frame->guard), grown(frame->conflicts, frame->new_conflicts).text);
	items[count++] = phrase("%s flags: %s true, %s dead slots", count_text(frame->flags).text, count_text(frame->true_flags).text,
	                        count_text(frame->dead).text);
	items[count++] = phrase("%s recoveries", grown(frame->recoveries, frame->new_recoveries).text);
	items[count++] = phrase("%u of %u workers", frame->workers, frame->workers_max);
	items[count++] = phrase("%u of %u seats%s", frame->seats, frame->seats_max, frame->standing ? ", some threads stand" : "");
	items[count++] = phrase("%s growths", grown(frame->growths, frame->new_growths).text);
	items[count++] = phrase("room: %s used, %s taken of %s", size_text(frame->used_bytes).text, size_text(frame->file_bytes).text,
	                        size_text(frame->max_bytes).text);
	items[count++] = seen_phrase(frame);
	return count;
}

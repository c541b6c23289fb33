/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect watch: sees stores that bypass the library.
 *
 * Whoever goes through the library changes a slot's key, hash and check value only while its word says that it holds no flag, or is about
 * to belong to a new life: with a new incarnation. So bytes of a slot that move while its word stays in the same life were stored by
 * somebody else: a wild pointer, or a program that writes to the file. Nothing in the segment can tell who; those that have it mapped
 * writable are the candidates. A store that sets the old bytes again between two looks is not seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "describe.h"
#include "facts.h"
#include "keytext.h"
#include "output.h"
#include "process.h"
#include "quantity.h"

static uint64_t every_ms = 10, seconds_ms;
static bool once, for_seconds;

enum {
	LINE_BYTES = FS_LINE - sizeof(uint64_t) * 2, /* what is behind word and stamp */
};

/* A slot as it was when it was looked at last. */
struct seen {
	uint64_t look; /* which look that was; 0: none */
	uint64_t word;
	uint64_t cell; /* hash of a long key's bytes */
	unsigned char bytes[LINE_BYTES];
};

struct watch {
	const struct source *source;
	struct seen *lines; /* by line */
	size_t room;
	uint64_t looks, stores;
};

static bool take_slot(const flagstore *store, const struct fs_slot *slot, struct seen *seen)
{
	char key[FLAGSTORE_KEY_MAX];

	for (int tries = 0; tries < 100; tries++) {
		size_t length;

		/* As a reader (slot.h): the bytes belong to the word if it is the same before and after them. */
		seen->word = atomic_load_explicit(&slot->word, memory_order_acquire);
		if (!fs_word_holds(seen->word))
			return false;
		for (size_t i = 0; i < LINE_BYTES; i += 8) {
			uint64_t part = __atomic_load_n((const uint64_t *)(const void *)((const char *)&slot->identity + i), __ATOMIC_RELAXED);

			memcpy(seen->bytes + i, &part, 8);
		}
		length = fs_slot_key_length(slot) > FS_KEY_INLINE ? fs_slot_copy_key(store, slot, key) : 0;
		seen->cell = length ? fs_hash(0, key, length) : 0;
		fs_acquire_fence();
		if (atomic_load_explicit(&slot->word, memory_order_relaxed) == seen->word)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------------------------------ report */

static json_t *candidates_json(const struct mappers *mappers)
{
	json_t *list = json_array();

	for (size_t i = 0; i < mappers->count; i++)
		if (mappers->all[i].writable)
			json_array_append_new(list, json_pack("{s:I, s:s, s:s}", "pid", (json_int_t)mappers->all[i].pid, "command",
			                                      process_name_of(mappers->all[i].pid).text, "state",
			                                      process_state_text(process_state_of(mappers->all[i].pid))));
	return list;
}

static void print_candidates(const struct mappers *mappers)
{
	const char *before = "  may have stored it: ";

	for (size_t i = 0; i < mappers->count; i++) {
		if (!mappers->all[i].writable)
			continue;
		printf("%s%s[%d]", before, process_name_of(mappers->all[i].pid).text, (int)mappers->all[i].pid);
		before = ", ";
	}
	puts(*before == ',' ? "" : "  nobody has the segment mapped writable now: it was written by write(2), or its writer is gone");
}

/* What moved: the offset in the slot, and the byte before and after. */
struct move {
	size_t at;
	unsigned before, after;
	const char *what;
};

static bool has_moved(const struct seen *before, const struct seen *now, struct move *move)
{
	uint64_t differ = before->word ^ now->word;

	/* A new life, whose bytes are its own. */
	if (differ & FS_INCARNATION_MASK)
		return false;
	for (size_t i = 0; i < LINE_BYTES; i++) {
		if (before->bytes[i] == now->bytes[i])
			continue;
		*move = (struct move){2 * sizeof(uint64_t) + i, before->bytes[i], now->bytes[i], "though the flag is the same one as before"};
		return true;
	}
	*move = (struct move){0, (unsigned)(before->word & 0xff), (unsigned)(now->word & 0xff), "the flag's value, without a new version"};
	if (differ & FS_VALUE && !(differ & FS_VERSION_MASK))
		return true;
	*move = (struct move){offsetof(struct fs_slot, key) + FS_KEY_CELL * 8, (unsigned)(before->cell & 0xff), (unsigned)(now->cell & 0xff),
	                      "in the key cell (bytes of its hash), though the flag is the same one as before"};
	return before->cell != now->cell;
}

static void report(struct watch *watch, const struct fs_slot *slot, const struct move *move)
{
	const flagstore *store = watch->source->store;
	uint64_t offset = (uint64_t)((const char *)slot - store->map);
	struct timespec time;
	struct mappers mappers;
	struct facts facts;

	clock_gettime(CLOCK_REALTIME, &time);
	facts_read(store, slot, 0, &facts);
	mappers_find(watch->source, &mappers);
	watch->stores++;
	if (cli_json) {
		output_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o}", "time_ms", (json_int_t)(time.tv_sec * 1000 + time.tv_nsec / 1000000),
		                      "offset", (json_int_t)(offset + move->at), "slot", (json_int_t)offset, "before", (json_int_t)move->before, "after",
		                      (json_int_t)move->after, "what", move->what, "key", keytext_encode(facts.key, facts.length).text, "candidates",
		                      candidates_json(&mappers)));
	} else {
		printf("%s offset %#" PRIx64 ": byte %#04x became %#04x in the slot at %#" PRIx64 ", key %s, %s\n",
		       moment_text(time.tv_sec * 1000 + time.tv_nsec / 1000000).text, offset + move->at, move->before, move->after, offset,
		       keytext_encode(facts.key, facts.length).text, move->what);
		print_candidates(&mappers);
	}
	mappers_free(&mappers);
}

/* --------------------------------------------------------------------------------------------------------- look */

/* A line stays a slot for ever, so what was seen at a line is what to compare with. */
static void look_at(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct watch *watch = argument;

	(void)word;
	for (uint32_t i = 0; i < view->count; i++) {
		size_t line = fs_line_of(store, &view->slots[i]);
		struct seen now, *before = line < watch->room ? &watch->lines[line] : NULL;
		struct move move;

		if (!before || !take_slot(store, &view->slots[i], &now))
			continue;
		now.look = watch->looks;
		if (before->look && before->look + 1 == now.look && has_moved(before, &now, &move))
			report(watch, &view->slots[i], &move);
		*before = now;
	}
}

static void take_look(struct watch *watch)
{
	const struct fs_header *header = (const void *)watch->source->store->map;
	size_t heap = (fs_line)atomic_load_explicit(&header->heap, memory_order_relaxed), most = watch->source->store->max_lines;

	heap = heap < most ? heap : most;
	if (heap > watch->room) {
		watch->lines = recallocarray(watch->lines, watch->room, heap, sizeof *watch->lines);
		if (!watch->lines)
			failure_memory();
		watch->room = heap;
	}
	watch->looks++;
	for (uint32_t i = 0; i < watch->source->store->constants.shards; i++)
		facts_walk(watch->source->store, i, look_at, watch);
}

static uint64_t now_ms(void)
{
	return fs_monotonic_ns() / 1000000;
}

static int follow(struct watch *watch)
{
	uint64_t end = now_ms() + seconds_ms;
	const struct fs_header *header = (const void *)watch->source->store->map;

	take_look(watch);
	while (!(for_seconds && now_ms() >= end) && !(once && watch->stores)) {
		uint64_t pause = every_ms;

		nanosleep(&(struct timespec){(time_t)(pause / 1000), (long)(pause % 1000) * 1000000}, NULL);
		take_look(watch);
		if (output_flush())
			return STATUS_OUTPUT;
		if (atomic_load_explicit(&header->state, memory_order_relaxed) == FS_RETIRED)
			return failure(STATUS_MISSING, "segment %s has been unlinked meanwhile", watch->source->store->path);
	}
	if (!cli_json)
		printf("%" PRIu64 " looks, %" PRIu64 " stores that bypassed the library\n", watch->looks, watch->stores);
	return watch->stores ? STATUS_NO : STATUS_DONE;
}

static int run(int count, char **operands)
{
	struct source source;
	struct watch watch = {.source = &source};
	int status = source_open(operands[0], &source);

	(void)count;
	if (status)
		return status;
	status = follow(&watch);
	free(watch.lines);
	source_close(&source);
	return status;
}

static const struct cli_option options[] = {
	CLI_DURATION('e', "every", "TIME", NULL, &every_ms, 1, 3600000, "look so often (10ms)"),
	CLI_DURATION('s', "seconds", "TIME", &for_seconds, &seconds_ms, 1, 864000000, "end after this time; without, go on for ever"),
	CLI_SWITCH('1', "once", &once, "end after the first store that is seen"),
	CLI_OPTIONS_END,
};

const struct cli_command command_watch = {
	.name = "watch",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "wait for stores that bypass the library, and name who may have made them",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect blame and history: who changed a flag last, and the changes before that as far as the rings still have them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "describe.h"
#include "facts.h"
#include "happening.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"

enum {
	EVENTS_MAX = 4096,
};

static int read_history(const struct source *source, const struct key *key, struct flagstore_event **events, size_t *count)
{
	int error;

	*events = calloc(EVENTS_MAX, sizeof **events);
	if (!*events)
		failure_memory();
	error = flagstore_history_n(source->store, key->bytes, key->length, *events, EVENTS_MAX, count);
	if (error) {
		free(*events);
		return failure_of_library(error);
	}
	*count = *count < EVENTS_MAX ? *count : EVENTS_MAX;
	return STATUS_DONE;
}

static bool find_flag(const struct source *source, const struct key *key, struct flagstore_flag *flag)
{
	struct fs_found found;
	struct fs_key sought;

	if (!fs_key_make(source->store, key->bytes, key->length, &sought) || fs_find(source->store, &sought, &found) != FS_FOUND)
		return false;
	fs_slot_describe(source->store, found.slot, found.word, flag);
	return true;
}

/* The flag now; and the change that made it so, if a ring still has it. */
static int blame(const struct source *source, const struct key *key)
{
	struct flagstore_event *events;
	const struct flagstore_event *last;
	struct flagstore_flag flag = {.exists = false};
	size_t count;
	int status = read_history(source, key, &events, &count);
	bool exists = find_flag(source, key, &flag);

	if (status)
		return status;
	last = count ? &events[count - 1] : NULL;
	if (exists && last && last->after.version != flag.version)
		last = NULL;
	if (!exists && !last)
		status = failure(STATUS_MISSING, "there is no flag %s in %s, and no change of it in the rings", keytext_encode(key->bytes, key->length).text,
		                 source->store->path);
	else if (cli_json)
		output_json(json_pack("{s:o, s:o}", "flag", describe_flag(source->store, key->bytes, key->length, &flag), "change",
		                      last ? happening_json(source, last) : json_null()));
	else if (exists)
		printf("%s is %s since %s, change %" PRIu64 ", by %s; before: %s\n", keytext_encode(key->bytes, key->length).text, flag.value ? "true" : "false",
		       last ? happening_time(last->time_ns).text : moment_text(flag.changed_ms).text, (uint64_t)flag.changes,
		       describe_writer(source->store, last ? last->writer : flag.writer).text,
		       !last ? "not known any more" : !last->before.exists ? "missing" : last->before.value ? "true" : "false");
	else
		printf("%s is missing since %s, deleted by %s\n", keytext_encode(key->bytes, key->length).text, happening_time(last->time_ns).text,
		       describe_writer(source->store, last->writer).text);
	free(events);
	return status;
}

static int history(const struct source *source, const struct key *key)
{
	struct flagstore_event *events;
	size_t count;
	int status = read_history(source, key, &events, &count);

	if (status)
		return status;
	if (cli_json)
		output_list_begin();
	for (size_t i = 0; i < count; i++) {
		if (cli_json)
			output_list_item(happening_json(source, &events[i]));
		else
			printf("%s %s/%d %s\n", happening_time(events[i].time_ns).text, describe_writer(source->store, events[i].writer).text,
			       (int)events[i].thread, happening_text(source, &events[i]).text);
	}
	if (cli_json)
		output_list_end();
	free(events);
	return count ? STATUS_DONE : STATUS_NO;
}

static int with_source(char **operands, int (*show)(const struct source *source, const struct key *key))
{
	struct key key = keytext_operand(operands[1]);
	struct source source;
	int status = source_open(operands[0], &source);

	if (status)
		return status;
	status = source_needs_table(&source);
	if (!status)
		status = show(&source, &key);
	source_close(&source);
	return status;
}

static int run_blame(int count, char **operands)
{
	(void)count;
	return with_source(operands, blame);
}

static int run_history(int count, char **operands)
{
	(void)count;
	return with_source(operands, history);
}

const struct cli_command command_blame = {
	.name = "blame",
	.operands = "NAME KEY",
	.least = 2,
	.most = 2,
	.summary = "print who changed the flag last, when, and from what",
	.run = run_blame,
};

const struct cli_command command_history = {
	.name = "history",
	.operands = "NAME KEY",
	.least = 2,
	.most = 2,
	.summary = "print the changes of the flag that the rings still have",
	.run = run_history,
};

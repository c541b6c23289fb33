/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl persist: how durable a segment's flags are; --sync waits until all of them are. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "output.h"
#include "quantity.h"

static bool sync_now;
static uint64_t wait_ms = 10000;

static const struct cli_option options[] = {
	CLI_SWITCH('s', "sync", &sync_now, "return when all changes that have been made are durable"),
	CLI_DURATION('w', "wait", "TIME", NULL, &wait_ms, 1, 3600000, "--sync: how long that may take (10s)"),
	CLI_OPTIONS_END,
};

static void line(const char *title, const char *text)
{
	printf("%-15s %s\n", title, text);
}

static void print_text(const struct flagstore_persistence *state)
{
	char text[400];

	line("durability", flagstore_durability_name(state->durability));
	if (!state->durability)
		return;
	line("directory", state->directory);
	line("flush interval", duration_text((uint64_t)state->flush_interval_ms * 1000000).text);
	line("on failure", state->on_failure == FLAGSTORE_REFUSE ? "refuse" : "degrade");
	snprintf(text, sizeof text, "%s%s", flagstore_breaker_name(state->breaker), state->forced ? ", by hand" : "");
	line("breaker", text);
	snprintf(text, sizeof text, "%s of %s pending%s%s", size_text(state->pending_bytes).text, size_text(state->journal_bytes).text,
	         state->oldest_ms ? ", the oldest change for " : "", state->oldest_ms ? duration_text((uint64_t)state->oldest_ms * 1000000).text : "");
	line("journal", text);
	if (state->reconcile)
		line("lmdb", "is to be compared with the whole table");
	snprintf(text, sizeof text, "%s of %s changes, %s failed", count_text(state->commits).text, count_text(state->records).text,
	         count_text(state->commit_failures).text);
	line("commits", text);
	snprintf(text, sizeof text, "%s, took %s, the longest %s", moment_text(state->last_commit_ms).text, duration_text(state->last_commit_ns).text,
	         duration_text(state->longest_commit_ns).text);
	line("last commit", text);
	if (state->under_way_ns)
		line("under way", duration_text(state->under_way_ns).text);
	if (state->failed_ms) {
		snprintf(text, sizeof text, "%s: %s", moment_text(state->failed_ms).text, state->failure);
		line("last failure", text);
	}
}

static json_t *make_json(const struct flagstore_persistence *state)
{
	json_t *document = json_pack("{s:s}", "durability", flagstore_durability_name(state->durability));
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"flush_interval_ms", state->flush_interval_ms},
		{"written", state->written},
		{"durable", state->durable},
		{"journal_bytes", state->journal_bytes},
		{"pending_bytes", state->pending_bytes},
		{"oldest_ms", (uint64_t)state->oldest_ms},
		{"given_up", state->given_up},
		{"reconciles", state->reconciles},
		{"commits", state->commits},
		{"commit_failures", state->commit_failures},
		{"records", state->records},
		{"mismatches", state->mismatches},
		{"last_commit_ms", (uint64_t)state->last_commit_ms},
		{"last_commit_ns", state->last_commit_ns},
		{"longest_commit_ns", state->longest_commit_ns},
		{"under_way_ns", state->under_way_ns},
		{"waiting", state->waiting},
		{"failed_ms", (uint64_t)state->failed_ms},
	};

	if (!document || !state->durability)
		return document;
	json_object_set_new(document, "directory", output_text(state->directory));
	json_object_set_new(document, "on_failure", json_string(state->on_failure == FLAGSTORE_REFUSE ? "refuse" : "degrade"));
	json_object_set_new(document, "breaker", json_string(flagstore_breaker_name(state->breaker)));
	json_object_set_new(document, "reconcile", json_boolean(state->reconcile));
	json_object_set_new(document, "failure", output_text(state->failure));
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(document, numbers[i].name, json_integer((json_int_t)numbers[i].number));
	return document;
}

static int sync_all(const char *name)
{
	flagstore *store;
	int error, status = attach_to_write(name, &store);

	if (status)
		return status;
	error = flagstore_sync(store, (int)wait_ms);
	if (error)
		status = failure_of_library(error);
	flagstore_close(store);
	return status;
}

static int run(int count, char **operands)
{
	struct flagstore_persistence state;
	flagstore *store;
	int status = sync_now ? sync_all(operands[0]) : STATUS_DONE;

	(void)count;
	if (!status)
		status = attach_to_read(operands[0], &store);
	if (status)
		return status;
	(void)flagstore_persistence(store, &state);
	if (cli_json)
		output_json(make_json(&state));
	else
		print_text(&state);
	flagstore_close(store);
	return status;
}

const struct cli_command command_persist = {
	.name = "persist",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "show how durable the flags are, or wait until they are",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl watch: one line for each change, until it is stopped. */
#include <flagstore.h>
#include <stdio.h>
#include <time.h>

#include "attach.h"
#include "commands.h"
#include "describe.h"
#include "filter.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"
#include "value.h"

static uint64_t wanted_count;

static const struct cli_option options[] = {
	FILTER_OPTIONS,
	CLI_NUMBER('n', "count", "N", &wanted_count, 1, INT64_MAX, "stop after N changes"),
	CLI_OPTIONS_END,
};

static const char *state_text(const struct flagstore_flag *flag)
{
	return flag->exists ? value_text(flag->value) : "missing";
}

/* A deleted flag says no more who deleted it, nor when. */
static int64_t change_moment(const struct flagstore_change *change)
{
	struct timespec now;

	if (change->after.changed_ms != 0)
		return change->after.changed_ms;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_change(const flagstore *store, const struct flagstore_change *change)
{
	json_t *document;

	if (!cli_json) {
		printf("%s\t%s\t%s\t%s\t%s\n", moment_text(change_moment(change)).text,
		       keytext_encode(change->key, change->length).text, state_text(&change->before),
		       state_text(&change->after), describe_writer(store, change->after.writer).text);
		return;
	}
	document = describe_flag(store, change->key, change->length, &change->after);
	json_object_set_new(document, "changed_ms", json_integer(change_moment(change)));
	json_object_set_new(document, "before", change->before.exists ? json_boolean(change->before.value) : json_null());
	output_json(document);
}

static int follow(const flagstore *store, const char *name, flagstore_watch *watch)
{
	struct flagstore_change change;
	uint64_t count = 0;
	int status = STATUS_DONE;

	while (!status && (wanted_count == 0 || count < wanted_count)) {
		int error = flagstore_watch_next(watch, &change, ATTACH_LOOK_EVERY_MS);

		if (error == FLAGSTORE_ETIMEDOUT) {
			status = attach_still_there(name, store);
		} else if (error) {
			status = failure_of_library(error);
		} else if (filter_matches(change.key, change.length)) {
			count++;
			print_change(store, &change);
			status = output_flush();
		}
	}
	return status;
}

static int run(int count, char **operands)
{
	flagstore_watch *watch;
	flagstore *store;
	int error, status;

	(void)count;
	filter_prepare();
	status = attach_to_follow(operands[0], &store);
	if (status)
		return status;
	error = flagstore_watch_open(store, &watch);
	if (error) {
		status = failure_of_library(error);
	} else {
		status = follow(store, operands[0], watch);
		flagstore_watch_close(watch);
	}
	flagstore_close(store);
	return status;
}

const struct cli_command command_watch = {
	.name = "watch",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print a line for each change, until stopped",
	.details = "A line: when, key, value before, value after (or missing), and who, with tabs between.\n",
	.options = options,
	.run = run,
};

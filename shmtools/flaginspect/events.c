/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect events: the flight recorder, all seats' rings in the order of time; also as trace events, which Perfetto and chrome://tracing
 * draw. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "describe.h"
#include "happening.h"
#include "output.h"

static bool follow;
static const char *format;

static void print_event(const struct source *source, const struct flagstore_event *event)
{
	printf("%s %-9s %s/%d", happening_time(event->time_ns).text, flagstore_event_name(event->kind),
	       describe_writer(source->store, event->writer).text, (int)event->thread);
	if (event->shard != UINT32_MAX)
		printf(" shard %" PRIu32, event->shard);
	printf(" %s %s\n", happening_key(source, event).text, happening_text(source, event).text);
}

/* What took time ends at its event's time: a complete event ("X"); the rest are instants ("i"). */
static json_t *trace_event(const struct source *source, const struct flagstore_event *event)
{
	double end_us = (double)event->time_ns / 1e3, took_us = (double)event->duration_ns / 1e3;
	json_t *trace = json_pack("{s:s, s:s, s:s, s:f, s:I, s:I, s:o}", "name", flagstore_event_name(event->kind), "cat", "flagstore", "ph",
	                          event->duration_ns ? "X" : "i", "ts", end_us - took_us, "pid", (json_int_t)event->writer, "tid",
	                          (json_int_t)event->thread, "args", happening_json(source, event));

	if (event->duration_ns)
		json_object_set_new(trace, "dur", json_real(took_us));
	else
		json_object_set_new(trace, "s", json_string("t"));
	return trace;
}

/* Processes have their names in a trace, once each. */
static void name_processes(const struct source *source)
{
	struct flagstore_worker workers[64];
	size_t count = flagstore_workers(source->store, workers, 64);

	for (size_t i = 0; i < count && i < 64; i++)
		output_list_item(json_pack("{s:s, s:s, s:I, s:{s:s}}", "name", "process_name", "ph", "M", "pid", (json_int_t)workers[i].id, "args", "name",
		                           describe_worker(&workers[i]).text));
}

static int print_events(const struct source *source, flagstore_events *events, bool chrome)
{
	struct flagstore_event event;
	int error = FLAGSTORE_OK;

	while (!error) {
		error = flagstore_events_next(events, &event, follow ? 1000 : 0);
		if (error == FLAGSTORE_ETIMEDOUT && follow && source_is_live(source))
			error = FLAGSTORE_OK;
		else if (!error && chrome)
			output_list_item(trace_event(source, &event));
		else if (!error && cli_json && follow)
			output_json(happening_json(source, &event));
		else if (!error && cli_json)
			output_list_item(happening_json(source, &event));
		else if (!error)
			print_event(source, &event);
		if (follow && output_flush())
			return STATUS_OUTPUT;
	}
	return error == FLAGSTORE_ETIMEDOUT ? STATUS_DONE : failure_of_library(error);
}

static int show(const struct source *source, bool chrome)
{
	bool list = chrome || (cli_json && !follow);
	flagstore_events *events;
	int error = flagstore_events_open(source->store, &events), status;

	if (error)
		return failure_of_library(error);
	if (chrome)
		printf("{\"displayTimeUnit\": \"ns\", \"traceEvents\": ");
	if (list)
		output_list_begin();
	if (chrome)
		name_processes(source);
	status = print_events(source, events, chrome);
	if (list)
		output_list_end();
	if (chrome)
		puts("}");
	if (flagstore_events_lost(events))
		warning("%" PRIu64 " older events have been overwritten", flagstore_events_lost(events));
	flagstore_events_close(events);
	return status;
}

static int run(int count, char **operands)
{
	bool chrome = format && strcmp(format, "chrome") == 0;
	struct source source;
	int status;

	(void)count;
	if (format && !chrome)
		cli_usage("--format takes chrome, not `%s'", format);
	if (chrome && follow)
		cli_usage("--follow and --format chrome do not go together: a trace has an end");
	status = source_open(operands[0], &source);
	if (status)
		return status;
	status = source_needs_table(&source);
	if (!status)
		status = show(&source, chrome);
	source_close(&source);
	return status;
}

static const struct cli_option options[] = {
	CLI_SWITCH('f', "follow", &follow, "go on with what happens next, as long as somebody is attached"),
	CLI_TEXT('F', "format", "FORMAT", &format, "chrome: trace events for Perfetto"),
	CLI_OPTIONS_END,
};

const struct cli_command command_events = {
	.name = "events",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print what happened last, of all threads, in the order of time",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * incidentplay.c: commands are run and told about, and the workers waited for. */
#include "incidentplay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "output.h"
#include "progress.h"

enum {
	AGAIN_MS = 100, /* between two looks for what must come */
	COMMANDS = 15,  /* of the whole story, for its progress */
};

/* ----------------------------------------------------------------------------------------------------- telling */

void play_tell(struct incident *incident, const char *format, ...)
{
	char line[PLAY_LINE_SIZE * 2];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	json_array_append_new(json_object_get(incident->item, "summary"), output_text(line));
	if (cli_json)
		return;
	printf("            %s\n", line);
	fflush(stdout);
}

static void tell_command(struct incident *incident, const char *name, double ms, int status)
{
	incident->item = json_pack("{s:s, s:o, s:f, s:i, s:[]}", "name", incident->step, "command", output_text(name), "ms", ms, "exit", status,
	                           "summary");
	if (!incident->item || json_array_append_new(incident->steps, incident->item) != 0)
		failure_memory();
	if (cli_json)
		return;
	printf("%7.0f ms  $ %s", ms, name);
	if (status)
		printf("   (exit status %d)", status);
	printf("\n");
	fflush(stdout);
}

void play_step(struct incident *incident, const char *step, const char *what)
{
	incident->step = step;
	if (!cli_json)
		printf("\n%s: %s\n", step, what);
}

int play_broken(struct incident *incident, const char *format, ...)
{
	char line[PLAY_LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	incident->failed = true;
	return failure(STATUS_NO, "incident: the step `%s' did not hold: %s", incident->step, line);
}

int play_broken_by_command(struct incident *incident, const char *what)
{
	char line[PLAY_LINE_SIZE];

	(void)tool_line(&incident->run, '^', "", line, sizeof line);
	return play_broken(incident, "%s: `%s' ended with status %d and said: %s", what, incident->run.command, incident->run.status, line);
}

/* ----------------------------------------------------------------------------------------------------- waiting */

/* Returns whether all workers are still there, and nobody wants us to stop. */
static bool rest(struct incident *incident, int64_t until)
{
	int number = crew_sleep_until(until);

	if (number && !incident->stopped_by)
		incident->stopped_by = number;
	incident->running = (uint32_t)crew_reap(incident->members, incident->workers);
	return !incident->stopped_by && incident->running == incident->workers;
}

int play_stopped(const struct incident *incident)
{
	return 128 + incident->stopped_by;
}

int play_rest(struct incident *incident, int64_t until)
{
	while (rest(incident, until))
		if (clock_now() >= until)
			return STATUS_DONE;
	if (incident->stopped_by)
		return play_stopped(incident);
	return play_broken(incident, "only %" PRIu32 " of %" PRIu64 " workers still run", incident->running, incident->workers);
}

static uint64_t writes_of(const struct incident *incident, uint32_t worker)
{
	return atomic_load_explicit(&incident->board->worker[worker].writes, memory_order_acquire);
}

uint64_t play_writes(const struct incident *incident)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < incident->workers; i++)
		sum += writes_of(incident, i);
	return sum;
}

int play_await_writes(struct incident *incident, uint64_t count, int64_t least_ms)
{
	uint64_t before[INCIDENT_WORKERS_MAX];
	int64_t least = clock_now() + least_ms * MILLISECOND, limit = clock_now() + PLAY_PATIENCE_S * SECOND;

	for (uint32_t i = 0; i < incident->workers; i++)
		before[i] = writes_of(incident, i);
	for (uint32_t i = 0; i < incident->workers;) {
		int status;

		if (writes_of(incident, i) - before[i] >= count && clock_now() >= least) {
			i++;
			continue;
		}
		if (clock_now() > limit)
			return play_broken(incident, "worker %" PRIu32 " (pid %d) does not go on", i + 1, (int)incident->members[i].pid);
		status = play_rest(incident, clock_now() + 2 * MILLISECOND);
		if (status)
			return status;
	}
	return STATUS_DONE;
}

void play_order(struct incident *incident, enum incident_order order)
{
	atomic_store_explicit(&incident->board->order, order, memory_order_release);
}

/* ---------------------------------------------------------------------------------------------------- commands */

int play_run(struct incident *incident, const char *const *arguments)
{
	bool is_flagctl = strcmp(arguments[0], "flagctl") == 0;
	int status;

	tool_forget(&incident->run);
	progress_begin("playing the incident:", "commands", COMMANDS);
	progress_update(incident->commands < COMMANDS ? incident->commands : COMMANDS);
	status = tool_run(is_flagctl ? incident->flagctl : incident->flaginspect, arguments, &incident->run);
	progress_end();
	if (status)
		return status;
	if (incident->run.stopped_by && !incident->stopped_by)
		incident->stopped_by = incident->run.stopped_by;
	incident->commands++;
	incident->tools_ms += incident->run.ms;
	return incident->stopped_by ? play_stopped(incident) : STATUS_DONE;
}

void play_tell_run(struct incident *incident)
{
	tell_command(incident, incident->run.command, incident->run.ms, incident->run.status);
}

void play_tell_line(struct incident *incident, char where, const char *text)
{
	char line[PLAY_LINE_SIZE];

	if (tool_line(&incident->run, where, text, line, sizeof line))
		play_tell(incident, "%s", line);
}

int play_run_well(struct incident *incident, const char *const *arguments)
{
	char line[PLAY_LINE_SIZE];
	int status = play_run(incident, arguments);

	if (status)
		return status;
	play_tell_run(incident);
	play_tell_line(incident, '^', "");
	if (incident->run.status == STATUS_DONE)
		return STATUS_DONE;
	(void)tool_line(&incident->run, '^', "", line, sizeof line);
	(void)play_broken(incident, "`%s' ended with status %d and said: %s", incident->run.command, incident->run.status, line);
	return incident->run.status;
}

int play_run_until(struct incident *incident, int wanted, const char *what, const char *const *arguments)
{
	int64_t limit = clock_now() + PLAY_PATIENCE_S * SECOND;
	uint32_t tries = 1;
	int status;

	for (;; tries++) {
		status = play_run(incident, arguments);
		if (status || incident->run.status == wanted || (wanted == STATUS_DONE && incident->run.status == STATUS_NO) || clock_now() > limit)
			break;
		status = play_rest(incident, clock_now() + AGAIN_MS * MILLISECOND);
		if (status)
			return status;
	}
	if (status)
		return status;
	play_tell_run(incident);
	if (tries > 1)
		play_tell(incident, "after %" PRIu32 " tries", tries);
	return incident->run.status == wanted ? STATUS_DONE : play_broken_by_command(incident, what);
}

int play_conflicts(struct incident *incident, uint64_t *conflicts)
{
	json_t *said;
	int status = RUN(incident, "flagctl", "guard", incident->name, "--json");

	if (status)
		return status;
	play_tell_run(incident);
	said = json_loads(incident->run.said, 0, NULL);
	if (!json_is_integer(json_object_get(said, "conflicts"))) {
		json_decref(said);
		return play_broken_by_command(incident, "there is no count of conflicts");
	}
	*conflicts = (uint64_t)json_integer_value(json_object_get(said, "conflicts"));
	play_tell(incident, "guard %s, %" PRIu64 " conflicts", json_string_value(json_object_get(said, "guard")), *conflicts);
	json_decref(said);
	return STATUS_DONE;
}

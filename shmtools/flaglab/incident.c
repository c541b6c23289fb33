/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab incident: the incident of flagstore(7), from its first sign to its end. Workers, of which some write without the lock, break a
 * table of real flags; then the commands that stand there are run, as somebody would type them, while the workers go on. What they say
 * decides whether a step held. The first one that did not ends the story. */
#include "incidentplay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"
#include "shared.h"

enum {
	BREAK_MS = 400,     /* how long the workers break the table before anybody looks */
	WATCH_MS = 200,     /* how long it is watched, at least, whether anything more breaks, */
	WATCH_WRITES = 500, /* and how many writes each worker makes meanwhile */
	SEEN_MAX = 3,       /* lost keys that are shown */
	FLAGS_IN_SHARD = 540, /* on average; a bucket holds 552 before it splits */
};

static uint64_t workers = 4;
static const char *flags_file;
static bool keep;

static const struct cli_option options[] = {
	CLI_NUMBER('w', "workers", "N", &workers, 2, INCIDENT_WORKERS_MAX, "how many processes write, every second one without locking (4)"),
	CLI_TEXT('f', "flags", "FILE", &flags_file, "the flags of this file, as flagctl import reads it (PostgreSQL's 99)"),
	CLI_SWITCH('k', "keep", &keep, "leave the segment and all files, and say how to look at them"),
	CLI_OPTIONS_END,
};

/* ------------------------------------------------------------------------------------------------------- break */

static int be_worker(void *argument, uint32_t number)
{
	const struct incident *incident = argument;

	flagstore_close(incident->store);
	return incident_work(incident->name, &incident->flags, incident->board, (uint32_t)incident->workers, number);
}

static int start_workers(struct incident *incident)
{
	int64_t limit = clock_now() + PLAY_PATIENCE_S * SECOND;
	int status = STATUS_DONE;

	for (uint32_t i = 0; i < incident->workers && !status; i++)
		status = crew_start(&incident->members[i], "flaglab-worker", be_worker, incident, i);
	while (!status && atomic_load_explicit(&incident->board->ready, memory_order_acquire) < incident->workers) {
		if (clock_now() > limit)
			return play_broken(incident, "the workers do not start");
		status = play_rest(incident, clock_now() + MILLISECOND);
	}
	return status;
}

/* The flags as they are before anything breaks. */
static int read_table(struct incident *incident)
{
	struct flagstore_options wanted = FLAGSTORE_OPTIONS_INIT;
	int error, status;

	wanted.flags = FLAGSTORE_READ_ONLY;
	error = flagstore_attach(incident->name, &wanted, &incident->store);
	if (error)
		return failure_of_library(error);
	status = catalog_open(&incident->flags, incident->store);
	if (!status && incident->flags.count == 0) {
		(void)play_broken(incident, "there are no flags in %s", incident->table);
		status = STATUS_MISSING;
	}
	if (!status) {
		incident->readable = calloc(incident->flags.count, sizeof *incident->readable);
		if (!incident->readable)
			failure_memory();
	}
	return status;
}

/* Few, so that the writers meet. But so many that what the workers do splits no bucket, as far as the lines of the file tell how many
 * flags it has: two that double one directory at once leave nothing of a shard, and there is no incident that could be played to its
 * end. */
static unsigned shards_for(const char *table)
{
	FILE *file = fopen(table, "re");
	uint64_t lines = INCIDENT_MARKS;
	unsigned shards = 1;
	int byte;

	while (file && (byte = getc(file)) != EOF)
		lines += byte == '\n';
	if (file)
		fclose(file);
	while (shards < FLAGSTORE_SHARDS_MAX && lines / shards > FLAGS_IN_SHARD)
		shards *= 2;
	return shards;
}

static int break_it(struct incident *incident)
{
	char shards[16];
	int status;

	play_step(incident, "break", "a table of real flags, and workers of which every second one writes without the lock");
	snprintf(shards, sizeof shards, "%u", shards_for(incident->table));
	status = RUN_OR_END(incident, "flagctl", "create", incident->name, "--lab", "--shards", shards);
	incident->created = incident->run.said && incident->run.status == STATUS_DONE;
	if (!status)
		status = RUN_OR_END(incident, "flagctl", "import", incident->name, incident->table);
	if (!status)
		status = read_table(incident);
	if (!status)
		status = start_workers(incident);
	if (status)
		return status;
	play_order(incident, INCIDENT_WRITE);
	play_tell(incident, "%" PRIu64 " workers write now, %" PRIu64 " of them without the lock", incident->workers, (incident->workers + 1) / 2);
	status = RUN_OR_END(incident, "flagctl", "guard", incident->name, "detect");
	return status ? status : play_rest(incident, clock_now() + BREAK_MS * MILLISECOND);
}

/* ------------------------------------------------------------------------------------------- detect and locate */

static int detect(struct incident *incident)
{
	int status;

	play_step(incident, "detect", "something is wrong");
	status = RUN_UNTIL(incident, STATUS_NO, "nobody noticed anything", "flagctl", "health", incident->name);
	if (status)
		return status;
	play_tell_line(incident, '^', "");
	return strncmp(incident->run.said, "CORRUPT ", 8) == 0 ? STATUS_DONE : play_broken_by_command(incident, "it is not called CORRUPT");
}

/* The totals, which are the last lines: a number and a kind. */
static void tell_kinds(struct incident *incident)
{
	char kinds[PLAY_LINE_SIZE] = "", line[PLAY_LINE_SIZE], kind[32];
	size_t length = 0;
	size_t end;
	uint64_t count;

	for (const char *begin = incident->run.said; *begin; begin += end + (begin[end] == '\n')) {
		end = strcspn(begin, "\n");
		snprintf(line, sizeof line, "%.*s", (int)end, begin);
		if (*line != ' ' || sscanf(line, "%" SCNu64 " %31s", &count, kind) != 2 || length >= sizeof kinds)
			continue;
		length += (size_t)snprintf(kinds + length, sizeof kinds - length, "%s%" PRIu64 " %s", length ? ", " : "", count, kind);
	}
	if (*kinds)
		play_tell(incident, "%s", kinds);
}

/* The first two places that met of which one did not lock; conflicts has three lines for each pair. */
static bool tell_culprits(struct incident *incident)
{
	const char *culprit = strstr(incident->run.said, "WITHOUT THE LOCK"), *begin = culprit;
	char line[PLAY_LINE_SIZE];

	if (!culprit)
		return false;
	while (begin > incident->run.said && (begin[-1] != '\n' || *begin == ' '))
		begin--;
	for (int i = 0; i < 3 && *begin; i++) {
		size_t length = strcspn(begin, "\n");

		snprintf(line, sizeof line, "%.*s", (int)length, begin);
		play_tell(incident, "%s", line);
		begin += length + (begin[length] == '\n');
	}
	return true;
}

static int locate(struct incident *incident)
{
	int status;

	play_step(incident, "locate", "what is damaged, and who did it from where");
	status = RUN_UNTIL(incident, STATUS_NO, "nothing is damaged", "flaginspect", "check", incident->name);
	if (status)
		return status;
	play_tell_line(incident, '$', " findings");
	tell_kinds(incident);
	status = RUN_UNTIL(incident, STATUS_NO, "there are no conflicts", "flaginspect", "conflicts", incident->name);
	if (status)
		return status;
	if (!tell_culprits(incident))
		return play_broken_by_command(incident, "nobody is named who wrote without the lock");
	play_tell_line(incident, '$', " pairs of places");
	return STATUS_DONE;
}

/* ----------------------------------------------------------------------------------------------------- hot-fix */

static int hot_fix(struct incident *incident)
{
	uint64_t before, writes;
	int status;

	play_step(incident, "hot-fix", "the workers that are running have to lock from their next write on");
	status = RUN_OR_END(incident, "flagctl", "guard", incident->name, "enforce");
	/* The write under way may have begun without the lock; the second one from now on has not. */
	if (!status)
		status = play_await_writes(incident, 2, 0);
	if (!status)
		status = play_conflicts(incident, &before);
	writes = play_writes(incident);
	if (!status)
		status = play_await_writes(incident, WATCH_WRITES, WATCH_MS);
	writes = play_writes(incident) - writes;
	if (!status)
		status = play_conflicts(incident, &incident->conflicts);
	if (status)
		return status;
	if (incident->conflicts != before)
		return play_broken(incident, "%" PRIu64 " more conflicts in %" PRIu64 " writes of the workers", incident->conflicts - before, writes);
	play_tell(incident, "no more in %" PRIu64 " writes of the same workers", writes);
	return STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------------ repair */

static bool is_readable(const struct incident *incident, size_t flag)
{
	struct flagstore_flag now;

	return flagstore_lookup_n(incident->store, incident->flags.keys[flag], incident->flags.lengths[flag], &now) == FLAGSTORE_OK;
}

/* The keys that the repair could not save, as it prints them; the first ones are told. */
static void note_lost_keys(struct incident *incident)
{
	static const char prefix[] = "lost key: ";
	size_t skip = sizeof prefix - 1, length;
	char line[PLAY_LINE_SIZE * 2];

	for (const char *begin = incident->run.said; *begin; begin += length + (begin[length] == '\n')) {
		length = strcspn(begin, "\n");
		if (strncmp(begin, prefix, skip) != 0)
			continue;
		snprintf(line, sizeof line, "%.*s", (int)(length - skip), begin + skip);
		json_object_set_new(incident->named, line, json_true());
		if (json_object_size(incident->named) <= SEEN_MAX)
			play_tell(incident, "%s%s", prefix, line);
	}
	incident->named_keys = json_object_size(incident->named);
	if (incident->named_keys > SEEN_MAX)
		play_tell(incident, "and %zu more", incident->named_keys - SEEN_MAX);
}

static int repair(struct incident *incident)
{
	size_t readable = 0;
	int status;

	play_step(incident, "repair", "while the workers go on");
	for (size_t i = 0; i < incident->flags.count; i++)
		readable += incident->readable[i] = is_readable(incident, i);
	status = RUN(incident, "flaginspect", "repair", incident->name, "--quarantine", incident->quarantine);
	if (status)
		return status;
	play_tell_run(incident);
	play_tell(incident, "%zu of %zu flags could be read before it", readable, incident->flags.count);
	play_tell_line(incident, '$', " findings left");
	/* It ends with 1 when it had to give up something: that is named, and looked at when the flags are. */
	if ((incident->run.status != STATUS_DONE && incident->run.status != STATUS_NO) || !strstr(incident->run.said, "; 0 findings left\n"))
		return play_broken_by_command(incident, "it is not sound after it");
	note_lost_keys(incident);
	play_tell_line(incident, '^', "what was in slots");
	return STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------------ verify */

static void compare_flags(struct incident *incident)
{
	for (size_t i = 0; i < incident->flags.count; i++) {
		struct keytext key = keytext_encode(incident->flags.keys[i], incident->flags.lengths[i]);

		if (is_readable(incident, i)) {
			incident->brought_back += !incident->readable[i];
			continue;
		}
		json_array_append_new(incident->lost, json_string(key.text));
		incident->silent += incident->readable[i] && !json_object_get(incident->named, key.text);
	}
}

static int verify(struct incident *incident)
{
	uint64_t conflicts, writes = play_writes(incident);
	size_t lost;
	int status;

	play_step(incident, "verify", "nothing is damaged any more, and nothing gets damaged");
	play_order(incident, INCIDENT_COMPARE);
	status = play_await_writes(incident, WATCH_WRITES, WATCH_MS);
	writes = play_writes(incident) - writes;
	if (!status)
		status = RUN_UNTIL(incident, STATUS_DONE, "it is damaged again", "flaginspect", "check", incident->name);
	if (status)
		return status;
	play_tell_line(incident, '$', " findings");
	play_tell(incident, "after %" PRIu64 " more writes of the same workers", writes);
	status = RUN_UNTIL(incident, STATUS_DONE, "it is not healthy", "flagctl", "health", incident->name);
	if (status)
		return status;
	play_tell_line(incident, '^', "");
	if (strncmp(incident->run.said, "HEALTHY ", 8) != 0)
		return play_broken_by_command(incident, "it is not called HEALTHY");
	status = play_conflicts(incident, &conflicts);
	if (status)
		return status;
	if (conflicts != incident->conflicts)
		return play_broken(incident, "there are %" PRIu64 " more conflicts", conflicts - incident->conflicts);
	compare_flags(incident);
	lost = json_array_size(incident->lost);
	play_tell(incident, "%zu of %zu flags can be read, %zu of them brought back", incident->flags.count - lost, incident->flags.count,
	     incident->brought_back);
	if (incident->silent)
		return play_broken(incident, "%zu flags were readable before the repair, are not now, and were not named", incident->silent);
	return STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------------ report */

static int report(struct incident *incident)
{
	int status;

	play_step(incident, "report", "all of it in one file, for those who were not there");
	status = RUN_OR_END(incident, "flaginspect", "snapshot", incident->name, incident->evidence);
	if (!status)
		status = RUN(incident, "flaginspect", "conflicts", incident->evidence);
	if (status)
		return status;
	play_tell_run(incident);
	play_tell_line(incident, '$', " pairs of places");
	if (incident->run.status != STATUS_NO || !strstr(incident->run.said, "WITHOUT THE LOCK"))
		return play_broken_by_command(incident, "the culprits are not in it");
	return STATUS_DONE;
}

/* ----------------------------------------------------------------------------------------------------- the end */

static void dismiss(struct incident *incident)
{
	int number;

	incident->running = (uint32_t)crew_reap(incident->members, incident->workers);
	play_order(incident, INCIDENT_END);
	number = crew_dismiss(incident->members, incident->workers);
	if (number && !incident->stopped_by)
		incident->stopped_by = number;
	incident->writes = play_writes(incident);
	for (uint32_t i = 0; i < incident->workers; i++) {
		incident->compared += atomic_load_explicit(&incident->board->worker[i].compared, memory_order_relaxed);
		incident->wrong += atomic_load_explicit(&incident->board->worker[i].wrong, memory_order_relaxed);
	}
}

/* What the workers themselves saw, which is known when they have ended. */
static int judge_workers(struct incident *incident)
{
	const char *example = "";

	incident->step = "verify";
	for (uint32_t i = 0; i < incident->workers && !*example; i++)
		example = incident->board->worker[i].example;
	for (uint32_t i = 0; i < incident->workers; i++)
		if (incident->members[i].state != CREW_ENDED)
			return play_broken(incident, "worker %" PRIu32 " (pid %d) has died", i + 1, (int)incident->members[i].pid);
	if (incident->wrong)
		return play_broken(incident, "of %" PRIu64 " looks of the workers at what they had written %" PRIu64 " were wrong: %s",
		              incident->compared, incident->wrong, example);
	return incident->compared ? STATUS_DONE : play_broken(incident, "the workers have compared nothing");
}

static void print_end(const struct incident *incident)
{
	size_t lost = json_array_size(incident->lost), i;
	json_t *key;

	printf("\nworkers   %" PRIu32 " of %" PRIu64 " still ran at the end; %s writes\n", incident->running, incident->workers,
	       count_text(incident->writes).text);
	printf("written   after the repair, and looked at again: %s times, %s wrong\n", count_text(incident->compared).text,
	       count_text(incident->wrong).text);
	printf("flags     %zu saved, %zu of them brought back by the repair; %zu lost\n", incident->flags.count - lost, incident->brought_back,
	       lost);
	json_array_foreach(incident->lost, i, key)
		printf("          lost: %s%s\n", json_string_value(key),
		       json_object_get(incident->named, json_string_value(key)) ? "" : " (overwritten before the repair)");
	printf("tools     %.2f s for %" PRIu32 " commands\n", incident->tools_ms / 1000, incident->commands);
	printf("all       %.2f s\n", (double)(clock_now() - incident->begun_ns) / (double)SECOND);
}

static void print_kept(const struct incident *incident)
{
	printf("\nkept      segment %s, and in %s what else there is of it\n", incident->name, incident->directory);
	printf("look      flaginspect conflicts %s; flaginspect map %s\n", incident->evidence, incident->name);
	printf("remove    flagctl unlink %s; rm -r %s\n", incident->name, incident->directory);
}

static void print_json(const struct incident *incident)
{
	json_t *kept = keep ? json_pack("{s:s, s:o, s:o}", "segment", incident->name, "directory", output_text(incident->directory), "evidence",
	                                output_text(incident->evidence)) : json_null();

	output_json(json_pack("{s:s, s:b, s:o, s:O, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:I, s:o}",
	                      "segment", incident->name, "held", !incident->failed && !incident->stopped_by,
	                      "failed_step", incident->failed ? json_string(incident->step) : json_null(), "steps", incident->steps,
	                      "tools_ms", incident->tools_ms, "total_ms", (double)(clock_now() - incident->begun_ns) / (double)MILLISECOND,
	                      "commands", (json_int_t)incident->commands, "workers", (json_int_t)incident->workers,
	                      "running", (json_int_t)incident->running,
	                      "writes", (json_int_t)incident->writes, "compared", (json_int_t)incident->compared,
	                      "wrong", (json_int_t)incident->wrong, "conflicts", (json_int_t)incident->conflicts,
	                      "flags", (json_int_t)incident->flags.count, "brought_back", (json_int_t)incident->brought_back,
	                      "lost", incident->lost, "keys_named_by_repair", (json_int_t)incident->named_keys, "kept", kept));
}

static int play(struct incident *incident)
{
	static int (*const steps[])(struct incident *) = {break_it, detect, locate, hot_fix, repair, verify, report};
	int status = STATUS_DONE;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !status; i++)
		status = steps[i](incident);
	dismiss(incident);
	if (!status)
		status = incident->stopped_by ? play_stopped(incident) : judge_workers(incident);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ set up */

static int prepare_files(struct incident *incident)
{
	const char *parent = getenv("TMPDIR");

	snprintf(incident->directory, sizeof incident->directory, "%s/flaglab-incident.XXXXXX", parent && *parent ? parent : "/tmp");
	if (!mkdtemp(incident->directory)) {
		int status = failure_errno(STATUS_CREATE, "the directory %s can't be created", incident->directory);

		*incident->directory = '\0';
		return status;
	}
	snprintf(incident->table, sizeof incident->table, "%s/flags.tsv", incident->directory);
	snprintf(incident->quarantine, sizeof incident->quarantine, "%s/quarantine", incident->directory);
	snprintf(incident->evidence, sizeof incident->evidence, "%s/evidence", incident->directory);
	if (!flags_file)
		return incident_write_flags(incident->table);
	snprintf(incident->table, sizeof incident->table, "%s", flags_file);
	return STATUS_DONE;
}

static void remove_files(const struct incident *incident)
{
	if (!*incident->directory)
		return;
	if (!flags_file)
		(void)unlink(incident->table);
	(void)unlink(incident->quarantine);
	(void)unlink(incident->evidence);
	(void)rmdir(incident->directory);
}

static int prepare(struct incident *incident)
{
	int status = tool_find("flagctl", incident->flagctl);

	incident->begun_ns = clock_now();
	incident->workers = workers;
	snprintf(incident->name, sizeof incident->name, "incident-%d", (int)getpid());
	incident->steps = json_array();
	incident->item = json_null();
	incident->lost = json_array();
	incident->named = json_object();
	incident->board_size = sizeof *incident->board + incident->workers * sizeof *incident->board->worker;
	incident->board = (struct incident_board *)(void *)shared_memory(incident->board_size);
	if (!status)
		status = tool_find("flaginspect", incident->flaginspect);
	return status ? status : prepare_files(incident);
}

static void clean_up(struct incident *incident, bool kept)
{
	flagstore_close(incident->store);
	if (incident->created && !kept)
		(void)flagstore_unlink(incident->name);
	if (!kept)
		remove_files(incident);
	tool_forget(&incident->run);
	catalog_close(&incident->flags);
	free(incident->readable);
	munmap(incident->board, incident->board_size);
	json_decref(incident->steps);
	json_decref(incident->lost);
	json_decref(incident->named);
	free(incident);
}

static int run(int count, char **operands)
{
	struct incident *incident = calloc(1, sizeof *incident);
	int status;

	(void)count;
	(void)operands;
	if (!incident)
		failure_memory();
	crew_prepare();
	status = prepare(incident);
	if (!status) {
		status = play(incident);
		if (cli_json)
			print_json(incident);
		else if (!status)
			print_end(incident);
		if (!cli_json && keep && incident->created)
			print_kept(incident);
		if (!cli_json && !status)
			printf("\nall held: the incident is over\n");
	}
	clean_up(incident, keep && incident->created);
	return status;
}

const struct cli_command command_incident = {
	.name = "incident",
	.operands = "",
	.least = 0,
	.most = 0,
	.summary = "play the incident of flagstore(7) from its first sign to its end",
	.details = "Makes a laboratory segment of its own, which is unlinked at the end, and runs flagctl and flaginspect on it while\n"
	           "workers write.\n",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab incident: the incident of flagstore(7), from its first sign to its end. Workers, of which some write without the lock, break a
 * table of real flags; then the commands that stand there are run, as somebody would type them, while the workers go on. What they say
 * decides whether a step held. The first one that did not ends the story. */
#include "incident.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "commands.h"
#include "crew.h"
#include "keytext.h"
#include "output.h"
#include "progress.h"
#include "quantity.h"
#include "shared.h"
#include "tool.h"

enum {
	BREAK_MS = 400,     /* how long the workers break the table before anybody looks */
	WATCH_MS = 200,     /* how long it is watched, at least, whether anything more breaks, */
	WATCH_WRITES = 500, /* and how many writes each worker makes meanwhile */
	AGAIN_MS = 100,     /* between two looks for what must come */
	PATIENCE_S = 20,    /* how long that, or a worker's writes, may take */
	LINE_SIZE = 1024,
	COMMANDS = 15,      /* of the whole story, for its progress */
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

struct incident {
	char name[64];                       /* of the segment */
	char directory[PATH_MAX - 64];       /* of the files */
	char table[PATH_MAX], quarantine[PATH_MAX], evidence[PATH_MAX];
	char flagctl[PATH_MAX], flaginspect[PATH_MAX];
	bool created;
	flagstore *store;                    /* to read it */
	struct catalog flags;
	bool *readable;                      /* of the flags: before the repair */
	struct incident_board *board;
	size_t board_size;
	struct crew_member members[INCIDENT_WORKERS_MAX];
	int stopped_by;

	const char *step;                    /* being played */
	struct tool_run run;                 /* the last command */
	json_t *steps, *item;                /* all commands; the last one */
	uint32_t commands;
	double tools_ms;
	int64_t begun_ns;
	bool failed;

	/* what came out */
	uint32_t running;
	uint64_t conflicts, writes, compared, wrong, refused_at_last;
	size_t brought_back, named_keys;
	json_t *lost;                        /* flags that can't be read at the end, */
	size_t silent;                       /* and of them those that could be read before, and were not named */
	json_t *named;                       /* texts of keys that the repair names */
};

/* ----------------------------------------------------------------------------------------------------- telling */

/* A line below the last command. */
static void __attribute__((format(printf, 2, 3))) tell(struct incident *incident, const char *format, ...)
{
	char line[LINE_SIZE * 2];
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
	incident->item = json_pack("{s:s, s:s, s:f, s:i, s:[]}", "name", incident->step, "command", name, "ms", ms, "exit", status, "summary");
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

static void begin_step(struct incident *incident, const char *step, const char *what)
{
	incident->step = step;
	if (!cli_json)
		printf("\n%s: %s\n", step, what);
}

/* Says which step did not hold; the story ends. */
static int __attribute__((format(printf, 2, 3))) broken(struct incident *incident, const char *format, ...)
{
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	incident->failed = true;
	return failure(STATUS_NO, "incident: the step `%s' did not hold: %s", incident->step, line);
}

/* The same, with what the last command said. */
static int broken_by_command(struct incident *incident, const char *what)
{
	char line[LINE_SIZE];

	(void)tool_line(&incident->run, '^', "", line, sizeof line);
	return broken(incident, "%s: `%s' ended with status %d and said: %s", what, incident->run.command, incident->run.status, line);
}

/* ----------------------------------------------------------------------------------------------------- waiting */

/* Returns whether all workers are still there, and nobody wants us to stop. */
static bool rest(struct incident *incident, int64_t until)
{
	int number = crew_sleep_until(until);

	if (number && !incident->stopped_by)
		incident->stopped_by = number;
	incident->running = (uint32_t)crew_reap(incident->members, workers);
	return !incident->stopped_by && incident->running == workers;
}

static int stopped(const struct incident *incident)
{
	return 128 + incident->stopped_by;
}

/* STATUS_DONE, or why the story can't go on. */
static int rest_or_end(struct incident *incident, int64_t until)
{
	while (rest(incident, until))
		if (clock_now() >= until)
			return STATUS_DONE;
	return incident->stopped_by ? stopped(incident)
	                            : broken(incident, "only %" PRIu32 " of %" PRIu64 " workers still run", incident->running, workers);
}

static uint64_t writes_of(const struct incident *incident, uint32_t worker)
{
	return atomic_load_explicit(&incident->board->worker[worker].writes, memory_order_acquire);
}

static uint64_t all_writes(const struct incident *incident)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < workers; i++)
		sum += writes_of(incident, i);
	return sum;
}

/* Waits until each worker has ended so many writes from now on, and for so long. What was under way at the beginning has ended with the
 * first of them. */
static int await_writes(struct incident *incident, uint64_t count, int64_t least_ms)
{
	uint64_t before[INCIDENT_WORKERS_MAX];
	int64_t least = clock_now() + least_ms * MILLISECOND, limit = clock_now() + PATIENCE_S * SECOND;

	for (uint32_t i = 0; i < workers; i++)
		before[i] = writes_of(incident, i);
	for (uint32_t i = 0; i < workers;) {
		int status;

		if (writes_of(incident, i) - before[i] >= count && clock_now() >= least) {
			i++;
			continue;
		}
		if (clock_now() > limit)
			return broken(incident, "worker %" PRIu32 " (pid %d) does not go on", i + 1, (int)incident->members[i].pid);
		status = rest_or_end(incident, clock_now() + 2 * MILLISECOND);
		if (status)
			return status;
	}
	return STATUS_DONE;
}

static void give_order(struct incident *incident, enum incident_order order)
{
	atomic_store_explicit(&incident->board->order, order, memory_order_release);
}

/* ---------------------------------------------------------------------------------------------------- commands */

#define RUN(incident, ...) run_command(incident, (const char *const[]){__VA_ARGS__, NULL})

/* Runs one as somebody would type it. STATUS_DONE, whatever its own status is, or why the story can't go on. */
static int run_command(struct incident *incident, const char *const *arguments)
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
	return incident->stopped_by ? stopped(incident) : STATUS_DONE;
}

static void tell_run(struct incident *incident)
{
	tell_command(incident, incident->run.command, incident->run.ms, incident->run.status);
}

static void tell_line(struct incident *incident, char where, const char *text)
{
	char line[LINE_SIZE];

	if (tool_line(&incident->run, where, text, line, sizeof line))
		tell(incident, "%s", line);
}

/* One that must succeed, or there is no story: its status is ours. */
static int run_or_end(struct incident *incident, const char *const *arguments)
{
	char line[LINE_SIZE];
	int status = run_command(incident, arguments);

	if (status)
		return status;
	tell_run(incident);
	tell_line(incident, '^', "");
	if (incident->run.status == STATUS_DONE)
		return STATUS_DONE;
	(void)tool_line(&incident->run, '^', "", line, sizeof line);
	(void)broken(incident, "`%s' ended with status %d and said: %s", incident->run.command, incident->run.status, line);
	return incident->run.status;
}

#define RUN_OR_END(incident, ...) run_or_end(incident, (const char *const[]){__VA_ARGS__, NULL})

/* Runs one again and again until it ends with the status that must come. Where it must say that all is well, damage is no reason to look
 * again. */
static int run_until(struct incident *incident, int wanted, const char *what, const char *const *arguments)
{
	int64_t limit = clock_now() + PATIENCE_S * SECOND;
	uint32_t tries = 1;
	int status;

	for (;; tries++) {
		status = run_command(incident, arguments);
		if (status || incident->run.status == wanted || (wanted == STATUS_DONE && incident->run.status == STATUS_NO) || clock_now() > limit)
			break;
		status = rest_or_end(incident, clock_now() + AGAIN_MS * MILLISECOND);
		if (status)
			return status;
	}
	if (status)
		return status;
	tell_run(incident);
	if (tries > 1)
		tell(incident, "after %" PRIu32 " tries", tries);
	return incident->run.status == wanted ? STATUS_DONE : broken_by_command(incident, what);
}

#define RUN_UNTIL(incident, wanted, what, ...) run_until(incident, wanted, what, (const char *const[]){__VA_ARGS__, NULL})

/* How many conflicts the guard has counted. */
static int ask_conflicts(struct incident *incident, uint64_t *conflicts)
{
	json_t *said;
	int status = RUN(incident, "flagctl", "guard", incident->name, "--json");

	if (status)
		return status;
	tell_run(incident);
	said = json_loads(incident->run.said, 0, NULL);
	if (!json_is_integer(json_object_get(said, "conflicts"))) {
		json_decref(said);
		return broken_by_command(incident, "there is no count of conflicts");
	}
	*conflicts = (uint64_t)json_integer_value(json_object_get(said, "conflicts"));
	tell(incident, "guard %s, %" PRIu64 " conflicts", json_string_value(json_object_get(said, "guard")), *conflicts);
	json_decref(said);
	return STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------------- break */

static int be_worker(void *argument, uint32_t number)
{
	const struct incident *incident = argument;

	flagstore_close(incident->store);
	return incident_work(incident->name, &incident->flags, incident->board, (uint32_t)workers, number);
}

static int start_workers(struct incident *incident)
{
	int64_t limit = clock_now() + PATIENCE_S * SECOND;
	int status = STATUS_DONE;

	for (uint32_t i = 0; i < workers && !status; i++)
		status = crew_start(&incident->members[i], "flaglab-worker", be_worker, incident, i);
	while (!status && atomic_load_explicit(&incident->board->ready, memory_order_acquire) < workers) {
		if (clock_now() > limit)
			return broken(incident, "the workers do not start");
		status = rest_or_end(incident, clock_now() + MILLISECOND);
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
		(void)broken(incident, "there are no flags in %s", incident->table);
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

	begin_step(incident, "break", "a table of real flags, and workers of which every second one writes without the lock");
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
	give_order(incident, INCIDENT_WRITE);
	tell(incident, "%" PRIu64 " workers write now, %" PRIu64 " of them without the lock", workers, (workers + 1) / 2);
	status = RUN_OR_END(incident, "flagctl", "guard", incident->name, "detect");
	return status ? status : rest_or_end(incident, clock_now() + BREAK_MS * MILLISECOND);
}

/* ------------------------------------------------------------------------------------------- detect and locate */

static int detect(struct incident *incident)
{
	int status;

	begin_step(incident, "detect", "something is wrong");
	status = RUN_UNTIL(incident, STATUS_NO, "nobody noticed anything", "flagctl", "health", incident->name);
	if (status)
		return status;
	tell_line(incident, '^', "");
	return strncmp(incident->run.said, "CORRUPT ", 8) == 0 ? STATUS_DONE : broken_by_command(incident, "it is not called CORRUPT");
}

/* The totals, which are the last lines: a number and a kind. */
static void tell_kinds(struct incident *incident)
{
	char kinds[LINE_SIZE] = "", line[LINE_SIZE], kind[32];
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
		tell(incident, "%s", kinds);
}

/* The first two places that met of which one did not lock; conflicts has three lines for each pair. */
static bool tell_culprits(struct incident *incident)
{
	const char *culprit = strstr(incident->run.said, "WITHOUT THE LOCK"), *begin = culprit;
	char line[LINE_SIZE];

	if (!culprit)
		return false;
	while (begin > incident->run.said && (begin[-1] != '\n' || *begin == ' '))
		begin--;
	for (int i = 0; i < 3 && *begin; i++) {
		size_t length = strcspn(begin, "\n");

		snprintf(line, sizeof line, "%.*s", (int)length, begin);
		tell(incident, "%s", line);
		begin += length + (begin[length] == '\n');
	}
	return true;
}

static int locate(struct incident *incident)
{
	int status;

	begin_step(incident, "locate", "what is damaged, and who did it from where");
	status = RUN_UNTIL(incident, STATUS_NO, "nothing is damaged", "flaginspect", "check", incident->name);
	if (status)
		return status;
	tell_line(incident, '$', " findings");
	tell_kinds(incident);
	status = RUN_UNTIL(incident, STATUS_NO, "there are no conflicts", "flaginspect", "conflicts", incident->name);
	if (status)
		return status;
	if (!tell_culprits(incident))
		return broken_by_command(incident, "nobody is named who wrote without the lock");
	tell_line(incident, '$', " pairs of places");
	return STATUS_DONE;
}

/* ----------------------------------------------------------------------------------------------------- hot-fix */

static int hot_fix(struct incident *incident)
{
	uint64_t before, writes;
	int status;

	begin_step(incident, "hot-fix", "the workers that are running have to lock from their next write on");
	status = RUN_OR_END(incident, "flagctl", "guard", incident->name, "enforce");
	/* The write under way may have begun without the lock; the second one from now on has not. */
	if (!status)
		status = await_writes(incident, 2, 0);
	if (!status)
		status = ask_conflicts(incident, &before);
	writes = all_writes(incident);
	if (!status)
		status = await_writes(incident, WATCH_WRITES, WATCH_MS);
	writes = all_writes(incident) - writes;
	if (!status)
		status = ask_conflicts(incident, &incident->conflicts);
	if (status)
		return status;
	if (incident->conflicts != before)
		return broken(incident, "%" PRIu64 " more conflicts in %" PRIu64 " writes of the workers", incident->conflicts - before, writes);
	tell(incident, "no more in %" PRIu64 " writes of the same workers", writes);
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
	char line[LINE_SIZE * 2];

	for (const char *begin = incident->run.said; *begin; begin += length + (begin[length] == '\n')) {
		length = strcspn(begin, "\n");
		if (strncmp(begin, prefix, skip) != 0)
			continue;
		snprintf(line, sizeof line, "%.*s", (int)(length - skip), begin + skip);
		json_object_set_new(incident->named, line, json_true());
		if (json_object_size(incident->named) <= SEEN_MAX)
			tell(incident, "%s%s", prefix, line);
	}
	incident->named_keys = json_object_size(incident->named);
	if (incident->named_keys > SEEN_MAX)
		tell(incident, "and %zu more", incident->named_keys - SEEN_MAX);
}

static int repair(struct incident *incident)
{
	size_t readable = 0;
	int status;

	begin_step(incident, "repair", "while the workers go on");
	for (size_t i = 0; i < incident->flags.count; i++)
		readable += incident->readable[i] = is_readable(incident, i);
	status = RUN(incident, "flaginspect", "repair", incident->name, "--quarantine", incident->quarantine);
	if (status)
		return status;
	tell_run(incident);
	tell(incident, "%zu of %zu flags could be read before it", readable, incident->flags.count);
	tell_line(incident, '$', " findings left");
	/* It ends with 1 when it had to give up something: that is named, and looked at when the flags are. */
	if ((incident->run.status != STATUS_DONE && incident->run.status != STATUS_NO) || !strstr(incident->run.said, "; 0 findings left\n"))
		return broken_by_command(incident, "it is not sound after it");
	note_lost_keys(incident);
	tell_line(incident, '^', "what was in slots");
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
	uint64_t conflicts, writes = all_writes(incident);
	size_t lost;
	int status;

	begin_step(incident, "verify", "nothing is damaged any more, and nothing gets damaged");
	give_order(incident, INCIDENT_COMPARE);
	status = await_writes(incident, WATCH_WRITES, WATCH_MS);
	writes = all_writes(incident) - writes;
	if (!status)
		status = RUN_UNTIL(incident, STATUS_DONE, "it is damaged again", "flaginspect", "check", incident->name);
	if (status)
		return status;
	tell_line(incident, '$', " findings");
	tell(incident, "after %" PRIu64 " more writes of the same workers", writes);
	status = RUN_UNTIL(incident, STATUS_DONE, "it is not healthy", "flagctl", "health", incident->name);
	if (status)
		return status;
	tell_line(incident, '^', "");
	if (strncmp(incident->run.said, "HEALTHY ", 8) != 0)
		return broken_by_command(incident, "it is not called HEALTHY");
	status = ask_conflicts(incident, &conflicts);
	if (status)
		return status;
	if (conflicts != incident->conflicts)
		return broken(incident, "there are %" PRIu64 " more conflicts", conflicts - incident->conflicts);
	compare_flags(incident);
	lost = json_array_size(incident->lost);
	tell(incident, "%zu of %zu flags can be read, %zu of them brought back", incident->flags.count - lost, incident->flags.count,
	     incident->brought_back);
	if (incident->silent)
		return broken(incident, "%zu flags were readable before the repair, are not now, and were not named", incident->silent);
	return STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------------ report */

static int report(struct incident *incident)
{
	int status;

	begin_step(incident, "report", "all of it in one file, for those who were not there");
	status = RUN_OR_END(incident, "flaginspect", "snapshot", incident->name, incident->evidence);
	if (!status)
		status = RUN(incident, "flaginspect", "conflicts", incident->evidence);
	if (status)
		return status;
	tell_run(incident);
	tell_line(incident, '$', " pairs of places");
	if (incident->run.status != STATUS_NO || !strstr(incident->run.said, "WITHOUT THE LOCK"))
		return broken_by_command(incident, "the culprits are not in it");
	return STATUS_DONE;
}

/* ----------------------------------------------------------------------------------------------------- the end */

static void dismiss(struct incident *incident)
{
	int number;

	incident->running = (uint32_t)crew_reap(incident->members, workers);
	give_order(incident, INCIDENT_END);
	number = crew_dismiss(incident->members, workers);
	if (number && !incident->stopped_by)
		incident->stopped_by = number;
	incident->writes = all_writes(incident);
	for (uint32_t i = 0; i < workers; i++) {
		incident->compared += atomic_load_explicit(&incident->board->worker[i].compared, memory_order_relaxed);
		incident->wrong += atomic_load_explicit(&incident->board->worker[i].wrong, memory_order_relaxed);
	}
}

/* What the workers themselves saw, which is known when they have ended. */
static int judge_workers(struct incident *incident)
{
	const char *example = "";

	incident->step = "verify";
	for (uint32_t i = 0; i < workers && !*example; i++)
		example = incident->board->worker[i].example;
	for (uint32_t i = 0; i < workers; i++)
		if (incident->members[i].state != CREW_ENDED)
			return broken(incident, "worker %" PRIu32 " (pid %d) has died", i + 1, (int)incident->members[i].pid);
	if (incident->wrong)
		return broken(incident, "of %" PRIu64 " looks of the workers at what they had written %" PRIu64 " were wrong: %s", incident->compared,
		              incident->wrong, example);
	return incident->compared ? STATUS_DONE : broken(incident, "the workers have compared nothing");
}

static void print_end(const struct incident *incident)
{
	size_t lost = json_array_size(incident->lost), i;
	json_t *key;

	printf("\nworkers   %" PRIu32 " of %" PRIu64 " still ran at the end; %s writes\n", incident->running, workers,
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
	                      "commands", (json_int_t)incident->commands, "workers", (json_int_t)workers, "running", (json_int_t)incident->running,
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
		status = incident->stopped_by ? stopped(incident) : judge_workers(incident);
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
	snprintf(incident->name, sizeof incident->name, "incident-%d", (int)getpid());
	incident->steps = json_array();
	incident->item = json_null();
	incident->lost = json_array();
	incident->named = json_object();
	incident->board_size = sizeof *incident->board + workers * sizeof *incident->board->worker;
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

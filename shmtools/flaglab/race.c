/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab race: the incident. Workers write a laboratory segment without locking, in three stages: while the table does not grow, while it
 * grows, and when it has grown. The same is done with locking, on a segment of its own; and, for each mode of the guard, for a moment, to
 * see how soon it notices. Then all is reported side by side. What broke stays in the segment, to be looked at. */
#include "race.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "commands.h"
#include "crew.h"
#include "shared.h"

enum {
	GUARD_MS = 400,     /* how long a mode of the guard has for seeing something */
	COMPARE_LIMIT_S = 10,
	PATIENCE_S = 10,    /* how long a worker that was told to stop may take, however broken the table is */
};

static uint64_t workers = 4, milliseconds = 3000;

static const struct cli_option options[] = {
	CLI_NUMBER('w', "workers", "N", &workers, 2, RACE_WORKERS_MAX, "how many processes write (4)"),
	CLI_DURATION('s', "seconds", "TIME", NULL, &milliseconds, 100, 3600000, "how long without locking, and as long with it (3)"),
	CLI_OPTIONS_END,
};

struct race {
	const char *name; /* of the segment */
	flagstore *store; /* attached with locking, for comparisons */
	uint32_t attach_flags;
	bool quiet; /* workers are meant to abort */
	struct race_board *board;
	size_t board_size;
	struct crew_member members[RACE_WORKERS_MAX];
	uint64_t findings[RACE_DAMAGES_COUNT]; /* of the check, the last time */
	uint64_t toggled[RACE_SHARED];         /* until the last comparison */
	uint64_t changes[RACE_SHARED];
	struct race_result *result;
	enum race_stage stage;
	int stopped_by;
};

/* ----------------------------------------------------------------------------------------------- processes */

static int be_worker(void *argument, uint32_t number)
{
	struct race *race = argument;

	flagstore_close(race->store);
	if (race->quiet) {
		int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

		(void)dup2(nowhere, STDERR_FILENO);
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	}
	return race_work(race->name, race->attach_flags, race->board, number);
}

static size_t sleep_until(struct race *race, int64_t until)
{
	int number = crew_sleep_until(until);

	if (number && !race->stopped_by)
		race->stopped_by = number;
	return crew_reap(race->members, workers);
}

static uint64_t operations(const struct race *race)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < workers; i++)
		sum += atomic_load_explicit(&race->board->worker[i].operations, memory_order_relaxed);
	return sum;
}

static void give_order(struct race *race, uint32_t order)
{
	atomic_store_explicit(&race->board->order, order, memory_order_release);
}

/* Waits until all that work have carried out the order. One that can't end what it does, in a table that leads it in circles, is killed. */
static void await(struct race *race, uint32_t order)
{
	int64_t limit = clock_now() + PATIENCE_S * SECOND;

	for (;;) {
		bool all = true;

		for (uint32_t i = 0; i < workers; i++) {
			bool late = race->members[i].state == CREW_WORKING &&
			            atomic_load_explicit(&race->board->worker[i].done, memory_order_acquire) != order;

			if (late && clock_now() > limit)
				crew_kill_stuck(&race->members[i]);
			all = all && !late;
		}
		if (all || race->stopped_by)
			return;
		(void)sleep_until(race, clock_now() + MILLISECOND);
	}
}

static int start_all(struct race *race)
{
	int status = STATUS_DONE;

	for (uint32_t i = 0; i < workers && !status; i++)
		status = crew_start(&race->members[i], "flaglab-racer", be_worker, race, i);
	while (!status && !race->stopped_by && atomic_load_explicit(&race->board->ready, memory_order_acquire) < workers)
		if (sleep_until(race, clock_now() + MILLISECOND) < workers)
			break;
	return status;
}

static void end_all(struct race *race)
{
	int number;

	give_order(race, RACE_ORDER_END);
	number = crew_dismiss(race->members, workers);
	if (number && !race->stopped_by)
		race->stopped_by = number;
}

/* -------------------------------------------------------------------------------------------------- set up */

static int fill(struct race *race)
{
	flagstore *store = race->store;
	char name[64];
	int error = FLAGSTORE_OK;

	for (uint32_t i = 0; i < RACE_SHARED && !error; i++)
		error = flagstore_set(store, race_shared_key(name, i), false);
	for (uint32_t i = 0; i < workers && !error; i++) {
		struct race_worker *worker = &race->board->worker[i];

		worker->keys = RACE_FIRST;
		for (uint32_t j = 0; j < RACE_FIRST && !error; j++) {
			error = flagstore_set(store, race_key(name, i, j), false);
			worker->expected[j] = 1;
		}
	}
	for (uint32_t i = 0; i < RACE_SHARED && !error; i++) {
		struct flagstore_flag flag = {.changes = 0};

		error = flagstore_lookup(store, race_shared_key(name, i), &flag);
		race->changes[i] = flag.changes;
	}
	return error ? failure_of_library(error) : STATUS_DONE;
}

static void open_board(struct race *race)
{
	race->board_size = sizeof *race->board + workers * sizeof *race->board->worker;
	race->board = (struct race_board *)(void *)shared_memory(race->board_size);
}

static void close_board(struct race *race)
{
	munmap(race->board, race->board_size);
}

/* What a segment for comparison is called: a segment of this run alone, beside the one that was named. */
static char *scratch_name(const char *name)
{
	char *scratch;

	if (asprintf(&scratch, "%s.race-%d", name, (int)getpid()) < 0)
		failure_memory();
	return scratch;
}

static int create_scratch(const flagstore *like, const char *name, flagstore **store)
{
	struct flagstore_options wanted = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_info info;
	int error = flagstore_info(like, &info);

	if (!error) {
		wanted.max_bytes = info.max_bytes;
		wanted.shards = info.shards;
		wanted.workers = info.workers_max;
		wanted.seats = info.seats_max;
		wanted.laboratory = true;
		error = flagstore_create(name, &wanted, store);
	}
	return error ? failure_of_library(error) : STATUS_DONE;
}

/* ------------------------------------------------------------------------------------------------- comparing */

static enum race_damage damage_of(const char *kind)
{
	static const struct {
		const char *kind;
		enum race_damage damage;
	} known[] = {
		{"slot", RACE_TORN},       {"check-value", RACE_TORN},         {"duplicate", RACE_DUPLICATES},
		{"tag", RACE_TAGS},        {"count", RACE_COUNTS},             {"unreachable", RACE_UNREACHABLE},
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(kind, known[i].kind) == 0)
			return known[i].damage;
	return RACE_STRUCTURE;
}

static uint64_t found_now[RACE_DAMAGES_COUNT];

static void note_finding(const struct flagstore_finding *finding, void *argument)
{
	struct race *race = argument;
	enum race_damage damage = damage_of(finding->kind);
	char(*example)[RACE_EXAMPLE_SIZE] = race->result->examples.example[damage];

	if (found_now[damage] < RACE_EXAMPLES && !*example[found_now[damage]])
		snprintf(example[found_now[damage]], RACE_EXAMPLE_SIZE, "%s", finding->text);
	found_now[damage]++;
}

/* What the checker finds, less what it had found before. */
static int check(struct race *race)
{
	uint64_t findings;
	int error;

	memset(found_now, 0, sizeof found_now);
	error = flagstore_check(race->store, note_finding, race, &findings, NULL);
	if (error)
		return failure_of_library(error);
	for (int i = 0; i < RACE_DAMAGES_COUNT; i++) {
		if (found_now[i] > race->findings[i])
			race->result->damage[race->stage][i] += found_now[i] - race->findings[i];
		race->findings[i] = found_now[i];
	}
	return STATUS_DONE;
}

/* Each toggle counts as one change of the flag. */
static void compare_shared(struct race *race)
{
	for (uint32_t i = 0; i < RACE_SHARED; i++) {
		struct flagstore_flag flag = {.exists = false};
		uint64_t toggled = 0, made;
		char name[64];

		for (uint32_t j = 0; j < workers; j++)
			toggled += atomic_load_explicit(&race->board->worker[j].toggles[i], memory_order_relaxed);
		(void)flagstore_lookup(race->store, race_shared_key(name, i), &flag);
		made = toggled - race->toggled[i];
		if (!flag.exists) {
			if (race->changes[i])
				race_note(&race->result->examples, race->stage, RACE_NOT_FOUND, "%s", name);
		} else if (race->changes[i] && flag.changes - race->changes[i] < made) {
			race_note(&race->result->examples, race->stage, RACE_LOST_FLIPS, "%s: toggled %" PRIu64 " times, changed %" PRIu64 " times", name,
			          made, flag.changes - race->changes[i]);
			race->result->damage[race->stage][RACE_LOST_FLIPS] += made - (flag.changes - race->changes[i]) - 1;
		}
		race->toggled[i] = toggled;
		race->changes[i] = flag.exists ? flag.changes : 0;
	}
}

static void add_found(struct race_result *result, const struct race_found *found)
{
	for (int damage = 0; damage < RACE_DAMAGES_COUNT; damage++) {
		int next = 0;

		for (int stage = 0; stage < RACE_STAGES; stage++)
			result->damage[stage][damage] += atomic_load_explicit(&found->count[stage][damage], memory_order_relaxed);
		for (int i = 0; i < RACE_EXAMPLES && found != &result->examples; i++) {
			while (next < RACE_EXAMPLES && *result->examples.example[damage][next])
				next++;
			if (next < RACE_EXAMPLES && *found->example[damage][i])
				memcpy(result->examples.example[damage][next], found->example[damage][i], RACE_EXAMPLE_SIZE);
		}
	}
}

static void sum_up(struct race *race)
{
	struct race_result *result = race->result;

	add_found(result, &result->examples);
	for (uint32_t i = 0; i < workers; i++)
		add_found(result, &race->board->worker[i].found);
	result->operations = operations(race);
}

static void count_dead(struct race *race, size_t *dead)
{
	size_t now = 0;

	for (uint32_t i = 0; i < workers; i++)
		now += race->members[i].state == CREW_DIED;
	race->result->damage[race->stage][RACE_DIED] += now - *dead;
	*dead = now;
}

/* --------------------------------------------------------------------------------------------------- a run */

static int run_stages(struct race *race)
{
	size_t dead = 0;
	int status = STATUS_DONE;

	for (int stage = 0; stage < RACE_STAGES && !race->stopped_by && !status; stage++) {
		int64_t end = clock_now() + (int64_t)milliseconds * MILLISECOND / RACE_STAGES;

		race->stage = (enum race_stage)stage;
		give_order(race, RACE_ORDER_RUN(stage));
		while (clock_now() < end && !race->stopped_by && sleep_until(race, end))
			;
		give_order(race, RACE_ORDER_COMPARE(stage));
		await(race, RACE_ORDER_COMPARE(stage));
		compare_shared(race);
		count_dead(race, &dead);
		status = check(race);
	}
	return status;
}

/* Workers on a segment that this process is attached to with locking. */
static int race_on(const char *name, flagstore *store, uint32_t attach_flags, struct race_result *result)
{
	struct race *race = calloc(1, sizeof *race);
	int status;

	if (!race)
		failure_memory();
	race->name = name;
	race->store = store;
	race->attach_flags = attach_flags;
	race->result = result;
	open_board(race);
	status = fill(race);
	/* What is broken already is not this run's. */
	if (!status)
		status = check(race);
	memset(result, 0, sizeof *result);
	if (!status)
		status = start_all(race);
	if (!status && !race->stopped_by)
		status = run_stages(race);
	end_all(race);
	sum_up(race);
	if (race->stopped_by && !status)
		status = 128 + race->stopped_by;
	close_board(race);
	free(race);
	return status;
}

static int race_locked(const flagstore *like, const char *name, struct race_result *result)
{
	char *scratch = scratch_name(name);
	flagstore *store;
	int status = create_scratch(like, scratch, &store);

	if (!status) {
		status = race_on(scratch, store, 0, result);
		flagstore_close(store);
		(void)flagstore_unlink(scratch);
	}
	free(scratch);
	return status;
}

/* --------------------------------------------------------------------------------------------------- guards */

static int64_t now_since_1970(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* The first conflict's record is the one with number 0, if it has not been overwritten. */
static int64_t first_conflict_ns(const flagstore *store)
{
	size_t count = flagstore_conflicts(store, NULL, 0);
	struct flagstore_conflict *conflicts = calloc(count + 1, sizeof *conflicts);
	int64_t first = INT64_MAX;

	if (!conflicts)
		failure_memory();
	count = flagstore_conflicts(store, conflicts, count) < count ? 0 : count;
	for (size_t i = 0; i < count; i++)
		first = conflicts[i].first_ns < first ? conflicts[i].first_ns : first;
	free(conflicts);
	return first;
}

static uint64_t conflicts_of(const flagstore *store)
{
	struct flagstore_info info;

	return flagstore_info(store, &info) == FLAGSTORE_OK ? info.conflicts : 0;
}

/* Where workers that abort leave their dumps, which nobody wants. */
static char dumps[] = "/tmp/flaglab.XXXXXX";

static void make_dumps_directory(void)
{
	if (mkdtemp(dumps))
		(void)setenv("FLAGSTORE_DUMP_DIR", dumps, 1);
}

static void remove_dumps(void)
{
	DIR *directory = opendir(dumps);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		(void)unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		(void)closedir(directory);
	(void)rmdir(dumps);
}

static void watch_guard(struct race *race, struct race_guard *guard)
{
	int64_t end = clock_now() + GUARD_MS * MILLISECOND, begun = now_since_1970();

	give_order(race, RACE_ORDER_RUN(RACE_BEFORE));
	while (clock_now() < end && !race->stopped_by && sleep_until(race, clock_now() + MILLISECOND / 5)) {
		if (guard->seen || !conflicts_of(race->store))
			continue;
		guard->seen = true;
		guard->operations = operations(race);
	}
	give_order(race, RACE_ORDER_COMPARE(RACE_BEFORE));
	await(race, RACE_ORDER_COMPARE(RACE_BEFORE));
	guard->conflicts = conflicts_of(race->store);
	if (guard->conflicts && !guard->seen) {
		guard->seen = true;
		guard->operations = operations(race);
	}
	if (guard->seen)
		guard->ms = (double)(first_conflict_ns(race->store) - begun) / (double)MILLISECOND;
}

static int try_guard(const flagstore *like, const char *name, struct race_guard *guard)
{
	char *scratch = scratch_name(name);
	struct race *race = calloc(1, sizeof *race);
	struct race_result *result = calloc(1, sizeof *result);
	uint64_t findings = 0;
	int error, status;

	if (!race || !result)
		failure_memory();
	race->name = scratch;
	race->attach_flags = FLAGSTORE_UNLOCKED;
	race->quiet = guard->mode == FLAGSTORE_GUARD_ABORT;
	race->result = result;
	status = create_scratch(like, scratch, &race->store);
	if (status)
		goto end;
	open_board(race);
	status = fill(race);
	error = flagstore_set_guard(race->store, (enum flagstore_guard)guard->mode, 0);
	if (!status && error)
		status = failure_of_library(error);
	if (!status)
		status = start_all(race);
	if (!status && !race->stopped_by)
		watch_guard(race, guard);
	end_all(race);
	for (uint32_t i = 0; i < workers; i++)
		guard->aborted += race->members[i].state == CREW_DIED;
	(void)flagstore_set_guard(race->store, FLAGSTORE_GUARD_OFF, 0);
	if (!status && flagstore_check(race->store, NULL, NULL, &findings, NULL) == FLAGSTORE_OK)
		guard->damage = findings;
	if (race->stopped_by && !status)
		status = 128 + race->stopped_by;
	close_board(race);
	flagstore_close(race->store);
	(void)flagstore_unlink(scratch);
end:
	free(result);
	free(race);
	free(scratch);
	return status;
}

/* ------------------------------------------------------------------------------------------------- command */

static int run_all(const char *name, flagstore *store)
{
	struct race_result *results = calloc(2, sizeof *results);
	struct race_guard guards[] = {
		{.mode = FLAGSTORE_GUARD_DETECT}, {.mode = FLAGSTORE_GUARD_AUDIT}, {.mode = FLAGSTORE_GUARD_ABORT}, {.mode = FLAGSTORE_GUARD_ENFORCE},
	};
	size_t count = sizeof guards / sizeof *guards;
	bool sound = true;
	int status;

	if (!results)
		failure_memory();
	crew_prepare();
	status = race_on(name, store, FLAGSTORE_UNLOCKED, &results[0]);
	if (!status)
		status = race_locked(store, name, &results[1]);
	make_dumps_directory();
	for (size_t i = 0; i < count && !status; i++)
		status = try_guard(store, name, &guards[i]);
	remove_dumps();
	if (!status) {
		race_report(name, results, guards, count);
		for (int i = 0; i < RACE_DAMAGES_COUNT; i++)
			sound = sound && race_sum(&results[1], (enum race_damage)i) == 0;
		status = sound ? STATUS_DONE : STATUS_NO;
	}
	free(results);
	return status;
}

static int run(int count, char **operands)
{
	struct flagstore_options unlocked = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	int error, status;

	(void)count;
	/* First as the workers will, for the library's own refusal of other segments. */
	unlocked.flags = FLAGSTORE_UNLOCKED;
	error = flagstore_attach(operands[0], &unlocked, &store);
	if (error)
		return failure_of_library(error);
	flagstore_close(store);
	error = flagstore_attach(operands[0], NULL, &store);
	if (error)
		return failure_of_library(error);
	status = run_all(operands[0], store);
	flagstore_close(store);
	return status;
}

const struct cli_command command_race = {
	.name = "race",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "write a laboratory segment without locking, and see what breaks",
	.details = "What breaks stays in the segment NAME (flagctl create --lab). The same is done with locking, and with each mode of the\n"
	           "guard, on segments that are made for that and unlinked again.\n",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab bench: how fast this machine is with these flags. The workloads are those that the project's own benchmark does with its peers
 * (workload.h). Works that only read use the segment itself, which is attached read-only; all others use a copy of it that
 * belongs to this command and is removed at the end. */
#include <flagstore.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalog.h"
#include "clock.h"
#include "columns.h"
#include "commands.h"
#include "output.h"
#include "peer-flagstore.h"
#include "progress.h"
#include "quantity.h"
#include "workload.h"

enum {
	ROUNDS_MAX = 99,
	MISSING_MOST = 1000000,
	KEY_MOST = FLAGSTORE_KEY_MAX,
};

static uint64_t rounds = 5, milliseconds = 100;
static const char *workloads;
static bool guards;

static const struct cli_option options[] = {
	CLI_SWITCH('g', "guard", &guards, "what each mode of the guard costs, too"),
	CLI_TEXT('w', "workloads", "LIST", &workloads, "only these workloads, separated by commas (all)"),
	CLI_NUMBER('r', "rounds", "N", &rounds, 1, ROUNDS_MAX, "how often each is measured (5)"),
	CLI_DURATION('t', "time", "TIME", NULL, &milliseconds, 1, 60000, "how long each is measured in a round (100ms)"),
	CLI_OPTIONS_END,
};

static const struct {
	const char *name, *title;
} entries[WORK_COUNT] = {
#define WORK_ENTRY(name, word, title) [WORK_##name] = {word, title},
	WORKLOADS(WORK_ENTRY)
#undef WORK_ENTRY
};

static bool reads_only(enum work work)
{
	switch (work) {
	case WORK_GET:
	case WORK_DEPENDENT:
	case WORK_MISS:
	case WORK_HANDLE:
	case WORK_HOT:
	case WORK_MANY16:
	case WORK_MANY32:
	case WORK_LIST:
	case WORK_MEMORY:
		return true;
	default:
		return false;
	}
}

struct series {
	unsigned count;
	double values[ROUNDS_MAX];
	double undisturbed;
	uint64_t operations, wrong;
};

/* What is measured in each mode of the guard but abort, which does what detect does as long as it does not abort. */
static const enum work guarded[] = {WORK_GET, WORK_FLIP, WORK_CHURN};
static const enum flagstore_guard modes[] = {FLAGSTORE_GUARD_OFF, FLAGSTORE_GUARD_DETECT, FLAGSTORE_GUARD_AUDIT, FLAGSTORE_GUARD_ENFORCE};

enum {
	GUARDED = sizeof guarded / sizeof *guarded,
	MODES = sizeof modes / sizeof *modes,
};

struct bench {
	const char *name;
	flagstore *store;
	struct catalog catalog;
	char directory[PATH_MAX];
	const struct keypack *pack;
	bool chosen[WORK_COUNT];
	struct series series[WORK_COUNT];
	struct series guards[MODES][GUARDED];
	size_t disturbed; /* flags that somebody else has changed meanwhile */
};

static volatile sig_atomic_t stopped_by;

static void on_signal(int number)
{
	stopped_by = number;
}

/* ------------------------------------------------------------------------------------------------------- keys */

/* A key that the segment does not have, of about the same length. */
static bool add_missing(struct keypack_keys *keys, const flagstore *store, const char *key, size_t length)
{
	struct flagstore_flag flag;
	char other[KEY_MOST + 1];

	memcpy(other, key, length);
	if (length == KEY_MOST)
		length--;
	other[length++] = '~';
	return flagstore_lookup_n(store, other, length, &flag) != FLAGSTORE_ENOTFOUND || keypack_add(keys, other, length, false);
}

static bool collect_keys(const struct bench *bench, struct keypack_keys *keys)
{
	const struct catalog *catalog = &bench->catalog;

	for (size_t i = 0; i < catalog->count; i++) {
		if (!keypack_add(keys, catalog->keys[i], catalog->lengths[i], catalog->flags[i].value))
			return false;
	}
	keys->present = catalog->count;
	for (size_t i = 0; i < catalog->count && i < MISSING_MOST; i++) {
		if (!add_missing(keys, bench->store, catalog->keys[i], catalog->lengths[i]))
			return false;
	}
	/* All of them may have been there, however unlikely that is. */
	return keys->count > keys->present || keypack_add(keys, CATALOG_OWN_PREFIX "missing", sizeof CATALOG_OWN_PREFIX "missing" - 1, false);
}

static int make_pack(struct bench *bench)
{
	struct keypack_keys keys = {0};
	char path[PATH_MAX + 8];

	snprintf(path, sizeof path, "%s/keys", bench->directory);
	if (!collect_keys(bench, &keys))
		failure_memory();
	if (keypack_write(path, &keys))
		bench->pack = keypack_map(path);
	keypack_free(&keys);
	unlink(path);
	return bench->pack ? STATUS_DONE : failure_errno(STATUS_OUTPUT, "keys can't be written to %s", path);
}

static int make_directory(struct bench *bench)
{
	const char *parent = getenv("FLAGSTORE_DIR");

	snprintf(bench->directory, sizeof bench->directory, "%s/flaglab-bench.XXXXXX", parent && *parent ? parent : "/dev/shm");
	if (mkdtemp(bench->directory))
		return STATUS_DONE;
	failure_errno(STATUS_CREATE, "directory %s can't be made", bench->directory);
	*bench->directory = '\0';
	return STATUS_CREATE;
}

/* ------------------------------------------------------------------------------------------------------ rounds */

static void note_outcome(struct series *series, const struct outcome *outcome)
{
	series->wrong += outcome->wrong;
	series->operations += outcome->operations;
	if (outcome->possible)
		series->values[series->count++] = outcome->value;
	if (outcome->more[0].name && strcmp(outcome->more[0].name, "undisturbed") == 0)
		series->undisturbed += outcome->more[0].value;
}

static void do_round(struct bench *bench, struct workload *own, struct workload *copy, unsigned round, unsigned *done)
{
	for (int i = 0; i < WORK_COUNT && !stopped_by; i++) {
		enum work work = (enum work)i;
		struct outcome outcome;

		/* What the segment takes does not change from round to round. */
		if (!bench->chosen[i] || (work == WORK_MEMORY && round > 0))
			continue;
		workload_do(reads_only(work) ? own : copy, work, &outcome);
		note_outcome(&bench->series[i], &outcome);
		progress_update(++*done);
	}
}

/* All modes in each round, on the copy. */
static void do_guards(struct bench *bench, struct workload *copy, unsigned *done)
{
	for (int mode = 0; mode < MODES; mode++) {
		for (int i = 0; i < GUARDED && !stopped_by; i++) {
			struct outcome outcome;

			/* The first of all makes the copy, whose guard is off. */
			if (copy->peer && flagstore_set_guard(copy->peer->store, modes[mode], 0))
				return;
			workload_do(copy, guarded[i], &outcome);
			note_outcome(&bench->guards[mode][i], &outcome);
			progress_update(++*done);
		}
	}
	if (copy->peer)
		(void)flagstore_set_guard(copy->peer->store, FLAGSTORE_GUARD_OFF, 0);
}

static void measure(struct bench *bench)
{
	struct peer segment = {.store = bench->store};
	struct workload own = {.directory = bench->directory, .pack = bench->pack, .peer = &segment};
	struct workload copy = {.directory = bench->directory, .pack = bench->pack};
	unsigned chosen = 0, done = 0;

	own.budget_ns = copy.budget_ns = (int64_t)milliseconds * MILLISECOND;
	for (int i = 0; i < WORK_COUNT; i++)
		chosen += bench->chosen[i];
	progress_begin("measuring", "workloads", rounds * (chosen + (guards ? MODES * GUARDED : 0)));
	for (unsigned round = 0; round < rounds && !stopped_by; round++) {
		do_round(bench, &own, &copy, round, &done);
		if (guards)
			do_guards(bench, &copy, &done);
	}
	progress_end();
	if (copy.peer)
		peer_close(copy.peer);
}

/* Answers about flags that others change at the same time can't be judged. */
static void count_disturbed(struct bench *bench)
{
	const struct catalog *catalog = &bench->catalog;

	for (size_t i = 0; i < catalog->count; i++) {
		struct flagstore_flag flag;

		flagstore_lookup_n(bench->store, catalog->keys[i], catalog->lengths[i], &flag);
		bench->disturbed += flag.version != catalog->flags[i].version;
	}
}

/* ------------------------------------------------------------------------------------------------------ report */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const struct series *series)
{
	return series->count % 2 ? series->values[series->count / 2]
	                         : (series->values[series->count / 2 - 1] + series->values[series->count / 2]) / 2;
}

static uint64_t all_wrong(const struct bench *bench)
{
	uint64_t wrong = 0;

	for (int i = 0; i < WORK_COUNT; i++)
		wrong += bench->disturbed > 0 && reads_only((enum work)i) ? 0 : bench->series[i].wrong;
	for (int mode = 0; mode < MODES; mode++)
		for (int i = 0; i < GUARDED; i++)
			wrong += bench->guards[mode][i].wrong;
	return wrong;
}

static struct quantity number_text(double number)
{
	struct quantity result;

	snprintf(result.text, sizeof result.text, number < 10 ? "%.2f" : number < 100 ? "%.1f" : "%.0f", number);
	return result;
}

/* "42.1 (1.05)" */
static struct quantity guard_text(const struct bench *bench, int mode, int i)
{
	double ns = median(&bench->guards[mode][i]);
	struct quantity result;

	snprintf(result.text, sizeof result.text, "%.16s (%.2f)", number_text(ns).text, ns / median(&bench->guards[0][i]));
	return result;
}

static void print_guards(const struct bench *bench)
{
	static const struct column layout[] = {
		{"GUARD", COLUMN_LEFT}, {"GET", COLUMN_RIGHT}, {"FLIP", COLUMN_RIGHT}, {"DELETE AND INSERT", COLUMN_RIGHT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);

	for (int mode = 0; mode < MODES; mode++)
		columns_row(table, flagstore_guard_name((int)modes[mode]), guard_text(bench, mode, 0).text, guard_text(bench, mode, 1).text,
		            guard_text(bench, mode, 2).text);
	columns_print(table, stdout);
	columns_close(table);
	printf("nanoseconds an operation, and how many times as long as with the guard off\n\n");
}

/* A round that was cut short has none of them. */
static bool has_guards(const struct bench *bench)
{
	for (int mode = 0; mode < MODES; mode++)
		for (int i = 0; i < GUARDED; i++)
			if (!bench->guards[mode][i].count)
				return false;
	return true;
}

static void print_text(const struct bench *bench)
{
	static const struct column layout[] = {
		{"WORK", COLUMN_LEFT}, {"NS", COLUMN_RIGHT}, {"LEAST", COLUMN_RIGHT}, {"MOST", COLUMN_RIGHT}, {"OPERATIONS", COLUMN_RIGHT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);
	const struct series *memory = &bench->series[WORK_MEMORY];

	printf("segment %s: %s flags; workloads that write used a copy of it\n\n", bench->name, count_text(bench->catalog.count).text);
	for (int i = 0; i < WORK_COUNT; i++) {
		const struct series *series = &bench->series[i];

		if (i != WORK_MEMORY && series->count)
			columns_row(table, entries[i].title, number_text(median(series)).text, number_text(series->values[0]).text,
			            number_text(series->values[series->count - 1]).text, count_text(series->operations).text);
	}
	columns_print(table, stdout);
	columns_close(table);
	printf("NS: nanoseconds an operation, median of %" PRIu64 " rounds; LEAST and MOST: of one round\n\n", rounds);
	if (has_guards(bench))
		print_guards(bench);
	if (memory->count)
		printf("memory         %s bytes a flag\n", number_text(median(memory)).text);
	if (bench->disturbed)
		printf("disturbed      %s flags, changed by somebody else meanwhile; answers from the segment itself were not judged\n",
		       count_text(bench->disturbed).text);
	printf("wrong answers  %s\n", count_text(all_wrong(bench)).text);
}

static json_t *series_json(enum work work, const struct series *series)
{
	json_t *values = json_array(), *object;

	for (unsigned i = 0; i < series->count; i++)
		json_array_append_new(values, json_real(series->values[i]));
	object = json_pack("{s:s, s:f, s:o, s:I, s:I}", "workload", entries[work].name, work == WORK_MEMORY ? "bytes" : "ns", median(series),
	                   "rounds", values, "operations", (json_int_t)series->operations, "wrong", (json_int_t)series->wrong);
	if (series->undisturbed > 0)
		json_object_set_new(object, "undisturbed_ns", json_real(series->undisturbed / series->count));
	return object;
}

static json_t *guards_json(const struct bench *bench)
{
	json_t *list = json_array();

	for (int mode = 0; mode < MODES && has_guards(bench); mode++)
		json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "guard", flagstore_guard_name((int)modes[mode]), "get_ns",
		                                      median(&bench->guards[mode][0]), "flip_ns", median(&bench->guards[mode][1]), "churn_ns",
		                                      median(&bench->guards[mode][2])));
	return list;
}

static void print_json(const struct bench *bench)
{
	json_t *measured = json_array();

	for (int i = 0; i < WORK_COUNT; i++) {
		if (bench->series[i].count)
			json_array_append_new(measured, series_json((enum work)i, &bench->series[i]));
	}
	output_json(json_pack("{s:o, s:I, s:o, s:o, s:I, s:I}", "segment", output_text(bench->name), "flags", (json_int_t)bench->catalog.count,
	                      "workloads", measured, "guards", guards_json(bench), "changed_by_others", (json_int_t)bench->disturbed, "wrong_answers",
	                      (json_int_t)all_wrong(bench)));
}

static int report(struct bench *bench)
{
	for (int i = 0; i < WORK_COUNT; i++)
		qsort(bench->series[i].values, bench->series[i].count, sizeof(double), compare);
	for (int mode = 0; mode < MODES; mode++)
		for (int i = 0; i < GUARDED; i++)
			qsort(bench->guards[mode][i].values, bench->guards[mode][i].count, sizeof(double), compare);
	if (cli_json)
		print_json(bench);
	else
		print_text(bench);
	if (stopped_by)
		return 128 + stopped_by;
	return all_wrong(bench) ? STATUS_NO : STATUS_DONE;
}

/* --------------------------------------------------------------------------------------------------- the command */

static void choose_works(struct bench *bench)
{
	char *list = strdup(workloads ? workloads : ""), *rest = list, *word;

	if (!list)
		failure_memory();
	for (int i = 0; i < WORK_COUNT; i++)
		bench->chosen[i] = !workloads;
	while (workloads && (word = strsep(&rest, ",")) != NULL) {
		int i = 0;

		while (i < WORK_COUNT && strcmp(entries[i].name, word) != 0)
			i++;
		if (i == WORK_COUNT)
			cli_usage("--workloads: there is no workload `%s'; flaglab(1) lists them", word);
		bench->chosen[i] = true;
	}
	free(list);
}

static int attach(struct bench *bench)
{
	struct flagstore_options read_only = FLAGSTORE_OPTIONS_INIT;
	int error;

	read_only.flags = FLAGSTORE_READ_ONLY;
	error = flagstore_attach(bench->name, &read_only, &bench->store);
	return error ? failure_of_library(error) : STATUS_DONE;
}

static int conduct(struct bench *bench)
{
	struct sigaction action = {.sa_handler = on_signal};
	int status = catalog_open(&bench->catalog, bench->store);

	if (status)
		return status;
	if (bench->catalog.count == 0)
		return failure(STATUS_MISSING, "segment %s has no flags to read; `flagctl import %s FILE' fills it", bench->name, bench->name);
	/* Between two workloads is early enough: what has been made is put away. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	status = make_directory(bench);
	if (!status)
		status = make_pack(bench);
	if (status)
		return status;
	measure(bench);
	count_disturbed(bench);
	return report(bench);
}

static int run(int count, char **operands)
{
	struct bench bench = {.name = operands[0]};
	int status;

	(void)count;
	choose_works(&bench);
	status = attach(&bench);
	if (status == STATUS_DONE)
		status = conduct(&bench);
	keypack_unmap(bench.pack);
	if (*bench.directory)
		rmdir(bench.directory);
	catalog_close(&bench.catalog);
	flagstore_close(bench.store);
	return status;
}

const struct cli_command command_bench = {
	.name = "bench",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "measure how fast this machine is with a segment's flags",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect workers: who is attached. The segment lists those that may write; /proc tells of everybody that has the file mapped, also of
 * readers, which leave no trace in it, and of programs that it knows nothing of. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "commands.h"
#include "describe.h"
#include "keytext.h"
#include "output.h"
#include "process.h"
#include "quantity.h"

static bool all;

struct listing {
	const struct source *source;
	struct columns *columns;
	json_t *list;
	struct mappers mappers;
	bool ours; /* numbers of processes mean something here */
};

/* What the process does with the segment. */
static const char *access_of(const struct listing *listing, const struct flagstore_worker *worker)
{
	if (!worker->alive)
		return "left";
	for (size_t i = 0; listing->ours && i < listing->mappers.count; i++)
		if (listing->mappers.all[i].pid == worker->pid)
			return listing->mappers.all[i].writable ? "writing" : "reading";
	/* Its lock says that it lives; but we may not look into it, or its number is of another namespace. */
	return "writing";
}

static const char *state_of(const struct listing *listing, pid_t pid, uint64_t start)
{
	if (!listing->ours)
		return "-";
	/* Numbers are used again. */
	if (start && process_start(pid) && process_start(pid) != start)
		return process_state_text(PROCESS_GONE);
	return process_state_text(process_state_of(pid));
}

static void add_worker(struct listing *listing, const struct flagstore_worker *worker)
{
	char id[16], pid[16], uid[16], command[4 * 32 + 1];
	const char *access = access_of(listing, worker), *state = state_of(listing, worker->pid, worker->start_ticks);

	snprintf(id, sizeof id, "%" PRIu32, worker->id);
	snprintf(pid, sizeof pid, "%d", (int)worker->pid);
	snprintf(uid, sizeof uid, "%u", (unsigned)worker->uid);
	snprintf(command, sizeof command, "%.128s", keytext_encode(worker->command, strnlen(worker->command, sizeof worker->command)).text);
	if (cli_json)
		json_array_append_new(listing->list, json_pack("{s:I, s:I, s:I, s:s, s:b, s:s, s:s, s:I}", "id", (json_int_t)worker->id, "pid",
		                                               (json_int_t)worker->pid, "uid", (json_int_t)worker->uid, "command", command, "alive",
		                                               (int)worker->alive, "access", access, "state", state, "attached_ms",
		                                               (json_int_t)worker->attached_ms));
	else
		columns_row(listing->columns, id, pid, uid, access, state, moment_text(worker->attached_ms).text, command);
}

static void add_workers(struct listing *listing, struct flagstore_worker *workers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (workers[i].alive || all)
			add_worker(listing, &workers[i]);
}

static bool is_listed(const struct flagstore_worker *workers, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (workers[i].alive && workers[i].pid == pid)
			return true;
	return false;
}

/* Those that the segment does not know: readers, workers for which no entry was left, and programs of others. */
static void add_mapper(struct listing *listing, const struct mapper *mapper)
{
	const char *access = mapper->writable ? "writing, unlisted" : "reading", *state = process_state_text(process_state_of(mapper->pid));
	struct process_name name = process_name_of(mapper->pid);
	char pid[16];

	snprintf(pid, sizeof pid, "%d", (int)mapper->pid);
	if (cli_json)
		json_array_append_new(listing->list, json_pack("{s:n, s:I, s:n, s:s, s:b, s:s, s:s, s:n}", "id", "pid", (json_int_t)mapper->pid, "uid",
		                                               "command", name.text, "alive", 1, "access", access, "state", state, "attached_ms"));
	else
		columns_row(listing->columns, "-", pid, "-", access, state, "-", name.text);
}

static int show(const struct source *source)
{
	static const struct column layout[] = {
		{"ID", COLUMN_RIGHT},   {"PID", COLUMN_RIGHT},     {"UID", COLUMN_RIGHT},    {"ACCESS", COLUMN_LEFT},
		{"STATE", COLUMN_LEFT}, {"ATTACHED", COLUMN_LEFT}, {"COMMAND", COLUMN_LEFT},
	};
	struct listing listing = {source, columns_open(layout, sizeof layout / sizeof *layout), json_array(), {NULL, 0, 0},
	                          process_numbers_are_ours(source)};
	size_t room = source->store->constants.workers, count;
	struct flagstore_worker *workers = calloc(room ? room : 1, sizeof *workers);

	if (!workers || !listing.list)
		failure_memory();
	count = flagstore_workers(source->store, workers, room);
	mappers_find(source, &listing.mappers);
	add_workers(&listing, workers, count);
	for (size_t i = 0; i < listing.mappers.count; i++)
		if (!listing.ours || !is_listed(workers, count, listing.mappers.all[i].pid))
			add_mapper(&listing, &listing.mappers.all[i]);
	if (cli_json)
		output_json(listing.list);
	else
		columns_print(listing.columns, stdout);
	if (!listing.ours && source->kind == SOURCE_LIVE)
		warning("the segment's workers are of another PID namespace: their numbers, in the lines with an id, are not those of this one");
	if (listing.mappers.hidden)
		warning("%zu processes could not be looked into; run it as root to see whether they have the segment mapped", listing.mappers.hidden);
	if (!cli_json)
		json_decref(listing.list);
	columns_close(listing.columns);
	mappers_free(&listing.mappers);
	free(workers);
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], show);
}

static const struct cli_option options[] = {
	CLI_SWITCH('a', "all", &all, "also workers that have left"),
	CLI_OPTIONS_END,
};

const struct cli_command command_workers = {
	.name = "workers",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print who is attached, also who the segment does not know",
	.options = options,
	.run = run,
};

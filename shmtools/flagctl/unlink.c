/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl unlink: removes a segment's file. Processes that are attached would go on with a table that nobody else can
 * reach, so living workers are a reason not to. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdlib.h>

#include "attach.h"
#include "commands.h"
#include "describe.h"
#include "output.h"

static bool force;

static const struct cli_option options[] = {
	CLI_SWITCH('f', "force", &force, "also with living workers, and when the segment can't be used"),
	CLI_OPTIONS_END,
};

static uint32_t name_living(const char *name, const struct flagstore_worker *workers, size_t count)
{
	uint32_t living = 0;

	for (size_t i = 0; i < count; i++) {
		if (!workers[i].alive)
			continue;
		living++;
		warning("segment %s is in use by %s", name, describe_worker(&workers[i]).text);
	}
	return living;
}

static int refuse_if_in_use(const char *name)
{
	struct flagstore_worker *workers = calloc(FLAGSTORE_WORKERS_MAX, sizeof *workers);
	flagstore *store;
	uint32_t living;
	int status;

	if (!workers)
		failure_memory();
	status = attach_to_read(name, &store);
	if (!status) {
		living = name_living(name, workers, flagstore_workers(store, workers, FLAGSTORE_WORKERS_MAX));
		flagstore_close(store);
		if (living > 0)
			status = failure(STATUS_AGAIN,
			                 "segment %s is not unlinked: %" PRIu32 " living worker%s would go on with the old table; "
			                 "stop them first, or use --force",
			                 name, living, living == 1 ? "" : "s");
	}
	free(workers);
	return status;
}

static int run(int count, char **operands)
{
	const char *name = operands[0];
	int error, status;

	(void)count;
	if (!force && (status = refuse_if_in_use(name)) != STATUS_DONE)
		return status;
	error = flagstore_unlink(name);
	if (error)
		return failure_of_library(error);
	if (cli_json)
		output_json(json_pack("{s:b}", "unlinked", 1));
	return STATUS_DONE;
}

const struct cli_command command_unlink = {
	.name = "unlink",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "remove a segment",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl reserve: room in a segment for flags that are to come. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdlib.h>

#include "attach.h"
#include "commands.h"
#include "output.h"

static const struct cli_option options[] = {
	CLI_OPTIONS_END,
};

static uint64_t flags_of(const char *text)
{
	const char *error;
	long long flags = strtonum(text, 1, INT64_MAX, &error);

	if (error)
		cli_usage("%s: the number of flags is %s", text, error);
	return (uint64_t)flags;
}

static int print_room(const flagstore *store)
{
	struct flagstore_info info;
	int error = flagstore_info(store, &info);

	if (error)
		return failure_of_library(error);
	output_json(json_pack("{s:I, s:I, s:I}", "flags", (json_int_t)info.flags, "slots", (json_int_t)info.slots, "file_bytes",
	                      (json_int_t)info.file_bytes));
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	uint64_t flags = flags_of(operands[1]);
	flagstore *store;
	int status = attach_to_write(operands[0], &store), error;

	(void)count;
	if (status)
		return status;
	error = flagstore_reserve(store, flags);
	if (error)
		status = failure_of_library(error);
	else if (cli_json)
		status = print_room(store);
	flagstore_close(store);
	return status;
}

const struct cli_command command_reserve = {
	.name = "reserve",
	.operands = "NAME FLAGS",
	.least = 2,
	.most = 2,
	.summary = "make room for so many flags before they come",
	.details = "FLAGS is how many there will be in all.\n",
	.options = options,
	.run = run,
};

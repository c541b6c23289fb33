/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl guard: the mode of the guard of a live segment. */
#include <flagstore.h>
#include <string.h>

#include "attach.h"
#include "commands.h"
#include "output.h"

static uint64_t window;

static const struct cli_option options[] = {
	CLI_NUMBER(0, "window", "MS", &window, 1, 60000, "audit: how long after each other two changes of a flag count as together (15)"),
	CLI_OPTIONS_END,
};

static int print_mode(const char *name)
{
	flagstore *store;
	uint32_t window_ms;
	enum flagstore_guard mode;
	struct flagstore_info info;
	int status = attach_to_read(name, &store), error;

	if (status)
		return status;
	mode = flagstore_guard(store, &window_ms);
	error = flagstore_info(store, &info);
	if (error)
		status = failure_of_library(error);
	else if (cli_json)
		output_json(json_pack("{s:s, s:i, s:I}", "guard", flagstore_guard_name((int)mode), "window_ms", (int)window_ms, "conflicts",
		                      (json_int_t)info.conflicts));
	else
		printf("%s\n", flagstore_guard_name((int)mode));
	flagstore_close(store);
	return status;
}

static enum flagstore_guard mode_named(const char *word)
{
	for (int mode = FLAGSTORE_GUARD_OFF; mode <= FLAGSTORE_GUARD_ENFORCE; mode++)
		if (strcmp(word, flagstore_guard_name(mode)) == 0)
			return (enum flagstore_guard)mode;
	cli_usage("there is no mode `%s'; the modes are off, detect, audit, abort and enforce", word);
}

static int run(int count, char **operands)
{
	enum flagstore_guard mode;
	flagstore *store;
	int error, status;

	if (count == 1 && window)
		cli_usage("--window goes with a mode");
	if (count == 1)
		return print_mode(operands[0]);
	mode = mode_named(operands[1]);
	status = attach_to_write(operands[0], &store);
	if (status)
		return status;
	error = flagstore_set_guard(store, mode, (uint32_t)window);
	flagstore_close(store);
	if (error)
		return failure_of_library(error);
	return cli_json ? print_mode(operands[0]) : STATUS_DONE;
}

const struct cli_command command_guard = {
	.name = "guard",
	.operands = "NAME [MODE]",
	.least = 1,
	.most = 2,
	.summary = "show or set how unsynchronised writers are dealt with",
	.details = "MODE is off, detect, audit, abort or enforce; all attached processes obey it with their next write.\n",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl backup: all flags as of one moment into a file, while writers run. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "output.h"
#include "quantity.h"

static int run(int count, char **operands)
{
	flagstore *store;
	uint64_t flags;
	int error, status = attach_to_write(operands[0], &store);

	(void)count;
	if (status)
		return status;
	error = flagstore_backup(store, operands[1], &flags);
	if (error)
		status = failure_of_library(error);
	else if (cli_json)
		output_json(json_pack("{s:o, s:I}", "file", output_text(operands[1]), "flags", (json_int_t)flags));
	else
		printf("%s flags saved\n", count_text(flags).text);
	flagstore_close(store);
	return status;
}

const struct cli_command command_backup = {
	.name = "backup",
	.operands = "NAME FILE",
	.least = 2,
	.most = 2,
	.summary = "save all flags as of one moment in a file",
	.details = "Writers go on meanwhile. `flagctl restore' and `flagctl import --saved' read the file.\n",
	.run = run,
};

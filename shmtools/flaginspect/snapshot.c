/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect snapshot: the segment as it is now, in a file that this command opens later like a segment. */
#include <flagstore.h>

#include "commands.h"
#include "output.h"
#include "source.h"

static int run(int count, char **operands)
{
	struct source source;
	int error, status = source_open(operands[0], &source);

	(void)count;
	if (status)
		return status;
	if (!source.table) {
		source_close(&source);
		return failure(STATUS_UNUSABLE, "no snapshot can be made of %s: %s; copy it by cp(1)", operands[0], source.damage);
	}
	error = flagstore_dump(source.store, operands[1]);
	source_close(&source);
	if (error)
		return failure_of_library(error);
	if (cli_json)
		output_json(json_pack("{s:o}", "snapshot", output_text(operands[1])));
	return STATUS_DONE;
}

const struct cli_command command_snapshot = {
	.name = "snapshot",
	.operands = "NAME FILE",
	.least = 2,
	.most = 2,
	.summary = "write the segment as it is now into a file, to be looked at later",
	.run = run,
};

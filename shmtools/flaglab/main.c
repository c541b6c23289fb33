/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab: real worker processes on a segment, and what they see. */
#include <stddef.h>

#include "commands.h"

static const struct cli_command *const commands[] = {
	&command_run,
	&command_crash,
	&command_race,
	&command_incident,
	&command_bench,
	NULL,
};

static const struct cli_program flaglab = {
	.name = "flaglab",
	.summary = "Run real worker processes on a segment of flags and measure what they see.",
	.commands = commands,
};

int main(int argc, char **argv)
{
	return cli_main(&flaglab, argc, argv);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect: looking inside of segments, whatever state they are in. */
#include <stddef.h>

#include <flagstore.h>

#include "commands.h"

static const struct cli_command *const commands[] = {
	&command_check, &command_dump, &command_map, &command_shards, &command_workers, &command_locks, &command_diff,
	&command_watch, &command_repair, &command_events, &command_conflicts,
	&command_blame, &command_history, &command_threads, &command_snapshot, NULL,
};

static const struct cli_program flaginspect = {
	.name = "flaginspect",
	.summary = "Look inside of a segment, a copy of one or a snapshot: what is damaged, who did it, who holds what.",
	.commands = commands,
};

int main(int argc, char **argv)
{
	/* A file that is cut short meanwhile makes findings then, not a signal. Should this fail, it is as if nothing had been asked. */
	(void)flagstore_catch_sigbus();
	return cli_main(&flaginspect, argc, argv);
}

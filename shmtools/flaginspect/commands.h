/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * commands.h: every sub-command, each in a file of its name. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "cli.h"

extern const struct cli_command command_check, command_dump, command_map;
extern const struct cli_command command_shards, command_workers, command_locks;
extern const struct cli_command command_diff, command_watch, command_repair;
extern const struct cli_command command_events, command_blame, command_history, command_threads, command_snapshot, command_conflicts;

#endif

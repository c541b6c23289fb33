/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * commands.h: every sub-command, each in a file of its name. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "cli.h"

extern const struct cli_command command_bench;
extern const struct cli_command command_crash;
extern const struct cli_command command_incident;
extern const struct cli_command command_race;
extern const struct cli_command command_run;

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * commands.h: every sub-command, each in a file of its name. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "cli.h"

extern const struct cli_command command_health, command_doctor;
extern const struct cli_command command_create, command_unlink, command_info, command_check, command_guard, command_reserve;
extern const struct cli_command command_get, command_test, command_list;
extern const struct cli_command command_set, command_toggle, command_delete, command_batch;
extern const struct cli_command command_wait, command_watch;
extern const struct cli_command command_import, command_export;
extern const struct cli_command command_persist, command_verify, command_breaker, command_backup, command_restore;

#endif

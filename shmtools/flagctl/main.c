/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl: administration of segments and their flags. */
#include <stddef.h>

#include <flagstore.h>

#include "commands.h"

static const struct cli_command *const commands[] = {
	&command_create, &command_unlink, &command_info,  &command_check,  &command_get,
	&command_test,   &command_list,   &command_set,   &command_toggle, &command_delete,
	&command_batch,  &command_wait,   &command_watch, &command_import, &command_export,
	&command_reserve, &command_guard, &command_persist, &command_verify, &command_breaker, &command_backup,
	&command_restore,
	&command_health, &command_doctor,
	NULL,
};

static const struct cli_program flagctl = {
	.name = "flagctl",
	.summary = "Create, read, change and watch named boolean flags in shared memory.",
	.commands = commands,
};

int main(int argc, char **argv)
{
	/* A segment that is cut short meanwhile makes a sentence then, not a signal. Should this fail, it is as if nothing had been asked. */
	(void)flagstore_catch_sigbus();
	return cli_main(&flagctl, argc, argv);
}

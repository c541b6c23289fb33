/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl delete: takes flags away, all that are named or, if one of them is missing, none. */
#include "changes.h"
#include "commands.h"
#include "output.h"

static int run(int count, char **operands)
{
	struct changes changes = {0};
	size_t deleted = 0;
	int status;

	for (int i = 1; i < count; i++) {
		struct change *change = changes_add(&changes);

		change->kind = CHANGE_DELETE;
		change->key = keytext_operand(operands[i]);
	}
	status = changes_apply(&changes, operands[0], &deleted);
	if (!status && cli_json)
		output_json(json_pack("{s:I}", "deleted", (json_int_t)deleted));
	changes_free(&changes);
	return status;
}

const struct cli_command command_delete = {
	.name = "delete",
	.alias = "rm",
	.operands = "NAME KEY...",
	.least = 2,
	.most = CLI_ANY_NUMBER,
	.summary = "delete flags, all that are named or none",
	.run = run,
};

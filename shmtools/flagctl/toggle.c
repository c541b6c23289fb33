/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl toggle: turns a flag over. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "value.h"

static int run(int count, char **operands)
{
	struct key key = keytext_operand(operands[1]);
	flagstore *store;
	bool value;
	int error, status = attach_to_write(operands[0], &store);

	(void)count;
	if (status)
		return status;
	error = flagstore_toggle_n(store, key.bytes, key.length, &value);
	flagstore_close(store);
	if (error == FLAGSTORE_ENOTFOUND)
		return failure_of(error, "segment %s has no flag %s", operands[0], keytext_encode(key.bytes, key.length).text);
	if (error)
		return failure_of_library(error);
	if (cli_json)
		output_json(json_pack("{s:s, s:b}", "key", keytext_encode(key.bytes, key.length).text, "value", (int)value));
	else
		printf("%s\n", value_text(value));
	return STATUS_DONE;
}

const struct cli_command command_toggle = {
	.name = "toggle",
	.operands = "NAME KEY",
	.least = 2,
	.most = 2,
	.summary = "turn a flag over and print its new value",
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl test: a flag's value as exit status, for scripts. */
#include <flagstore.h>

#include "attach.h"
#include "commands.h"
#include "describe.h"
#include "keytext.h"
#include "output.h"

static int run(int count, char **operands)
{
	struct key key = keytext_operand(operands[1]);
	struct flagstore_flag flag;
	flagstore *store;
	int status = attach_to_read(operands[0], &store);

	(void)count;
	if (status)
		return status;
	(void)flagstore_lookup_n(store, key.bytes, key.length, &flag);
	flagstore_close(store);
	if (cli_json)
		output_json(describe_value(key.bytes, key.length, &flag));
	if (!flag.exists)
		return STATUS_MISSING;
	return flag.value ? STATUS_DONE : STATUS_NO;
}

const struct cli_command command_test = {
	.name = "test",
	.operands = "NAME KEY",
	.least = 2,
	.most = 2,
	.summary = "exit with a flag's value: 0 true, 1 false, 3 missing",
	.run = run,
};

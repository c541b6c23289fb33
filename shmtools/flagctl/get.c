/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl get: the values of flags. */
#include <flagstore.h>
#include <stdio.h>
#include <stdlib.h>

#include "attach.h"
#include "commands.h"
#include "describe.h"
#include "keytext.h"
#include "output.h"
#include "value.h"

static void print_flag(const struct key *key, const struct flagstore_flag *flag, bool alone)
{
	if (alone)
		printf("%s\n", value_text(flag->value));
	else
		printf("%s\t%s\n", keytext_encode(key->bytes, key->length).text, value_text(flag->value));
}

/* Prints one flag, or says that it is missing. */
static int get_flag(const flagstore *store, const char *name, const struct key *key, bool alone, json_t *list)
{
	struct flagstore_flag flag;
	int error = flagstore_lookup_n(store, key->bytes, key->length, &flag);

	if (list && json_array_append_new(list, describe_value(key->bytes, key->length, &flag)) != 0)
		failure_memory();
	if (error)
		return failure_of(error, "segment %s has no flag %s", name, keytext_encode(key->bytes, key->length).text);
	if (!list)
		print_flag(key, &flag, alone);
	return STATUS_DONE;
}

static int get_flags(const flagstore *store, const char *name, const struct key *keys, int count)
{
	json_t *list = cli_json ? json_array() : NULL;
	int status = STATUS_DONE;

	for (int i = 0; i < count; i++) {
		int missing = get_flag(store, name, &keys[i], count == 1, list);

		if (missing)
			status = missing;
	}
	if (list)
		output_json(list);
	return status;
}

static int run(int count, char **operands)
{
	struct key *keys = calloc((size_t)count, sizeof *keys);
	flagstore *store;
	int status;

	if (!keys)
		failure_memory();
	for (int i = 1; i < count; i++)
		keys[i - 1] = keytext_operand(operands[i]);
	status = attach_to_read(operands[0], &store);
	if (!status) {
		status = get_flags(store, operands[0], keys, count - 1);
		flagstore_close(store);
	}
	free(keys);
	return status;
}

const struct cli_command command_get = {
	.name = "get",
	.operands = "NAME KEY...",
	.least = 2,
	.most = CLI_ANY_NUMBER,
	.summary = "print the values of flags",
	.details = "One key: its value alone. Several: a line for each, key and value with a tab between.\n"
	           "The exit status is 3 if any of them is missing; the others are printed all the same.\n",
	.run = run,
};

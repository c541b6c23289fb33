/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl set: gives a flag a value, always or only if it is in an expected state. */
#include <flagstore.h>

#include "attach.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "value.h"

static bool if_absent, if_expected;
static uint64_t expected;

static const struct cli_option options[] = {
	CLI_SWITCH('a', "if-absent", &if_absent, "only insert; exit with 1 if the flag exists already"),
	CLI_VALUE('e', "expect", &if_expected, &expected, "only if its value is VALUE; exit with 1 if it is the other one"),
	CLI_OPTIONS_END,
};

static int insert(flagstore *store, const char *name, const struct key *key, bool value)
{
	bool inserted;
	int error = flagstore_set_if_absent_n(store, key->bytes, key->length, value, &inserted);

	if (error)
		return failure_of_library(error);
	if (!inserted)
		return failure_of(FLAGSTORE_ECONFLICT, "segment %s has the flag %s already", name,
		                  keytext_encode(key->bytes, key->length).text);
	return STATUS_DONE;
}

static int exchange(flagstore *store, const char *name, const struct key *key, bool value)
{
	int error = flagstore_compare_and_set_n(store, key->bytes, key->length, expected != 0, value);

	if (error == FLAGSTORE_ENOTFOUND)
		return failure_of(error, "segment %s has no flag %s", name, keytext_encode(key->bytes, key->length).text);
	if (error == FLAGSTORE_ECONFLICT)
		return failure_of(error, "flag %s of segment %s is not %s", keytext_encode(key->bytes, key->length).text, name,
		                  value_text(expected != 0));
	return error ? failure_of_library(error) : STATUS_DONE;
}

static int set(flagstore *store, const struct key *key, bool value)
{
	int error = flagstore_set_n(store, key->bytes, key->length, value);

	return error ? failure_of_library(error) : STATUS_DONE;
}

static int run(int count, char **operands)
{
	const char *name = operands[0];
	struct key key = keytext_operand(operands[1]);
	bool value = value_operand(operands[2]);
	flagstore *store;
	int status;

	(void)count;
	if (if_absent && if_expected)
		cli_usage("--if-absent and --expect exclude each other");
	status = attach_to_write(name, &store);
	if (status)
		return status;
	if (if_absent)
		status = insert(store, name, &key, value);
	else if (if_expected)
		status = exchange(store, name, &key, value);
	else
		status = set(store, &key, value);
	flagstore_close(store);
	if (!status && cli_json)
		output_json(json_pack("{s:s, s:b}", "key", keytext_encode(key.bytes, key.length).text, "value", (int)value));
	return status;
}

const struct cli_command command_set = {
	.name = "set",
	.operands = "NAME KEY VALUE",
	.least = 3,
	.most = 3,
	.summary = "give a flag a value",
	.details = "VALUE is " VALUE_FORMS ".\n",
	.options = options,
	.run = run,
};

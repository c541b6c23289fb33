/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl verify: compares the table with LMDB, and mends one of them. */
#include <flagstore.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"
#include "value.h"

static const char *repair;

static const struct cli_option options[] = {
	CLI_TEXT('r', "repair", "WHICH", &repair, "make lmdb have what the table has, or table what LMDB has"),
	CLI_OPTIONS_END,
};

static const char *state_text(bool there, bool value)
{
	return there ? value_text(value) : "missing";
}

static void print_difference(const struct flagstore_difference *difference, void *argument)
{
	const char *key = keytext_encode(difference->key, difference->length).text;
	json_t *list = argument;

	if (!cli_json) {
		printf("%s\ttable %s\tlmdb %s\n", key, state_text(difference->in_table, difference->table_value),
		       state_text(difference->in_lmdb, difference->lmdb_value));
		return;
	}
	json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "key", keytext_encode(difference->key, difference->length).text, "table",
	                                      difference->in_table ? json_boolean(difference->table_value) : json_null(), "lmdb",
	                                      difference->in_lmdb ? json_boolean(difference->lmdb_value) : json_null()));
}

static void print_result(const struct flagstore_verification *found, json_t *list)
{
	uint64_t differences = found->missing + found->surplus + found->different;

	if (cli_json) {
		output_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "compared", (json_int_t)found->compared, "missing", (json_int_t)found->missing,
		                      "surplus", (json_int_t)found->surplus, "different", (json_int_t)found->different, "moving",
		                      (json_int_t)found->moving, "repaired", (json_int_t)found->repaired, "differences", list));
		return;
	}
	printf("%s flags compared: %s", count_text(found->compared).text, differences ? "" : "all the same");
	if (differences) {
		printf("%s missing in LMDB, ", count_text(found->missing).text);
		printf("%s in LMDB alone, ", count_text(found->surplus).text);
		printf("%s of another value", count_text(found->different).text);
	}
	if (found->moving)
		printf("; %s changed meanwhile", count_text(found->moving).text);
	if (found->repaired)
		printf("; %s repaired", count_text(found->repaired).text);
	printf("\n");
}

static enum flagstore_verify choice(void)
{
	if (!repair)
		return FLAGSTORE_VERIFY;
	if (strcmp(repair, "lmdb") == 0)
		return FLAGSTORE_REPAIR_LMDB;
	if (strcmp(repair, "table") == 0)
		return FLAGSTORE_REPAIR_TABLE;
	cli_usage("--repair %s: it is lmdb or table", repair);
}

static int run(int count, char **operands)
{
	enum flagstore_verify what = choice();
	struct flagstore_verification found;
	json_t *list = json_array();
	flagstore *store;
	int error, status = attach_to_write(operands[0], &store);

	(void)count;
	if (!list)
		failure_memory();
	if (!status) {
		error = flagstore_verify(store, what, print_difference, list, &found);
		if (error)
			status = failure_of_library(error);
		else
			print_result(&found, list);
		if (!error && found.missing + found.surplus + found.different > found.repaired)
			status = STATUS_NO;
		flagstore_close(store);
	}
	json_decref(list);
	return status;
}

const struct cli_command command_verify = {
	.name = "verify",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "compare the table with LMDB",
	.details = "Both are compared as of one moment, while writers go on. Exits with 1 when they differ and were not repaired.\n",
	.options = options,
	.run = run,
};

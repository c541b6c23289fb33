/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl check: verifies every invariant of a segment. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "output.h"

/* Called while a shard may be locked, so nothing is printed here: a pipe that nobody empties would stop the shard's
 * writers. */
static void found(const struct flagstore_finding *finding, void *findings)
{
	json_t *entry = json_pack("{s:s, s:o, s:I, s:o}", "kind", finding->kind, "shard",
	                          finding->shard == UINT32_MAX ? json_null() : json_integer(finding->shard), "offset",
	                          (json_int_t)finding->offset, "text", output_text(finding->text));

	if (json_array_append_new(findings, entry) != 0)
		failure_memory();
}

static void print_finding(json_t *finding)
{
	json_t *shard = json_object_get(finding, "shard");

	printf("%s", json_string_value(json_object_get(finding, "kind")));
	if (!json_is_null(shard))
		printf(", shard %" JSON_INTEGER_FORMAT, json_integer_value(shard));
	printf(", offset %#" PRIx64 ": %s\n", (uint64_t)json_integer_value(json_object_get(finding, "offset")),
	       json_string_value(json_object_get(finding, "text")));
}

static void print_result(json_t *findings, uint32_t skipped)
{
	json_t *finding;
	size_t i;

	if (skipped > 0)
		warning("%" PRIu32 " shards were changing all the time and have not been checked", skipped);
	if (cli_json) {
		output_json(json_pack("{s:O, s:I, s:I}", "findings", findings, "count", (json_int_t)json_array_size(findings),
		                      "skipped_shards", (json_int_t)skipped));
		return;
	}
	json_array_foreach(findings, i, finding)
		print_finding(finding);
	printf("%zu findings\n", json_array_size(findings));
}

static int run(int count, char **operands)
{
	json_t *findings = json_array();
	flagstore *store;
	uint64_t number;
	uint32_t skipped = 0;
	int error, status = attach_to_follow(operands[0], &store);

	(void)count;
	if (!status) {
		error = flagstore_check(store, found, findings, &number, &skipped);
		flagstore_close(store);
		if (error)
			status = failure_of_library(error);
		else
			print_result(findings, skipped);
	}
	if (!status && json_array_size(findings) > 0)
		status = STATUS_NO;
	json_decref(findings);
	return status;
}

const struct cli_command command_check = {
	.name = "check",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "verify every invariant of a segment",
	.run = run,
};

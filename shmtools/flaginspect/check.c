/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect check: every invariant, a finding a line. Findings are printed as they come: a damaged segment may have a million. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "describe.h"
#include "findings.h"
#include "keytext.h"
#include "output.h"

static const char *snapshot;

struct printer {
	const struct source *source;
	bool first;
};

static void print_text(const struct flagstore_finding *finding, void *argument)
{
	const struct printer *printer = argument;

	printf("%s:", finding->kind);
	if (finding->shard != UINT32_MAX)
		printf(" shard %" PRIu32 ",", finding->shard);
	if (finding->slot != UINT32_MAX)
		printf(" slot %" PRIu32 ",", finding->slot);
	printf(" offset %#" PRIx64 ": %s", finding->offset, finding->text);
	if (finding->key)
		printf("; key %s", keytext_encode(finding->key, finding->length).text);
	if (finding->writer)
		printf("; last writer %s", describe_writer(printer->source->store, finding->writer).text);
	printf("; likely cause: %s\n", finding->cause);
}

static json_t *number_or_null(uint32_t number)
{
	return number == UINT32_MAX ? json_null() : json_integer(number);
}

static void print_item(const struct flagstore_finding *finding, void *argument)
{
	struct printer *printer = argument;
	json_t *item = json_pack("{s:s, s:o, s:o, s:I, s:o, s:o, s:s, s:o}", "kind", finding->kind, "shard", number_or_null(finding->shard), "slot",
	                         number_or_null(finding->slot), "offset", (json_int_t)finding->offset, "text", output_text(finding->text), "key",
	                         finding->key ? json_string(keytext_encode(finding->key, finding->length).text) : json_null(), "cause", finding->cause,
	                         "writer", describe_writer_json(printer->source->store, finding->writer));

	if (!item)
		failure_memory();
	fputs(printer->first ? "\n" : ",\n", stdout);
	json_dumpf(item, stdout, 0);
	json_decref(item);
	printer->first = false;
}

static void print_totals(const struct findings *findings)
{
	for (size_t i = 0; i < findings->kinds; i++)
		printf("%8" PRIu64 "  %s\n", findings->by_kind[i].count, findings->by_kind[i].kind);
	printf("%" PRIu64 " findings\n", findings->count);
}

static void print_json_end(const struct source *source, const struct findings *findings)
{
	json_t *totals = json_object();

	for (size_t i = 0; i < findings->kinds; i++)
		json_object_set_new(totals, findings->by_kind[i].kind, json_integer((json_int_t)findings->by_kind[i].count));
	printf("],\n\"count\": %" PRIu64 ", \"skipped_shards\": %" PRIu32 ", \"source\": \"%s\", \"by_kind\": ", findings->count, findings->skipped,
	       source_text(source));
	json_dumpf(totals, stdout, 0);
	json_decref(totals);
	printf("}\n");
}

static int print_findings(const struct source *source)
{
	struct printer printer = {source, true};
	struct findings findings;
	int error;

	if (cli_json)
		printf("{\"findings\": [");
	error = findings_of(source, cli_json ? print_item : print_text, &printer, &findings);
	if (error)
		return failure_of_library(error);
	if (cli_json)
		print_json_end(source, &findings);
	else
		print_totals(&findings);
	if (source->kind == SOURCE_FILE && source_is_live(source))
		warning("somebody attached to %s while it was checked as a file that nobody works in: check it again", source->store->path);
	if (snapshot && source->table) {
		error = flagstore_dump(source->store, snapshot);
		if (error)
			return failure_of_library(error);
	}
	if (findings.skipped)
		warning("%" PRIu32 " shards were changing, or held, all the time and have not been checked; see `flaginspect locks'", findings.skipped);
	return findings.count ? STATUS_NO : findings.skipped ? STATUS_AGAIN : STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], print_findings);
}

static const struct cli_option options[] = {
	CLI_TEXT('s', "snapshot", "FILE", &snapshot, "and keep the segment as it is now in a new file"),
	CLI_OPTIONS_END,
};

const struct cli_command command_check = {
	.name = "check",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "verify every invariant; a finding a line",
	.options = options,
	.run = run,
};

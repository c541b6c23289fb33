/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagtop: a live view of a segment. */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "cli.h"
#include "options.h"
#include "terminal.h"

static uint64_t interval_ms = 1000, wanted_count;
static const char *view_word, *sort_word;
static bool batch, once, reverse;

static const struct cli_option cli_options[] = {
	CLI_DURATION('i', "interval", "TIME", NULL, &interval_ms, INTERVAL_LEAST_MS, INTERVAL_MOST_MS,
	             "from one look to the next (1s)"),
	CLI_NUMBER('n', "count", "N", &wanted_count, 1, INT64_MAX, "end after N frames"),
	CLI_TEXT('v', "view", "VIEW", &view_word, "shards, threads, hottest, conflicts or events (shards)"),
	CLI_TEXT('s', "sort", "COLUMN", &sort_word, "sort the view by the column with this title"),
	CLI_SWITCH('r', "reverse", &reverse, "the other way round"),
	CLI_SWITCH('b', "batch", &batch, "print frames as text, without a terminal"),
	CLI_SWITCH('1', "once", &once, "print one frame, as --batch --count 1"),
	CLI_OPTIONS_END,
};

static enum view choose_view(void)
{
	if (!view_word)
		return VIEW_SHARDS;
	for (int view = 0; view < VIEWS; view++)
		if (strcmp(view_word, table_view_name((enum view)view)) == 0)
			return (enum view)view;
	cli_usage("--view takes shards, threads, hottest, conflicts or events, not `%s'", view_word);
}

static size_t choose_sort(enum view view)
{
	const struct table_column *columns = table_columns(view);
	char titles[256] = "";

	if (!sort_word)
		return table_first_sort(view);
	for (size_t i = 0; i < table_column_count(view); i++) {
		if (strcasecmp(sort_word, columns[i].title) == 0)
			return i;
		strlcat(titles, i ? ", " : "", sizeof titles);
		strlcat(titles, columns[i].title, sizeof titles);
	}
	cli_usage("the view %s has no column `%s'; it has %s", table_view_name(view), sort_word, titles);
}

int show_failure(const struct options *options, int error)
{
	if (error == FLAGSTORE_ETRUNCATED)
		return failure_of(error, "segment %s has been cut short: what it held is lost; `flagctl unlink' removes the rest",
		                  options->segment);
	if (error == FLAGSTORE_ENOSEGMENT)
		return failure_of(error, "segment %s has been unlinked meanwhile: those who are attached go on with it, and nobody else can attach",
		                  options->segment);
	return failure_of_library(error);
}

static int show(const struct options *options, const flagstore *store)
{
	struct model *model;
	int error = model_open(store, &model), status;

	if (error)
		status = show_failure(options, error);
	else if (batch || once || cli_json)
		status = batch_run(options, model);
	else
		status = screen_run(options, model);
	model_close(model);
	return status;
}

static int run(int count, char **operands)
{
	struct flagstore_options attach = FLAGSTORE_OPTIONS_INIT;
	struct options options = {
		.segment = operands[0],
		.interval_ms = interval_ms,
		.count = once ? 1 : wanted_count,
		.view = choose_view(),
		.reverse = reverse,
	};
	flagstore *store;
	int error, status;

	(void)count;
	options.sort = choose_sort(options.view);
	terminal_catch_crashes();
	/* The segment of others is looked at: that it is cut short must not end this process in the middle of a drawing. */
	error = flagstore_catch_sigbus();
	attach.flags = FLAGSTORE_READ_ONLY;
	if (!error)
		error = flagstore_attach(options.segment, &attach, &store);
	if (error)
		return failure_of_library(error);
	status = show(&options, store);
	flagstore_close(store);
	return status;
}

static const struct cli_command only = {
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.details = "With a terminal: keys 1 to 5 or tab switch the view, s sorts, ? says more, q quits.\n",
	.options = cli_options,
	.run = run,
};

static const struct cli_command *const commands[] = {&only, NULL};

static const struct cli_program flagtop = {
	.name = "flagtop",
	.summary = "Show what the workers of a segment of flags are doing, live.",
	.commands = commands,
};

int main(int argc, char **argv)
{
	return cli_main(&flagtop, argc, argv);
}

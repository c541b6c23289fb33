/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * batch.c: frames for scripts: as text with one view, or as JSON with all. */
#include <stdio.h>

#include "cli.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "pace.h"
#include "phrase.h"
#include "quantity.h"

static void print_header(const struct options *options, const struct frame *frame)
{
	struct phrase items[PHRASE_ITEMS];
	size_t count = header_phrases(frame, items);

	printf("flagtop %s  %s  %s\n", text_phrase(options->segment).text, moment_text(frame->time_ms).text, items[0].text);
	for (size_t i = 1; i < count; i++)
		printf("%s%s", items[i].text, i % 3 == 0 || i + 1 == count ? "\n" : "; ");
}

/* Columns are as wide as what stands in them; the last one of a row ends it. */
static void print_table(const struct table *table)
{
	int widths[TABLE_COLUMNS_MAX];

	table_widths(table, widths);
	for (size_t i = 0; i < table->column_count; i++)
		printf("%*s%s", (table->columns[i].number ? 1 : i + 1 == table->column_count ? 0 : -1) * widths[i], table->columns[i].title,
		       i + 1 == table->column_count ? "\n" : "  ");
	for (size_t row = 0; row < table->count; row++)
		for (size_t i = 0; i < table->column_count; i++)
			printf("%*s%s", (table->columns[i].number ? 1 : i + 1 == table->column_count ? 0 : -1) * widths[i],
			       table->rows[row].cells[i].text, i + 1 == table->column_count ? "\n" : "  ");
	if (table->count == 0)
		printf("%s\n", table_empty(table->view));
}

static void print_text(const struct options *options, const struct frame *frame)
{
	static struct table table;

	print_header(options, frame);
	table_fill(&table, options->view, frame);
	table_sort(&table, options->sort, options->reverse);
	putchar('\n');
	print_table(&table);
	table_clear(&table);
}

int batch_run(const struct options *options, struct model *model)
{
	const struct frame *frame;
	uint64_t printed = 0;
	int error, status = STATUS_DONE;

	pace_catch_signals();
	while (!status && (options->count == 0 || printed < options->count)) {
		error = pace_sleep(model, options->interval_ms);
		if (pace_signal())
			return 128 + pace_signal();
		if (!error)
			error = model_look(model, &frame);
		if (error || frame->truncated)
			return show_failure(options, error ? error : FLAGSTORE_ETRUNCATED);
		if (!cli_json && printed > 0)
			putchar('\n');
		if (cli_json)
			output_json(json_frame(options->segment, frame));
		else
			print_text(options, frame);
		printed++;
		status = output_flush();
		if (!status && frame->retired && (options->count == 0 || printed < options->count))
			status = show_failure(options, FLAGSTORE_ENOSEGMENT);
	}
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl list: the flags of a segment, sorted by the bytes of their keys. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdio.h>

#include "attach.h"
#include "columns.h"
#include "commands.h"
#include "describe.h"
#include "filter.h"
#include "flaglist.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"
#include "value.h"

static bool detailed;

static const struct cli_option options[] = {
	CLI_SWITCH('l', "long", &detailed, "a table that also says how often, when and by whom each was changed"),
	FILTER_OPTIONS,
	CLI_OPTIONS_END,
};

static const struct column layout[] = {
	{"KEY", COLUMN_LEFT},     {"VALUE", COLUMN_LEFT}, {"CHANGES", COLUMN_RIGHT},
	{"CHANGED", COLUMN_LEFT}, {"BY", COLUMN_LEFT},
};

static void print_lines(const struct flaglist *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct flaglist_item *item = &list->items[i];

		printf("%s\t%s\n", keytext_encode(item->key, item->length).text, value_text(item->flag.value));
	}
}

static void print_table(const flagstore *store, const struct flaglist *list)
{
	struct columns *columns = columns_open(layout, sizeof layout / sizeof *layout);

	for (size_t i = 0; i < list->count; i++) {
		const struct flaglist_item *item = &list->items[i];
		char changes[16];

		snprintf(changes, sizeof changes, "%" PRIu32, item->flag.changes);
		columns_row(columns, keytext_encode(item->key, item->length).text, value_text(item->flag.value), changes,
		            moment_text(item->flag.changed_ms).text, describe_writer(store, item->flag.writer).text);
	}
	columns_print(columns, stdout);
	columns_close(columns);
}

static void print_json(const flagstore *store, const struct flaglist *list)
{
	output_list_begin();
	for (size_t i = 0; i < list->count; i++)
		output_list_item(describe_flag(store, list->items[i].key, list->items[i].length, &list->items[i].flag));
	output_list_end();
}

static int run(int count, char **operands)
{
	struct flaglist list = {0};
	flagstore *store;
	int status;

	(void)count;
	filter_prepare();
	status = attach_to_read(operands[0], &store);
	if (status)
		return status;
	status = flaglist_collect(&list, store);
	flaglist_sort(&list);
	if (cli_json)
		print_json(store, &list);
	else if (detailed)
		print_table(store, &list);
	else
		print_lines(&list);
	flaglist_free(&list);
	flagstore_close(store);
	return status;
}

const struct cli_command command_list = {
	.name = "list",
	.alias = "ls",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "list flags, sorted by the bytes of their keys",
	.details = "A line for each flag: key and value with a tab between.\n",
	.options = options,
	.run = run,
};

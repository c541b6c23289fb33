/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl export: flags to a file or standard output, sorted by the bytes of their keys. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "flaglist.h"
#include "format.h"
#include "outfile.h"
#include "output.h"
#include "saved.h"

static const char *format_name, *output_name;
static bool saved;

static const struct cli_option options[] = {
	CLI_TEXT('f', "format", "FORMAT", &format_name, FORMAT_NAMES " (by the output's name, tsv)"),
	CLI_TEXT('o', "output", "FILE", &output_name, "replace FILE when all is written, instead of standard output"),
	CLI_SWITCH('s', "saved", &saved, "NAME is a backup, or a directory that a segment persists in"),
	CLI_OPTIONS_END,
};

static const struct format *choose_format(void)
{
	const struct format *format = NULL;

	if (format_name)
		format = format_named(format_name);
	else if (cli_json)
		format = &format_flagd;
	else if (output_name)
		format = format_of_name(output_name);
	return format ? format : &format_tsv;
}

static int write_file(const struct format *format, const struct flaglist *list)
{
	struct outfile file;
	int status = outfile_open(&file, output_name);

	if (status)
		return status;
	status = format->write(list, file.stream);
	if (!status)
		return outfile_commit(&file);
	outfile_abort(&file);
	return status;
}

static int collect(const char *name, struct flaglist *list)
{
	flagstore *store;
	int status = attach_to_read(name, &store);

	if (status)
		return status;
	status = flaglist_collect(list, store);
	flagstore_close(store);
	return status;
}

static int run(int count, char **operands)
{
	const struct format *format = choose_format();
	struct flaglist list = {0};
	int collected = saved ? saved_read(operands[0], &list) : collect(operands[0], &list), written = STATUS_DONE;

	(void)count;
	if (collected && !list.count)
		return collected;
	flaglist_sort(&list);
	/* Of a damaged segment whatever can be reached is worth having, but not in place of an older, whole file. */
	if (!output_name)
		written = format->write(&list, stdout);
	else if (!collected)
		written = write_file(format, &list);
	flaglist_free(&list);
	return written ? written : collected;
}

const struct cli_command command_export = {
	.name = "export",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "write all flags, sorted by the bytes of their keys",
	.details = "--json stands for --format flagd here.\n",
	.options = options,
	.run = run,
};

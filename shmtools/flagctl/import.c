/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl import: flags from files. All files are read and checked before the segment is touched; then the flags go in
 * as batches, each all or nothing, and a set to the value that a flag has already changes nothing: so an import that
 * was cut short is completed by running it again. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "contents.h"
#include "flaglist.h"
#include "format.h"
#include "keytext.h"
#include "output.h"
#include "progress.h"
#include "saved.h"
#include "value.h"

static const char *format_name;
static bool dry_run, saved;

static const struct cli_option options[] = {
	CLI_TEXT('f', "format", "FORMAT", &format_name, FORMAT_NAMES " (by the file's name, or what it looks like)"),
	CLI_SWITCH('s', "saved", &saved, "FILEs are backups, or directories that segments persist in"),
	CLI_SWITCH('n', "dry-run", &dry_run, "say what would change, and change nothing"),
	CLI_OPTIONS_END,
};

/* What an import did or would do. inserted and changed apart are for a dry run, which knows both. */
struct result {
	size_t inserted, changed, same, batches;
};

static int read_file(const char *file, const struct format *format, struct flaglist *list, json_t *skipped)
{
	struct contents contents;
	int status;

	if (saved)
		return saved_read(file, list);
	status = contents_read(file, &contents);

	if (status)
		return status;
	if (!format)
		format = format_of_name(file);
	if (!format)
		format = format_of_contents(&contents);
	status = format->read(&contents, list, skipped);
	contents_free(&contents);
	return status;
}

static int refuse_duplicate(const struct flaglist *list)
{
	const struct flaglist_item *first = flaglist_duplicate(list), *second = first + 1;

	if (!first)
		return STATUS_DONE;
	if (first->line && second->line)
		return failure(STATUS_DATA, "%s:%zu: flag %s stands at %s:%zu already; nothing was imported", second->file,
		               second->line, keytext_encode(first->key, first->length).text, first->file, first->line);
	return failure(STATUS_DATA, "%s: flag %s stands in %s already; nothing was imported", second->file,
	               keytext_encode(first->key, first->length).text, first->file);
}

static int read_files(int count, char **files, struct flaglist *list, json_t *skipped)
{
	const struct format *format = format_name ? format_named(format_name) : NULL;
	int status = STATUS_DONE;

	for (int i = 0; i < count && !status; i++)
		status = read_file(files[i], format, list, skipped);
	if (status)
		return status;
	flaglist_sort(list);
	return refuse_duplicate(list);
}

static void compare_flag(const struct flaglist_item *item, const struct flagstore_flag *now, struct result *result)
{
	const char *what = now->exists ? "change" : "insert";

	if (now->exists && now->value == item->flag.value) {
		result->same++;
		return;
	}
	if (now->exists)
		result->changed++;
	else
		result->inserted++;
	if (!cli_json)
		printf("%s\t%s\t%s\n", what, keytext_encode(item->key, item->length).text, value_text(item->flag.value));
}

static int compare_flags(const char *name, const struct flaglist *list, struct result *result)
{
	flagstore *store;
	int status = attach_to_read(name, &store);

	if (status)
		return status;
	for (size_t i = 0; i < list->count; i++) {
		struct flagstore_flag now;

		(void)flagstore_lookup_n(store, list->items[i].key, list->items[i].length, &now);
		compare_flag(&list->items[i], &now, result);
	}
	flagstore_close(store);
	return STATUS_DONE;
}

static int import_batch(flagstore *store, const struct flaglist_item *items, size_t count, struct result *result)
{
	flagstore_batch *batch;
	size_t changed = 0;
	int error = flagstore_batch_begin(store, &batch);

	if (error)
		return error;
	for (size_t i = 0; i < count && !error; i++)
		error = flagstore_batch_set_n(batch, items[i].key, items[i].length, items[i].flag.value);
	if (!error)
		error = flagstore_batch_commit(batch, &changed);
	if (error) {
		flagstore_batch_abort(batch);
		return error;
	}
	result->changed += changed;
	result->same += count - changed;
	result->batches++;
	return FLAGSTORE_OK;
}

static int import_batches(flagstore *store, const struct flaglist *list, struct result *result)
{
	size_t done = 0;
	int error = FLAGSTORE_OK, status;

	progress_begin("importing", "flags", list->count > FLAGSTORE_BATCH_MAX ? list->count : 0);
	while (done < list->count && !error) {
		size_t count = list->count - done < FLAGSTORE_BATCH_MAX ? list->count - done : FLAGSTORE_BATCH_MAX;

		error = import_batch(store, &list->items[done], count, result);
		if (!error)
			done += count;
		progress_update(done);
	}
	progress_end();
	if (!error)
		return STATUS_DONE;
	status = failure_of_library(error);
	if (done > 0)
		warning("%zu of %zu flags were imported before that; to complete the import, run it again", done, list->count);
	return status;
}

static int import_flags(const char *name, const struct flaglist *list, struct result *result)
{
	flagstore *store;
	int status = attach_to_write(name, &store);

	if (status)
		return status;
	status = import_batches(store, list, result);
	flagstore_close(store);
	return status;
}

static json_t *result_json(const struct flaglist *list, const struct result *result, json_t *skipped)
{
	json_t *document = json_pack("{s:b, s:I, s:I, s:I, s:O}", "dry_run", (int)dry_run, "flags", (json_int_t)list->count,
	                             "changed", (json_int_t)result->changed, "same", (json_int_t)result->same, "skipped",
	                             skipped);

	if (dry_run)
		json_object_set_new(document, "inserted", json_integer((json_int_t)result->inserted));
	else
		json_object_set_new(document, "batches", json_integer((json_int_t)result->batches));
	return document;
}

static void print_result(const struct flaglist *list, const struct result *result, json_t *skipped)
{
	if (cli_json) {
		output_json(result_json(list, result, skipped));
		return;
	}
	if (dry_run)
		printf("%zu flags: %zu would be inserted, %zu changed, %zu are the same", list->count, result->inserted,
		       result->changed, result->same);
	else
		printf("%zu flags: %zu inserted or changed, %zu were the same", list->count, result->changed, result->same);
	if (json_array_size(skipped) > 0)
		printf(", %zu more skipped", json_array_size(skipped));
	printf("\n");
}

static int run(int count, char **operands)
{
	struct flaglist list = {0};
	struct result result = {0};
	json_t *skipped = json_array();
	int status;

	if (saved && format_name)
		cli_usage("--saved and --format can't go together");
	if (!skipped)
		failure_memory();
	status = read_files(count - 1, operands + 1, &list, skipped);
	if (!status)
		status = dry_run ? compare_flags(operands[0], &list, &result) : import_flags(operands[0], &list, &result);
	if (!status)
		print_result(&list, &result, skipped);
	flaglist_free(&list);
	json_decref(skipped);
	return status;
}

const struct cli_command command_import = {
	.name = "import",
	.operands = "NAME FILE...",
	.least = 2,
	.most = CLI_ANY_NUMBER,
	.summary = "set flags from files (`-': standard input)",
	.details = "All files are read and checked before anything changes. Up to 4096 flags go in all or nothing; more\n"
	           "as a sequence of such batches, and running the import again completes it.\n",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl restore: makes a segment's flags those of a backup. What is the same already is left alone, so a restore that was cut short is
 * completed by running it again. */
#include <flagstore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "progress.h"
#include "saved.h"
#include "value.h"

static bool dry_run;

static const struct cli_option options[] = {
	CLI_SWITCH('n', "dry-run", &dry_run, "say what would change, and change nothing"),
	CLI_OPTIONS_END,
};

struct result {
	size_t inserted, changed, deleted, same;
};

/* What is to be done: a flag that is to be deleted has exists false. */
static int compare_items(const struct flaglist_item *a, const struct flaglist_item *b)
{
	size_t length = a->length < b->length ? a->length : b->length;
	int order = memcmp(a->key, b->key, length);

	return order ? order : a->length < b->length ? -1 : a->length > b->length;
}

static void plan(struct flaglist *changes, const struct flaglist_item *item, const char *what, bool exists)
{
	struct flagstore_flag flag = item->flag;

	flag.exists = exists;
	flaglist_add(changes, item->key, item->length, &flag);
	if (dry_run && !cli_json)
		printf("%s\t%s\t%s\n", what, keytext_encode(item->key, item->length).text, exists ? value_text(flag.value) : "-");
}

/* Both lists are sorted. */
static void compare(const struct flaglist *wanted, const struct flaglist *had, struct flaglist *changes, struct result *result)
{
	size_t i = 0, j = 0;

	while (i < wanted->count || j < had->count) {
		int order = i == wanted->count ? 1 : j == had->count ? -1 : compare_items(&wanted->items[i], &had->items[j]);

		if (order < 0) {
			result->inserted++;
			plan(changes, &wanted->items[i++], "insert", true);
		} else if (order > 0) {
			result->deleted++;
			plan(changes, &had->items[j++], "delete", false);
		} else {
			if (wanted->items[i].flag.value != had->items[j].flag.value) {
				result->changed++;
				plan(changes, &wanted->items[i], "change", true);
			} else {
				result->same++;
			}
			i++;
			j++;
		}
	}
}

static int apply_batch(flagstore *store, const struct flaglist_item *items, size_t count)
{
	flagstore_batch *batch;
	int error = flagstore_batch_begin(store, &batch);

	if (error)
		return error;
	for (size_t i = 0; i < count && !error; i++)
		error = items[i].flag.exists ? flagstore_batch_set_n(batch, items[i].key, items[i].length, items[i].flag.value)
		                             : flagstore_batch_delete_n(batch, items[i].key, items[i].length);
	if (!error)
		error = flagstore_batch_commit(batch, NULL);
	if (error)
		flagstore_batch_abort(batch);
	return error;
}

static int apply(flagstore *store, const struct flaglist *changes)
{
	int error = FLAGSTORE_OK;

	progress_begin("restoring", "flags", changes->count > FLAGSTORE_BATCH_MAX ? changes->count : 0);
	for (size_t done = 0; done < changes->count && !error; done += FLAGSTORE_BATCH_MAX) {
		size_t left = changes->count - done;

		error = apply_batch(store, &changes->items[done], left < FLAGSTORE_BATCH_MAX ? left : FLAGSTORE_BATCH_MAX);
		progress_update(done);
	}
	progress_end();
	return error ? failure_of_library(error) : STATUS_DONE;
}

static void print_result(const struct result *result)
{
	if (cli_json)
		output_json(json_pack("{s:b, s:I, s:I, s:I, s:I}", "dry_run", (int)dry_run, "inserted", (json_int_t)result->inserted, "changed",
		                      (json_int_t)result->changed, "deleted", (json_int_t)result->deleted, "same", (json_int_t)result->same));
	else
		printf("%zu inserted, %zu changed, %zu deleted, %zu %s the same\n", result->inserted, result->changed, result->deleted, result->same,
		       dry_run ? "are" : "were");
}

static int restore(flagstore *store, const struct flaglist *wanted)
{
	struct flaglist had = {0}, changes = {0};
	struct result result = {0};
	int status = flaglist_collect(&had, store);

	flaglist_sort(&had);
	if (!status)
		compare(wanted, &had, &changes, &result);
	if (!status && !dry_run)
		status = apply(store, &changes);
	if (!status)
		print_result(&result);
	flaglist_free(&had);
	flaglist_free(&changes);
	return status;
}

static int run(int count, char **operands)
{
	struct flaglist wanted = {0};
	flagstore *store;
	int status = dry_run ? attach_to_read(operands[0], &store) : attach_to_write(operands[0], &store);

	(void)count;
	if (status)
		return status;
	status = saved_read(operands[1], &wanted);
	flaglist_sort(&wanted);
	if (!status)
		status = restore(store, &wanted);
	flagstore_close(store);
	flaglist_free(&wanted);
	return status;
}

const struct cli_command command_restore = {
	.name = "restore",
	.operands = "NAME FILE",
	.least = 2,
	.most = 2,
	.summary = "make a segment's flags those of a backup",
	.details = "Flags that the backup does not have are deleted. Up to 4096 changes are made all or nothing; more as a sequence of\n"
	           "such batches, and running it again completes it.\n",
	.options = options,
	.run = run,
};

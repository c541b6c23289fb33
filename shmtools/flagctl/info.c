/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl info: all about a segment. */
#include <flagstore.h>
#include <stdio.h>

#include "attach.h"
#include "commands.h"
#include "output.h"
#include "quantity.h"

static void print_line(const char *title, const char *text)
{
	printf("%-15s %s\n", title, text);
}

static void print_text(const struct flagstore_info *info)
{
	char line[192];

	print_line("path", info->path);
	print_line("uuid", info->uuid);
	print_line("created", moment_text(info->created_ms).text);
	snprintf(line, sizeof line, "%u", info->layout);
	print_line("layout", line);
	snprintf(line, sizeof line, "%s%s", info->truncated ? "truncated" : info->retired ? "retired" : "ready", info->laboratory ? ", laboratory" : "");
	print_line("state", line);
	snprintf(line, sizeof line, "%04o, owner %u, group %u", info->mode & 07777, info->owner, info->group);
	print_line("permissions", line);
	snprintf(line, sizeof line, "%ju", (uintmax_t)info->pid_namespace);
	print_line("PID namespace", line);
	snprintf(line, sizeof line, "%s, %s of them true", count_text(info->flags).text, count_text(info->true_flags).text);
	print_line("flags", line);
	snprintf(line, sizeof line, "%s in %s buckets", count_text(info->slots).text, count_text(info->buckets).text);
	print_line("slots", line);
	snprintf(line, sizeof line, "%s taken, %s in use, %s at most", size_text(info->file_bytes).text,
	         size_text(info->used_bytes).text, size_text(info->max_bytes).text);
	print_line("size", line);
	snprintf(line, sizeof line, "%u, lock wait %s", info->shards,
	         duration_text((uint64_t)info->lock_wait_ms * 1000000).text);
	print_line("shards", line);
	snprintf(line, sizeof line, "%u living, %u entries", info->workers, info->workers_max);
	print_line("workers", line);
	snprintf(line, sizeof line, "%u taken of %u, %u threads without", info->seats, info->seats_max, info->standing);
	print_line("seats", line);
	snprintf(line, sizeof line, "%s, %s conflicts", flagstore_guard_name(info->guard), count_text(info->conflicts).text);
	print_line("guard", line);
	print_line("durability", flagstore_durability_name(info->durability));
	print_line("growths", count_text(info->growths).text);
	print_line("recoveries", count_text(info->recoveries).text);
}

static json_t *make_json(const struct flagstore_info *info)
{
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"created_ms", (uint64_t)info->created_ms},
		{"layout", info->layout},
		{"owner", info->owner},
		{"group", info->group},
		{"pid_namespace", info->pid_namespace},
		{"flags", info->flags},
		{"true_flags", info->true_flags},
		{"slots", info->slots},
		{"buckets", info->buckets},
		{"file_bytes", info->file_bytes},
		{"used_bytes", info->used_bytes},
		{"max_bytes", info->max_bytes},
		{"shards", info->shards},
		{"lock_wait_ms", info->lock_wait_ms},
		{"workers", info->workers},
		{"workers_max", info->workers_max},
		{"seats", info->seats},
		{"seats_max", info->seats_max},
		{"standing", info->standing},
		{"conflicts", info->conflicts},
		{"growths", info->growths},
		{"recoveries", info->recoveries},
	};
	char mode[8];
	json_t *document;

	snprintf(mode, sizeof mode, "%04o", info->mode & 07777);
	document = json_pack("{s:o, s:s, s:s, s:s, s:s, s:b, s:b, s:b}", "path", output_text(info->path), "uuid", info->uuid, "mode", mode,
	                     "guard", flagstore_guard_name(info->guard), "durability", flagstore_durability_name(info->durability), "retired",
	                     (int)info->retired, "truncated", (int)info->truncated, "laboratory", (int)info->laboratory);
	for (size_t i = 0; document && i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(document, numbers[i].name, json_integer((json_int_t)numbers[i].number));
	return document;
}

static int run(int count, char **operands)
{
	struct flagstore_info info;
	flagstore *store;
	int error, status = attach_to_read(operands[0], &store);

	(void)count;
	if (status)
		return status;
	error = flagstore_info(store, &info);
	if (error)
		status = failure_of_library(error);
	else if (cli_json)
		output_json(make_json(&info));
	else
		print_text(&info);
	flagstore_close(store);
	return status;
}

const struct cli_command command_info = {
	.name = "info",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print all about a segment",
	.run = run,
};

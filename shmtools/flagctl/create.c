/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl create: a new segment, empty, or filled from the directory that it persists in. */
#include <flagstore.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "output.h"

static uint64_t max_bytes, reserve, shards, workers, seats, mode, lock_wait_ms;
static const char *group;
static bool laboratory;
static const char *persist, *durability, *on_failure;
static uint64_t flush_interval_ms;

static const struct cli_option options[] = {
	CLI_SIZE('s', "max-size", "SIZE", &max_bytes, UINT64_C(1) << 20, UINT64_C(64) << 30,
             "the file's largest size, 1M to 64G (1G)"),
	CLI_NUMBER(0, "reserve", "FLAGS", &reserve, 1, UINT64_C(1) << 30, "take the room for so many flags now, not as they come"),
	CLI_NUMBER(0, "shards", "N", &shards, 1, FLAGSTORE_SHARDS_MAX, "writer locks, a power of two up to 1024 (64)"),
	CLI_NUMBER(0, "workers", "N", &workers, 1, FLAGSTORE_WORKERS_MAX, "worker entries, 1 to 4095 (256)"),
	CLI_NUMBER(0, "seats", "N", &seats, 1, FLAGSTORE_SEATS_MAX, "threads whose events are kept, 1 to 8190 (1024)"),
	CLI_MODE('m', "mode", "MODE", &mode, 0660, "permission bits within 0660, whatever the umask (0600)"),
	CLI_TEXT(0, "group", "GROUP", &group, "the file's group, by name or number"),
	CLI_DURATION(0, "lock-wait", "TIME", NULL, &lock_wait_ms, 1, 3600000, "how long a write waits for a lock (5s)"),
	CLI_SWITCH(0, "lab", &laboratory, "a laboratory segment, for experiments that break the rules"),
	CLI_TEXT(0, "persist", "DIR", &persist, "keep the flags in this directory too, and begin with those that it has"),
	CLI_TEXT(0, "durability", "WHEN", &durability, "with --persist: async, soon after a change, or sync, before it returns (async)"),
	CLI_DURATION(0, "flush-interval", "TIME", NULL, &flush_interval_ms, 1, 60000, "with --persist: async changes wait no longer (50ms)"),
	CLI_TEXT(0, "on-failure", "WHAT", &on_failure, "with --persist, while it fails: degrade to memory, or refuse changes (degrade)"),
	CLI_OPTIONS_END,
};

static gid_t group_number(const char *text)
{
	const char *error;
	const struct group *entry = getgrnam(text);
	long long number;

	if (entry)
		return entry->gr_gid;
	number = strtonum(text, 0, UINT32_MAX - 1, &error);
	if (error)
		cli_usage("there is no group `%s'", text);
	return (gid_t)number;
}

/* The number of the word among words, for an option that is not given 0. */
static uint32_t choice(const char *option, const char *word, const char *const *words, uint32_t first)
{
	for (uint32_t i = 0; word && words[i]; i++)
		if (strcmp(word, words[i]) == 0)
			return first + i;
	if (word)
		cli_usage("--%s %s: it is %s or %s", option, word, words[0], words[1]);
	return 0;
}

static void choose_persistence(struct flagstore_options *wanted)
{
	static const char *const durabilities[] = {"async", "sync", NULL}, *const failures[] = {"degrade", "refuse", NULL};

	if (!persist && (durability || on_failure || flush_interval_ms))
		cli_usage("--durability, --flush-interval and --on-failure go with --persist");
	wanted->persist = persist;
	wanted->durability = choice("durability", durability, durabilities, FLAGSTORE_ASYNC);
	wanted->on_failure = choice("on-failure", on_failure, failures, FLAGSTORE_DEGRADE);
	wanted->flush_interval_ms = (uint32_t)flush_interval_ms;
}

static int print_created(const flagstore *store)
{
	struct flagstore_info info;
	int error = flagstore_info(store, &info);

	if (error)
		return failure_of_library(error);
	output_json(json_pack("{s:o, s:s}", "path", output_text(info.path), "uuid", info.uuid));
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	struct flagstore_options wanted = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	int error, status = STATUS_DONE;

	(void)count;
	if (shards & (shards - 1))
		cli_usage("--shards %ju: it must be a power of two", (uintmax_t)shards);
	wanted.max_bytes = max_bytes;
	wanted.shards = (uint32_t)shards;
	wanted.workers = (uint32_t)workers;
	wanted.seats = (uint32_t)seats;
	wanted.mode = (uint32_t)mode;
	wanted.lock_wait_ms = (uint32_t)lock_wait_ms;
	wanted.reserve = reserve;
	wanted.laboratory = laboratory;
	choose_persistence(&wanted);
	if (group)
		wanted.group = group_number(group);

	error = flagstore_create(operands[0], &wanted, &store);
	if (error)
		return failure_of_library(error);
	if (cli_json)
		status = print_created(store);
	flagstore_close(store);
	return status;
}

const struct cli_command command_create = {
	.name = "create",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "create a segment",
	.options = options,
	.run = run,
};

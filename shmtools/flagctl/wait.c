/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl wait: sleeps until a flag changes, or has a value. */
#include <flagstore.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "attach.h"
#include "commands.h"
#include "describe.h"
#include "keytext.h"
#include "output.h"
#include "value.h"

static bool limited;
static uint64_t limit_ms;

static const struct cli_option options[] = {
	CLI_DURATION('t', "timeout", "TIME", &limited, &limit_ms, 0, INT_MAX, "give up after TIME, and exit with 1"),
	CLI_OPTIONS_END,
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How long to sleep at a stretch. 0: the time is over. */
static int next_sleep(int64_t deadline)
{
	int64_t left = limited ? deadline - now_ms() : ATTACH_LOOK_EVERY_MS;

	if (left <= 0)
		return 0;
	return left < ATTACH_LOOK_EVERY_MS ? (int)left : ATTACH_LOOK_EVERY_MS;
}

/* Sleeps until *flag is no longer what it was, or the time is over. */
static int wait_for_change(const flagstore *store, const char *name, const struct key *key, int64_t deadline,
                           struct flagstore_flag *flag)
{
	for (;;) {
		int sleep_ms = next_sleep(deadline);
		int error = flagstore_wait_n(store, key->bytes, key->length, flag, sleep_ms);
		int status;

		if (!error)
			return STATUS_DONE;
		if (error != FLAGSTORE_ETIMEDOUT)
			return failure_of_library(error);
		if (sleep_ms == 0)
			return failure(STATUS_NO, "it did not happen to flag %s of segment %s in time",
			               keytext_encode(key->bytes, key->length).text, name);
		status = attach_still_there(name, store);
		if (status)
			return status;
	}
}

static bool has_value(const struct flagstore_flag *flag, bool value)
{
	return flag->exists && flag->value == value;
}

static int wait_for_value(const flagstore *store, const char *name, const struct key *key, int64_t deadline, bool value,
                          struct flagstore_flag *flag)
{
	int status = STATUS_DONE;

	while (!status && !has_value(flag, value))
		status = wait_for_change(store, name, key, deadline, flag);
	return status;
}

static int run(int count, char **operands)
{
	struct key key = keytext_operand(operands[1]);
	bool value = count == 3 && value_operand(operands[2]);
	int64_t deadline = now_ms() + (int64_t)limit_ms;
	struct flagstore_flag flag;
	flagstore *store;
	int status = attach_to_follow(operands[0], &store);

	if (status)
		return status;
	(void)flagstore_lookup_n(store, key.bytes, key.length, &flag);
	if (count == 3)
		status = wait_for_value(store, operands[0], &key, deadline, value, &flag);
	else
		status = wait_for_change(store, operands[0], &key, deadline, &flag);
	flagstore_close(store);
	if (status)
		return status;
	if (cli_json)
		output_json(describe_value(key.bytes, key.length, &flag));
	else if (count < 3)
		printf("%s\n", flag.exists ? value_text(flag.value) : "missing");
	return STATUS_DONE;
}

const struct cli_command command_wait = {
	.name = "wait",
	.operands = "NAME KEY [VALUE]",
	.least = 2,
	.most = 3,
	.summary = "sleep until a flag has a value, or changes at all",
	.details = "With VALUE: until the flag has it, which it may have already. Without: until the flag changes from\n"
	           "what it is now; prints true, false or missing.\n",
	.options = options,
	.run = run,
};

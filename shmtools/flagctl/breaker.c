/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl breaker: the circuit breaker between table and LMDB. */
#include <flagstore.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "commands.h"
#include "output.h"
#include "quantity.h"

static uint64_t failures, opens, commit_ms, samples;

static const struct cli_option options[] = {
	CLI_NUMBER(0, "failures", "PERMILLE", &failures, 1, 1000, "set: opens when more commits than that fail within a minute (50)"),
	CLI_NUMBER(0, "opens", "PERMILLE", &opens, 1, 1000, "set: when more attempts to open the directory than that fail (30)"),
	CLI_DURATION(0, "commit-time", "TIME", NULL, &commit_ms, 1, 3600000, "set: when one commit in a hundred takes longer (1.2s)"),
	CLI_NUMBER(0, "samples", "N", &samples, 1, 1000000, "set: fewer commits within the minute tell nothing (5)"),
	CLI_OPTIONS_END,
};

static void line(const char *title, const char *text)
{
	printf("%-15s %s\n", title, text);
}

static void print_text(const struct flagstore_persistence *state)
{
	char text[256];

	printf("%-15s %s%s\n", "state", flagstore_breaker_name(state->breaker), state->forced ? ", by hand" : "");
	line("since", moment_text(state->breaker_since_ms).text);
	line("opened", count_text(state->trips).text);
	snprintf(text, sizeof text, "%s in the last minute; opens at more than %.1f %%", count_text(state->minute_failures).text,
	         state->limits.failures_permille / 10.0);
	line("failed commits", text);
	snprintf(text, sizeof text, "%s longer than %s, of %s; opens at more than 1 %%", count_text(state->minute_slow).text,
	         duration_text((uint64_t)state->limits.commit_ms * 1000000).text, count_text(state->minute_commits).text);
	line("slow commits", text);
	snprintf(text, sizeof text, "%s of %s; opens at more than %.1f %%", count_text(state->minute_open_failures).text,
	         count_text(state->minute_opens).text, state->limits.opens_permille / 10.0);
	line("failed opens", text);
	snprintf(text, sizeof text, "%s commits or opens, at least", count_text(state->limits.samples).text);
	line("judged by", text);
	if (state->failed_ms) {
		snprintf(text, sizeof text, "%s: %s", moment_text(state->failed_ms).text, state->failure);
		line("last failure", text);
	}
}

static json_t *make_json(const struct flagstore_persistence *state)
{
	return json_pack("{s:s, s:b, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:o}", "state",
	                 flagstore_breaker_name(state->breaker), "forced", (int)state->forced, "since_ms", (json_int_t)state->breaker_since_ms, "trips",
	                 (json_int_t)state->trips, "limits", "failures_permille", (json_int_t)state->limits.failures_permille, "opens_permille",
	                 (json_int_t)state->limits.opens_permille, "commit_ms", (json_int_t)state->limits.commit_ms, "samples",
	                 (json_int_t)state->limits.samples, "minute", "commits", (json_int_t)state->minute_commits, "failures",
	                 (json_int_t)state->minute_failures, "slow", (json_int_t)state->minute_slow, "opens", (json_int_t)state->minute_opens,
	                 "open_failures", (json_int_t)state->minute_open_failures, "failed_ms", (json_int_t)state->failed_ms, "failure",
	                 output_text(state->failure));
}

static int print_state(const char *name)
{
	struct flagstore_persistence state;
	flagstore *store;
	int status = attach_to_read(name, &store);

	if (status)
		return status;
	(void)flagstore_persistence(store, &state);
	if (!state.durability)
		status = failure(STATUS_USAGE, "segment %s is volatile, so it has no circuit breaker", name);
	else if (cli_json)
		output_json(make_json(&state));
	else
		print_text(&state);
	flagstore_close(store);
	return status;
}

static int change(const char *name, const char *what)
{
	struct flagstore_breaker_limits limits = {(uint32_t)failures, (uint32_t)opens, (uint32_t)commit_ms, (uint32_t)samples};
	flagstore *store;
	int error, status;

	if (strcmp(what, "set") != 0 && strcmp(what, "open") != 0 && strcmp(what, "auto") != 0)
		cli_usage("`%s' is not possible; it is set, open or auto", what);
	if ((strcmp(what, "set") == 0) != (failures || opens || commit_ms || samples))
		cli_usage("`set' goes with the limits to be set");
	status = attach_to_write(name, &store);
	if (status)
		return status;
	error = strcmp(what, "set") == 0 ? flagstore_set_breaker(store, &limits) : flagstore_force_breaker(store, strcmp(what, "open") == 0);
	if (error)
		status = failure_of_library(error);
	flagstore_close(store);
	return status;
}

static int run(int count, char **operands)
{
	int status;

	if (count == 1 && (failures || opens || commit_ms || samples))
		cli_usage("limits go with `set'");
	if (count == 1)
		return print_state(operands[0]);
	status = change(operands[0], operands[1]);
	return status || !cli_json ? status : print_state(operands[0]);
}

const struct cli_command command_breaker = {
	.name = "breaker",
	.operands = "NAME [WHAT]",
	.least = 1,
	.most = 2,
	.summary = "show or set the circuit breaker between table and LMDB",
	.details = "WHAT is set, with limits; open, which takes the directory out of the way; or auto, which ends that.\n",
	.options = options,
	.run = run,
};

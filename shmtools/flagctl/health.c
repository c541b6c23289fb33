/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl health: one word for a probe, and the reason. Reads only, takes no lock. */
#include <flagstore.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "census.h"
#include "commands.h"
#include "describe.h"
#include "output.h"
#include "quantity.h"

enum {
	SEATS_MAX = 8192,
};

/* For the count of the flags. */
#define CENSUS_LIMIT_NS UINT64_C(100000000)

static bool deep;
static uint64_t patience_ms = 1000;

struct health {
	const char *word;
	int status;
	char reason[512];
};

static void healthy(struct health *health)
{
	*health = (struct health){"HEALTHY", STATUS_DONE, ""};
	snprintf(health->reason, sizeof health->reason, "%s", deep ? "nothing is wrong" : "no sign of damage");
}

/* What keeps everybody from attaching. Failures that say nothing of the segment are the command's own. */
static bool judge_failure(int error, struct health *health)
{
	switch (error) {
	case FLAGSTORE_ECORRUPT:
	case FLAGSTORE_ETRUNCATED:
	case FLAGSTORE_ENOTREADY:
	case FLAGSTORE_ENOTSEGMENT:
		*health = (struct health){.word = "CORRUPT", .status = STATUS_NO};
		break;
	case FLAGSTORE_ETIMEDOUT:
		*health = (struct health){.word = "BLOCKED", .status = STATUS_AGAIN};
		break;
	default:
		return false;
	}
	snprintf(health->reason, sizeof health->reason, "%s", flagstore_detail());
	return true;
}

/* Somebody who has had a lock for long, or waits for one. */
static bool is_blocked(const flagstore *store, struct health *health)
{
	struct flagstore_seat *seats = calloc(SEATS_MAX, sizeof *seats);
	const struct flagstore_seat *worst = NULL;
	size_t count;

	if (!seats)
		failure_memory();
	count = flagstore_seats(store, seats, SEATS_MAX);
	for (size_t i = 0; i < count && i < SEATS_MAX; i++)
		/* How long a flush may take is the circuit breaker's business. */
		if (seats[i].alive && seats[i].activity != FLAGSTORE_IDLE && seats[i].activity != FLAGSTORE_FLUSHING &&
		    seats[i].since_ns > (int64_t)patience_ms * 1000000 &&
		    (!worst || seats[i].since_ns > worst->since_ns))
			worst = &seats[i];
	if (worst) {
		*health = (struct health){.word = "BLOCKED", .status = STATUS_AGAIN};
		if (worst->activity == FLAGSTORE_SYNCING)
			snprintf(health->reason, sizeof health->reason, "%s/%d has waited for its change to be durable for %s; see `flagctl persist'",
			         describe_writer(store, worst->worker).text, (int)worst->thread, duration_text((uint64_t)worst->since_ns).text);
		else
			snprintf(health->reason, sizeof health->reason, "%s/%d has been %s, shard %" PRIu32 ", for %s; see `flaginspect locks'",
			         describe_writer(store, worst->worker).text, (int)worst->thread, flagstore_activity_name((int)worst->activity), worst->shard,
			         duration_text((uint64_t)worst->since_ns).text);
	}
	free(seats);
	return worst != NULL;
}

static void first_finding(const struct flagstore_finding *finding, void *argument)
{
	struct health *health = argument;

	if (!*health->reason)
		snprintf(health->reason, sizeof health->reason, "%s: %s", finding->kind, finding->text);
}

static int look_deep(flagstore *store, struct health *health)
{
	struct health found = {.word = "CORRUPT", .status = STATUS_NO};
	uint64_t findings = 0, end = fs_monotonic_ns() + patience_ms * 1000000;
	uint32_t skipped = 0;
	size_t length;
	int error;

	/* Busy writers leave a gap now and then. */
	while (!(error = flagstore_check(store, first_finding, &found, &findings, &skipped)) && !findings && skipped && fs_monotonic_ns() < end)
		nanosleep(&(struct timespec){0, 10000000}, NULL);
	if (error)
		return error;
	if (findings) {
		*health = found;
		length = strlen(health->reason);
		snprintf(health->reason + length, sizeof health->reason - length, " (and %" PRIu64 " more findings; see `flaginspect check')", findings - 1);
	} else if (skipped) {
		*health = (struct health){.word = "BLOCKED", .status = STATUS_AGAIN};
		snprintf(health->reason, sizeof health->reason, "%" PRIu32 " shards were changing, or held, all the time; see `flaginspect locks'", skipped);
	}
	return FLAGSTORE_OK;
}

/* Writers without the lock that meet lose counts, or tear slots: what is left of that is exact, and cheap to see. */
static void look_at_flags(const flagstore *store, struct health *health)
{
	struct fs_census census;

	fs_census(store, CENSUS_LIMIT_NS, &census);
	if (census.wrong_shard != UINT32_MAX) {
		*health = (struct health){.word = "CORRUPT", .status = STATUS_NO};
		/* A count from which more was taken than was there is below 0. */
		snprintf(health->reason, sizeof health->reason, "shard %" PRIu32 " has %" PRIu32 " flags, and says %" PRId32 "; see `flaginspect check'",
		         census.wrong_shard, census.counted, (int32_t)census.said);
	} else if (census.wrong_slot_shard != UINT32_MAX) {
		*health = (struct health){.word = "CORRUPT", .status = STATUS_NO};
		snprintf(health->reason, sizeof health->reason,
		         "shard %" PRIu32 ", offset %#" PRIx64 ": key, hash and life of a flag do not belong together; see `flaginspect check'",
		         census.wrong_slot_shard, census.wrong_slot);
	} else if (census.passed_shards) {
		snprintf(health->reason, sizeof health->reason, "no sign of damage; %" PRIu32 " of %" PRIu32 " shards could not be looked at",
		         census.passed_shards, census.passed_shards + census.counted_shards);
	}
}

static void add_conflicts(struct health *health, uint64_t conflicts)
{
	size_t length = strlen(health->reason);

	snprintf(health->reason + length, sizeof health->reason - length, "; the guard has seen %" PRIu64 " conflicts%s", conflicts,
	         health->status == STATUS_DONE ? ", and the table was checked for damage" : "");
}

/* Whether writers met while the table was looked at; then it changes under everybody's hands, whatever was seen of it. */
static int look_at_conflicts(const flagstore *store, uint64_t before, struct health *health)
{
	struct flagstore_info now;
	int error = flagstore_info(store, &now);

	if (error)
		return error;
	if (now.conflicts > before && health->status != STATUS_NO)
		*health = (struct health){"CORRUPT", STATUS_NO, "writers that do not wait for each other are at work; see `flaginspect conflicts'"};
	add_conflicts(health, now.conflicts);
	return FLAGSTORE_OK;
}

/* With a breaker that is not closed nothing is wrong with the table, but changes are refused, or not durable. */
static void look_at_breaker(const flagstore *store, struct health *health)
{
	struct flagstore_persistence state;
	size_t length = strlen(health->reason);

	(void)flagstore_persistence(store, &state);
	if (!state.durability || state.breaker == FLAGSTORE_BREAKER_CLOSED || health->status != STATUS_DONE)
		return;
	if (state.on_failure == FLAGSTORE_REFUSE)
		*health = (struct health){"BLOCKED", STATUS_AGAIN, "changes are refused, since they can't be made durable; see `flagctl breaker'"};
	else
		snprintf(health->reason + length, sizeof health->reason - length, "; but changes are not durable, see `flagctl breaker'");
}

static int look(flagstore *store, struct health *health)
{
	struct flagstore_info info;
	int error = flagstore_info(store, &info);

	if (error)
		return error;
	healthy(health);
	if (info.truncated) {
		*health = (struct health){"CORRUPT", STATUS_NO, "its file was cut short"};
		return FLAGSTORE_OK;
	}
	if (info.retired) {
		*health = (struct health){"CORRUPT", STATUS_NO, "it has been unlinked; those who are attached should attach anew"};
		return FLAGSTORE_OK;
	}
	if (is_blocked(store, health))
		return FLAGSTORE_OK;
	/* Conflicts stay counted when what they broke has been repaired: only the table tells whether it has. */
	if (deep || info.conflicts)
		error = look_deep(store, health);
	else
		look_at_flags(store, health);
	if (!error)
		look_at_breaker(store, health);
	return error || !info.conflicts ? error : look_at_conflicts(store, info.conflicts, health);
}

static int run(int count, char **operands)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct health health;
	flagstore *store = NULL;
	int error;

	(void)count;
	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = (uint32_t)patience_ms;
	error = flagstore_attach(operands[0], &options, &store);
	if (!error)
		error = look(store, &health);
	if (error && !judge_failure(error, &health)) {
		flagstore_close(store);
		return failure_of_library(error);
	}
	flagstore_close(store);
	if (cli_json)
		output_json(json_pack("{s:s, s:o, s:b}", "health", health.word, "reason", output_text(health.reason), "deep", (int)deep));
	else
		printf("%s %s\n", health.word, health.reason);
	return health.status;
}

static const struct cli_option options_of_health[] = {
	CLI_SWITCH('d', "deep", &deep, "check the whole table, too"),
	CLI_DURATION('p', "patience", "TIME", NULL, &patience_ms, 1, 3600000, "how long a lock may be held, and a busy table be looked at (1s)"),
	CLI_OPTIONS_END,
};

const struct cli_command command_health = {
	.name = "health",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "say HEALTHY, BLOCKED or CORRUPT, and why",
	.options = options_of_health,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect conflicts: the guard's records, grouped by the two places that met. Records hold addresses in modules; libdw tells function,
 * file and line of them, as long as the modules are there. Modules are told apart by their build id: another build's lines would be wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "happening.h"
#include "keytext.h"
#include "lines.h"
#include "output.h"
#include "source.h"

static bool stacks;

enum {
	CONFLICTS_MAX = 4096,
};

/* Records of the same two places. */
struct group {
	const struct flagstore_conflict *latest;
	char noticed[LINES_SIZE], other[LINES_SIZE];
	uint64_t count, records;
};

static void place_text(const struct flagstore_conflict *conflict, const struct flagstore_place *place, char *text, size_t size)
{
	if (place->module >= conflict->modules || place->module >= FLAGSTORE_MODULES_MAX)
		snprintf(text, size, "an unknown place");
	else
		lines_resolve(&conflict->module[place->module], place->offset, text, size);
}

static void add(struct group *groups, size_t *count, const struct flagstore_conflict *conflict)
{
	struct group group = {conflict, "", "", conflict->count, 1};

	place_text(conflict, &conflict->noticed.site, group.noticed, sizeof group.noticed);
	place_text(conflict, &conflict->other.site, group.other, sizeof group.other);
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(groups[i].noticed, group.noticed) != 0 || strcmp(groups[i].other, group.other) != 0)
			continue;
		groups[i].count += group.count;
		groups[i].records++;
		return;
	}
	groups[(*count)++] = group;
}

static int compare(const void *a, const void *b)
{
	const struct group *one = a, *other = b;

	return one->count > other->count ? -1 : one->count < other->count;
}

static struct keytext command_text(const struct flagstore_party *party)
{
	return keytext_encode(party->command, strnlen(party->command, sizeof party->command));
}

static void print_party(const char *who, const struct flagstore_party *party, const char *place)
{
	printf("  %s %s[%d]/%d, %s%s, at %s\n", who, command_text(party).text, (int)party->pid, (int)party->thread,
	       flagstore_operation_name(party->operation), party->unlocked ? " WITHOUT THE LOCK" : "", place);
}

static void print_stack(const struct flagstore_conflict *conflict)
{
	char place[LINES_SIZE];

	for (uint32_t i = 0; stacks && i < conflict->frames && i < FLAGSTORE_STACK_MAX; i++) {
		place_text(conflict, &conflict->stack[i], place, sizeof place);
		printf("      #%-2" PRIu32 " %s\n", i, place);
	}
}

static void print_group(const struct group *group)
{
	const struct flagstore_conflict *latest = group->latest;

	printf("%" PRIu64 " times, last %s: %s, shard %" PRIu32 ", key %s, guard %s\n", group->count, happening_time(latest->last_ns).text,
	       flagstore_conflict_name(latest->kind), latest->shard,
	       latest->key_length ? keytext_encode(latest->key, latest->key_length).text : "-", flagstore_guard_name(latest->guard));
	print_party("noticed by", &latest->noticed, group->noticed);
	print_stack(latest);
	print_party("other:    ", &latest->other, group->other);
}

static json_t *party_json(const struct flagstore_party *party, const char *place)
{
	return json_pack("{s:I, s:I, s:s, s:I, s:s, s:b, s:s}", "pid", (json_int_t)party->pid, "thread", (json_int_t)party->thread, "command",
	                 command_text(party).text, "worker", (json_int_t)party->worker, "operation", flagstore_operation_name(party->operation),
	                 "unlocked", (int)party->unlocked, "place", place);
}

static json_t *group_json(const struct group *group)
{
	const struct flagstore_conflict *latest = group->latest;
	json_t *stack = json_array();
	char place[LINES_SIZE];

	for (uint32_t i = 0; i < latest->frames && i < FLAGSTORE_STACK_MAX; i++) {
		place_text(latest, &latest->stack[i], place, sizeof place);
		json_array_append_new(stack, json_string(place));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:o, s:s, s:o, s:o, s:o}", "count", (json_int_t)group->count, "records",
	                 (json_int_t)group->records, "first_ns", (json_int_t)latest->first_ns, "last_ns", (json_int_t)latest->last_ns, "kind",
	                 flagstore_conflict_name(latest->kind), "shard", (json_int_t)latest->shard, "offset", (json_int_t)latest->offset, "key",
	                 latest->key_length ? json_string(keytext_encode(latest->key, latest->key_length).text) : json_null(), "guard",
	                 flagstore_guard_name(latest->guard), "noticed", party_json(&latest->noticed, group->noticed), "other",
	                 party_json(&latest->other, group->other), "stack", stack);
}

static int show_table(const struct source *source)
{
	struct flagstore_conflict *conflicts = calloc(CONFLICTS_MAX, sizeof *conflicts);
	struct group *groups = calloc(CONFLICTS_MAX, sizeof *groups);
	size_t count, grouped = 0;
	uint64_t all = 0;

	if (!conflicts || !groups)
		failure_memory();
	count = flagstore_conflicts(source->store, conflicts, CONFLICTS_MAX);
	count = count < CONFLICTS_MAX ? count : CONFLICTS_MAX;
	for (size_t i = 0; i < count; i++)
		add(groups, &grouped, &conflicts[i]);
	qsort(groups, grouped, sizeof *groups, compare);
	if (cli_json)
		output_list_begin();
	for (size_t i = 0; i < grouped; i++) {
		all += groups[i].count;
		if (cli_json)
			output_list_item(group_json(&groups[i]));
		else
			print_group(&groups[i]);
	}
	if (cli_json)
		output_list_end();
	else
		printf("%" PRIu64 " conflicts between %zu pairs of places\n", all, grouped);
	lines_end();
	free(conflicts);
	free(groups);
	return count ? STATUS_NO : STATUS_DONE;
}

static int show(const struct source *source)
{
	int status = source_needs_table(source);

	return status ? status : show_table(source);
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], show);
}

static const struct cli_option options[] = {
	CLI_SWITCH('s', "stacks", &stacks, "with the call stack of who noticed"),
	CLI_OPTIONS_END,
};

const struct cli_command command_conflicts = {
	.name = "conflicts",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print which places in which programs wrote at once",
	.options = options,
	.run = run,
};

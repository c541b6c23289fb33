/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect threads: what each thread that writes is doing now, grouped, those that wait first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "commands.h"
#include "describe.h"
#include "keytext.h"
#include "output.h"
#include "process.h"
#include "quantity.h"
#include "stacks.h"

static bool all, stacks;

/* Those that wait first, the longest of them before the others; then those that hold something; then the idle. */
static int rank_of(const struct flagstore_seat *seat)
{
	return !seat->alive ? 3 : seat->activity == FLAGSTORE_WAITING ? 0 : seat->activity != FLAGSTORE_IDLE ? 1 : 2;
}

/* With stacks, those that do the same in the same shard stand together. */
static bool same_group(const struct flagstore_seat *one, const struct flagstore_seat *other)
{
	return one->alive == other->alive && one->activity == other->activity && one->shard == other->shard;
}

static int compare(const void *a, const void *b)
{
	const struct flagstore_seat *one = a, *other = b;

	if (rank_of(one) != rank_of(other))
		return rank_of(one) - rank_of(other);
	if (stacks && !same_group(one, other))
		return one->activity != other->activity ? (one->activity > other->activity) - (one->activity < other->activity) :
		                                          (one->shard > other->shard) - (one->shard < other->shard);
	return one->since_ns > other->since_ns ? -1 : one->since_ns < other->since_ns;
}

static json_t *seat_json(const struct source *source, const struct flagstore_seat *seat, const char *name, const char *state)
{
	return json_pack("{s:I, s:o, s:b, s:I, s:s, s:s, s:s, s:o, s:I, s:o, s:I, s:I, s:I, s:I}", "seat", (json_int_t)seat->seat, "worker",
	                 describe_writer_json(source->store, seat->worker), "alive", (int)seat->alive, "thread", (json_int_t)seat->thread, "name", name,
	                 "activity", flagstore_activity_name((int)seat->activity), "state", state, "shard",
	                 seat->shard == UINT32_MAX ? json_null() : json_integer(seat->shard), "since_ns", (json_int_t)seat->since_ns, "behind",
	                 describe_writer_json(source->store, seat->behind_worker), "locks", (json_int_t)seat->locks, "waits", (json_int_t)seat->waits,
	                 "waited_ns", (json_int_t)seat->waited_ns, "events", (json_int_t)seat->events);
}

static void add_row(struct columns *columns, const struct source *source, const struct flagstore_seat *seat, const char *name, const char *state)
{
	char thread[16], shard[16], locks[24], waits[24];

	snprintf(thread, sizeof thread, "%d", (int)seat->thread);
	snprintf(shard, sizeof shard, "%" PRIu32, seat->shard);
	snprintf(locks, sizeof locks, "%" PRIu64, seat->locks);
	snprintf(waits, sizeof waits, "%" PRIu64, seat->waits);
	columns_row(columns, seat->alive ? flagstore_activity_name((int)seat->activity) : "left", seat->shard == UINT32_MAX ? "-" : shard,
	            seat->since_ns ? duration_text((uint64_t)seat->since_ns).text : "-",
	            seat->activity == FLAGSTORE_WAITING ? describe_writer(source->store, seat->behind_worker).text : "-", state, thread, locks, waits,
	            duration_text(seat->waited_ns).text, name, describe_writer(source->store, seat->worker).text);
}

static const char *doing_text(const struct flagstore_seat *seat)
{
	return seat->alive ? flagstore_activity_name((int)seat->activity) : "left";
}

static void print_group(const struct flagstore_seat *seat, size_t count)
{
	printf("%zu %s %s", count, count == 1 ? "thread" : "threads", doing_text(seat));
	if (seat->shard != UINT32_MAX)
		printf(", shard %" PRIu32, seat->shard);
	putchar('\n');
}

static void print_stack(const struct source *source, const struct flagstore_seat *seat, const char *name, const char *state, const struct stack *stack)
{
	printf("  %s/%d %s, %s", describe_writer(source->store, seat->worker).text, (int)seat->thread, name, state);
	if (seat->since_ns)
		printf(", for %s", duration_text((uint64_t)seat->since_ns).text);
	if (seat->activity == FLAGSTORE_WAITING)
		printf(", behind %s", describe_writer(source->store, seat->behind_worker).text);
	putchar('\n');
	for (size_t i = 0; i < stack->count; i++)
		printf("      #%-2zu %s\n", i, stack->frames[i]);
	if (*stack->error)
		printf("      %s\n", stack->error);
}

static json_t *stack_json(const struct stack *stack)
{
	json_t *frames = json_array();

	for (size_t i = 0; i < stack->count; i++)
		json_array_append_new(frames, output_text(stack->frames[i]));
	return frames;
}

/* What the seats of a file say is of threads that are gone, or of another machine. */
static void read_stack(bool ours, const struct flagstore_seat *seat, struct stack *stack)
{
	stack->count = 0;
	if (!seat->alive)
		snprintf(stack->error, sizeof stack->error, "the thread has left");
	else if (!ours)
		snprintf(stack->error, sizeof stack->error, "its process is of another PID namespace or machine: look from there");
	else
		stacks_read(seat->thread, stack);
}

/* The groups in order, each with its threads. */
static void show_stacks(const struct source *source, const struct flagstore_seat *seats, size_t count, bool ours)
{
	struct stack *stack = malloc(sizeof *stack);
	json_t *groups = json_array();

	if (!stack || !groups)
		failure_memory();
	stacks_begin(source);
	for (size_t first = 0, end; first < count && (all || seats[first].alive); first = end) {
		json_t *threads = json_array();

		for (end = first; end < count && same_group(&seats[first], &seats[end]);)
			end++;
		if (!cli_json)
			print_group(&seats[first], end - first);
		for (size_t i = first; i < end; i++) {
			struct keytext name = keytext_encode(seats[i].name, strnlen(seats[i].name, sizeof seats[i].name));
			const char *state = ours && seats[i].alive ? process_state_text(process_state_of(seats[i].thread)) : "-";
			json_t *object;

			read_stack(ours, &seats[i], stack);
			if (!cli_json) {
				print_stack(source, &seats[i], name.text, state, stack);
				continue;
			}
			object = seat_json(source, &seats[i], name.text, state);
			json_object_set_new(object, "stack", stack_json(stack));
			json_object_set_new(object, "stack_error", *stack->error ? output_text(stack->error) : json_null());
			json_array_append_new(threads, object);
		}
		json_array_append_new(groups, json_pack("{s:s, s:o, s:I, s:o}", "activity", doing_text(&seats[first]), "shard",
		                                        seats[first].shard == UINT32_MAX ? json_null() : json_integer(seats[first].shard), "count",
		                                        (json_int_t)(end - first), "threads", threads));
	}
	stacks_end();
	if (cli_json)
		output_json(json_incref(groups));
	json_decref(groups);
	free(stack);
}

static int show(const struct source *source)
{
	static const struct column layout[] = {
		{"DOING", COLUMN_LEFT},  {"SHARD", COLUMN_RIGHT}, {"FOR", COLUMN_RIGHT},   {"BEHIND", COLUMN_LEFT}, {"STATE", COLUMN_LEFT}, {"THREAD", COLUMN_RIGHT},
		{"LOCKS", COLUMN_RIGHT}, {"WAITS", COLUMN_RIGHT}, {"WAITED", COLUMN_RIGHT}, {"NAME", COLUMN_LEFT},   {"WORKER", COLUMN_LEFT},
	};
	struct columns *columns = columns_open(layout, sizeof layout / sizeof *layout);
	size_t room = source->store->constants.seats, count;
	struct flagstore_seat *seats = calloc(room ? room : 1, sizeof *seats);
	bool ours = process_numbers_are_ours(source);
	json_t *list = json_array();

	if (!seats || !list)
		failure_memory();
	count = flagstore_seats(source->store, seats, room);
	count = count < room ? count : room;
	qsort(seats, count, sizeof *seats, compare);
	for (size_t i = 0; !stacks && i < count; i++) {
		char name[4 * sizeof seats[i].name + 1];
		const char *state = ours && seats[i].alive ? process_state_text(process_state_of(seats[i].thread)) : "-";

		if (!seats[i].alive && !all)
			continue;
		snprintf(name, sizeof name, "%.64s", keytext_encode(seats[i].name, strnlen(seats[i].name, sizeof seats[i].name)).text);
		if (cli_json)
			json_array_append_new(list, seat_json(source, &seats[i], name, state));
		else
			add_row(columns, source, &seats[i], name, state);
	}
	if (stacks)
		show_stacks(source, seats, count, ours);
	else if (cli_json)
		output_json(json_incref(list));
	else
		columns_print(columns, stdout);
	json_decref(list);
	columns_close(columns);
	free(seats);
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], show);
}

static const struct cli_option options[] = {
	CLI_SWITCH('a', "all", &all, "also threads that have died"),
	CLI_SWITCH('s', "stacks", &stacks, "group them by what they do, with their call stacks"),
	CLI_OPTIONS_END,
};

const struct cli_command command_threads = {
	.name = "threads",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print what each thread that writes is doing, those that wait first",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.c: the five views. A view is its columns, and a function that makes its rows; each row's cells are added from left to right. */
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "phrase.h"
#include "quantity.h"

static const struct view_layout {
	const char *name, *empty;
	size_t sort;
	struct table_column columns[TABLE_COLUMNS_MAX + 1];
} layouts[VIEWS] = {
	[VIEW_SHARDS] = {"shards", "there are no shards", 2,
		{{"SHARD", true, 0, 0}, {"LOCKS/S", true, 2, 0}, {"WAITS/S", true, 1, 0}, {"WAITED", true, 4, 0}, {"WAITING", true, 3, 0}, {"FLAGS", true, 5, 0},
		 {"HOLDER", false, 6, 0}, {NULL, false, 0, 0}}},
	[VIEW_THREADS] = {"threads", "nobody is attached who may write", 3,
		{{"PID", true, 1, 0}, {"THREAD", true, 5, 0}, {"COMMAND", false, 0, 0}, {"CHANGES/S", true, 2, 0}, {"LOCKS/S", true, 6, 0}, {"WAITS/S", true, 4, 0},
		 {"WAITED", true, 7, 0}, {"STATE", false, 3, 0}, {NULL, false, 0, 0}}},
	[VIEW_HOTTEST] = {"hottest", "no change was seen since the last look", 1,
		{{"SHARD", true, 4, 0}, {"CHANGES", true, 0, 0}, {"LAST", false, 3, 0}, {"VALUE", false, 2, 0}, {"WRITER", false, 5, 0}, {"KEY", false, 1, 0},
		 {NULL, false, 0, 0}}},
	[VIEW_CONFLICTS] = {"conflicts", "the guard has recorded no conflict", 0,
		{{"COUNT", true, 0, 0}, {"NOTICED", false, 1, PHRASE_PARTY}, {"OTHER", false, 2, PHRASE_PARTY}, {"KEY", false, 3, 5},
		 {"LAST", false, 4, 0}, {"KIND", false, 5, 0}, {"SHARD", true, 6, 0}, {"PLACES", false, 7, 0}, {NULL, false, 0, 0}}},
	[VIEW_EVENTS] = {"events", "the event rings are empty", 0,
		{{"TIME", true, 2, 0}, {"EVENT", false, 0, 0}, {"SHARD", true, 4, 0}, {"WHO", false, 3, 0}, {"WHAT", false, 1, 0}, {NULL, false, 0, 0}}},
};

const char *table_view_name(enum view view)
{
	return layouts[view].name;
}

const char *table_empty(enum view view)
{
	return layouts[view].empty;
}

const struct table_column *table_columns(enum view view)
{
	return layouts[view].columns;
}

size_t table_column_count(enum view view)
{
	size_t count = 0;

	while (layouts[view].columns[count].title)
		count++;
	return count;
}

size_t table_first_sort(enum view view)
{
	return layouts[view].sort;
}

/* --------------------------------------------------------------------------------------------------- filling */

/* The row that is being made, and its next cell. */
struct making {
	struct table_row *row;
	size_t column;
};

static struct making new_row(struct table *table, double weight)
{
	if (table->count == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->rows = reallocarray(table->rows, table->room, sizeof *table->rows);
		if (!table->rows)
			failure_memory();
	}
	memset(&table->rows[table->count], 0, sizeof *table->rows);
	table->rows[table->count].weight = weight;
	return (struct making){&table->rows[table->count++], 0};
}

static void add(struct making *making, const char *text, double number)
{
	struct table_cell *cell = &making->row->cells[making->column++];

	cell->text = strdup(text);
	cell->number = number;
	if (!cell->text)
		failure_memory();
}

static void add_text(struct making *making, const char *text)
{
	add(making, text, 0);
}

static void add_count(struct making *making, uint64_t count)
{
	add(making, count_text(count).text, (double)count);
}

/* A number that is a name: no blanks in it, and "-" when there is none. */
static void add_id(struct making *making, uint64_t id, bool known)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, id);
	add(making, known ? text : "-", known ? (double)id : -1);
}

static void add_rate(struct making *making, double rate)
{
	add(making, rate_phrase(rate).text, rate);
}

static void add_duration(struct making *making, uint64_t ns)
{
	add(making, ns ? duration_text(ns).text : "0", (double)ns);
}

static void fill_shards(struct table *table, const struct frame *frame)
{
	for (size_t i = 0; i < frame->shard_count; i++) {
		const struct model_shard *shard = &frame->shards[i];
		struct making making = new_row(table, shard->locks);

		add_id(&making, shard->index, true);
		add_rate(&making, shard->locks);
		add_rate(&making, shard->waits);
		add_duration(&making, shard->waited_ns);
		add_count(&making, shard->waiters);
		add_count(&making, shard->live);
		add_text(&making, holder_phrase(shard).text);
		making.row->alarm = shard->orphaned ? TABLE_WRONG : shard->waiters ? TABLE_WAITS : TABLE_CALM;
	}
}

static void fill_threads(struct table *table, const struct frame *frame)
{
	for (size_t i = 0; i < frame->thread_count; i++) {
		const struct model_thread *thread = &frame->threads[i];
		struct making making = new_row(table, thread->activity);

		add_id(&making, (uint64_t)thread->who.pid, thread->who.pid > 0);
		add_id(&making, (uint64_t)thread->who.thread, thread->who.thread > 0);
		add_text(&making, command_phrase(thread).text);
		add_rate(&making, thread->changes);
		add_rate(&making, thread->locks);
		add_rate(&making, thread->waits);
		add_duration(&making, thread->waited_ns);
		add_text(&making, state_phrase(thread).text);
		making.row->alarm = !thread->alive ? TABLE_WRONG : thread->activity == FLAGSTORE_WAITING ? TABLE_WAITS : TABLE_CALM;
	}
}

static void fill_hottest(struct table *table, const struct frame *frame)
{
	for (size_t i = 0; i < frame->hot_count; i++) {
		const struct model_hot *hot = &frame->hot[i];
		struct making making = new_row(table, (double)hot->event.time_ns);

		add_id(&making, hot->shard, true);
		add_count(&making, hot->changes);
		add_text(&making, flagstore_operation_name(hot->event.operation));
		add_text(&making, flag_phrase(&hot->event.after));
		add_text(&making, who_phrase(&hot->who).text);
		add_text(&making, key_phrase(hot->key.bytes, hot->key.length).text);
	}
}

static void fill_conflicts(struct table *table, const struct frame *frame)
{
	for (size_t i = 0; i < frame->group_count; i++) {
		const struct model_group *group = &frame->groups[i];
		const struct flagstore_conflict *last = &group->last;
		struct making making = new_row(table, (double)last->last_ns);

		add_count(&making, group->count);
		add_text(&making, party_phrase(last, &last->noticed).text);
		add_text(&making, party_phrase(last, &last->other).text);
		add_text(&making, key_phrase(last->key, last->key_length).text);
		add_text(&making, time_phrase(last->last_ns).text);
		add_text(&making, flagstore_conflict_name(last->kind));
		add_id(&making, last->shard, last->shard != UINT32_MAX);
		add_text(&making, places_phrase(last).text);
	}
}

static enum table_alarm event_alarm(int kind)
{
	if (kind == FLAGSTORE_CONFLICT || kind == FLAGSTORE_DEATH)
		return TABLE_WRONG;
	return kind == FLAGSTORE_WAIT || kind == FLAGSTORE_RECOVERY ? TABLE_WAITS : TABLE_CALM;
}

static void fill_events(struct table *table, const struct frame *frame)
{
	for (size_t i = 0; i < frame->tail_count; i++) {
		const struct model_event *event = &frame->tail[i];
		/* Those of one tick: in the order in which they came. */
		struct making making = new_row(table, (double)i);

		add(&making, time_phrase(event->event.time_ns).text, (double)event->event.time_ns);
		add_text(&making, flagstore_event_name(event->event.kind));
		add_id(&making, event->event.shard, event->event.shard != UINT32_MAX);
		add_text(&making, who_phrase(&event->who).text);
		add_text(&making, event_phrase(event).text);
		making.row->alarm = event_alarm(event->event.kind);
	}
}

static void free_cells(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		for (size_t j = 0; j < TABLE_COLUMNS_MAX; j++)
			free(table->rows[i].cells[j].text);
	table->count = 0;
}

void table_fill(struct table *table, enum view view, const struct frame *frame)
{
	static void (*const fill[VIEWS])(struct table *, const struct frame *) = {
		fill_shards, fill_threads, fill_hottest, fill_conflicts, fill_events,
	};

	free_cells(table);
	table->view = view;
	table->columns = layouts[view].columns;
	table->column_count = table_column_count(view);
	fill[view](table, frame);
}

void table_clear(struct table *table)
{
	free_cells(table);
	free(table->rows);
	table->rows = NULL;
	table->room = 0;
}

void table_widths(const struct table *table, int widths[TABLE_COLUMNS_MAX])
{
	for (size_t i = 0; i < table->column_count; i++) {
		widths[i] = (int)strlen(table->columns[i].title);
		for (size_t row = 0; row < table->count; row++) {
			int width = (int)strlen(table->rows[row].cells[i].text);

			if (width > widths[i])
				widths[i] = width;
		}
	}
}

/* --------------------------------------------------------------------------------------------------- sorting */

static struct {
	size_t column;
	bool number, reverse;
} order;

static int compare_rows(const void *left, const void *right)
{
	const struct table_row *a = left, *b = right;
	const struct table_cell *first = &a->cells[order.column], *second = &b->cells[order.column];
	int result = order.number ? (first->number < second->number) - (first->number > second->number) : strcmp(first->text, second->text);

	if (result == 0)
		result = (a->weight < b->weight) - (a->weight > b->weight);
	return order.reverse ? -result : result;
}

void table_sort(struct table *table, size_t column, bool reverse)
{
	order.column = column;
	order.number = table->columns[column].number;
	order.reverse = reverse;
	qsort(table->rows, table->count, sizeof *table->rows, compare_rows);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.h: a view of a frame as a table of printable ASCII, sorted. Where it is drawn, and how much of it, is the business of others. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "model.h"

enum view {
	VIEW_SHARDS,
	VIEW_THREADS,
	VIEW_HOTTEST,
	VIEW_CONFLICTS,
	VIEW_EVENTS,
	VIEWS,
};

enum { TABLE_COLUMNS_MAX = 8 };

struct table_column {
	const char *title; /* NULL: the row of columns ends here */
	bool number;       /* stands on the right, and is sorted the largest first */
	int rank;          /* when there is no room for all, the highest ones are left out first */
	int least;         /* a text may be cut to so much before others are left out; 0: as usual */
};

struct table_cell {
	char *text;
	double number;
};

/* What deserves a colour. */
enum table_alarm {
	TABLE_CALM,
	TABLE_WAITS,
	TABLE_WRONG,
};

struct table_row {
	struct table_cell cells[TABLE_COLUMNS_MAX];
	double weight; /* rows that are equal otherwise: the heaviest first */
	enum table_alarm alarm;
};

struct table {
	enum view view;
	const struct table_column *columns;
	size_t column_count, count, room;
	struct table_row *rows;
};

/* The word for a view, as --view takes it. */
const char *table_view_name(enum view view);

/* What a view without rows says. */
const char *table_empty(enum view view);

/* The columns of a view, ended by a title of NULL; their number; the one that it is sorted by unless told otherwise. */
const struct table_column *table_columns(enum view view);
size_t table_column_count(enum view view);
size_t table_first_sort(enum view view);

/* Makes the view's rows; *table is zero, or was filled before. */
void table_fill(struct table *table, enum view view, const struct frame *frame);

/* Numbers the largest first and texts in their order, or the other way round. */
void table_sort(struct table *table, size_t column, bool reverse);

/* What the columns take, titles included. */
void table_widths(const struct table *table, int widths[TABLE_COLUMNS_MAX]);

/* Takes all rows away and frees them; the table can be filled again. */
void table_clear(struct table *table);

#endif

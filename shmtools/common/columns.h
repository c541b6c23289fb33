/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * columns.h: a table for people: a title for each column, cells aligned by what has come in, two blanks between.
 * Programs get JSON. On a terminal the titles are bold, unless NO_COLOR is set and not empty (no-color.org).
 *
 *	struct columns *columns = columns_open((const struct column[]){{"KEY", COLUMN_LEFT}, {"READS/S", COLUMN_RIGHT}}, 2);
 *	columns_row(columns, key, "12 M");
 *	columns_print(columns, stdout);
 *	columns_close(columns); */
#ifndef COLUMNS_H
#define COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum column_side {
	COLUMN_LEFT,
	COLUMN_RIGHT,
};

struct column {
	const char *title; /* must outlive the table */
	enum column_side side;
};

struct columns;

/* An empty table. Never fails: without memory the process ends. */
struct columns *columns_open(const struct column *layout, size_t count);

/* Adds a row: one string for each column, printable ASCII; they are copied. */
void columns_row(struct columns *columns, ...);

/* Prints titles and rows. The table stays as it is, so that a live view may go on with it after columns_clear(). */
void columns_print(const struct columns *columns, FILE *file);

/* Takes all rows away. */
void columns_clear(struct columns *columns);

void columns_close(struct columns *columns);

/* Whether to send escape sequences to the file: it is a terminal that knows them, and the user has not said no. */
bool columns_styled(FILE *file);

#endif

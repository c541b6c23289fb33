/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * columns.c: aligned tables for people. Cells are printable ASCII, so a byte is a column of the terminal. */
#include "columns.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"

struct columns {
	struct column *layout;
	size_t count;
	size_t rows, room;
	char **cells; /* rows * count, row by row */
	int *widths;
};

#define GAP "  "

struct columns *columns_open(const struct column *layout, size_t count)
{
	struct columns *columns = calloc(1, sizeof *columns);
	struct column *copy = calloc(count, sizeof *copy);
	int *widths = calloc(count, sizeof *widths);

	if (!columns || !copy || !widths)
		failure_memory();
	memcpy(copy, layout, count * sizeof *copy);
	*columns = (struct columns){.layout = copy, .count = count, .widths = widths};
	columns_clear(columns);
	return columns;
}

static void make_room(struct columns *columns)
{
	if (columns->rows < columns->room)
		return;
	columns->room = columns->room ? 2 * columns->room : 16;
	columns->cells = reallocarray(columns->cells, columns->room * columns->count, sizeof *columns->cells);
	if (!columns->cells)
		failure_memory();
}

void columns_row(struct columns *columns, ...)
{
	va_list cells;

	make_room(columns);
	va_start(cells, columns);
	for (size_t i = 0; i < columns->count; i++) {
		char *cell = strdup(va_arg(cells, const char *));
		int width;

		if (!cell)
			failure_memory();
		width = (int)strlen(cell);
		if (width > columns->widths[i])
			columns->widths[i] = width;
		columns->cells[columns->rows * columns->count + i] = cell;
	}
	va_end(cells);
	columns->rows++;
}

static void print_cell(const struct columns *columns, size_t column, const char *cell, FILE *file)
{
	if (column > 0)
		fputs(GAP, file);
	if (columns->layout[column].side == COLUMN_RIGHT)
		fprintf(file, "%*s", columns->widths[column], cell);
	else if (column + 1 < columns->count)
		fprintf(file, "%-*s", columns->widths[column], cell);
	else
		fputs(cell, file);
}

void columns_print(const struct columns *columns, FILE *file)
{
	bool styled = columns_styled(file);

	if (styled)
		fputs("\033[1m", file);
	for (size_t i = 0; i < columns->count; i++)
		print_cell(columns, i, columns->layout[i].title, file);
	fputs(styled ? "\033[0m\n" : "\n", file);
	for (size_t row = 0; row < columns->rows; row++) {
		for (size_t i = 0; i < columns->count; i++)
			print_cell(columns, i, columns->cells[row * columns->count + i], file);
		fputc('\n', file);
	}
}

void columns_clear(struct columns *columns)
{
	for (size_t i = 0; i < columns->rows * columns->count; i++)
		free(columns->cells[i]);
	columns->rows = 0;
	for (size_t i = 0; i < columns->count; i++)
		columns->widths[i] = (int)strlen(columns->layout[i].title);
}

void columns_close(struct columns *columns)
{
	columns_clear(columns);
	free(columns->cells);
	free(columns->widths);
	free(columns->layout);
	free(columns);
}

bool columns_styled(FILE *file)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(fileno(file)) && !(no_color && *no_color) && terminal && strcmp(terminal, "dumb") != 0;
}

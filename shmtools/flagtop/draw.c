/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * draw.c: title, header, views, table, and a line for keys or messages. Everything that is drawn is printable ASCII, so a byte is a
 * column; and everything is cut at the edge. */
#include "draw.h"

#include <curses.h>
#include <string.h>

#include "quantity.h"
#include "terminal.h"

enum {
	GAP = 2,
	SHRUNK = 14, /* a text column may be cut to so much before others are left out */
};

static struct table table;

/* Text from the column on, at most width of it; what is cut ends in a tilde. */
static void put(int row, int column, int width, const char *text)
{
	int length = (int)strlen(text);

	if (width > COLS - column)
		width = COLS - column;
	if (row < 0 || row >= LINES || width <= 0)
		return;
	mvaddnstr(row, column, text, width);
	if (length > width && width > 1)
		mvaddch(row, column + width - 1, '~');
}

static void put_right(int row, const char *text)
{
	put(row, COLS - (int)strlen(text), (int)strlen(text), text);
}

static enum terminal_color health_color(const struct frame *frame)
{
	if (frame->health != MODEL_HEALTHY)
		return TERMINAL_RED;
	return frame->reason[0] ? TERMINAL_YELLOW : TERMINAL_GREEN;
}

static void draw_title(const struct picture *picture, const struct phrase *health)
{
	struct phrase name = text_phrase(picture->segment);
	char clock[64];
	int column = 8 + (int)strlen(name.text) + GAP, end = COLS;

	/* The time without its milliseconds. */
	snprintf(clock, sizeof clock, "%s  %.8s", picture->paused ? "PAUSED" : duration_text(picture->interval_ms * 1000000).text,
	         picture->frame ? time_phrase(picture->frame->time_ms * 1000000).text : "");
	if (COLS >= 60) {
		end = COLS - (int)strlen(clock) - GAP;
		put_right(0, clock);
	} else if (picture->paused) {
		end = COLS - 6 - GAP;
		put_right(0, "PAUSED");
	}
	attron(A_BOLD);
	put(0, 0, end, "flagtop");
	put(0, 8, end - 8, name.text);
	attroff(A_BOLD);
	if (!picture->frame)
		return;
	attron(terminal_color(health_color(picture->frame)));
	put(0, column, end - column, health->text);
	attroff(terminal_color(health_color(picture->frame)));
}

/* As many items as there is room for in so many lines; returns the next free line. */
static int draw_items(const struct phrase *items, size_t count, int row, int last)
{
	int column = 0;

	for (size_t i = 0; i < count && row <= last; i++) {
		int length = (int)strlen(items[i].text);

		if (column > 0 && column + length > COLS) {
			row++;
			column = 0;
		}
		if (row > last)
			break;
		put(row, column, length, items[i].text);
		column += length + GAP;
	}
	return (row < last ? row : last) + 1;
}

static void draw_views(const struct picture *picture, int row)
{
	const char *sort = table_columns(picture->view)[picture->sort].title;
	char text[48], by[64];
	int column = 0;

	for (int view = 0; view < VIEWS; view++) {
		/* In a narrow terminal only the view that is shown has its name. */
		bool named = COLS >= 56 || view == (int)picture->view;

		snprintf(text, sizeof text, " %d%s%s ", view + 1, named ? " " : "", named ? table_view_name((enum view)view) : "");
		if (view == (int)picture->view)
			attron(A_REVERSE);
		put(row, column, (int)strlen(text), text);
		attroff(A_REVERSE);
		column += (int)strlen(text);
	}
	snprintf(by, sizeof by, "by %s%s", sort, picture->reverse ? ", reversed" : "");
	if (column + GAP + (int)strlen(by) <= COLS)
		put_right(row, by);
}

/* Which columns are shown, and how wide: 0 leaves one out. */
static void fit_columns(int widths[TABLE_COLUMNS_MAX])
{
	int full[TABLE_COLUMNS_MAX], left;

	table_widths(&table, full);
	for (size_t i = 0; i < table.column_count; i++) {
		int least = table.columns[i].least ? table.columns[i].least : SHRUNK;

		widths[i] = !table.columns[i].number && full[i] > least ? least : full[i];
	}
	for (;;) {
		size_t worst = 0, shown = 0;

		left = COLS + GAP;
		for (size_t i = 0; i < table.column_count; i++) {
			if (widths[i] == 0)
				continue;
			left -= widths[i] + GAP;
			if (shown++ == 0 || table.columns[i].rank > table.columns[worst].rank)
				worst = i;
		}
		if (left >= 0 || shown <= 1)
			break;
		widths[worst] = 0;
	}
	/* What is left goes to those that were cut, the most important first. */
	for (int rank = 0; rank < TABLE_COLUMNS_MAX && left > 0; rank++) {
		for (size_t i = 0; i < table.column_count; i++) {
			int more = full[i] - widths[i];

			if (widths[i] == 0 || table.columns[i].rank != rank || more <= 0)
				continue;
			more = more < left ? more : left;
			widths[i] += more;
			left -= more;
		}
	}
}

static void draw_cells(int row, const int widths[TABLE_COLUMNS_MAX], const struct table_row *cells, size_t underlined)
{
	int column = 0;

	for (size_t i = 0; i < table.column_count; i++) {
		const char *text = cells ? cells->cells[i].text : table.columns[i].title;
		int length = (int)strlen(text);

		if (widths[i] == 0)
			continue;
		if (i == underlined)
			attron(A_UNDERLINE);
		put(row, column + (table.columns[i].number && length < widths[i] ? widths[i] - length : 0), widths[i], text);
		attroff(A_UNDERLINE);
		column += widths[i] + GAP;
	}
}

static void draw_table(const struct picture *picture, int row, size_t *offset)
{
	static const enum terminal_color colors[] = {TERMINAL_PLAIN, TERMINAL_YELLOW, TERMINAL_RED};
	int widths[TABLE_COLUMNS_MAX] = {0};
	size_t room = LINES - 2 > row ? (size_t)(LINES - 2 - row) : 0;

	table_fill(&table, picture->view, picture->frame);
	table_sort(&table, picture->sort, picture->reverse);
	fit_columns(widths);
	if (*offset + room > table.count)
		*offset = table.count > room ? table.count - room : 0;
	attron(A_BOLD);
	draw_cells(row, widths, NULL, picture->sort);
	attroff(A_BOLD);
	for (size_t i = 0; i < room && *offset + i < table.count; i++) {
		const struct table_row *cells = &table.rows[*offset + i];

		attron(terminal_color(colors[cells->alarm]));
		draw_cells(row + 1 + (int)i, widths, cells, TABLE_COLUMNS_MAX);
		attroff(terminal_color(colors[cells->alarm]));
	}
	if (table.count == 0)
		put(row + 1, 0, COLS, table_empty(picture->view));
}

static void draw_bottom(const struct picture *picture)
{
	static const char keys[] = "1-5 view  s sort  r reverse  space pause  +- interval  g guard  ? help  q quit";
	static const char few_keys[] = "1-5 view  s sort  ? help  q quit";

	if (picture->message[0]) {
		attron(A_REVERSE);
		put(LINES - 1, 0, COLS, picture->message);
		attroff(A_REVERSE);
		return;
	}
	attron(A_DIM);
	put(LINES - 1, 0, COLS, COLS >= (int)sizeof keys ? keys : few_keys);
	attroff(A_DIM);
}

static void draw_help(void)
{
	static const char *const lines[] = {
		/* 40 columns at most, and 8 lines */
		"1..5, tab  switch the view",
		"s, S       sort by next, previous column",
		"r          reverse the order",
		"space      pause, go on",
		"+, -       longer, shorter interval",
		"arrows     scroll; page up, down, home",
		"g          guard mode, after a question",
		"q          quit; any key ends this help",
	};

	attron(A_BOLD);
	put(0, 0, COLS, "flagtop: keys");
	attroff(A_BOLD);
	for (int i = 0; i < (int)(sizeof lines / sizeof *lines); i++)
		put(1 + i, 0, COLS, lines[i]);
}

static int header_lines(void)
{
	return LINES < 14 ? 2 : LINES < 20 ? 3 : 4;
}

void draw(const struct picture *picture, size_t *offset)
{
	struct phrase items[PHRASE_ITEMS];
	size_t count = picture->frame ? header_phrases(picture->frame, items) : 0;
	int row;

	erase();
	if (picture->help) {
		draw_help();
		refresh();
		return;
	}
	draw_title(picture, &items[0]);
	if (picture->frame) {
		row = draw_items(items + 1, count - 1, 1, header_lines());
		draw_views(picture, row);
		draw_table(picture, row + 1, offset);
	} else {
		put(2, 0, COLS, "looking, to see what changes ...");
	}
	draw_bottom(picture);
	refresh();
}

void draw_end(void)
{
	table_clear(&table);
}

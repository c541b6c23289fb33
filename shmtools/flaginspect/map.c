/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect map: a picture of the table, on the terminal or as a page. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "columns.h"
#include "commands.h"
#include "outfile.h"
#include "output.h"
#include "page.h"
#include "picture.h"

enum {
	LABEL = 7, /* "  12 ! " */
	WIDTH_MIN = 8,
	WIDTH_MAX = 512,
	PAGE_CELLS = 120000, /* more than that, and browsers become slow */
	PAGE_WIDTH = 128,
};

static uint64_t width;
static const char *html;

static uint32_t terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	long number = 80;

	if (ioctl(fileno(stdout), TIOCGWINSZ, &size) == 0 && size.ws_col)
		number = size.ws_col;
	else if (columns && *columns)
		number = strtol(columns, NULL, 10);
	number -= LABEL;
	return (uint32_t)(number < WIDTH_MIN ? WIDTH_MIN : number > WIDTH_MAX ? WIDTH_MAX : number);
}

static char letter_of(const struct cell *cell)
{
	uint32_t tenths = cell->slots ? (uint32_t)((uint64_t)cell->flags * 10 / cell->slots) : 0;

	if (cell->damaged)
		return '!';
	if (!cell->flags)
		return cell->dead ? 'x' : '.';
	return tenths == 10 ? '#' : (char)('0' + tenths);
}

static const char *colour_of(const struct cell *cell)
{
	if (cell->damaged)
		return "\033[1;37;41m";
	if (cell->dead > cell->flags)
		return "\033[33m";
	if (!cell->flags)
		return "\033[2m";
	return (uint64_t)cell->flags * 2 > cell->slots ? "\033[32m" : "\033[36m";
}

static void print_row(const struct row *row, uint32_t shard, bool styled)
{
	const char *last = "";

	printf("%4" PRIu32 " %c ", shard, row->damaged ? '!' : ' ');
	for (uint32_t i = 0; i < row->count; i++) {
		const char *colour = styled ? colour_of(&row->cells[i]) : "";

		if (strcmp(colour, last) != 0)
			printf("\033[0m%s", colour);
		putchar(letter_of(&row->cells[i]));
		last = colour;
	}
	puts(styled ? "\033[0m" : "");
}

static void print_text(const struct picture *picture)
{
	bool styled = columns_styled(stdout);
	uint64_t flags = 0, slots = 0, dead = 0;

	for (uint32_t i = 0; i < picture->count; i++) {
		print_row(&picture->rows[i], i, styled);
		flags += picture->rows[i].flags;
		slots += picture->rows[i].slots;
		dead += picture->rows[i].dead;
	}
	puts("a row is a shard; a cell: . empty, 0 to 9 tenths of its slots with flags, # full, x dead slots only, ! damaged");
	printf("%" PRIu64 " flags in %" PRIu64 " slots, %" PRIu64 " dead, %" PRIu64 " findings\n", flags, slots, dead, picture->findings.count);
}

static json_t *cell_json(const struct cell *cell)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "offset", (json_int_t)cell->offset, "slots", (json_int_t)cell->slots, "flags",
	                 (json_int_t)cell->flags, "dead", (json_int_t)cell->dead, "frozen", (json_int_t)cell->frozen, "damaged",
	                 (json_int_t)cell->damaged);
}

static void print_json(const struct picture *picture)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < picture->count; i++) {
		const struct row *row = &picture->rows[i];
		json_t *cells = json_array();

		for (uint32_t j = 0; j < row->count; j++)
			json_array_append_new(cells, cell_json(&row->cells[j]));
		json_array_append_new(rows, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "shard", (json_int_t)i, "buckets",
		                                      (json_int_t)row->buckets, "slots", (json_int_t)row->slots, "flags", (json_int_t)row->flags,
		                                      "dead", (json_int_t)row->dead, "frozen", (json_int_t)row->frozen, "findings",
		                                      (json_int_t)row->damaged, "cells", cells));
	}
	output_json(json_pack("{s:I, s:I, s:o}", "findings", (json_int_t)picture->findings.count, "findings_elsewhere", (json_int_t)picture->outside,
	                      "shards", rows));
}

static int write_page(const struct source *source, const struct picture *picture)
{
	struct outfile file;
	int status = outfile_open(&file, html);

	if (status)
		return status;
	page_print(source, picture, file.stream);
	status = outfile_commit(&file);
	if (!status && cli_json)
		output_json(json_pack("{s:o, s:I}", "html", output_text(html), "findings", (json_int_t)picture->findings.count));
	return status;
}

static uint32_t wanted_width(const struct source *source)
{
	uint32_t shards = source->store->constants.shards, fits = PAGE_CELLS / (shards ? shards : 1);

	if (width)
		return (uint32_t)width;
	return !html ? terminal_width() : fits < PAGE_WIDTH ? fits : PAGE_WIDTH;
}

static int map(const struct source *source)
{
	struct picture picture;
	int status = picture_make(source, wanted_width(source), &picture);

	if (status)
		return status;
	if (html)
		status = write_page(source, &picture);
	else if (cli_json)
		print_json(&picture);
	else
		print_text(&picture);
	picture_free(&picture);
	return status;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], map);
}

static const struct cli_option options[] = {
	CLI_NUMBER('w', "width", "N", &width, WIDTH_MIN, WIDTH_MAX, "so many cells in a row, not what the terminal has room for"),
	CLI_TEXT('o', "html", "FILE", &html, "write a page with the picture instead"),
	CLI_OPTIONS_END,
};

const struct cli_command command_map = {
	.name = "map",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "draw the table: how full it is, what is dead, what is damaged",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * page.c: a picture as a page. */
#include "page.h"

#include <inttypes.h>
#include <string.h>

#include "keytext.h"
#include "quantity.h"

enum {
	LABEL = 64, /* pixels left of the cells */
	CELL = 9,
	LINE = 13,
	TOP = 22,
};

static const char style[] =
	":root{--paper:#fff;--ink:#1c2126;--dim:#667;--empty:#e3e6ea;--dead:#c9a227;--bad:#d11a2a;"
	"--f1:#bfe3cf;--f2:#86cba6;--f3:#4aae7b;--f4:#1f8a55;--f5:#0b5f37}"
	"@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e8ea;--dim:#9aa3ab;--empty:#2a2f35;--dead:#d9b641;--bad:#ff5a67;"
	"--f1:#1d4a34;--f2:#26704b;--f3:#2f9763;--f4:#45bd80;--f5:#7be0ac}}"
	"body{background:var(--paper);color:var(--ink);font:14px/1.4 system-ui,sans-serif;margin:1.5em}"
	"h1{font-size:1.3em;margin:0 0 .2em}p{margin:.2em 0 .8em;color:var(--dim)}"
	"svg{display:block;max-width:100%;height:auto}"
	"text{fill:var(--dim);font:10px ui-monospace,monospace}"
	".e{fill:var(--empty)}.d{fill:var(--dead)}.b{fill:var(--bad)}"
	".f1{fill:var(--f1)}.f2{fill:var(--f2)}.f3{fill:var(--f3)}.f4{fill:var(--f4)}.f5{fill:var(--f5)}"
	".bad{fill:var(--bad);font-weight:bold}rect:hover{stroke:var(--ink);stroke-width:1.5}"
	".sum b{color:var(--ink)}.sum .no{color:var(--bad)}";

static void print_escaped(const char *text, FILE *file)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", file);
			break;
		case '>':
			fputs("&gt;", file);
			break;
		case '&':
			fputs("&amp;", file);
			break;
		case '"':
			fputs("&quot;", file);
			break;
		default:
			fputc(*text, file);
		}
	}
}

/* Damage before all; a cell without flags is dead slots or nothing; then how full it is, in fifths. */
static const char *class_of(const struct cell *cell)
{
	static const char *const full[] = {"f1", "f2", "f3", "f4", "f5"};

	if (cell->damaged)
		return "b";
	if (!cell->flags)
		return cell->dead ? "d" : "e";
	return full[((uint64_t)cell->flags * 5 - 1) / cell->slots];
}

static void print_cell(const struct cell *cell, uint32_t shard, uint32_t x, uint32_t y, FILE *file)
{
	fprintf(file, "<rect class=\"%s\" x=\"%" PRIu32 "\" y=\"%" PRIu32 "\" width=\"%d\" height=\"%d\"><title>shard %" PRIu32 ", from offset %#" PRIx64
	        ": %" PRIu32 " slots, %" PRIu32 " flags, %" PRIu32 " dead", class_of(cell), x, y, CELL - 1, LINE - 3, shard, cell->offset, cell->slots,
	        cell->flags, cell->dead);
	if (cell->frozen)
		fprintf(file, ", %" PRIu32 " frozen", cell->frozen);
	if (cell->damaged)
		fprintf(file, ", %" PRIu32 " damaged", cell->damaged);
	if (cell->damage) {
		fputc('\n', file);
		print_escaped(cell->damage, file);
	}
	fputs("</title></rect>\n", file);
}

static void print_row(const struct row *row, uint32_t shard, FILE *file)
{
	uint32_t y = TOP + shard * LINE;

	fprintf(file, "<text x=\"%d\" y=\"%" PRIu32 "\" text-anchor=\"end\"%s>%" PRIu32 "<title>shard %" PRIu32 ": %" PRIu64 " flags in %" PRIu64
	        " slots of %" PRIu32 " buckets, %" PRIu64 " findings</title></text>\n", LABEL - 8, y + LINE - 4, row->damaged ? " class=\"bad\"" : "",
	        shard, shard, row->flags, row->slots, row->buckets, row->damaged);
	for (uint32_t i = 0; i < row->count; i++)
		print_cell(&row->cells[i], shard, LABEL + i * CELL, y, file);
}

static void print_legend(uint32_t y, FILE *file)
{
	static const struct {
		const char *class, *text;
	} entries[] = {{"e", "empty"}, {"f1", "up to 1/5 flags"}, {"f3", "about half"}, {"f5", "full"}, {"d", "dead slots only"}, {"b", "damaged"}};

	for (uint32_t i = 0; i < sizeof entries / sizeof *entries; i++)
		fprintf(file, "<rect class=\"%s\" x=\"%" PRIu32 "\" y=\"%" PRIu32 "\" width=\"10\" height=\"10\"/><text x=\"%" PRIu32 "\" y=\"%" PRIu32
		        "\">%s</text>\n", entries[i].class, LABEL + i * 120, y, LABEL + 15 + i * 120, y + 9, entries[i].text);
}

static void print_summary(const struct source *source, const struct picture *picture, FILE *file)
{
	uint64_t flags = 0, slots = 0, dead = 0;

	for (uint32_t i = 0; i < picture->count; i++) {
		flags += picture->rows[i].flags;
		slots += picture->rows[i].slots;
		dead += picture->rows[i].dead;
	}
	fprintf(file, "<p class=\"sum\">%s, %s: <b>%s</b> flags in", source_text(source), size_text(source->file_bytes).text, count_text(flags).text);
	fprintf(file, " <b>%s</b> slots, <b>%s</b> dead;", count_text(slots).text, count_text(dead).text);
	fprintf(file, " <b%s>%s</b> findings", picture->findings.count ? " class=\"no\"" : "", count_text(picture->findings.count).text);
	for (size_t i = 0; i < picture->findings.kinds; i++)
		fprintf(file, "%s%" PRIu64 " %s", i ? ", " : ": ", picture->findings.by_kind[i].count, picture->findings.by_kind[i].kind);
	if (picture->outside)
		fprintf(file, " (%" PRIu64 " of them outside of the shards)", picture->outside);
	fputs("</p>\n", file);
}

void page_print(const struct source *source, const struct picture *picture, FILE *file)
{
	uint32_t most = 80, height = TOP + picture->count * LINE + 30;
	char path[4 * PATH_MAX + 1];

	for (uint32_t i = 0; i < picture->count; i++)
		most = picture->rows[i].count > most ? picture->rows[i].count : most;
	strlcpy(path, keytext_encode(source->store->path, strlen(source->store->path)).text, sizeof path);
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><title>", file);
	print_escaped(path, file);
	fprintf(file, "</title><style>%s</style></head>\n<body><h1>", style);
	print_escaped(path, file);
	fputs("</h1>\n", file);
	print_summary(source, picture, file);
	fprintf(file, "<svg viewBox=\"0 0 %" PRIu32 " %" PRIu32 "\" width=\"%" PRIu32 "\" role=\"img\" aria-label=\"the slots of each shard\">\n",
	        LABEL + most * CELL + 10, height, LABEL + most * CELL + 10);
	fprintf(file, "<text x=\"%d\" y=\"12\" text-anchor=\"end\">shard</text><text x=\"%d\" y=\"12\">its slots, in the order of their hash bits</text>\n",
	        LABEL - 8, LABEL);
	for (uint32_t i = 0; i < picture->count; i++)
		print_row(&picture->rows[i], i, file);
	print_legend(height - 16, file);
	fputs("</svg></body></html>\n", file);
}

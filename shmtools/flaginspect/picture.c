/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * picture.c: counts slots into cells, and lays the findings of a check over them. */
#include "picture.h"

#include <stdio.h>
#include <stdlib.h>

#include "facts.h"
#include "failure.h"
#include "keytext.h"

enum {
	SENTENCES_MAX = 3, /* of one cell */
};

/* What was found about a place. */
struct mark {
	uint32_t shard;
	uint64_t offset;
	char *text;
};

struct marks {
	struct mark *all;
	size_t count, room;
};

static void note(const struct flagstore_finding *finding, void *argument)
{
	struct marks *marks = argument;
	struct mark *mark;
	char *text;

	if (marks->count == marks->room) {
		marks->room = marks->room ? 2 * marks->room : 64;
		marks->all = reallocarray(marks->all, marks->room, sizeof *marks->all);
		if (!marks->all)
			failure_memory();
	}
	if (asprintf(&text, "%s: %s%s%s", finding->kind, finding->text, finding->key ? "; key " : "",
	             finding->key ? keytext_encode(finding->key, finding->length).text : "") < 0)
		failure_memory();
	mark = &marks->all[marks->count++];
	*mark = (struct mark){finding->shard, finding->offset, text};
}

static int compare_marks(const void *a, const void *b)
{
	const struct mark *one = a, *other = b;

	return one->offset < other->offset ? -1 : one->offset > other->offset;
}

/* The first mark in [from, to), or NULL. */
static const struct mark *mark_in(const struct marks *marks, uint64_t from, uint64_t to)
{
	size_t low = 0, high = marks->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (marks->all[middle].offset < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low < marks->count && marks->all[low].offset < to ? &marks->all[low] : NULL;
}

static void add_damage(struct cell *cell, const struct marks *marks, const struct mark *mark, uint64_t end)
{
	for (; mark < marks->all + marks->count && mark->offset < end; mark++) {
		char *text;

		if (cell->damaged >= SENTENCES_MAX)
			break;
		if (asprintf(&text, "%s%s%s", cell->damage ? cell->damage : "", cell->damage ? "\n" : "", mark->text) < 0)
			failure_memory();
		free(cell->damage);
		cell->damage = text;
	}
	cell->damaged++;
}

struct painter {
	struct row *row;
	const struct marks *marks;
	uint64_t painted; /* slots so far */
};

static void count_bucket(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct row *row = argument;

	(void)store;
	(void)word;
	row->slots += view->count;
	row->buckets++;
}

static void paint_bucket(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct painter *painter = argument;
	struct row *row = painter->row;

	(void)word;
	for (uint32_t i = 0; i < view->count; i++) {
		uint64_t slot = atomic_load_explicit(&view->slots[i].word, memory_order_relaxed);
		uint64_t offset = (uint64_t)((const char *)&view->slots[i] - store->map);
		uint64_t index = painter->painted++ * row->count / row->slots;
		/* What is wrong with the bucket's own lines, its tags and counts, shows at its last slot. */
		uint64_t end = i + 1 < view->count ? offset + FS_LINE : (uint64_t)(fs_bucket_end(view) - store->map);
		const struct mark *mark = mark_in(painter->marks, offset, end);
		/* A live table may have grown since its slots were counted. */
		struct cell *cell = &row->cells[index < row->count ? index : row->count - 1];

		if (!cell->slots++)
			cell->offset = offset;
		cell->flags += fs_word_holds(slot);
		cell->frozen += fs_word_state(slot) == FS_FROZEN;
		cell->dead += fs_word_state(slot) == FS_DEAD;
		if (mark)
			add_damage(cell, painter->marks, mark, end);
	}
}

static void paint_row(const struct source *source, uint32_t shard, uint32_t width, const struct marks *marks, struct row *row)
{
	struct painter painter = {row, marks, 0};

	facts_walk(source->store, shard, count_bucket, row);
	row->count = row->slots < width ? (uint32_t)row->slots : width;
	row->cells = calloc(row->count ? row->count : 1, sizeof *row->cells);
	if (!row->cells)
		failure_memory();
	if (row->slots)
		facts_walk(source->store, shard, paint_bucket, &painter);
	for (uint32_t i = 0; i < row->count; i++) {
		row->flags += row->cells[i].flags;
		row->dead += row->cells[i].dead;
		row->frozen += row->cells[i].frozen;
	}
}

int picture_make(const struct source *source, uint32_t width, struct picture *picture)
{
	uint32_t shards = source->store->constants.shards;
	struct marks marks = {NULL, 0, 0};
	int error;

	*picture = (struct picture){.count = shards, .rows = calloc(shards ? shards : 1, sizeof *picture->rows)};
	if (!picture->rows)
		failure_memory();
	error = findings_of(source, note, &marks, &picture->findings);
	if (!error && marks.count)
		qsort(marks.all, marks.count, sizeof *marks.all, compare_marks);
	for (uint32_t i = 0; !error && i < shards; i++)
		paint_row(source, i, width, &marks, &picture->rows[i]);
	for (size_t i = 0; i < marks.count; i++) {
		if (marks.all[i].shard < shards)
			picture->rows[marks.all[i].shard].damaged++;
		else
			picture->outside++;
		free(marks.all[i].text);
	}
	free(marks.all);
	if (!error)
		return STATUS_DONE;
	picture_free(picture);
	return failure_of_library(error);
}

void picture_free(struct picture *picture)
{
	for (uint32_t i = 0; i < picture->count; i++) {
		for (uint32_t j = 0; j < picture->rows[i].count; j++)
			free(picture->rows[i].cells[j].damage);
		free(picture->rows[i].cells);
	}
	free(picture->rows);
	*picture = (struct picture){.count = 0};
}

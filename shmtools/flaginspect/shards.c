/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect shards: what each shard holds, how full it is, and how often its lock was waited for. */
#include <inttypes.h>
#include <stdio.h>

#include "columns.h"
#include "commands.h"
#include "facts.h"
#include "output.h"
#include "phase.h"
#include "source.h"

struct counts {
	uint64_t buckets, slots, flags, dead, frozen;
};

static void count(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct counts *counts = argument;

	(void)store;
	(void)word;
	counts->buckets++;
	counts->slots += view->count;
	for (uint32_t i = 0; i < view->count; i++) {
		uint64_t slot = atomic_load_explicit(&view->slots[i].word, memory_order_relaxed);

		counts->flags += fs_word_holds(slot);
		counts->dead += fs_word_state(slot) == FS_DEAD;
		counts->frozen += fs_word_state(slot) == FS_FROZEN;
	}
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void add_row(struct columns *columns, uint32_t index, const struct fs_shard *shard, const struct counts *counts)
{
	char texts[11][24];

	snprintf(texts[0], sizeof texts[0], "%" PRIu32, index);
	snprintf(texts[1], sizeof texts[1], "%" PRIu64, counts->flags);
	snprintf(texts[2], sizeof texts[2], "%" PRIu64, counts->slots);
	snprintf(texts[3], sizeof texts[3], "%.2f", counts->slots ? (double)counts->flags / (double)counts->slots : 0.0);
	snprintf(texts[4], sizeof texts[4], "%" PRIu64, counts->dead);
	snprintf(texts[5], sizeof texts[5], "%" PRIu64, counts->buckets);
	snprintf(texts[6], sizeof texts[6], "%" PRIu32, fs_dir_depth(load(&shard->directory)));
	snprintf(texts[7], sizeof texts[7], "%" PRIu64, load(&shard->births));
	snprintf(texts[8], sizeof texts[8], "%" PRIu64, load(&shard->growths));
	snprintf(texts[9], sizeof texts[9], "%" PRIu64, load(&shard->waits));
	snprintf(texts[10], sizeof texts[10], "%" PRIu32, atomic_load_explicit(&shard->recoveries, memory_order_relaxed));
	columns_row(columns, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], texts[9], texts[10],
	            phase_text(shard));
}

static json_t *shard_json(uint32_t index, const struct fs_shard *shard, const struct counts *counts)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "shard", (json_int_t)index, "flags",
	                 (json_int_t)counts->flags, "slots", (json_int_t)counts->slots, "dead", (json_int_t)counts->dead, "frozen",
	                 (json_int_t)counts->frozen, "buckets", (json_int_t)counts->buckets, "depth",
	                 (json_int_t)fs_dir_depth(load(&shard->directory)), "births", (json_int_t)load(&shard->births),
	                 "growths", (json_int_t)load(&shard->growths), "waits", (json_int_t)load(&shard->waits),
	                 "recoveries", (json_int_t)atomic_load_explicit(&shard->recoveries, memory_order_relaxed), "counted_flags",
	                 (json_int_t)atomic_load_explicit(&shard->live, memory_order_relaxed), "doing", phase_text(shard));
}

static int show(const struct source *source)
{
	static const struct column layout[] = {
		{"SHARD", COLUMN_RIGHT},   {"FLAGS", COLUMN_RIGHT}, {"SLOTS", COLUMN_RIGHT},  {"LOAD", COLUMN_RIGHT},
		{"DEAD", COLUMN_RIGHT},    {"BUCKETS", COLUMN_RIGHT}, {"DEPTH", COLUMN_RIGHT}, {"BIRTHS", COLUMN_RIGHT},
		{"GROWTHS", COLUMN_RIGHT}, {"WAITS", COLUMN_RIGHT}, {"RECOVERIES", COLUMN_RIGHT}, {"DOING", COLUMN_LEFT},
	};
	struct columns *columns = columns_open(layout, sizeof layout / sizeof *layout);
	json_t *list = json_array();

	for (uint32_t i = 0; i < source->store->constants.shards; i++) {
		const struct fs_shard *shard = &source->store->shards[i];
		struct counts counts = {0, 0, 0, 0, 0};

		facts_walk(source->store, i, count, &counts);
		if (cli_json)
			json_array_append_new(list, shard_json(i, shard, &counts));
		else
			add_row(columns, i, shard, &counts);
	}
	if (cli_json)
		output_json(json_incref(list));
	else
		columns_print(columns, stdout);
	json_decref(list);
	columns_close(columns);
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], show);
}

const struct cli_command command_shards = {
	.name = "shards",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print what each shard holds, and how often its lock was waited for",
	.run = run,
};

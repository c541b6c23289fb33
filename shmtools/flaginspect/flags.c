/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flags.c: all flags of a source, by key. */
#include "flags.h"

#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "failure.h"

struct reading {
	struct flags *flags;
	uint32_t shard;
};

static void add(struct flags *flags, uint32_t shard, const struct facts *facts)
{
	struct flag *flag;

	if (flags->count == flags->room) {
		flags->room = flags->room ? 2 * flags->room : 1024;
		flags->all = reallocarray(flags->all, flags->room, sizeof *flags->all);
		if (!flags->all)
			failure_memory();
	}
	flag = &flags->all[flags->count++];
	*flag = (struct flag){malloc(facts->length + 1), facts->length, shard, facts->offset, facts->sound, facts->flag};
	if (!flag->key)
		failure_memory();
	memcpy(flag->key, facts->key, facts->length);
	flag->key[facts->length] = 0;
}

static void read_bucket(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct reading *reading = argument;

	(void)word;
	for (uint32_t i = 0; i < view->count; i++) {
		struct facts facts;

		facts_read(store, &view->slots[i], fs_tag_at(view->bucket, i), &facts);
		if (facts.flag.exists)
			add(reading->flags, reading->shard, &facts);
	}
}

int flags_compare(const struct flag *one, const struct flag *other)
{
	int order = memcmp(one->key, other->key, one->length < other->length ? one->length : other->length);

	return order ? order : one->length < other->length ? -1 : one->length > other->length;
}

static int compare(const void *a, const void *b)
{
	return flags_compare(a, b);
}

void flags_read(const struct source *source, struct flags *flags)
{
	*flags = (struct flags){.count = 0};
	for (uint32_t i = 0; i < source->store->constants.shards; i++)
		facts_walk(source->store, i, read_bucket, &(struct reading){flags, i});
	if (flags->count)
		qsort(flags->all, flags->count, sizeof *flags->all, compare);
}

void flags_free(struct flags *flags)
{
	for (size_t i = 0; i < flags->count; i++)
		free(flags->all[i].key);
	free(flags->all);
	*flags = (struct flags){.count = 0};
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect diff: what differs between two segments, flag by flag, and in structure. Versions are compared only within one segment at two
 * times, as its UUID tells: in another one the same flag has a history of its own. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "describe.h"
#include "facts.h"
#include "flags.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"

static bool flags_only;

struct diff {
	const struct source *one, *other;
	bool same_segment;
	uint64_t removed, added, changed, structure;
	json_t *flags, *parts;
};

/* ------------------------------------------------------------------------------------------------------- flags */

static json_t *flag_or_null(const struct source *source, const struct flag *flag)
{
	return flag ? describe_flag(source->store, flag->key, flag->length, &flag->flag) : json_null();
}

static void print_side(char sign, const struct source *source, const struct flag *flag)
{
	printf("%c %s %s", sign, keytext_encode(flag->key, flag->length).text, flag->flag.value ? "true" : "false");
	if (flag->flag.changed_ms)
		printf("  (change %" PRIu64 ", %s, by %s)", (uint64_t)flag->flag.changes, moment_text(flag->flag.changed_ms).text,
		       describe_writer(source->store, flag->flag.writer).text);
	putchar('\n');
}

static void report(struct diff *diff, const struct flag *one, const struct flag *other)
{
	diff->removed += one && !other;
	diff->added += !one && other;
	diff->changed += one && other;
	if (cli_json) {
		const struct flag *any = one ? one : other;

		json_array_append_new(diff->flags, json_pack("{s:s, s:o, s:o}", "key", keytext_encode(any->key, any->length).text, "before",
		                                             flag_or_null(diff->one, one), "after", flag_or_null(diff->other, other)));
		return;
	}
	if (one)
		print_side('-', diff->one, one);
	if (other)
		print_side('+', diff->other, other);
}

static bool differs(const struct diff *diff, const struct flag *one, const struct flag *other)
{
	return one->flag.value != other->flag.value || (diff->same_segment && one->flag.version != other->flag.version);
}

static void diff_flags(struct diff *diff)
{
	struct flags one, other;
	size_t i = 0, j = 0;

	flags_read(diff->one, &one);
	flags_read(diff->other, &other);
	while (i < one.count || j < other.count) {
		int order = i == one.count ? 1 : j == other.count ? -1 : flags_compare(&one.all[i], &other.all[j]);

		if (order < 0)
			report(diff, &one.all[i], NULL);
		else if (order > 0)
			report(diff, NULL, &other.all[j]);
		else if (differs(diff, &one.all[i], &other.all[j]))
			report(diff, &one.all[i], &other.all[j]);
		i += order <= 0;
		j += order >= 0;
	}
	flags_free(&one);
	flags_free(&other);
}

/* --------------------------------------------------------------------------------------------------- structure */

static void compare(struct diff *diff, const char *where, const char *what, uint64_t one, uint64_t other)
{
	if (one == other)
		return;
	diff->structure++;
	if (cli_json)
		json_array_append_new(diff->parts, json_pack("{s:s, s:s, s:I, s:I}", "part", where, "what", what, "before", (json_int_t)one, "after",
		                                             (json_int_t)other));
	else
		printf("%s: %s %" PRIu64 " -> %" PRIu64 "\n", where, what, one, other);
}

struct sizes {
	uint64_t buckets, slots, flags, dead;
};

static void measure(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct sizes *sizes = argument;

	(void)store;
	(void)word;
	sizes->buckets++;
	sizes->slots += view->count;
	for (uint32_t i = 0; i < view->count; i++) {
		uint64_t slot = atomic_load_explicit(&view->slots[i].word, memory_order_relaxed);

		sizes->flags += fs_word_holds(slot);
		sizes->dead += fs_word_state(slot) == FS_DEAD;
	}
}

static void diff_shard(struct diff *diff, uint32_t index)
{
	const struct fs_shard *one = &diff->one->store->shards[index], *other = &diff->other->store->shards[index];
	struct sizes before = {0, 0, 0, 0}, after = {0, 0, 0, 0};
	char where[32];

	snprintf(where, sizeof where, "shard %" PRIu32, index);
	facts_walk(diff->one->store, index, measure, &before);
	facts_walk(diff->other->store, index, measure, &after);
	compare(diff, where, "flags", before.flags, after.flags);
	compare(diff, where, "dead slots", before.dead, after.dead);
	compare(diff, where, "slots", before.slots, after.slots);
	compare(diff, where, "buckets", before.buckets, after.buckets);
	compare(diff, where, "directory depth", fs_dir_depth(atomic_load(&one->directory)), fs_dir_depth(atomic_load(&other->directory)));
	compare(diff, where, "births", atomic_load(&one->births), atomic_load(&other->births));
	compare(diff, where, "growths", atomic_load(&one->growths), atomic_load(&other->growths));
	compare(diff, where, "waits", atomic_load(&one->waits), atomic_load(&other->waits));
	compare(diff, where, "recoveries", atomic_load(&one->recoveries), atomic_load(&other->recoveries));
	compare(diff, where, "phase", atomic_load(&one->phase), atomic_load(&other->phase));
}

static void diff_structure(struct diff *diff)
{
	const struct fs_constants *one = &diff->one->store->constants, *other = &diff->other->store->constants;
	const struct fs_header *before = (const void *)diff->one->store->map, *after = (const void *)diff->other->store->map;

	compare(diff, "header", "max_bytes", one->max_bytes, other->max_bytes);
	compare(diff, "header", "shards", one->shards, other->shards);
	compare(diff, "header", "workers", one->workers, other->workers);
	compare(diff, "header", "lock_wait_ms", one->lock_wait_ms, other->lock_wait_ms);
	compare(diff, "header", "laboratory", one->laboratory, other->laboratory);
	compare(diff, "header", "state", atomic_load(&before->state), atomic_load(&after->state));
	compare(diff, "header", "heap line", (fs_line)atomic_load(&before->heap), (fs_line)atomic_load(&after->heap));
	compare(diff, "header", "room lines", atomic_load(&before->room), atomic_load(&after->room));
	/* With another seed each flag is in another shard, so that no shard means the same. */
	if (one->shards != other->shards || one->hash_seed != other->hash_seed)
		return;
	for (uint32_t i = 0; i < one->shards; i++)
		diff_shard(diff, i);
}

static void show(struct diff *diff)
{
	diff->same_segment = memcmp(diff->one->store->constants.uuid, diff->other->store->constants.uuid, sizeof diff->one->store->constants.uuid) == 0;
	if (cli_json) {
		diff->flags = json_array();
		diff->parts = json_array();
	}
	diff_flags(diff);
	if (!flags_only)
		diff_structure(diff);
	if (cli_json)
		output_json(json_pack("{s:b, s:I, s:I, s:I, s:o, s:o}", "same_segment", (int)diff->same_segment, "only_before", (json_int_t)diff->removed,
		                      "only_after", (json_int_t)diff->added, "changed", (json_int_t)diff->changed, "flags", diff->flags, "structure",
		                      diff->parts));
	else
		printf("%" PRIu64 " flags only in the first, %" PRIu64 " only in the second, %" PRIu64 " changed%s\n", diff->removed, diff->added, diff->changed,
		       diff->same_segment ? "; one segment at two times" : "");
}

static int run(int count, char **operands)
{
	struct source one, other;
	struct diff diff = {.one = &one, .other = &other};
	int status = source_open(operands[0], &one);

	(void)count;
	if (status)
		return status;
	status = source_open(operands[1], &other);
	if (!status) {
		show(&diff);
		status = diff.removed || diff.added || diff.changed || diff.structure ? STATUS_NO : STATUS_DONE;
		source_close(&other);
	}
	source_close(&one);
	return status;
}

static const struct cli_option options[] = {
	CLI_SWITCH('f', "flags", &flags_only, "flags alone, not structure"),
	CLI_OPTIONS_END,
};

const struct cli_command command_diff = {
	.name = "diff",
	.operands = "NAME OTHER",
	.least = 2,
	.most = 2,
	.summary = "print what differs between two segments, or one at two times",
	.options = options,
	.run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * operations.c: the table of all kinds of write. Where a kind depends on the state of a bucket (the insert that grows it,
 * splits it, doubles the directory), the scene is found by trying: a copy of the segment has the same hash seed, so what an
 * insert does in the copy it will do in the segment.
 */
#include "operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"

#define SCENE "scene"
#define TRIAL "trial"

const char *bystander(char *place, unsigned i)
{
	return key_of(place, "bystander", i);
}

static void insert_bystanders(flagstore *store, struct scene *scene, unsigned count)
{
	char key[KEY_ROOM];

	for (; scene->bystanders < count; scene->bystanders++)
		require_ok(flagstore_set(store, bystander(key, scene->bystanders), scene->bystanders % 2));
}

static void touch(struct scene *scene, const char *key, enum presence before, enum presence after)
{
	struct touched *touched = &scene->touched[scene->count++];

	require(scene->count <= TOUCHED_MAX);
	snprintf(touched->key, sizeof touched->key, "%s", key);
	touched->before = before;
	touched->after = after;
}

/* A key of 200 bytes, which has no room in its slot. */
static const char *long_key(unsigned i)
{
	static char key[201];

	memset(key, 'l', sizeof key - 1);
	key[snprintf(key, sizeof key, "long.%u", i)] = '.';
	return key;
}

/* Makes the flags what they are to be before the write. */
static void set_before(flagstore *store, const struct scene *scene)
{
	for (unsigned i = 0; i < scene->count; i++)
		if (scene->touched[i].before != MISSING)
			require_ok(flagstore_set(store, scene->touched[i].key, scene->touched[i].before == IS_TRUE));
}

/* ----------------------------------------------------------------------------------------------- one flag */

static int run_set(flagstore *store, const struct scene *scene)
{
	return flagstore_set(store, scene->touched[0].key, scene->touched[0].after == IS_TRUE);
}

static int run_delete(flagstore *store, const struct scene *scene)
{
	return flagstore_delete(store, scene->touched[0].key);
}

static int run_toggle(flagstore *store, const struct scene *scene)
{
	return flagstore_toggle(store, scene->touched[0].key, NULL);
}

static int run_set_if_absent(flagstore *store, const struct scene *scene)
{
	bool inserted;

	return flagstore_set_if_absent(store, scene->touched[0].key, scene->touched[0].after == IS_TRUE, &inserted);
}

static int run_compare_and_set(flagstore *store, const struct scene *scene)
{
	return flagstore_compare_and_set(store, scene->touched[0].key, false, true);
}

static int run_compare_and_set_version(flagstore *store, const struct scene *scene)
{
	struct flagstore_flag flag = lookup(store, scene->touched[0].key);

	return flagstore_compare_and_set_version(store, scene->touched[0].key, &flag, true);
}

static void prepare_first(flagstore *store, struct scene *scene)
{
	(void)store;
	touch(scene, "first", MISSING, IS_TRUE);
}

static void prepare_insert(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 5);
	touch(scene, "inserted", MISSING, IS_TRUE);
}

static void prepare_reuse(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 9);
	touch(scene, "reused", MISSING, IS_TRUE);
	/* The same key looks for its place in the same places. */
	require_ok(flagstore_set(store, "reused", false));
	require_ok(flagstore_delete(store, "reused"));
}

static void prepare_flip(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 5);
	touch(scene, "flipped", IS_FALSE, IS_TRUE);
	set_before(store, scene);
}

static void prepare_delete(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 5);
	touch(scene, "deleted", IS_TRUE, MISSING);
	set_before(store, scene);
}

static void prepare_long_insert(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 5);
	touch(scene, long_key(1), MISSING, IS_TRUE);
}

static void prepare_long_reuse(flagstore *store, struct scene *scene)
{
	prepare_long_insert(store, scene);
	require_ok(flagstore_set(store, long_key(2), true));
	require_ok(flagstore_delete(store, long_key(2)));
}

static void prepare_long_delete(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 5);
	touch(scene, long_key(1), IS_TRUE, MISSING);
	set_before(store, scene);
}

/* ------------------------------------------------------------------------------------------------- growth */

struct shape {
	uint64_t growths;
	uint64_t buckets;
	uint64_t slots;
	unsigned depth; /* of the first shard's directory */
};

static struct shape shape_of(flagstore *store)
{
	struct flagstore_info all = info(store);
	struct shape shape = {.growths = all.growths, .buckets = all.buckets, .slots = all.slots};
	struct fs_constants constants;
	uint64_t word;
	int file = open(all.path, O_RDONLY | O_CLOEXEC);

	require(file >= 0 && pread(file, &constants, sizeof constants, 0) == sizeof constants);
	require(pread(file, &word, sizeof word, constants.header_size + (off_t)offsetof(struct fs_shard, directory)) == 8);
	close(file);
	shape.depth = word & FS_WORD_DEPTH_MASK;
	return shape;
}

static bool grew(struct shape old, struct shape new)
{
	return new.buckets == old.buckets && new.slots > old.slots;
}

static bool rebuilt(struct shape old, struct shape new)
{
	return new.growths > old.growths && new.buckets == old.buckets && new.slots == old.slots;
}

static bool split(struct shape old, struct shape new)
{
	return new.buckets > old.buckets && new.depth == old.depth;
}

static bool doubled(struct shape old, struct shape new)
{
	return new.depth > old.depth;
}

/* A directory that no longer has room in the line that it had. */
static bool doubled_in_size(struct shape old, struct shape new)
{
	return new.depth > old.depth && old.depth >= 3;
}

typedef bool event(struct shape old, struct shape new);

/* How many bystanders are there when the insert of the next one is the event. */
static unsigned find_by_trying(const struct scene *scene, event *wanted)
{
	struct scene trial = *scene;
	flagstore *store;
	struct shape old, new;

	copy_file(path_of(SCENE), path_of(TRIAL));
	store = attach(TRIAL, 0);
	new = shape_of(store);
	do {
		require(trial.bystanders < 50000);
		old = new;
		insert_bystanders(store, &trial, trial.bystanders + 1);
		new = shape_of(store);
	} while (!wanted(old, new));
	flagstore_close(store);
	require_ok(flagstore_unlink(TRIAL));
	return trial.bystanders - 1;
}

static void prepare_event(flagstore *store, struct scene *scene, event *wanted)
{
	char key[KEY_ROOM];

	/* So that there is more than one bucket's worth of long keys to move. */
	require_ok(flagstore_set(store, long_key(0), true));
	insert_bystanders(store, scene, find_by_trying(scene, wanted));
	touch(scene, bystander(key, scene->bystanders), MISSING, scene->bystanders % 2 ? IS_TRUE : IS_FALSE);
	touch(scene, long_key(0), IS_TRUE, IS_TRUE);
}

static void prepare_grow(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 20);
	prepare_event(store, scene, grew);
}

static void prepare_split(flagstore *store, struct scene *scene)
{
	prepare_event(store, scene, split);
}

static void prepare_double(flagstore *store, struct scene *scene)
{
	prepare_event(store, scene, doubled);
}

static void prepare_double_in_size(flagstore *store, struct scene *scene)
{
	prepare_event(store, scene, doubled_in_size);
}

/* Inserts new keys and deletes the oldest of them, at most so many times, until the bucket, full of marks of what was deleted,
 * is made anew in its size; returns how many inserts did not do that. */
enum { CHURNING = 30 };

static unsigned churn_until_rebuilt(flagstore *store, unsigned most)
{
	struct shape old, new = shape_of(store);
	char key[KEY_ROOM];

	for (unsigned i = 0; i < most; i++) {
		if (i >= CHURNING)
			require_ok(flagstore_delete(store, key_of(key, "churn", i - CHURNING)));
		old = new;
		require_ok(flagstore_set(store, key_of(key, "churn", i), true));
		new = shape_of(store);
		if (i >= CHURNING && rebuilt(old, new))
			return i;
	}
	return most;
}

static void prepare_rebuild(flagstore *store, struct scene *scene)
{
	enum { MOST = 20000 };
	flagstore *trial;
	unsigned count;
	char key[KEY_ROOM];

	insert_bystanders(store, scene, 30);
	copy_file(path_of(SCENE), path_of(TRIAL));
	trial = attach(TRIAL, 0);
	count = churn_until_rebuilt(trial, MOST);
	flagstore_close(trial);
	require_ok(flagstore_unlink(TRIAL));
	require(count < MOST);
	require_int(count, churn_until_rebuilt(store, count));
	touch(scene, key_of(key, "churn", count), MISSING, IS_TRUE);
	for (unsigned i = count - CHURNING; i < count; i++)
		touch(scene, key_of(key, "churn", i), IS_TRUE, IS_TRUE);
	require_ok(flagstore_delete(store, scene->touched[1].key));
	scene->touched[1].before = scene->touched[1].after = MISSING;
}

/* ------------------------------------------------------------------------------------------------ batches */

static int run_batch(flagstore *store, const struct scene *scene)
{
	flagstore_batch *batch;
	int result = flagstore_batch_begin(store, &batch);

	for (unsigned i = 0; i < scene->count && !result; i++) {
		const struct touched *touched = &scene->touched[i];

		if (touched->after == MISSING)
			result = flagstore_batch_delete(batch, touched->key);
		else if (touched->before != MISSING && i % 2)
			result = flagstore_batch_toggle(batch, touched->key);
		else
			result = flagstore_batch_set(batch, touched->key, touched->after == IS_TRUE);
	}
	return result ? result : flagstore_batch_commit(batch, NULL);
}

/* In turn: inserts, flips, deletes; every eighth key is a long one. */
static void touch_mixture(struct scene *scene, unsigned count)
{
	static const enum presence changes[][2] = {
		{MISSING, IS_TRUE}, {IS_FALSE, IS_TRUE}, {IS_TRUE, MISSING}, {IS_TRUE, IS_FALSE}, {MISSING, IS_FALSE},
	};
	char key[KEY_ROOM];

	for (unsigned i = 0; i < count; i++)
		touch(scene, i % 8 == 7 ? long_key(i) : key_of(key, "batch", i), changes[i % 5][0], changes[i % 5][1]);
}

static void prepare_flips_in_a_batch(flagstore *store, struct scene *scene)
{
	char key[KEY_ROOM];

	insert_bystanders(store, scene, 20);
	for (unsigned i = 0; i < 6; i++)
		touch(scene, key_of(key, "batch", i), i % 2 ? IS_TRUE : IS_FALSE, i % 2 ? IS_FALSE : IS_TRUE);
	set_before(store, scene);
}

static void prepare_mixed_batch(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 20);
	touch_mixture(scene, 16);
	set_before(store, scene);
}

/* Every shard has led a batch before, so the record of what to do is there. */
static void prepare_later_batch(flagstore *store, struct scene *scene)
{
	char key[KEY_ROOM];

	prepare_mixed_batch(store, scene);
	for (unsigned i = 0; i < 40; i++) {
		flagstore_batch *batch;

		/* Each pair is turned over twice, so it is as it was. */
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(flagstore_batch_toggle(batch, bystander(key, i / 2)));
		require_ok(flagstore_batch_toggle(batch, bystander(key, (i / 2 + 1) % 20)));
		require_ok(flagstore_batch_commit(batch, NULL));
	}
}

/* More changes than the first record has room for, and more flags than the buckets have. */
static void prepare_large_batch(flagstore *store, struct scene *scene)
{
	prepare_later_batch(store, scene);
	scene->count = 0;
	for (unsigned i = 0; i < 16; i++) {
		char key[KEY_ROOM];

		(void)flagstore_delete(store, i % 8 == 7 ? long_key(i) : key_of(key, "batch", i));
	}
	touch_mixture(scene, 100);
	set_before(store, scene);
}

/* As flagctl imports a file into a new segment: one batch of sets. */
static void prepare_import(flagstore *store, struct scene *scene)
{
	char key[KEY_ROOM];

	insert_bystanders(store, scene, 10);
	for (unsigned i = 0; i < 100; i++)
		touch(scene, key_of(key, "imported", i), MISSING, i % 3 ? IS_FALSE : IS_TRUE);
}

static void prepare_reserve(flagstore *store, struct scene *scene)
{
	insert_bystanders(store, scene, 20);
	touch(scene, "as.it.was", IS_TRUE, IS_TRUE);
	set_before(store, scene);
}

static int run_reserve(flagstore *store, const struct scene *scene)
{
	(void)scene;
	return flagstore_reserve(store, 100);
}

/* ------------------------------------------------------------------------------------------------ the table */

const struct operation operations[] = {
	{"the first insert of a shard", 1, prepare_first, run_set},
	{"an insert into an empty slot", 1, prepare_insert, run_set},
	{"an insert into a slot used before", 1, prepare_reuse, run_set},
	{"an insert by set_if_absent", 1, prepare_insert, run_set_if_absent},
	{"an insert that grows a bucket", 1, prepare_grow, run_set},
	{"an insert that makes a bucket anew", 1, prepare_rebuild, run_set},
	{"an insert that splits a bucket", 1, prepare_split, run_set},
	{"an insert that doubles the directory", 1, prepare_double, run_set},
	{"an insert that needs a larger directory", 1, prepare_double_in_size, run_set},
	{"an insert of a long key", 1, prepare_long_insert, run_set},
	{"an insert of a long key into a cell used before", 1, prepare_long_reuse, run_set},
	{"a delete of a long key", 1, prepare_long_delete, run_delete},
	{"a flip by set", 1, prepare_flip, run_set},
	{"a flip by toggle", 1, prepare_flip, run_toggle},
	{"a flip by compare-and-set", 1, prepare_flip, run_compare_and_set},
	{"a flip by compare-and-set on the version", 1, prepare_flip, run_compare_and_set_version},
	{"a delete", 1, prepare_delete, run_delete},
	{"a batch of flips in one shard", 1, prepare_flips_in_a_batch, run_batch},
	{"a batch of flips in 8 shards", 8, prepare_flips_in_a_batch, run_batch},
	{"a first batch of inserts, flips and deletes in 4 shards", 4, prepare_mixed_batch, run_batch},
	{"a later batch of inserts, flips and deletes in 4 shards", 4, prepare_later_batch, run_batch},
	{"a batch that needs a larger record and grows buckets", 2, prepare_large_batch, run_batch},
	{"an import of 100 flags", 8, prepare_import, run_batch},
	{"a reserve", 2, prepare_reserve, run_reserve},
};
const unsigned operations_count = sizeof operations / sizeof *operations;

void open_scene(const struct operation *operation, struct scene *scene)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	memset(scene, 0, sizeof *scene);
	scene->operation = operation;
	scene->segment = SCENE;
	options.shards = operation->shards;
	options.max_bytes = 16 << 20;
	options.workers = 16;
	store = fresh(SCENE, &options);
	operation->prepare(store, scene);
	require_healthy(store);
	flagstore_close(store);
}

void close_scene(struct scene *scene)
{
	require_ok(flagstore_unlink(scene->segment));
}

/* ------------------------------------------------------------------------------------------- what may be seen */

static enum presence presence_of(const struct flagstore_flag *flag)
{
	return !flag->exists ? MISSING : flag->value ? IS_TRUE : IS_FALSE;
}

unsigned flags_there(const flagstore *store, const struct scene *scene)
{
	unsigned count = scene->bystanders;

	for (unsigned i = 0; i < scene->count; i++)
		count += lookup(store, scene->touched[i].key).exists;
	return count;
}

/* By cursor: every bystander once, every touched flag at most once. */
static void require_walk(const flagstore *store, const struct scene *scene)
{
	unsigned char *seen = calloc(scene->bystanders + 1, 1);
	unsigned touched = 0, expected = flags_there(store, scene) - scene->bystanders;
	flagstore_cursor *cursor;
	struct flagstore_entry entry;
	int result;

	require(seen != NULL);
	require_ok(flagstore_cursor_open(store, &cursor));
	while ((result = flagstore_cursor_next(cursor, &entry)) == FLAGSTORE_OK) {
		unsigned i;

		if (sscanf(entry.key, "bystander.%u", &i) == 1 && i < scene->bystanders) {
			require_int(0, seen[i]++);
			require_int(i % 2, entry.flag.value);
			continue;
		}
		for (i = 0; i < scene->count; i++)
			touched += strcmp(scene->touched[i].key, entry.key) == 0;
	}
	require_int(FLAGSTORE_ENOTFOUND, result);
	for (unsigned i = 0; i < scene->bystanders; i++)
		require_int(1, seen[i]);
	require_int(expected, touched);
	flagstore_cursor_close(cursor);
	free(seen);
}

void require_old_or_new(const flagstore *store, const struct scene *scene)
{
	char key[KEY_ROOM];

	for (unsigned i = 0; i < scene->bystanders; i++)
		require_int(i % 2, flagstore_get(store, bystander(key, i)));
	for (unsigned i = 0; i < scene->count; i++) {
		const struct touched *touched = &scene->touched[i];
		struct flagstore_flag flag = lookup(store, touched->key);

		require(presence_of(&flag) == touched->before || presence_of(&flag) == touched->after);
		require_int(flag.value, flagstore_get(store, touched->key));
	}
	require_walk(store, scene);
}

bool require_whole(flagstore *store, const struct scene *scene)
{
	static struct flagstore_flag flags[TOUCHED_MAX];
	const char *keys[TOUCHED_MAX];
	unsigned before = 0, after = 0;

	for (unsigned i = 0; i < scene->count; i++)
		keys[i] = scene->touched[i].key;
	require_ok(flagstore_snapshot(store, keys, NULL, scene->count, flags));
	for (unsigned i = 0; i < scene->count; i++) {
		before += presence_of(&flags[i]) == scene->touched[i].before;
		after += presence_of(&flags[i]) == scene->touched[i].after;
	}
	require(before == scene->count || after == scene->count);
	return after == scene->count;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * damage.c: segments whose bytes are wrong. Nobody who uses one crashes or hangs, and the checker sees each kind of fault that
 * is planted. Writes into segment files behind the library's back, at the places that layout.h names; everything but the locks,
 * which writers trust.
 */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "find.h"

#define SOUND "sound"
#define DAMAGED "damaged"

enum { FLAGS = 3000 };

static const char *mixed_key(char *place, unsigned i)
{
	int length = snprintf(place, FLAGSTORE_KEY_MAX + 1, "flag.%u", i);

	if (i % 8 == 7) {
		memset(place + length, 'l', 100);
		place[length + 100] = 0;
	}
	return place;
}

static void make_sound(uint32_t shards, unsigned flags)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	flagstore_batch *batch;
	char key[FLAGSTORE_KEY_MAX + 1];

	options.shards = shards;
	options.workers = 8;
	options.max_bytes = 16 << 20;
	options.lock_wait_ms = 200;
	store = fresh(SOUND, &options);
	for (unsigned i = 0; i < flags; i++)
		require_ok(flagstore_set(store, mixed_key(key, i), i % 2));
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 20 && i < flags; i++)
		require_ok(flagstore_batch_toggle(batch, mixed_key(key, i)));
	require_ok(flagstore_batch_commit(batch, NULL));
	require_healthy(store);
	flagstore_close(store);
}

/* The file of a segment, mapped. */
static struct {
	char *bytes;
	size_t size;
} file;

static void open_file(const char *name)
{
	struct stat status;
	int descriptor = open(path_of(name), O_RDWR | O_CLOEXEC);

	require(descriptor >= 0 && fstat(descriptor, &status) == 0);
	file.size = (size_t)status.st_size;
	file.bytes = mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	require(file.bytes != MAP_FAILED);
	close(descriptor);
}

static void close_file(void)
{
	munmap(file.bytes, file.size);
}

static struct fs_header *header(void)
{
	return (struct fs_header *)(void *)file.bytes;
}

static struct fs_shard *shard(uint32_t index)
{
	return (struct fs_shard *)(void *)(file.bytes + header()->constants.header_size) + index;
}

/* --------------------------------------------------------------------------------------------- any damage */

static bool is_lock(size_t offset)
{
	size_t shards = header()->constants.header_size, end = shards + header()->constants.shards * sizeof(struct fs_shard);

	if (offset < shards || offset >= end)
		return false;
	offset = (offset - shards) % sizeof(struct fs_shard);
	return offset >= offsetof(struct fs_shard, mutex) && offset < offsetof(struct fs_shard, mutex) + sizeof(pthread_mutex_t);
}

/* Near or far, in small or large pieces, all zeros, all ones, chance, or what stands somewhere else. */
static void damage(uint64_t *random, uint64_t pieces)
{
	for (uint64_t piece = 0; piece < pieces; piece++) {
		uint64_t dice = random_next(random);
		/* Half of it where the structure is, at the front. */
		size_t offset = random_next(random) % (dice & 1 ? file.size : file.size / 8) & ~(size_t)7, from;

		from = random_next(random) % file.size & ~(size_t)7;
		for (size_t i = 0; i < 8 && offset + i < file.size; i++) {
			if (is_lock(offset + i))
				break;
			if (dice >> 8 & 3)
				file.bytes[offset + i] = (dice >> 8 & 3) == 1 ? file.bytes[from + i] : (char)(random_next(random) >> 5);
			else
				file.bytes[offset + i] = dice >> 10 & 1 ? 0 : (char)0xff;
			if (dice >> 12 & 1)
				break;
		}
	}
}

static flagstore *try_attach(uint32_t flags)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;

	options.flags = flags;
	options.lock_wait_ms = 100;
	(void)flagstore_attach(DAMAGED, &options, &store);
	return store;
}

static void read_everything(flagstore *store)
{
	static char places[FLAGS][FLAGSTORE_KEY_MAX + 1];
	static const char *keys[FLAGS];
	static bool values[FLAGS];
	static struct flagstore_flag flags[FLAGS];
	struct flagstore_worker workers[8];
	struct flagstore_info all;
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	uint64_t findings;
	uint32_t skipped;
	unsigned seen = 0;

	for (unsigned i = 0; i < FLAGS; i++) {
		flagstore_handle *handle;

		keys[i] = mixed_key(places[i], i);
		(void)flagstore_get(store, keys[i]);
		(void)flagstore_lookup(store, keys[i], &flags[i]);
		require_ok(flagstore_handle_open(store, keys[i], &handle));
		(void)flagstore_handle_get(handle);
		flagstore_handle_close(handle);
	}
	flagstore_get_many(store, keys, NULL, FLAGS, values);
	(void)flagstore_snapshot(store, keys, NULL, 100, flags);
	(void)flagstore_info(store, &all);
	(void)flagstore_workers(store, workers, 8);
	for (uint32_t id = 0; id < 100; id++)
		(void)flagstore_worker(store, id, workers);
	require_ok(flagstore_cursor_open(store, &cursor));
	for (int result = 0; result != FLAGSTORE_ENOTFOUND; seen++) {
		result = flagstore_cursor_next(cursor, &entry);
		require(seen < 1000000); /* it ends */
	}
	flagstore_cursor_close(cursor);
	(void)flagstore_check(store, NULL, NULL, &findings, &skipped);
}

static void read_damaged(void *argument)
{
	flagstore *store = try_attach(FLAGSTORE_READ_ONLY);

	(void)argument;
	if (!store)
		return;
	read_everything(store);
	flagstore_close(store);
}

static void write_damaged(void *argument)
{
	flagstore *store = try_attach(0);
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore_batch *batch;
	bool inserted;

	(void)argument;
	if (!store)
		return;
	for (unsigned i = 0; i < 400; i++) {
		(void)flagstore_toggle(store, mixed_key(key, i), NULL);
		(void)flagstore_delete(store, mixed_key(key, i + 400));
		(void)flagstore_set(store, mixed_key(key, i + FLAGS), true);
		(void)flagstore_set_if_absent(store, mixed_key(key, i + 400), true, &inserted);
	}
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 100; i++)
		require_ok(flagstore_batch_set(batch, mixed_key(key, i + FLAGS + 300), true));
	if (flagstore_batch_commit(batch, NULL) != FLAGSTORE_OK)
		flagstore_batch_abort(batch);
	read_everything(store);
	flagstore_close(store);
}

static void use_damaged_segments(body *use, unsigned rounds, uint64_t seed)
{
	make_sound(4, FLAGS);
	for (unsigned round = 0; round < rounds; round++) {
		uint64_t random = seed * 1000000 + round;
		int status;

		copy_file(path_of(SOUND), path_of(DAMAGED));
		open_file(DAMAGED);
		damage(&random, UINT64_C(1) << (round % 12));
		close_file();
		status = child_status(child(use, NULL), 30000);
		if (status)
			fprintf(stderr, "# seed %llu, round %u, %u pieces\n", (unsigned long long)seed, round, 1u << (round % 12));
		require_int(0, status);
		require(unlink(path_of(DAMAGED)) == 0);
	}
}

static void a_reader_of_a_damaged_segment_neither_crashes_nor_hangs(void **state)
{
	(void)state;
	use_damaged_segments(read_damaged, 360, 1);
}

static void a_writer_to_a_damaged_segment_neither_crashes_nor_hangs(void **state)
{
	(void)state;
	use_damaged_segments(write_damaged, 360, 2);
}

/* ----------------------------------------------------------------------------------------- planted faults */

static char *at_line(uint64_t line)
{
	require(line > 0 && line * FS_LINE < file.size);
	return file.bytes + line * FS_LINE;
}

#define SLOTS_OF(slots) slots,
static const uint32_t class_slots[] = {FS_BUCKET_SLOTS(SLOTS_OF)};

static uint64_t line_of(uint64_t word)
{
	return word >> FS_WORD_LINE_SHIFT;
}

static uint32_t slots_of(uint64_t word)
{
	return (uint32_t)((word & FS_WORD_SLOTS_MASK) >> FS_WORD_SLOTS_SHIFT);
}

/* The one bucket of the one shard, and its first slot that lives. */
static struct {
	_Atomic uint64_t *directory;
	struct fs_bucket *bucket;
	uint8_t *tags;
	struct fs_slot *slots;
	uint32_t count;
	uint32_t live;
	uint32_t empty;
} place;

static void find_places(void)
{
	uint64_t word;

	place.directory = (_Atomic uint64_t *)(void *)at_line(line_of(shard(0)->directory));
	word = place.directory[0];
	place.count = slots_of(word);
	place.slots = (struct fs_slot *)(void *)at_line(line_of(word));
	place.bucket = (struct fs_bucket *)(void *)(place.slots + place.count);
	place.tags = (uint8_t *)place.bucket->tags;
	/* One whose key stands in it. */
	for (place.live = 0; (place.slots[place.live].word & FS_STATE_MASK) != FS_LIVE ||
	                     (place.slots[place.live].key[0] & 0xff) > FS_KEY_INLINE;
	     place.live++)
		require(place.live < place.count);
	for (place.empty = 0; place.slots[place.empty].word != 0; place.empty++)
		require(place.empty < place.count);
}

static void change_a_key(void)
{
	((uint8_t *)place.slots[place.live].key)[3] ^= 1;
}

static void change_the_identity(void)
{
	place.slots[place.live].identity ^= UINT64_C(1) << 40;
}

static void change_the_incarnation(void)
{
	place.slots[place.live].word ^= UINT64_C(1) << FS_INCARNATION_SHIFT;
}

static void change_a_tag(void)
{
	place.tags[place.live] = place.tags[place.live] == 77 ? 78 : 77;
}

static void empty_a_tag(void)
{
	place.tags[place.live] = FS_TAG_EMPTY;
}

static void freeze_a_slot(void)
{
	place.slots[place.live].word ^= FS_LIVE ^ FS_FROZEN;
}

static void double_a_flag(void)
{
	memcpy(&place.slots[place.empty], &place.slots[place.live], sizeof place.slots[0]);
	place.tags[place.empty] = place.tags[place.live];
}

static void count_one_more_in_the_bucket(void)
{
	place.bucket->live++;
}

static void count_one_more_in_the_shard(void)
{
	shard(0)->live++;
}

static void clear_a_directory_entry(void)
{
	place.directory[0] = 0;
}

static void point_behind_the_end(void)
{
	place.directory[0] |= UINT64_MAX << FS_WORD_LINE_SHIFT;
}

static void leave_the_sequence_odd(void)
{
	shard(0)->sequence |= 1;
}

static void note_more_room_than_there_is(void)
{
	header()->room += 1 << 20;
}

static void free_a_bucket_in_use(void)
{
	uint32_t class = 0;

	while (class_slots[class] != slots_of(place.directory[0]))
		class++;
	shard(0)->free[FS_KIND_BUCKET + class] = (uint32_t)line_of(place.directory[0]);
}

static const struct fault {
	const char *kinds; /* the words, one of which a finding must have */
	void (*plant)(void);
} faults[] = {
	{"check-value slot", change_a_key},
	{"check-value slot", change_the_identity},
	{"check-value slot", change_the_incarnation},
	{"tag", change_a_tag},
	{"tag unreachable", empty_a_tag},
	{"frozen", freeze_a_slot},
	{"duplicate", double_a_flag},
	{"count", count_one_more_in_the_bucket},
	{"count", count_one_more_in_the_shard},
	{"directory bucket", clear_a_directory_entry},
	{"directory bucket", point_behind_the_end},
	{"lock", leave_the_sequence_odd},
	{"room header", note_more_room_than_there_is},
	{"free-list room", free_a_bucket_in_use},
};

struct expected {
	const char *kinds;
	unsigned found;
	char others[256];
};

static void expect_kind(const struct flagstore_finding *finding, void *argument)
{
	struct expected *expected = argument;

	require(strlen(finding->text) > 10);
	if (strstr(expected->kinds, finding->kind))
		expected->found++;
	else
		snprintf(expected->others + strlen(expected->others), sizeof expected->others - strlen(expected->others), " %s",
		         finding->kind);
}

static void the_checker_finds_each_planted_fault(void **state)
{
	(void)state;
	make_sound(1, 25);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		struct expected expected = {.kinds = faults[i].kinds};
		uint64_t findings = 0;
		uint32_t skipped = 0;
		flagstore *store;

		copy_file(path_of(SOUND), path_of(DAMAGED));
		store = attach(DAMAGED, FLAGSTORE_READ_ONLY);
		open_file(DAMAGED);
		find_places();
		faults[i].plant();
		note("fault %zu (%s)", i, faults[i].kinds);
		require_ok(flagstore_check(store, expect_kind, &expected, &findings, &skipped));
		note("fault %zu (%s), found %llu, of other kinds:%s", i, faults[i].kinds, (unsigned long long)findings, expected.others);
		require(findings > 0 || skipped > 0);
		require(expected.found > 0 || skipped > 0);
		close_file();
		flagstore_close(store);
		require(unlink(path_of(DAMAGED)) == 0);
	}
}

/* ----------------------------------------------------------------------------------------- chosen damage */

/* A damaged copy of the sound segment, mapped. */
static void open_damaged(void)
{
	copy_file(path_of(SOUND), path_of(DAMAGED));
	open_file(DAMAGED);
}

static void close_damaged(void)
{
	close_file();
	require(unlink(path_of(DAMAGED)) == 0);
}

static void a_bucket_deeper_than_its_directory_does_not_eat_all_room(void **state)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	int result = FLAGSTORE_OK;
	flagstore *store;

	(void)state;
	make_sound(1, 25);
	open_damaged();
	find_places();
	place.directory[0] |= 3;
	store = attach(DAMAGED, 0);
	for (unsigned i = 1000; result == FLAGSTORE_OK && i < 2000; i++)
		result = flagstore_set(store, mixed_key(key, i), true);
	require_int(FLAGSTORE_ECORRUPT, result);
	require(info(store).used_bytes < 100 << 10);
	flagstore_close(store);
	close_damaged();
}

static void room_that_is_not_there_is_taken_with_what_lies_behind_it(void **state)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore_batch *batch;
	flagstore *store;

	(void)state;
	make_sound(1, 600);
	open_damaged();
	/* Attached before: afterwards it is refused. */
	store = attach(DAMAGED, 0);
	header()->room += 2 * FS_PAGE_LINES;
	require_ok(flagstore_batch_begin(store, &batch));
	/* Its redo record is larger than all the room that is said to be there. */
	for (unsigned i = 0; i < 600; i++)
		require_ok(flagstore_batch_toggle(batch, mixed_key(key, i)));
	require_ok(flagstore_batch_commit(batch, NULL));
	require(info(store).file_bytes >= (uint64_t)header()->room * FS_LINE);
	flagstore_close(store);
	close_damaged();
}

static void sign_constants(void)
{
	header()->constants.check = XXH3_64bits(&header()->constants, offsetof(struct fs_constants, check));
}

static void a_header_with_a_right_check_value_and_wrong_fields_is_refused(void **state)
{
	(void)state;
	make_sound(1, 25);
	for (int i = 0; i < 9; i++) {
		struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
		struct fs_constants *constants;
		flagstore *store = NULL;

		open_damaged();
		constants = &header()->constants;
		switch (i) {
		case 0: constants->created_ms = INT64_MAX; break;
		case 1: constants->created_ms = -1; break;
		case 2: constants->shards = 3; break;
		case 3: constants->shards = 1 << 11; break;
		case 4: constants->workers = 0; break;
		case 5: constants->workers = UINT32_MAX; break;
		case 6: constants->max_bytes += 1; break;
		case 7: constants->max_bytes = UINT64_C(1) << 40; break;
		default: header()->state = 7; break;
		}
		sign_constants();
		note("field %d", i);
		options.flags = FLAGSTORE_READ_ONLY;
		require_error(FLAGSTORE_ECORRUPT, flagstore_attach(DAMAGED, &options, &store));
		require_error(FLAGSTORE_ECORRUPT, flagstore_attach(DAMAGED, NULL, &store));
		close_damaged();
	}
}

static void a_segment_in_use_is_not_taken_over_because_its_state_was_damaged(void **state)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore *store, *other = NULL;

	(void)state;
	make_sound(1, 25);
	open_damaged();
	store = attach(DAMAGED, 0);
	header()->state = FS_CREATING;
	require_error_says(FLAGSTORE_EEXISTS, "in use", flagstore_create(DAMAGED, NULL, &other));
	require(lookup(store, mixed_key(key, 1)).exists);
	flagstore_close(store);
	close_damaged();
}

/* Recovery goes on with what a dead writer noted: blocks that may be of any kind now. */
static void a_recovery_publishes_nothing_that_is_no_bucket(void **state)
{
	static const uint64_t kinds[] = {0, FS_KIND_CELL, FS_KIND_REDO, FS_KINDS, 200, 255};

	(void)state;
	make_sound(1, 25);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		uint64_t word;

		open_damaged();
		find_places();
		word = place.directory[0];
		shard(0)->outgoing = word;
		shard(0)->fresh[0] = kinds[i] ? kinds[i] << FS_BLOCK_KIND_SHIFT | line_of(word) : 0;
		shard(0)->phase = FS_PUBLISHING;
		shard(0)->sequence |= 1;
		/* From before a reboot: all shards are recovered. */
		header()->boot[0] ^= 1;
		flagstore_close(attach(DAMAGED, 0));
		require(shard(0)->phase == FS_IDLE && place.directory[0] == word);
		close_damaged();
	}
	/* One that leaves a bucket of a size that there is none of. */
	open_damaged();
	find_places();
	shard(0)->outgoing = place.directory[0] ^ UINT64_C(3) << 6;
	shard(0)->fresh[0] = (uint64_t)FS_KIND_BUCKET << FS_BLOCK_KIND_SHIFT | line_of(place.directory[0]);
	shard(0)->phase = FS_PUBLISHING;
	shard(0)->sequence |= 1;
	header()->boot[0] ^= 1;
	flagstore_close(attach(DAMAGED, 0));
	require(!shard(0)->free[FS_KIND_CELL]);
	close_damaged();
}

/* One of the largest buckets. */
static uint64_t large_bucket(void)
{
	uint64_t largest = 0;

	for (uint32_t i = 0; i < header()->constants.shards; i++) {
		const _Atomic uint64_t *entries = (const void *)at_line(line_of(shard(i)->directory));

		for (uint32_t j = 0; j < 1u << (shard(i)->directory & FS_WORD_DEPTH_MASK); j++)
			if (slots_of(entries[j]) >= slots_of(largest))
				largest = entries[j];
	}
	return largest;
}

/* All shards have one directory, the largest possible, all of whose entries name one bucket. */
static void lead_everything_to_one_bucket(void)
{
	uint64_t bucket = (large_bucket() & ~FS_WORD_DEPTH_MASK) | FS_DEPTH_MAX;
	uint32_t first = 1 << 15, lines = 1u << (FS_DEPTH_MAX - 3), end = first + lines;
	int descriptor = open(path_of(DAMAGED), O_RDWR | O_CLOEXEC);

	require(descriptor >= 0 && posix_fallocate(descriptor, 0, (off_t)end * FS_LINE) == 0);
	close(descriptor);
	for (uint32_t i = 0; i < 1u << FS_DEPTH_MAX; i++)
		((uint64_t *)(void *)(file.bytes + (size_t)first * FS_LINE))[i] = bucket;
	header()->room = end;
	header()->heap = (header()->heap & ~(uint64_t)UINT32_MAX) | end;
	for (uint32_t i = 0; i < header()->constants.shards; i++)
		shard(i)->directory = (uint64_t)first << FS_WORD_LINE_SHIFT | UINT64_C(1) << FS_WORD_COUNT_SHIFT | FS_DEPTH_MAX;
}

static void walk_everything(void *argument)
{
	flagstore *store = attach(DAMAGED, *(uint32_t *)argument);
	flagstore_watch *watch;
	flagstore_cursor *cursor;
	struct flagstore_change change;
	struct flagstore_entry entry;
	struct flagstore_info all;
	uint64_t findings = 0, seen = 0;
	int result;

	require_ok(flagstore_info(store, &all));
	require_ok(flagstore_cursor_open(store, &cursor));
	while ((result = flagstore_cursor_next(cursor, &entry)) != FLAGSTORE_ENOTFOUND)
		seen += result == FLAGSTORE_OK;
	flagstore_cursor_close(cursor);
	/* No flag more than once in a shard. */
	require(seen <= FS_BUCKET_SLOTS_MAX * header()->constants.shards);
	require_ok(flagstore_watch_open(store, &watch));
	(void)flagstore_watch_next(watch, &change, 0);
	flagstore_watch_close(watch);
	require_ok(flagstore_check(store, NULL, NULL, &findings, NULL));
	require(findings > 0);
	flagstore_close(store);
}

static void a_table_that_leads_to_one_bucket_everywhere_is_left_in_time(void **state)
{
	uint32_t flags[] = {FLAGSTORE_READ_ONLY, 0};

	(void)state;
	make_sound(16, FLAGS);
	for (size_t i = 0; i < 2; i++) {
		open_damaged();
		lead_everything_to_one_bucket();
		require_int(0, child_status(child(walk_everything, &flags[i]), 30000));
		close_damaged();
	}
}

/* ------------------------------------------------------------------------------- words that never stand still */

/* Two values of a word of the mapped file, one after the other, for ever. */
struct flicker {
	_Atomic uint64_t *word;
	uint64_t values[2];
};

static void flicker(void *argument)
{
	const struct flicker *what = argument;

	for (unsigned i = 0;; i++) {
		atomic_store(what->word, what->values[i % 2]);
		/* Now and then it stands still. */
		if (i % 1000 == 0)
			pause_us(1);
	}
}

/* Uses the segment in a child for a while, as attached with these flags, while the word flickers. */
static void use_while_flickering(struct flicker what, body *use, uint32_t flags)
{
	pid_t scribbler = child(flicker, &what);
	int status = child_status(child(use, &flags), 30000);

	require(child_kill(scribbler));
	require_int(0, status);
}

static void check_for_a_while(void *argument)
{
	flagstore *store = attach(DAMAGED, *(uint32_t *)argument);
	uint64_t findings;

	for (int64_t end = now_ms() + 500; now_ms() < end;)
		require_ok(flagstore_check(store, NULL, NULL, &findings, NULL));
	flagstore_close(store);
}

static void a_checker_outlives_a_key_cell_that_comes_and_goes(void **state)
{
	uint32_t i = 0;

	(void)state;
	make_sound(1, 25);
	open_damaged();
	find_places();
	while ((place.slots[i].key[0] & 0xff) <= FS_KEY_INLINE)
		i++;
	require(i < place.count);
	use_while_flickering((struct flicker){&place.slots[i].key[FS_KEY_CELL], {place.slots[i].key[FS_KEY_CELL], UINT32_MAX}}, check_for_a_while,
	                     0);
	close_damaged();
}

static void a_checker_outlives_a_directory_that_grows_and_shrinks(void **state)
{
	uint64_t word;

	(void)state;
	make_sound(1, FLAGS);
	open_damaged();
	word = shard(0)->directory;
	require((word & FS_WORD_DEPTH_MASK) >= 2);
	use_while_flickering((struct flicker){&shard(0)->directory, {word, word - 1}}, check_for_a_while, 0);
	close_damaged();
}

static void walk_for_a_while(void *argument)
{
	flagstore *store = attach(DAMAGED, *(uint32_t *)argument);

	for (int64_t end = now_ms() + 500; now_ms() < end;) {
		struct flagstore_entry entry;
		flagstore_cursor *cursor;

		require_ok(flagstore_cursor_open(store, &cursor));
		while (flagstore_cursor_next(cursor, &entry) != FLAGSTORE_ENOTFOUND)
			;
		flagstore_cursor_close(cursor);
	}
	flagstore_close(store);
}

static void write_for_a_while(void *argument)
{
	flagstore *store = attach(DAMAGED, *(uint32_t *)argument);
	char key[FLAGSTORE_KEY_MAX + 1];

	for (int64_t end = now_ms() + 500; now_ms() < end;)
		for (unsigned i = 0; i < 25; i++)
			(void)flagstore_toggle(store, mixed_key(key, i), NULL);
	flagstore_close(store);
}

/* A slot that lives in one life, and in another. */
static struct flicker two_lives(void)
{
	_Atomic uint64_t *word = &place.slots[place.live].word;

	return (struct flicker){word, {*word, *word ^ UINT64_C(1) << FS_INCARNATION_SHIFT}};
}

static void a_walk_passes_a_slot_that_never_stands_still(void **state)
{
	(void)state;
	make_sound(1, 25);
	open_damaged();
	find_places();
	use_while_flickering(two_lives(), walk_for_a_while, FLAGSTORE_READ_ONLY);
	close_damaged();
}

static void a_write_gives_up_on_a_slot_that_never_stands_still(void **state)
{
	(void)state;
	make_sound(1, 25);
	open_damaged();
	find_places();
	use_while_flickering(two_lives(), write_for_a_while, 0);
	close_damaged();
}

/* By whatever bucket word: behind the page that is backed stands none. */
static void a_read_stays_within_what_is_backed(void **state)
{
	enum { KEYS = 64, LENGTH = 20, PLACE = FS_LINE };
	char *page = mmap(NULL, 2 * FS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes[LENGTH + 1];
	struct fs_shard shards[1] = {{.directory = fs_dir_word(PLACE / FS_LINE, 1, 0, 0)}};
	flagstore store = {.map = page, .shards = shards, .salt = fs_salt(1), .backed = FS_PAGE};
	_Atomic uint64_t *entry = (_Atomic uint64_t *)(void *)(page + PLACE);

	(void)state;
	require(page != MAP_FAILED && mprotect(page + FS_PAGE, FS_PAGE, PROT_NONE) == 0);
	for (unsigned i = 0; i < KEYS; i++) {
		struct fs_key key = {bytes, LENGTH, 0};
		struct fs_found found;
		struct fs_way way;

		snprintf(bytes, sizeof bytes, "%0*u", LENGTH, i);
		key.hash = fs_hash_usual(&store.salt, bytes, LENGTH);
		/* The tag of each group's last slot is the key's, so that this is looked at. */
		memset(page, FS_TAG_TOMBSTONE, FS_PAGE);
		for (size_t last = FS_GROUP - 1; last < FS_PAGE; last += FS_GROUP)
			page[last] = (char)fs_hash_tag(key.hash);
		for (fs_line line = 0; line <= FS_PAGE / FS_LINE; line++)
			for (uint32_t slots = 0; slots < 1024; slots += 16) {
				*entry = fs_dir_word(line, 1, slots, 0);
				require(fs_find_usual(&store, key, &way, &found) == FS_UNUSUAL);
			}
	}
	munmap(page, 2 * FS_PAGE);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_reader_of_a_damaged_segment_neither_crashes_nor_hangs),
		cmocka_unit_test(a_writer_to_a_damaged_segment_neither_crashes_nor_hangs),
		cmocka_unit_test(the_checker_finds_each_planted_fault),
		cmocka_unit_test(a_bucket_deeper_than_its_directory_does_not_eat_all_room),
		cmocka_unit_test(room_that_is_not_there_is_taken_with_what_lies_behind_it),
		cmocka_unit_test(a_header_with_a_right_check_value_and_wrong_fields_is_refused),
		cmocka_unit_test(a_segment_in_use_is_not_taken_over_because_its_state_was_damaged),
		cmocka_unit_test(a_table_that_leads_to_one_bucket_everywhere_is_left_in_time),
		cmocka_unit_test(a_checker_outlives_a_key_cell_that_comes_and_goes),
		cmocka_unit_test(a_checker_outlives_a_directory_that_grows_and_shrinks),
		cmocka_unit_test(a_walk_passes_a_slot_that_never_stands_still),
		cmocka_unit_test(a_write_gives_up_on_a_slot_that_never_stands_still),
		cmocka_unit_test(a_recovery_publishes_nothing_that_is_no_bucket),
		cmocka_unit_test(a_read_stays_within_what_is_backed),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

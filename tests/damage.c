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

#include "layout.h"

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

static const uint32_t class_slots[] = FS_BUCKET_SLOTS;

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
	uint64_t line_mask = (UINT64_C(1) << FS_WORD_LINE_BITS) - 1, word;
	size_t ahead;

	place.directory = (_Atomic uint64_t *)(void *)at_line(shard(0)->directory & line_mask);
	word = place.directory[0];
	place.count = class_slots[word >> FS_WORD_CLASS_SHIFT & 15];
	place.bucket = (struct fs_bucket *)(void *)at_line(word & line_mask);
	place.tags = (uint8_t *)place.bucket->tags;
	ahead = (sizeof(struct fs_bucket) + place.count + FS_LINE - 1) / FS_LINE * FS_LINE;
	place.slots = (struct fs_slot *)(void *)((char *)place.bucket + ahead);
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
	place.directory[0] |= (UINT64_C(1) << FS_WORD_LINE_BITS) - 1;
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
	uint32_t kind = FS_KIND_BUCKET + (uint32_t)(place.directory[0] >> FS_WORD_CLASS_SHIFT & 15);

	shard(0)->free[kind] = (uint32_t)(place.directory[0] & ((UINT64_C(1) << FS_WORD_LINE_BITS) - 1));
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

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(a_reader_of_a_damaged_segment_neither_crashes_nor_hangs),
		cmocka_unit_test(a_writer_to_a_damaged_segment_neither_crashes_nor_hangs),
		cmocka_unit_test(the_checker_finds_each_planted_fault),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

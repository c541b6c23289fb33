/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * segment.c: a fuzzer's entry: a small segment whose file has been written to, used in every way that the library has. Nobody who uses it
 * crashes or hangs, and what the checker finds nothing wrong with works as if nobody had written to it.
 *
 * An input is a byte of modes (enum mode), then patches: where (2 bytes, low one first), how much (1 byte), and the bytes; or, with the
 * highest bit of how much set, from where else they are copied (2 bytes). Where: the byte in its line (6 bits), and the line's number among
 * those that mean something (the header's first, the shard's, the worker's, and all of the heap that are not zero). The locks, which
 * writers trust, are put back after that. The segment is the same in every run but for the times in it: so an input means the same to
 * everybody.
 *
 * tests/fuzz.sh builds it and runs it under libFuzzer. By hand, from the top of the source, after ./bootstrap:
 *
 *     clang -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude -Isrc \
 *         tests/fuzz/segment.c src/[a-z]*.c -llmdb -o segment
 *     mkdir found && ./segment -max_total_time=600 -timeout=10 found tests/fuzz/corpus/segment
 *
 * The same entry under AFL++: its afl-clang-fast takes the place of clang, with the same options, and
 *
 *     afl-fuzz -i tests/fuzz/corpus/segment -o found -m none -- ./segment
 *
 * One input that was found, without any fuzzer: with replay.c beside it, any compiler builds a program that takes files and directories.
 */
#include <fcntl.h>
#include <flagstore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "entry.h"
#include "layout.h"

enum mode {
	MODE_SIGN = 1,       /* the header's check value is right: what stands behind it is looked at */
	MODE_REBOOT = 2,     /* of another boot: whoever attaches read-write resets it, and puts right what is under way */
	MODE_DIED = 4,       /* the writer that had the lock has died */
	MODE_READ_ONLY = 8,  /* nobody writes */
	MODE_WRITE_LAST = 16, /* otherwise the first to attach is a writer */
};

enum {
	FLAGS = 20,
	GIVEN_UP = 3, /* the flag that is deleted again */
	IMAGE_MAX = 1 << 16,
	HEADER_LINES = 5,
	STRUCTURE_LINES = (sizeof(struct fs_shard) + sizeof(struct fs_worker)) / FS_LINE,
	STEPS_MAX = 100000, /* more than the file has lines */
};

/* The file as it is before any patch: the bytes up to the room that it has. */
static char image[IMAGE_MAX], patched[IMAGE_MAX];
static size_t image_size;
/* Where the lines that mean something are in it. */
static size_t lines[IMAGE_MAX / FS_LINE];
static size_t lines_count;
static char path[4096];
static int file;

/* ---------------------------------------------------------------------------------------------- the segment */

/* Short ones, one that just fits into its slot, and some of each size of key cell. */
static const char *key_of(char *place, unsigned i)
{
	static const int lengths[] = {0, 0, 39, 0, 40, 100, 0, 180, 0, 255};
	int length = snprintf(place, FLAGSTORE_KEY_MAX + 1, "flag.%u", i), want = lengths[i % 10];

	if (want > length) {
		memset(place + length, 'l', (size_t)(want - length));
		place[want] = 0;
	}
	return place;
}

static void remove_file(void)
{
	(void)unlink(path);
}

static void sign(struct fs_constants *constants)
{
	constants->check = XXH3_64bits(constants, offsetof(struct fs_constants, check));
}

/* What chance decides, decided once and for all: before there are flags. */
static void fix_constants(void)
{
	struct fs_constants constants;

	must(pread(file, &constants, sizeof constants, 0) == sizeof constants);
	constants.hash_seed = 42;
	memset(constants.uuid, 7, sizeof constants.uuid);
	sign(&constants);
	must(pwrite(file, &constants, sizeof constants, 0) == sizeof constants);
}

static void add_flags(void)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore_batch *batch;
	flagstore *store;

	must(flagstore_attach(path, NULL, &store) == FLAGSTORE_OK);
	for (unsigned i = 0; i < FLAGS; i++)
		must(flagstore_set(store, key_of(key, i), i % 2) == FLAGSTORE_OK);
	must(flagstore_delete(store, key_of(key, GIVEN_UP)) == FLAGSTORE_OK);
	must(flagstore_batch_begin(store, &batch) == FLAGSTORE_OK);
	for (unsigned i = GIVEN_UP + 1; i < FLAGS; i++)
		must(flagstore_batch_toggle(batch, key_of(key, i)) == FLAGSTORE_OK);
	must(flagstore_batch_commit(batch, NULL) == FLAGSTORE_OK);
	flagstore_close(store);
}

static bool is_zero(const char *line)
{
	static const char zero[FS_LINE];

	return memcmp(line, zero, FS_LINE) == 0;
}

static void find_lines(void)
{
	for (size_t i = 0; i < HEADER_LINES; i++)
		lines[lines_count++] = i * FS_LINE;
	for (size_t i = 0; i < STRUCTURE_LINES; i++)
		lines[lines_count++] = FS_PAGE + i * FS_LINE;
	for (size_t at = FS_PAGE + STRUCTURE_LINES * FS_LINE; at < image_size; at += FS_LINE)
		if (!is_zero(image + at))
			lines[lines_count++] = at;
}

static void make_segment(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char name[64];
	flagstore *store;

	snprintf(name, sizeof name, "fuzz.%ld", (long)getpid());
	must(flagstore_path(name, path, sizeof path) == FLAGSTORE_OK);
	(void)unlink(path);
	options.max_bytes = FS_MIN_BYTES;
	options.shards = 1;
	options.workers = 1;
	options.lock_wait_ms = 1;
	must(flagstore_create(name, &options, &store) == FLAGSTORE_OK);
	must(atexit(remove_file) == 0);
	flagstore_close(store);
	file = open(path, O_RDWR | O_CLOEXEC);
	must(file >= 0);
	fix_constants();
	add_flags();
	must(pread(file, image, sizeof image, 0) == sizeof image);
	image_size = (size_t)((struct fs_header *)(void *)image)->room * FS_LINE;
	must(image_size > 0 && image_size <= sizeof image);
	find_lines();
}

/* ---------------------------------------------------------------------------------------------- the patches */

static size_t place_of(const uint8_t *where)
{
	size_t number = where[0] | (size_t)where[1] << 8;

	return lines[number / FS_LINE % lines_count] + number % FS_LINE;
}

static void put_patches(const uint8_t *data, size_t size)
{
	while (size > 3) {
		size_t to = place_of(data), length = data[2] & 0x7f, from;
		bool copies = data[2] & 0x80;

		data += 3;
		size -= 3;
		if (length > image_size - to)
			length = image_size - to;
		if (copies) {
			if (size < 2)
				return;
			from = place_of(data);
			if (length > image_size - from)
				length = image_size - from;
			memmove(patched + to, patched + from, length);
			length = 2;
		} else {
			if (length > size)
				length = size;
			memcpy(patched + to, data, length);
		}
		data += length;
		size -= length;
	}
}

/* A lock for each shard that the header speaks of, as far as they lie in the image; a file has no more behind that but zeros. */
static void put_locks(bool died)
{
	uint32_t shards = ((struct fs_header *)(void *)patched)->constants.shards;
	struct fs_shard *right = (struct fs_shard *)(void *)(image + FS_PAGE), *shard = (struct fs_shard *)(void *)(patched + FS_PAGE);

	for (uint32_t i = 0; i < shards && (char *)(shard + i + 1) <= patched + image_size; i++) {
		memcpy(&shard[i].mutex, &right->mutex, sizeof right->mutex);
		/* As the kernel leaves the lock of a thread that ended with it. */
		if (died)
			shard[i].mutex.__data.__lock = 0x40000000;
	}
}

static void patch_file(const uint8_t *data, size_t size, uint8_t mode)
{
	struct fs_header *header = (struct fs_header *)(void *)patched;

	memcpy(patched, image, image_size);
	if (mode & MODE_REBOOT)
		header->boot[0] ^= 1;
	put_patches(data, size);
	if (header->constants.shards > 64)
		header->constants.shards = 64;
	if (mode & MODE_SIGN)
		sign(&header->constants);
	put_locks(mode & MODE_DIED);
	/* Empty first: what an earlier run has written behind the image goes. */
	must(ftruncate(file, 0) == 0 && ftruncate(file, FS_MIN_BYTES) == 0);
	must(posix_fallocate(file, 0, (off_t)image_size) == 0);
	must(pwrite(file, patched, image_size, 0) == (ssize_t)image_size);
}

/* ---------------------------------------------------------------------------------------------- all the uses */

/* A result must be a code that there is, with a sentence that says more. */
static int told(int result)
{
	must(strcmp(flagstore_error_name(result), "EUNKNOWN") != 0);
	must(result == FLAGSTORE_OK || flagstore_detail()[0]);
	return result;
}

/* The key of a damaged slot may have any bytes. */
static void see_entry(const struct flagstore_entry *entry)
{
	must(entry->length > 0 && entry->length <= FLAGSTORE_KEY_MAX);
	must(entry->key[entry->length] == 0);
	must(entry->flag.exists);
}

static void read_flags(flagstore *store)
{
	static char places[FLAGS][FLAGSTORE_KEY_MAX + 1];
	const char *keys[FLAGS];
	bool values[FLAGS];
	struct flagstore_flag flags[FLAGS];

	for (unsigned i = 0; i < FLAGS; i++) {
		flagstore_handle *handle;

		keys[i] = key_of(places[i], i);
		(void)flagstore_get(store, keys[i]);
		(void)flagstore_lookup(store, keys[i], &flags[i]);
		must(flagstore_handle_open(store, keys[i], &handle) == FLAGSTORE_OK);
		(void)flagstore_handle_get(handle);
		flagstore_handle_close(handle);
	}
	flagstore_get_many(store, keys, NULL, FLAGS, values);
	(void)told(flagstore_snapshot(store, keys, NULL, FLAGS, flags));
	flags[0].exists = !flags[0].exists;
	(void)told(flagstore_wait(store, keys[0], &flags[0], 0));
}

/* Returns how many flags the walk has come by. */
static unsigned walk(flagstore *store)
{
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	unsigned seen = 0;

	must(flagstore_cursor_open(store, &cursor) == FLAGSTORE_OK);
	for (unsigned steps = 0;; steps++) {
		int result = flagstore_cursor_next(cursor, &entry);

		must(steps < STEPS_MAX);
		/* Its end is no failure that had to be explained. */
		if (result == FLAGSTORE_ENOTFOUND)
			break;
		if (told(result) == FLAGSTORE_OK) {
			see_entry(&entry);
			seen++;
		}
	}
	flagstore_cursor_close(cursor);
	return seen;
}

static void look_inside(flagstore *store)
{
	struct flagstore_worker workers[4];
	struct flagstore_info all;

	(void)told(flagstore_info(store, &all));
	(void)flagstore_workers(store, workers, 4);
	for (uint32_t id = 0; id < 4; id++)
		(void)flagstore_worker(store, id * 4096 + 1, workers);
}

static void watch(flagstore *store)
{
	struct flagstore_change change;
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore_watch *made;

	if (told(flagstore_watch_open(store, &made)) != FLAGSTORE_OK)
		return;
	(void)flagstore_toggle(store, key_of(key, 1), NULL);
	for (unsigned i = 0; i < 4; i++)
		(void)told(flagstore_watch_next(made, &change, 0));
	flagstore_watch_close(made);
}

/* What is in a free block is not looked at, and what nobody uses of it is not cleared when it is taken: so that comes to light later. */
static void see_finding(const struct flagstore_finding *finding, void *argument)
{
	unsigned *unused = argument;

	must(finding->kind[0] && finding->text[0]);
	*unused += strstr(finding->text, "unused") != NULL;
}

/* True when nothing is wrong, and nothing was left out. */
static bool healthy(flagstore *store, bool but_for_unused)
{
	uint64_t findings = 0;
	uint32_t skipped = 0;
	unsigned unused = 0;

	if (told(flagstore_check(store, see_finding, &unused, &findings, &skipped)) != FLAGSTORE_OK)
		return false;
	return findings == (but_for_unused ? unused : 0) && !skipped;
}

static void write_flags(flagstore *store)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	struct flagstore_flag flag;
	flagstore_batch *batch;
	bool inserted;

	for (unsigned i = 0; i < FLAGS; i++) {
		(void)told(flagstore_toggle(store, key_of(key, i), NULL));
		(void)told(flagstore_set(store, key_of(key, i + 10), true));
		(void)told(flagstore_compare_and_set(store, key_of(key, i), true, false));
		(void)flagstore_lookup(store, key_of(key, i + 1), &flag);
		(void)told(flagstore_compare_and_set_version(store, key, &flag, true));
		(void)told(flagstore_delete(store, key_of(key, i + 5)));
		(void)told(flagstore_set_if_absent(store, key_of(key, i + 5), true, &inserted));
	}
	must(flagstore_batch_begin(store, &batch) == FLAGSTORE_OK);
	/* More than the redo record that is there has room for. */
	for (unsigned i = 0; i < 70; i++)
		must(flagstore_batch_set(batch, key_of(key, i), i % 2) == FLAGSTORE_OK);
	must(flagstore_batch_delete(batch, key_of(key, 60)) == FLAGSTORE_OK);
	if (told(flagstore_batch_commit(batch, NULL)) != FLAGSTORE_OK)
		flagstore_batch_abort(batch);
}

/* What nothing is wrong with keeps every promise. */
static void use_healthy(flagstore *store)
{
	char key[FLAGSTORE_KEY_MAX + 1];
	struct flagstore_entry entry;
	struct flagstore_flag flag;
	struct flagstore_info all;
	flagstore_cursor *cursor;

	must(flagstore_info(store, &all) == FLAGSTORE_OK);
	must(walk(store) == all.flags);
	must(flagstore_cursor_open(store, &cursor) == FLAGSTORE_OK);
	while (flagstore_cursor_next(cursor, &entry) == FLAGSTORE_OK) {
		must(flagstore_lookup_n(store, entry.key, entry.length, &flag) == FLAGSTORE_OK);
		must(flag.exists && flag.value == entry.flag.value && flag.version == entry.flag.version);
	}
	flagstore_cursor_close(cursor);
	if (all.read_only)
		return;
	for (unsigned i = 0; i < 60; i++) {
		must(flagstore_set(store, key_of(key, i), i % 3) == FLAGSTORE_OK);
		must(flagstore_get(store, key) == (i % 3 != 0));
	}
	must(healthy(store, true));
}

static void use(uint32_t flags)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	options.flags = flags;
	options.lock_wait_ms = 1;
	if (told(flagstore_attach(path, &options, &store)) != FLAGSTORE_OK)
		return;
	read_flags(store);
	(void)walk(store);
	look_inside(store);
	if (healthy(store, false))
		use_healthy(store);
	watch(store);
	if (!(flags & FLAGSTORE_READ_ONLY)) {
		write_flags(store);
		read_flags(store);
		(void)walk(store);
		(void)healthy(store, false);
	}
	flagstore_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mode;

	if (!image_size)
		make_segment();
	if (size == 0)
		return 0;
	mode = data[0];
	patch_file(data + 1, size - 1, mode);
	if (mode & (MODE_READ_ONLY | MODE_WRITE_LAST))
		use(FLAGSTORE_READ_ONLY);
	if (!(mode & MODE_READ_ONLY))
		use(0);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durable-power.c: the power fails. Two processes write to a synchronous segment; what goes to data.mdb, and what is waited for there, is
 * written to a log, in one order with what the writers were told is done. Then, for each moment of that log, every file is built that a
 * disk may have had then: all that a sync had been waited for that far, and of what came after it each beginning, and all but one
 * piece. Each is opened: it must be the table as it was at the position that stands in it, which lies in no batch and behind all that had been
 * acknowledged.
 *
 * LMDB calls the C library's write functions; those of this program stand in front of them. That nothing goes past them is shown in the
 * end: the whole log makes the same file, byte by byte. SOAK=seconds: anew, until they are over.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "durability.h"

#include "disk.h"
#include "segment.h"

#define SEGMENT "power"

/* ------------------------------------------------------------------------------------------------------ the log */

enum kind {
	WRITE,       /* is begun */
	WRITTEN,     /* by itself: the write before it was one to a descriptor that waits for the disk */
	SYNCED,      /* all that was written before it */
	ACKNOWLEDGED /* the writer was told that operation number so-and-so is done */
};

struct entry {
	enum kind kind;
	uint64_t place, bytes; /* in the file; writer and operation */
	size_t data;           /* in the arena */
};

enum { ENTRIES_MAX = 100000, ARENA = 256 << 20, DESCRIPTORS = 1024 };

static struct log {
	_Atomic uint32_t locked;
	unsigned count;
	size_t used;
	unsigned unknown; /* calls that the model knows nothing of */
	char path[PATH_ROOM];
	struct entry entries[ENTRIES_MAX];
} *record;
static char *arena;

/* Of this process, inherited by its children: 1 a descriptor of the file, 2 one that waits for the disk. */
static char class_of[DESCRIPTORS];

static struct entry *begin_entry(enum kind kind)
{
	uint32_t free = 0;

	while (!atomic_compare_exchange_weak(&record->locked, &free, 1)) {
		free = 0;
		sched_yield();
	}
	require(record->count < ENTRIES_MAX);
	record->entries[record->count] = (struct entry){.kind = kind};
	return &record->entries[record->count++];
}

static void end_entry(void)
{
	atomic_store(&record->locked, 0);
}

static void log_write(const void *bytes, size_t count, uint64_t place)
{
	struct entry *entry = begin_entry(WRITE);

	require(record->used + count <= ARENA);
	entry->place = place;
	entry->bytes = count;
	entry->data = record->used;
	memcpy(arena + record->used, bytes, count);
	record->used += count;
	end_entry();
}

static void log_plain(enum kind kind, uint64_t place, uint64_t bytes)
{
	struct entry *entry = begin_entry(kind);

	entry->place = place;
	entry->bytes = bytes;
	end_entry();
}

static int class(int fd)
{
	return record && fd >= 0 && fd < DESCRIPTORS ? class_of[fd] : 0;
}

static void log_vector(int fd, const struct iovec *vector, int count, off_t place)
{
	for (int i = 0; i < count; i++) {
		log_write(vector[i].iov_base, vector[i].iov_len, (uint64_t)place);
		place += (off_t)vector[i].iov_len;
	}
	/* It would have to be one piece. */
	if (class(fd) == 2 && count != 1)
		record->unknown++;
}

static void done(int fd, bool success)
{
	if (success && class(fd) == 2)
		log_plain(WRITTEN, 0, 0);
}

/* ------------------------------------------------------------------------- in place of the C library's functions */

int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;
	int fd;

	va_start(arguments, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd >= 0 && fd < DESCRIPTORS)
		class_of[fd] = !record || strcmp(path, record->path) != 0 || (flags & O_ACCMODE) == O_RDONLY ? 0 : flags & O_DSYNC ? 2 : 1;
	return fd;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
	ssize_t result;

	if (class(fd))
		log_write(bytes, count, (uint64_t)lseek(fd, 0, SEEK_CUR));
	result = syscall(SYS_write, fd, bytes, count);
	done(fd, result >= 0);
	return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t place)
{
	ssize_t result;

	if (class(fd))
		log_write(bytes, count, (uint64_t)place);
	result = syscall(SYS_pwrite64, fd, bytes, count, place);
	done(fd, result >= 0);
	return result;
}

ssize_t writev(int fd, const struct iovec *vector, int count)
{
	ssize_t result;

	if (class(fd))
		log_vector(fd, vector, count, lseek(fd, 0, SEEK_CUR));
	result = syscall(SYS_writev, fd, vector, count);
	done(fd, result >= 0);
	return result;
}

ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t place)
{
	ssize_t result;

	if (class(fd))
		log_vector(fd, vector, count, place);
	result = syscall(SYS_pwritev, fd, vector, count, place, 0);
	done(fd, result >= 0);
	return result;
}

int fdatasync(int fd)
{
	int result = (int)syscall(SYS_fdatasync, fd);

	if (class(fd) && result == 0)
		log_plain(SYNCED, 0, 0);
	return result;
}

int fsync(int fd)
{
	int result = (int)syscall(SYS_fsync, fd);

	if (class(fd) && result == 0)
		log_plain(SYNCED, 0, 0);
	return result;
}

int ftruncate(int fd, off_t bytes)
{
	if (class(fd))
		record->unknown++;
	return (int)syscall(SYS_ftruncate, fd, bytes);
}

int msync(void *place, size_t bytes, int flags)
{
	if (record)
		record->unknown++;
	return (int)syscall(SYS_msync, place, bytes, flags);
}

/* ------------------------------------------------------------------------------------------------- the writers */

enum { WRITERS = 2, FLAGS = 12 };

static unsigned operations;

struct writer {
	unsigned number;
	uint64_t random;
};

/* Each operation changes flags that are this writer's alone: one record, or one batch. */
static void operate(flagstore *store, struct writer *writer, bool *there)
{
	uint64_t random = random_next(&writer->random);
	unsigned i = (unsigned)(random % FLAGS), j = (i + 1 + (unsigned)(random >> 8) % (FLAGS - 1)) % FLAGS;
	char first[KEY_ROOM], second[KEY_ROOM];
	flagstore_batch *batch;

	snprintf(first, sizeof first, "%u.%u", writer->number, i);
	snprintf(second, sizeof second, "%u.%u%s", writer->number, j, j % 3 ? "" : " which has a long key, so that it stands in a cell");
	if (random >> 16 & 1) {
		require_ok(flagstore_batch_begin(store, &batch));
		require_ok(there[i] ? flagstore_batch_toggle(batch, first) : flagstore_batch_set(batch, first, true));
		require_ok(flagstore_batch_set(batch, second, false));
		require_ok(flagstore_batch_toggle(batch, second));
		require_ok(flagstore_batch_commit(batch, NULL));
		there[i] = true;
		there[j] = there[j] || j % 3;
	} else if (there[i] && random >> 17 & 1) {
		require_ok(flagstore_delete(store, first));
		there[i] = false;
	} else if (there[i]) {
		require_ok(flagstore_toggle(store, first, NULL));
	} else {
		require_ok(flagstore_set(store, first, random >> 18 & 1));
		there[i] = true;
	}
}

static void write_and_log(void *argument)
{
	struct writer *writer = argument;
	flagstore *store = attach(SEGMENT, 0);
	bool there[FLAGS] = {false};

	for (unsigned i = 0; i < operations; i++) {
		if (i == operations / 2 && writer->number == 0)
			store->journal->reconcile++;
		operate(store, writer, there);
		/* An asynchronous change is acknowledged by a barrier. */
		if (store->persistence.durability == FLAGSTORE_ASYNC && i % 8 != 7)
			continue;
		require_ok(flagstore_sync(store, 20000));
		log_plain(ACKNOWLEDGED, writer->number, i + 1);
	}
	flagstore_close(store);
}

/* ------------------------------------------------------------------------------------------------ what there was */

/* The journal, which in this test never goes round. */
struct change {
	uint64_t end;
	bool whole; /* no batch goes on behind it */
	int key, value;
};

enum { CHANGES_MAX = 20000, KEYS_MAX = 2 * 2 * FLAGS };

static struct change changes[CHANGES_MAX];
static unsigned changes_count;
static char keys[KEYS_MAX][256];
static int keys_count;
static uint64_t ends[WRITERS][CHANGES_MAX]; /* of the journal behind operation i + 1 of the writer */

static int key_number(const char *key, size_t length)
{
	for (int i = 0; i < keys_count; i++)
		if (strlen(keys[i]) == length && memcmp(keys[i], key, length) == 0)
			return i;
	return -1;
}

/* By the words of flagstore(5), not by the library. */
static uint64_t sum_of(uint64_t position, const uint64_t *words)
{
	for (uint64_t i = 0; i + 1 < (words[0] & 0xff); i++)
		position += words[i] * (UINT64_C(0x9e3779b185ebca87) + 2 * i);
	return position;
}

static void read_journal(const flagstore *store)
{
	const uint64_t *ring = (const void *)((const char *)store->journal + FS_PAGE);
	uint64_t head = atomic_load(&store->journal->head), position = 0;
	unsigned counts[WRITERS] = {0};

	changes_count = 0;
	keys_count = 0;
	require(head <= (uint64_t)store->ring_words * 8);
	while (position < head) {
		const uint64_t *words = ring + position / 8;
		const unsigned char *key = (const void *)(words + 4);
		struct change *change = &changes[changes_count++];
		unsigned writer = (unsigned)(key[1] - '0');

		require(changes_count < CHANGES_MAX && words[0] == sum_of(position, words + 1) && writer < WRITERS);
		if (key_number((const char *)key + 1, key[0]) < 0) {
			require(keys_count < KEYS_MAX);
			memcpy(keys[keys_count], key + 1, key[0]);
			keys[keys_count++][key[0]] = 0;
		}
		position += (words[1] & 0xff) * 8;
		*change = (struct change){
			.end = position,
			.whole = !(words[1] & FS_RECORD_MORE),
			.key = key_number((const char *)key + 1, key[0]),
			.value = words[1] & FS_RECORD_DELETE ? -1 : (words[2] & FS_VALUE) != 0,
		};
		if (change->whole)
			ends[writer][counts[writer]++] = position;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		require_int(operations, counts[i]);
}

/* ---------------------------------------------------------------------------------------------- what a disk has */

enum { FILE_MAX = 8 << 20, PIECE = 4096, PIECES_MAX = 4096 };

static char *disk, *image;
static size_t disk_bytes, image_bytes;

/* Written, and not waited for. */
static struct piece {
	uint64_t place;
	size_t bytes, data;
} pieces[PIECES_MAX];
static unsigned pieces_count;

static unsigned long images, moments, created;

static void apply(char *to, size_t *bytes, const struct piece *piece)
{
	require(piece->place + piece->bytes <= FILE_MAX);
	memcpy(to + piece->place, arena + piece->data, piece->bytes);
	if (piece->place + piece->bytes > *bytes)
		*bytes = piece->place + piece->bytes;
}

/* A disk writes pages. */
static void cut_into_pieces(const struct entry *entry)
{
	for (uint64_t at = 0; at < entry->bytes;) {
		uint64_t place = entry->place + at, rest = PIECE - place % PIECE, bytes = entry->bytes - at < rest ? entry->bytes - at : rest;

		require(pieces_count < PIECES_MAX);
		pieces[pieces_count++] = (struct piece){place, bytes, entry->data + at};
		at += bytes;
	}
}

struct state {
	int values[KEYS_MAX];
	int count;
};

static int note_flag(const char *key, size_t length, bool value, void *argument)
{
	struct state *state = argument;
	int number = key_number(key, length);

	require(number >= 0);
	state->values[number] = value;
	state->count++;
	return 0;
}

static uint64_t position_in(const char *directory)
{
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	struct fs_disk *opened;

	require_ok(fs_disk_open(directory, FS_DISK_DIRECTORY, false, 0600, &opened));
	require_ok(fs_disk_begin(opened, false, &use));
	require_ok(fs_disk_read_meta(&use, &meta));
	fs_disk_abort(&use);
	fs_disk_close(opened);
	require(meta.exists);
	return meta.position;
}

static struct state state_at(uint64_t position)
{
	struct state state = {.count = 0};
	unsigned i = 0;

	for (int key = 0; key < keys_count; key++)
		state.values[key] = -1;
	for (; i < changes_count && changes[i].end <= position; i++)
		state.values[changes[i].key] = changes[i].value;
	/* At the end of a change, and not within a batch. */
	require(position == 0 || (i && changes[i - 1].end == position && changes[i - 1].whole));
	for (int key = 0; key < keys_count; key++)
		state.count += state.values[key] >= 0;
	return state;
}

static void create_from(const char *directory, const struct state *state)
{
	struct flagstore_options options = persisting(directory, FLAGSTORE_SYNC);
	flagstore *store;

	options.max_bytes = 1 << 20;
	options.shards = 4;
	options.workers = 4;
	store = fresh("from-image", &options);
	require_int(state->count, info(store).flags);
	for (int key = 0; key < keys_count; key++) {
		struct flagstore_flag flag = lookup(store, keys[key]);

		require_int(state->values[key], flag.exists ? flag.value : -1);
	}
	require_ok(flagstore_set(store, "after", true));
	flagstore_close(store);
	require_ok(flagstore_unlink("from-image"));
	created++;
}

static void write_image(const char *directory)
{
	char path[PATH_ROOM + 16];
	int file;

	remove_tree(directory);
	require(mkdir(directory, 0700) == 0);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	require(file >= 0 && write(file, image, image_bytes) == (ssize_t)image_bytes);
	close(file);
}

/* least: the position behind all that was acknowledged; -1: not even the creation. */
static void judge_image(int64_t least)
{
	static char directory[PATH_ROOM];
	struct state state = {.count = 0}, expected;
	uint64_t position;

	if (!*directory)
		snprintf(directory, sizeof directory, "%s", in_memory("image"));
	images++;
	/* It may be no environment yet. */
	if (least < 0)
		return;
	write_image(directory);
	for (int key = 0; key < keys_count; key++)
		state.values[key] = -1;
	require_ok(flagstore_read_saved(directory, note_flag, &state));
	position = position_in(directory);
	require((int64_t)position >= least);
	expected = state_at(position);
	require_int(expected.count, state.count);
	require(memcmp(expected.values, state.values, (size_t)keys_count * sizeof *state.values) == 0);
	if (images % 50 == 0)
		create_from(directory, &expected);
}

/* All but one of the first count pieces, or all of them. */
static void judge_pieces(unsigned count, unsigned missing, int64_t least)
{
	memcpy(image, disk, disk_bytes);
	memset(image + disk_bytes, 0, image_bytes > disk_bytes ? image_bytes - disk_bytes : 0);
	image_bytes = disk_bytes;
	for (unsigned i = 0; i < count; i++)
		if (i != missing)
			apply(image, &image_bytes, &pieces[i]);
	judge_image(least);
}

static void judge_moment(int64_t least)
{
	moments++;
	for (unsigned count = 0; count <= pieces_count; count++)
		judge_pieces(count, UINT32_MAX, least);
	for (unsigned missing = 0; pieces_count > 1 && missing + 1 < pieces_count; missing++)
		judge_pieces(pieces_count, missing, least);
}

static void wait_for_disk(unsigned from)
{
	for (unsigned i = from; i < pieces_count; i++)
		apply(disk, &disk_bytes, &pieces[i]);
	pieces_count = from;
}

static void replay(void)
{
	int64_t least = -1;
	unsigned last = 0;

	disk_bytes = pieces_count = 0;
	for (unsigned i = 0; i < record->count; i++) {
		const struct entry *entry = &record->entries[i];

		note("moment %u of %u: %u pieces not waited for, %lld acknowledged", i, record->count, pieces_count, (long long)least);
		switch (entry->kind) {
		case WRITE:
			last = pieces_count;
			cut_into_pieces(entry);
			/* The next piece of the same call says the same, and more. */
			if (i + 1 < record->count && entry[1].kind == WRITE)
				continue;
			break;
		case WRITTEN:
			wait_for_disk(last);
			break;
		case SYNCED:
			wait_for_disk(0);
			break;
		case ACKNOWLEDGED: {
			int64_t end = entry->bytes ? (int64_t)ends[entry->place][entry->bytes - 1] : 0;

			least = end > least ? end : least;
			break;
		}
		}
		judge_moment(least);
	}
	wait_for_disk(0);
}

/* What the log says is what happened. */
static void require_log_complete(void)
{
	int file = open(record->path, O_RDONLY | O_CLOEXEC);
	char *bytes = malloc(FILE_MAX);
	ssize_t got;

	require(file >= 0 && bytes);
	got = pread(file, bytes, FILE_MAX, 0);
	require_int(got, disk_bytes);
	require(memcmp(bytes, disk, disk_bytes) == 0);
	require_int(0, record->unknown);
	free(bytes);
	close(file);
}

static void lose_power(uint64_t seed, uint32_t durability)
{
	const char *directory = on_disk("power");
	struct writer writers[WRITERS];
	pid_t pids[WRITERS];
	flagstore *store;

	record->count = 0;
	record->used = 0;
	snprintf(record->path, sizeof record->path, "%s/data.mdb", directory);
	store = fresh_durable(SEGMENT, directory, durability, 0);
	log_plain(ACKNOWLEDGED, 0, 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){i, seed * WRITERS + i};
		pids[i] = child(write_and_log, &writers[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		child_succeeds(pids[i]);
	read_journal(store);
	require_in_step(store);
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
	replay();
	require_log_complete();
}

static void whenever_the_power_fails_lmdb_has_what_was_acknowledged_and_what_once_was(void **state)
{
	int64_t end = now_ms() + soak_ms(0);
	uint64_t seed = 1;

	(void)state;
	operations = getenv("SOAK") ? 300 : 80;
	do {
		lose_power(seed++, FLAGSTORE_SYNC);
		lose_power(seed++, FLAGSTORE_ASYNC);
	} while (now_ms() < end);
	require(images > 100 && created > 0);
}

static int setup(void **state)
{
	record = shared_memory(sizeof *record);
	arena = shared_memory(ARENA);
	disk = shared_memory(FILE_MAX);
	image = shared_memory(FILE_MAX);
	return durable_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whenever_the_power_fails_lmdb_has_what_was_acknowledged_and_what_once_was),
	};
	int failed = cmocka_run_group_tests(tests, setup, durable_teardown);

	printf("# %lu moments, %lu power-loss prefixes, %lu segments created from them\n", moments, images, created);
	printf("# lost %d\n", failed);
	return failed;
}

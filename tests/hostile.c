/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * hostile.c: somebody scribbles over a segment while others use it. Readers and writers, each a process, do everything that the library
 * can do, while this process changes bytes anywhere in the file, by chance and by choice, restores them, cuts the file, replaces it,
 * and kills writers in the middle, so that others recover what is damaged. Answers may be wrong and calls may fail; nobody may crash,
 * and no call may last longer than a limit. Left alone are the locks alone, which writers trust.
 *
 * SOAK=seconds goes on for so long, and until 100,000 damages are done. planted.sh runs it with a library that lacks the check of line
 * numbers: that must be noticed. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"

#define SOUND "sound"
#define VICTIM "victim"

#ifdef __SANITIZE_ADDRESS__
enum { LIMIT_MS = 120000 };
#else
enum { LIMIT_MS = 30000 };
#endif

enum {
	FLAGS = 1200,
	SIZE = 4 << 20,
	READERS = 2,
	WRITERS = 2,
	USERS = READERS + WRITERS,
	SOAK_DAMAGES = 100000,
	RESTORE_EVERY = 64,  /* damages */
	KILL_EVERY = 400,    /* of a writer */
	REPLACE_EVERY = 3000, /* the file is cut, then replaced */
};

/* What all processes see. */
struct user {
	_Atomic uint64_t calls;
	_Atomic int64_t since_ms; /* when the call under way began; 0: none is */
	_Atomic unsigned call;    /* which one */
};

static struct {
	struct user users[USERS];
	_Atomic unsigned epoch; /* another file stands there */
} *shared;

static struct {
	unsigned long damages, restores, deaths, replaced, crashes, hangs;
	uint64_t reads, writes;
} totals;

/* ------------------------------------------------------------------------------------------------- the file */

static char *bytes; /* of the victim */
static char *image; /* of the sound segment */
static size_t used; /* up to where damage makes sense: room that was given */

static const char *key_at(char *place, unsigned i)
{
	int length = snprintf(place, FLAGSTORE_KEY_MAX + 1, "flag.%u", i);

	if (i % 8 == 7) {
		memset(place + length, 'l', 90);
		place[length + 90] = 0;
	}
	return place;
}

static void make_sound(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char key[FLAGSTORE_KEY_MAX + 1];
	flagstore *store;
	int file;

	options.max_bytes = SIZE;
	options.shards = 4;
	options.workers = 8;
	options.lock_wait_ms = 50;
	store = fresh(SOUND, &options);
	for (unsigned i = 0; i < FLAGS; i++)
		require_ok(flagstore_set(store, key_at(key, i), i % 2));
	for (unsigned i = 0; i < FLAGS; i += 9)
		require_ok(flagstore_delete(store, key_at(key, i)));
	used = info(store).file_bytes;
	flagstore_close(store);
	file = open(path_of(SOUND), O_RDONLY | O_CLOEXEC);
	image = malloc(used);
	require(file >= 0 && image && pread(file, image, used, 0) == (ssize_t)used);
	close(file);
}

static void open_victim(void)
{
	int file;

	copy_file(path_of(SOUND), path_of(VICTIM));
	file = open(path_of(VICTIM), O_RDWR | O_CLOEXEC);
	require(file >= 0);
	bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	require(bytes != MAP_FAILED);
	close(file);
}

static bool is_lock(size_t offset)
{
	size_t in_shard = (offset - FS_PAGE) % sizeof(struct fs_shard);

	if (offset < FS_PAGE || offset >= FS_PAGE + 4 * sizeof(struct fs_shard))
		return false;
	return in_shard >= offsetof(struct fs_shard, mutex) && in_shard < offsetof(struct fs_shard, mutex) + sizeof(pthread_mutex_t);
}

/* A word of the segment, and what to make of it. */
static void scribble(uint64_t *random)
{
	static const uint64_t choice[] = {0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xffffffff, 0x3fffffff, UINT64_MAX, UINT64_C(1) << 63};
	uint64_t dice = random_next(random), word;
	size_t offset, front = FS_PAGE + 4 * sizeof(struct fs_shard);

	/* A third of it each in header and shards, in the file, and where another word says that something is. */
	offset = random_next(random) % (dice % 3 ? used : front) & ~(size_t)7;
	if (dice % 3 == 2) {
		word = __atomic_load_n((uint64_t *)(void *)(bytes + (offset % front)), __ATOMIC_RELAXED) & 0x3fffffff;
		if (word * FS_LINE < used)
			offset = word * FS_LINE + (dice >> 40 & 0x38);
	}
	if (is_lock(offset))
		return;
	word = __atomic_load_n((uint64_t *)(void *)(bytes + offset), __ATOMIC_RELAXED);
	switch (dice >> 8 & 7) {
	case 0:
	case 1:
		word ^= UINT64_C(1) << (dice >> 16 & 63);
		break;
	case 2:
		word = random_next(random);
		break;
	case 3:
		word = choice[(dice >> 16) % (sizeof choice / sizeof *choice)];
		break;
	case 4: /* one half, so that depth or class goes with another line */
		word = (word & UINT64_C(0xffffffff00000000)) | (uint32_t)random_next(random);
		break;
	case 5:
		word += (dice >> 16 & 1) ? 1 : UINT64_MAX;
		break;
	default: /* what stands somewhere else */
		memcpy(&word, image + (random_next(random) % used & ~(size_t)7), 8);
		break;
	}
	__atomic_store_n((uint64_t *)(void *)(bytes + offset), word, __ATOMIC_RELAXED);
	totals.damages++;
}

static void restore(void)
{
	for (size_t offset = 0; offset < used; offset += 8)
		if (!is_lock(offset))
			__atomic_store_n((uint64_t *)(void *)(bytes + offset), *(uint64_t *)(void *)(image + offset), __ATOMIC_RELAXED);
	totals.restores++;
}

/* ---------------------------------------------------------------------------------------------------- users */

static struct user *self;

/* The next call begins. */
static void call(unsigned number)
{
	atomic_store_explicit(&self->call, number, memory_order_relaxed);
	atomic_store_explicit(&self->since_ms, now_ms(), memory_order_relaxed);
	atomic_fetch_add_explicit(&self->calls, 1, memory_order_relaxed);
}

static void walk(flagstore *store)
{
	struct flagstore_entry entry;
	flagstore_cursor *cursor;

	if (flagstore_cursor_open(store, &cursor) != FLAGSTORE_OK)
		return;
	while (flagstore_cursor_next(cursor, &entry) != FLAGSTORE_ENOTFOUND)
		call(101);
	flagstore_cursor_close(cursor);
}

static void watch(flagstore *store)
{
	struct flagstore_change change;
	flagstore_watch *seen;

	if (flagstore_watch_open(store, &seen) != FLAGSTORE_OK)
		return;
	for (int i = 0; i < 20 && flagstore_watch_next(seen, &change, 1) == FLAGSTORE_OK; i++)
		call(102);
	flagstore_watch_close(seen);
}

static void read_points(flagstore *store, uint64_t *random, flagstore_handle *const handles[])
{
	char keys[16][FLAGSTORE_KEY_MAX + 1];
	const char *pointers[16];
	bool values[16];

	for (unsigned i = 0; i < 16; i++) {
		struct flagstore_flag flag;

		pointers[i] = key_at(keys[i], (unsigned)(random_next(random) % FLAGS));
		call(1);
		(void)flagstore_get(store, keys[i]);
		call(2);
		(void)flagstore_lookup(store, keys[i], &flag);
		call(3);
		(void)flagstore_handle_get(handles[i]);
	}
	call(4);
	flagstore_get_many(store, pointers, NULL, 16, values);
}

static void read_at_large(flagstore *store, uint64_t *random)
{
	char keys[8][FLAGSTORE_KEY_MAX + 1];
	const char *pointers[8];
	struct flagstore_flag flags[8] = {{.exists = false}};
	struct flagstore_worker workers[8];
	struct flagstore_info all;
	uint64_t findings;
	uint32_t skipped;

	for (unsigned i = 0; i < 8; i++)
		pointers[i] = key_at(keys[i], (unsigned)(random_next(random) % FLAGS));
	call(5);
	(void)flagstore_snapshot(store, pointers, NULL, 8, flags);
	call(6);
	(void)flagstore_info(store, &all);
	call(7);
	(void)flagstore_workers(store, workers, 8);
	(void)flagstore_worker(store, (uint32_t)random_next(random), workers);
	call(8);
	(void)flagstore_wait(store, keys[0], &flags[0], 1);
	call(9);
	walk(store);
	call(10);
	watch(store);
	call(11);
	(void)flagstore_check(store, NULL, NULL, &findings, &skipped);
}

static void write_points(flagstore *store, uint64_t *random)
{
	struct flagstore_flag flag;
	flagstore_batch *batch;
	char key[FLAGSTORE_KEY_MAX + 1];
	bool done;

	for (unsigned i = 0; i < 20; i++) {
		uint64_t dice = random_next(random);

		key_at(key, (unsigned)(random_next(random) % (2 * FLAGS)));
		call(20 + (unsigned)(dice & 7));
		switch (dice & 7) {
		case 0:
			(void)flagstore_toggle(store, key, &done);
			break;
		case 1:
			(void)flagstore_delete(store, key);
			break;
		case 2:
			(void)flagstore_set_if_absent(store, key, true, &done);
			break;
		case 3:
			(void)flagstore_compare_and_set(store, key, true, false);
			break;
		case 4:
			if (flagstore_lookup(store, key, &flag) == FLAGSTORE_OK)
				(void)flagstore_compare_and_set_version(store, key, &flag, true);
			break;
		default:
			(void)flagstore_set(store, key, dice >> 8 & 1);
			break;
		}
	}
	call(28);
	(void)flagstore_reserve(store, random_next(random) % (2 * FLAGS));
	call(29);
	if (flagstore_batch_begin(store, &batch) != FLAGSTORE_OK)
		return;
	for (unsigned i = 0; i < 40; i++)
		(void)flagstore_batch_set(batch, key_at(key, (unsigned)(random_next(random) % (2 * FLAGS))), random_next(random) & 1);
	if (flagstore_batch_commit(batch, NULL) != FLAGSTORE_OK)
		flagstore_batch_abort(batch);
}

/* Uses the segment until it is replaced, or has become of no use. */
static void use(flagstore *store, uint64_t *random, bool writes, unsigned epoch)
{
	flagstore_handle *handles[16];
	char key[FLAGSTORE_KEY_MAX + 1];

	for (unsigned i = 0; i < 16; i++)
		require_ok(flagstore_handle_open(store, key_at(key, i * 7), &handles[i]));
	for (unsigned round = 1; atomic_load(&shared->epoch) == epoch && round < 200; round++) {
		read_points(store, random, handles);
		if (writes)
			write_points(store, random);
		if (round % 8 == 0)
			read_at_large(store, random);
	}
	for (unsigned i = 0; i < 16; i++)
		flagstore_handle_close(handles[i]);
}

static void run_user(void *argument)
{
	unsigned number = *(unsigned *)argument;
	bool writes = number >= READERS;
	uint64_t random = (uint64_t)now_us() * USERS + number;

	self = &shared->users[number];
	require_ok(flagstore_catch_sigbus());
	for (;;) {
		struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
		unsigned epoch = atomic_load(&shared->epoch);
		flagstore *store;

		options.lock_wait_ms = 50;
		options.flags = writes ? 0 : FLAGSTORE_READ_ONLY;
		call(50);
		if (flagstore_attach(VICTIM, &options, &store) == FLAGSTORE_OK) {
			use(store, &random, writes, epoch);
			call(51);
			flagstore_close(store);
		} else {
			pause_us(200);
		}
	}
}

/* ---------------------------------------------------------------------------------------------- the hostile */

static pid_t pids[USERS];
static unsigned numbers[USERS];

static void start_user(unsigned i)
{
	numbers[i] = i;
	atomic_store(&shared->users[i].since_ms, 0);
	pids[i] = child(run_user, &numbers[i]);
}

/* Nobody has died by himself, and nobody is in one call for too long. */
static void look_after(void)
{
	for (unsigned i = 0; i < USERS; i++) {
		int64_t since = atomic_load(&shared->users[i].since_ms);
		int status;

		if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
			totals.crashes++;
			fprintf(stderr, "# user %u ended with status %#x in call %u, after %lu damages\n", i, (unsigned)status,
			        atomic_load(&shared->users[i].call), totals.damages);
		} else if (since && now_ms() - since > LIMIT_MS) {
			totals.hangs++;
			fprintf(stderr, "# user %u has been in call %u for more than %d ms, after %lu damages\n", i,
			        atomic_load(&shared->users[i].call), LIMIT_MS, totals.damages);
			(void)child_kill(pids[i]);
		} else {
			continue;
		}
		start_user(i);
	}
}

static void kill_a_writer(uint64_t *random)
{
	unsigned i = READERS + (unsigned)(random_next(random) % WRITERS);

	totals.deaths += child_kill(pids[i]);
	start_user(i);
}

static void cut_and_replace(uint64_t *random)
{
	require(munmap(bytes, SIZE) == 0);
	require(truncate(path_of(VICTIM), (off_t)(random_next(random) % used)) == 0);
	pause_us(5000);
	look_after();
	open_victim();
	atomic_fetch_add(&shared->epoch, 1);
	totals.replaced++;
}

static void say_progress(int64_t end)
{
	static int64_t last;

	if (!isatty(STDERR_FILENO) || now_ms() - last < 500)
		return;
	last = now_ms();
	fprintf(stderr, "\r\033[K%lu damages, %lu crashes, %lu hangs, %lld s to go", totals.damages, totals.crashes, totals.hangs,
	        (long long)(end > last ? (end - last) / 1000 : 0));
}

static void scribble_for(int64_t ms, unsigned long damages, uint64_t seed)
{
	uint64_t random = seed;
	int64_t end = now_ms() + ms;

	make_sound();
	open_victim();
	for (unsigned i = 0; i < USERS; i++)
		start_user(i);
	while (now_ms() < end || totals.damages < damages) {
		scribble(&random);
		/* So that each damage is met: users come to run between one and the next. */
		if (totals.damages % 4 == 0)
			pause_us(100);
		if (totals.damages % RESTORE_EVERY == 0)
			restore();
		if (totals.damages % KILL_EVERY == 0)
			kill_a_writer(&random);
		if (totals.damages % REPLACE_EVERY == 0)
			cut_and_replace(&random);
		if (totals.damages % 16 == 0)
			look_after();
		say_progress(end);
		/* One is enough: whoever is left goes on with what the crash has left behind. */
		if (totals.crashes)
			break;
	}
	/* Whoever hangs now hangs for good. */
	for (int64_t wait = now_ms() + 100; now_ms() < wait; pause_us(1000))
		look_after();
	for (unsigned i = 0; i < USERS; i++) {
		(void)child_kill(pids[i]);
		*(i < READERS ? &totals.reads : &totals.writes) += atomic_load(&shared->users[i].calls);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	printf("# %lu damages, %lu restorations, %lu files cut and replaced, %lu writers killed; %llu calls by readers, %llu by writers, "
	       "%lu crashes, %lu hangs\n", totals.damages, totals.restores, totals.replaced, totals.deaths, (unsigned long long)totals.reads,
	       (unsigned long long)totals.writes, totals.crashes, totals.hangs);
	munmap(bytes, SIZE);
	free(image);
}

static void nobody_crashes_or_hangs_while_the_segment_is_scribbled_over(void **state)
{
	const char *soak = getenv("SOAK");

	(void)state;
	shared = shared_memory(sizeof *shared);
	if (soak)
		scribble_for(strtol(soak, NULL, 10) * 1000, SOAK_DAMAGES, (uint64_t)now_us());
	else
		scribble_for(6000, 0, (uint64_t)now_us());
	require_int(0, totals.crashes);
	require_int(0, totals.hangs);
	require(totals.damages > 1000 && totals.reads > 1000 && totals.writes > 1000);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(nobody_crashes_or_hangs_while_the_segment_is_scribbled_over),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * support.c: requirements, children and the segment directory of the test programs.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

/* The thread in which a failed requirement ends the test; 0 in a program without cmocka's tests. */
static pid_t test_thread;
static char directory[128];

/* ---------------------------------------------------------------------------------------- requirements */

static char going_on[256];

void note(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(going_on, sizeof going_on, format, arguments);
	va_end(arguments);
}

static void failed(const char *file, int line)
{
	if (going_on[0])
		fprintf(stderr, "# that was: %s\n", going_on);
	fflush(stdout);
	fflush(stderr);
	if (test_thread == gettid())
		_fail(file, line);
	_exit(1);
}

void require_true(const char *file, int line, const char *text, bool condition)
{
	if (condition)
		return;
	fprintf(stderr, "# %s:%d: not so: %s\n", file, line, text);
	failed(file, line);
}

void require_same(const char *file, int line, const char *text, long long expected, long long actual)
{
	if (expected == actual)
		return;
	fprintf(stderr, "# %s:%d: %s is %lld, not %lld\n", file, line, text, actual, expected);
	failed(file, line);
}

void require_result(const char *file, int line, const char *text, int expected, int result, const char *words)
{
	if (result != expected) {
		fprintf(stderr, "# %s:%d: %s gave %s, not %s: %s\n", file, line, text, flagstore_error_name(result),
		        flagstore_error_name(expected), flagstore_detail());
		failed(file, line);
	}
	if (words && !strstr(flagstore_detail(), words)) {
		fprintf(stderr, "# %s:%d: %s: the detail does not say \"%s\": \"%s\"\n", file, line, text, words,
		        flagstore_detail());
		failed(file, line);
	}
}

static void print_finding(const struct flagstore_finding *finding, void *argument)
{
	(void)argument;
	fprintf(stderr, "# %s in shard %d at %#llx: %s\n", finding->kind, (int)finding->shard,
	        (unsigned long long)finding->offset, finding->text);
}

void require_healthy(flagstore *store)
{
	uint64_t findings = UINT64_MAX;
	uint32_t skipped = UINT32_MAX;

	require_ok(flagstore_check(store, print_finding, NULL, &findings, &skipped));
	require_int(0, findings);
	require_int(0, skipped);
}

void skip_because(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("# skipped: ", stdout);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
	skip();
}

/* ------------------------------------------------------------------------------------------- segments */

int segments_own(void)
{
	const char *parent = getenv("FLAGSTORE_DIR");

	snprintf(directory, sizeof directory, "%s/flagstore-test.XXXXXX", parent ? parent : "/dev/shm");
	if (!mkdtemp(directory)) {
		fprintf(stderr, "# can't make the directory %s: %s\n", directory, strerror(errno));
		return -1;
	}
	/* Others than its owner must be able to try a segment in it, as in /dev/shm. */
	return chmod(directory, 01777) || setenv("FLAGSTORE_DIR", directory, 1);
}

int segments_setup(void **state)
{
	(void)state;
	test_thread = gettid();
	return segments_own();
}

int segments_teardown(void **state)
{
	struct dirent *entry;
	DIR *stream = opendir(directory);

	(void)state;
	if (!stream)
		return -1;
	while ((entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(dirfd(stream), entry->d_name, 0);
	closedir(stream);
	return rmdir(directory);
}

flagstore *fresh(const char *name, const struct flagstore_options *options)
{
	struct flagstore_options small = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;
	int removed = flagstore_unlink(name);

	small.max_bytes = 64 << 20;
	require(removed == FLAGSTORE_OK || removed == FLAGSTORE_ENOSEGMENT);
	require_ok(flagstore_create(name, options ? options : &small, &store));
	return store;
}

flagstore *attach(const char *name, uint32_t flags)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;

	options.flags = flags;
	require_ok(flagstore_attach(name, &options, &store));
	return store;
}

struct flagstore_flag lookup(const flagstore *store, const char *key)
{
	struct flagstore_flag flag;
	int result = flagstore_lookup(store, key, &flag);

	require(result == FLAGSTORE_OK || result == FLAGSTORE_ENOTFOUND);
	require_int(result == FLAGSTORE_OK, flag.exists);
	return flag;
}

struct flagstore_info info(const flagstore *store)
{
	struct flagstore_info all;

	require_ok(flagstore_info(store, &all));
	return all;
}

const char *path_of(const char *name)
{
	static char places[4][512];
	static unsigned next;
	char *place = places[next++ % 4];

	require_ok(flagstore_path(name, place, sizeof places[0]));
	return place;
}

/* Calls each for every run of bytes that the file really holds. */
static void for_each_extent(int file, void (*each)(int file, off_t from, off_t to, void *argument), void *argument)
{
	off_t end = 0;

	for (;;) {
		off_t from = lseek(file, end, SEEK_DATA);

		if (from < 0)
			return;
		end = lseek(file, from, SEEK_HOLE);
		each(file, from, end, argument);
	}
}

static void digest_extent(int file, off_t from, off_t to, void *argument)
{
	uint64_t *digest = argument;
	uint64_t words[512];

	for (off_t at = from; at < to; at += (off_t)sizeof words) {
		memset(words, 0, sizeof words);
		require(pread(file, words, sizeof words, at) >= 0);
		for (size_t i = 0; i < 512; i++) {
			uint64_t place = (uint64_t)at + i * 8;

			/* Each word is mixed with its place and summed, so zeros count for nothing, wherever they stand. */
			if (words[i]) {
				uint64_t mixed = words[i] ^ (place << 1);
				*digest += random_next(&mixed);
			}
		}
	}
}

uint64_t digest_of(const char *path)
{
	uint64_t digest = 0;
	int file = open(path, O_RDONLY | O_CLOEXEC);

	require(file >= 0);
	for_each_extent(file, digest_extent, &digest);
	close(file);
	return digest;
}

static void zero_extent(int file, off_t from, off_t to)
{
	static const char zeros[FS_PAGE];

	for (; from < to; from += FS_PAGE)
		require(pwrite(file, zeros, sizeof zeros, from) == (ssize_t)sizeof zeros);
}

static void copy_extent(int file, off_t from, off_t to, void *argument)
{
	int copy = *(int *)argument;
	char bytes[65536];

	while (from < to) {
		size_t most = (size_t)(to - from) < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
		ssize_t got = pread(file, bytes, most, from);

		require(got > 0);
		require(pwrite(copy, bytes, (size_t)got, from) == got);
		from += got;
	}
}

/* Up to where the heap has room. The file may be none of a segment. */
static off_t front_bytes(int file)
{
	struct stat status;
	struct fs_header header;

	require(fstat(file, &status) == 0);
	if (pread(file, &header, sizeof header, 0) != sizeof header || (off_t)header.room * FS_LINE > status.st_size)
		return status.st_blocks * 512;
	return (off_t)header.room * FS_LINE;
}

static uint64_t seats_at(const struct fs_header *header)
{
	const struct fs_constants *constants = &header->constants;

	return constants->max_bytes - constants->shadows * sizeof(struct fs_shadow) - constants->conflicts * sizeof(struct fs_conflict) -
	       constants->seats * sizeof(struct fs_seat);
}

void copy_file(const char *from, const char *to)
{
	struct stat status;
	int file = open(from, O_RDONLY | O_CLOEXEC), copy;

	require(file >= 0 && fstat(file, &status) == 0);
	(void)unlink(to);
	copy = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, status.st_mode & 0777);
	require(copy >= 0 && ftruncate(copy, status.st_size) == 0);
	/* Room that has been given but not been touched is a hole to lseek(), and yet must be there. */
	require(posix_fallocate(copy, 0, front_bytes(file)) == 0);
	for_each_extent(file, copy_extent, &copy);
	close(copy);
	close(file);
}

void rewind_file(const char *from, const char *to)
{
	int file = open(from, O_RDONLY | O_CLOEXEC), copy = open(to, O_RDWR | O_CLOEXEC);
	struct fs_header before, after;
	off_t front, seats;

	require(file >= 0 && copy >= 0);
	front = front_bytes(file);
	require(pread(copy, &before, sizeof before, 0) == sizeof before && posix_fallocate(copy, 0, front) == 0);
	/* Room is taken from the beginning on, so behind it there is nothing but zeros. */
	copy_extent(file, 0, front, &copy);
	require(pread(copy, &after, sizeof after, 0) == sizeof after);
	seats = (off_t)seats_at(&after);
	copy_extent(file, seats, seats + (off_t)after.seat_room * FS_PAGE, &copy);
	/* Room that was given stays given, and who is attached knows of it; but nobody has the seats that are new. */
	for (uint32_t i = after.seat_room; i < before.seat_room; i++) {
		char nobody[FS_PAGE] = {0};

		require(pwrite(copy, nobody, sizeof nobody, seats + (off_t)i * FS_PAGE) == (ssize_t)sizeof nobody);
	}
	if (after.room < before.room) {
		zero_extent(copy, front, (off_t)before.room * FS_LINE);
		after.room = before.room;
	}
	after.seat_room = after.seat_room < before.seat_room ? before.seat_room : after.seat_room;
	require(pwrite(copy, &after, sizeof after, 0) == sizeof after);
	close(copy);
	close(file);
}

const char *key_of(char *place, const char *prefix, unsigned i)
{
	snprintf(place, KEY_ROOM, "%s.%u", prefix, i);
	return place;
}

/* --------------------------------------------------------------------------------- processes and time */

static void crash_as_usual(void)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};

	/* cmocka catches them, and would go on with the next test in the child. */
	for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
		signal(crashes[i], SIG_DFL);
}

pid_t child(body *run, void *argument)
{
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	require(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	crash_as_usual();
	run(argument);
	fflush(stdout);
	fflush(stderr);
	_exit(0);
}

int child_status(pid_t pid, int limit_ms)
{
	struct pollfd ended = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	int status, ready;

	require(ended.fd >= 0);
	do
		ready = poll(&ended, 1, limit_ms);
	while (ready < 0 && errno == EINTR);
	close(ended.fd);
	if (ready != 1) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		fprintf(stderr, "# child %d did not end within %d ms\n", (int)pid, limit_ms);
		require(ready == 1);
	}
	require(waitpid(pid, &status, 0) == pid);
	return status;
}

void child_succeeds(pid_t pid)
{
	int status = child_status(pid, 60000);

	if (WIFSIGNALED(status))
		fprintf(stderr, "# child %d was killed by signal %d\n", (int)pid, WTERMSIG(status));
	require_int(0, status);
}

void in_child(body *run, void *argument)
{
	child_succeeds(child(run, argument));
}

bool child_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status);
}

void *shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	require(memory != MAP_FAILED);
	return memory;
}

int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t now_ms(void)
{
	return now_us() / 1000;
}

void pause_us(long us)
{
	struct timespec pause = {us / 1000000, us % 1000000 * 1000};

	while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
		continue;
}

uint64_t random_next(uint64_t *state)
{
	uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

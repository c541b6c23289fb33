/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durable-faults.c: the disk fails, in the middle of load, and comes back: writes and syncs that give an error or take long (by functions
 * of this program that stand in front of the C library's), a file system that is full, a directory that is removed or may not be
 * entered, a file that is replaced. Each time a writer and a reader go on; the breaker opens and closes by itself; then table and LMDB
 * are in step, and both have what the writer was told is done.
 *
 *     FAULTS_ALL=1  all of them; without it those that take long are left out
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "durability.h"

#define SEGMENT "faults"

enum { KEYS = 64, DESCRIPTORS = 1024 };

/* Shared with the children. */
static struct shared {
	char path[PATH_ROOM]; /* data.mdb */
	/* what the calls of all processes do, when it is that file */
	_Atomic int write_error, sync_error, open_error;
	_Atomic uint32_t slow_ms; /* syncs */
	_Atomic uint64_t injected;
	/* the load */
	_Atomic uint32_t stop, pause, paused;
	_Atomic uint64_t reads, writes, refused, not_durable;
	_Atomic int table[KEYS];   /* what the flag is: 1, 0, -1 not there; -2 being changed */
	_Atomic int durable[KEYS]; /* what it must be in LMDB too; -2: may be old or new */
	bool grows;                /* the writer inserts ever new flags, too */
	_Atomic uint64_t grown;
} *shared;

static unsigned long faults;

/* ------------------------------------------------------------------------- in place of the C library's functions */

static bool ours[DESCRIPTORS];

static bool fails(int fd, int error)
{
	if (!error || fd < 0 || fd >= DESCRIPTORS || !ours[fd])
		return false;
	shared->injected++;
	errno = error;
	return true;
}

int open(const char *path, int flags, ...)
{
	bool mine = shared && *shared->path && strcmp(path, shared->path) == 0;
	va_list arguments;
	mode_t mode;
	int fd;

	va_start(arguments, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	if (mine && shared->open_error) {
		shared->injected++;
		errno = shared->open_error;
		return -1;
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd >= 0 && fd < DESCRIPTORS)
		ours[fd] = mine && (flags & O_ACCMODE) != O_RDONLY;
	return fd;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
	return shared && fails(fd, shared->write_error) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t place)
{
	return shared && fails(fd, shared->write_error) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, place);
}

ssize_t writev(int fd, const struct iovec *vector, int count)
{
	return shared && fails(fd, shared->write_error) ? -1 : syscall(SYS_writev, fd, vector, count);
}

ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t place)
{
	return shared && fails(fd, shared->write_error) ? -1 : syscall(SYS_pwritev, fd, vector, count, place, 0);
}

static int sync_it(long call, int fd)
{
	if (shared && fails(fd, shared->slow_ms ? EINTR : 0))
		pause_us(1000 * (long)shared->slow_ms);
	return shared && fails(fd, shared->sync_error) ? -1 : (int)syscall(call, fd);
}

int fdatasync(int fd)
{
	return sync_it(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return sync_it(SYS_fsync, fd);
}

/* ---------------------------------------------------------------------------------------------------- the load */

static void read_on(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	char key[KEY_ROOM];

	(void)argument;
	for (uint64_t i = 0; !shared->stop; i++) {
		(void)flagstore_get(store, key_of(key, "flag", (unsigned)(i % KEYS)));
		if (i % 64 == 0)
			shared->reads += 64;
	}
	flagstore_close(store);
}

static void write_one(flagstore *store, unsigned number)
{
	bool value = shared->table[number] != 1;
	int had = shared->durable[number], result;
	char key[KEY_ROOM];

	shared->durable[number] = -2;
	result = flagstore_set(store, key_of(key, "flag", number), value);
	switch (result) {
	case FLAGSTORE_OK:
		shared->table[number] = shared->durable[number] = value;
		shared->writes++;
		break;
	case FLAGSTORE_ENOTDURABLE:
		shared->table[number] = value;
		shared->not_durable++;
		break;
	default:
		require_int(FLAGSTORE_EREFUSED, result);
		require_int(shared->table[number], lookup(store, key).exists ? flagstore_get(store, key) : -1);
		shared->durable[number] = had;
		shared->refused++;
		break;
	}
	if (shared->grows && result == FLAGSTORE_OK && flagstore_set(store, key_of(key, "grown", (unsigned)shared->grown), true) == FLAGSTORE_OK)
		shared->grown++;
}

static void write_on(void *argument)
{
	flagstore *store = attach(SEGMENT, 0);

	(void)argument;
	for (unsigned i = 0; !shared->stop; i++) {
		while (shared->pause && !shared->stop) {
			shared->paused = 1;
			pause_us(500);
		}
		shared->paused = 0;
		write_one(store, i % KEYS);
		if (shared->grows)
			pause_us(50);
	}
	flagstore_close(store);
}

/* A thousand a second, of this phase. */
struct rates {
	double reads, writes;
};

static struct rates measure(long ms)
{
	uint64_t reads = shared->reads, writes = shared->writes;
	int64_t began = now_us(), took;

	pause_us(1000 * ms);
	took = now_us() - began;
	return (struct rates){(double)(shared->reads - reads) * 1000 / (double)took, (double)(shared->writes - writes) * 1000 / (double)took};
}

/* ----------------------------------------------------------------------------------------------------- scenes */

struct fault {
	const char *what;
	uint32_t durability, on_failure;
	void (*begin)(void);
	void (*end)(void);
	bool opens; /* the breaker must */
	bool grows;
};

static const char *directory;

static void write_no_space(void)
{
	shared->write_error = ENOSPC;
}

static void write_broken(void)
{
	shared->write_error = EIO;
}

static void sync_broken(void)
{
	shared->sync_error = EIO;
}

static void sync_slow(void)
{
	shared->slow_ms = 700;
}

static void heal(void)
{
	shared->write_error = shared->sync_error = shared->open_error = 0;
	shared->slow_ms = 0;
}

static const char *beside(const char *suffix)
{
	static char places[2][PATH_ROOM + 16];
	static unsigned next;
	char *place = places[next++ % 2];

	snprintf(place, sizeof places[0], "%s%s", directory, suffix);
	return place;
}

static void remove_directory(void)
{
	require(rename(directory, beside(".gone")) == 0);
}

static void make_directory(void)
{
	require(mkdir(directory, 0700) == 0);
	remove_tree(beside(".gone"));
}

static void forbid_directory(void)
{
	require(chmod(directory, 0) == 0);
}

static void allow_directory(void)
{
	require(chmod(directory, 0700) == 0);
}

static void replace_by_rubbish(void)
{
	char rubbish[8192];
	int file;

	memset(rubbish, 'r', sizeof rubbish);
	file = open(beside("/rubbish"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	require(file >= 0 && write(file, rubbish, sizeof rubbish) == sizeof rubbish);
	close(file);
	require(rename(beside("/rubbish"), beside("/data.mdb")) == 0);
}

static void remove_rubbish(void)
{
	require(unlink(beside("/data.mdb")) == 0);
}

static void remove_file(void)
{
	require(unlink(beside("/data.mdb")) == 0);
}

static void nothing(void)
{
}

static void replace_by_older(void)
{
	const char *older = on_disk("older");

	copy_saved(directory, older);
	pause_us(100000);
	require(rename(strcat(strcpy((char[PATH_ROOM + 16]){0}, older), "/data.mdb"), beside("/data.mdb")) == 0);
}

static void fail_opens(void)
{
	shared->open_error = EIO;
	remove_file();
}

static void fill_up(void)
{
	static char zeros[65536];
	int file = open(beside("/ballast"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	require(file >= 0);
	for (size_t bytes = sizeof zeros; bytes >= 512;)
		if (syscall(SYS_write, file, zeros, bytes) <= 0)
			bytes /= 2;
	close(file);
}

static void make_room(void)
{
	require(unlink(beside("/ballast")) == 0);
}

static void require_model(flagstore *store)
{
	const char *copy = on_disk("copy"), *keys[KEYS];
	char text[KEYS][KEY_ROOM];
	int values[KEYS];

	copy_saved(directory, copy);
	for (unsigned i = 0; i < KEYS; i++)
		keys[i] = key_of(text[i], "flag", i);
	saved_all(copy, KEYS, keys, values);
	for (unsigned i = 0; i < KEYS; i++) {
		struct flagstore_flag flag = lookup(store, keys[i]);

		require_int(shared->table[i], flag.exists ? flag.value : -1);
		require_int(shared->table[i], values[i]);
	}
	require_int(KEYS + shared->grown, info(store).flags);
	require_int(KEYS + shared->grown, saved_flags(copy));
}

/* A machine that is lost now: what the writer was told is durable, is. */
static void require_acknowledged(void)
{
	const char *copy = on_disk("copy"), *keys[KEYS];
	char text[KEYS][KEY_ROOM];
	int values[KEYS];

	shared->paused = 0;
	shared->pause = 1;
	for (int64_t end = now_ms() + 20000; !shared->paused; pause_us(500))
		require(now_ms() < end);
	copy_saved(directory, copy);
	for (unsigned i = 0; i < KEYS; i++)
		keys[i] = key_of(text[i], "flag", i);
	saved_all(copy, KEYS, keys, values);
	for (unsigned i = 0; i < KEYS; i++)
		require(shared->durable[i] == -2 || shared->durable[i] == values[i]);
	shared->pause = 0;
}

/* Who was in a commit when the disk became slow comes back when the disk has had its time. */
static void await_progress(void)
{
	uint64_t done = shared->writes + shared->refused;

	for (int64_t end = now_ms() + 20000; shared->writes + shared->refused < done + 2; pause_us(500))
		require(now_ms() < end);
}

static flagstore *open_scene(const struct fault *fault)
{
	struct flagstore_options options = persisting(directory, fault->durability);
	/* So that a second is long, where that is the fault; elsewhere a disk that is slow by itself is none. */
	struct flagstore_breaker_limits limits = {.commit_ms = fault->begin == sync_slow ? 300 : 30000, .samples = 3};
	char key[KEY_ROOM];
	flagstore *store;

	options.on_failure = fault->on_failure;
	options.flags = FLAGSTORE_NO_FLUSHER;
	options.flush_interval_ms = 10;
	store = fresh(SEGMENT, &options);
	memset(shared, 0, sizeof *shared);
	snprintf(shared->path, sizeof shared->path, "%s/data.mdb", directory);
	shared->grows = fault->grows;
	for (unsigned i = 0; i < KEYS; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), false));
	require_ok(flagstore_sync(store, 20000));
	/* Not before: on a busy machine the disk may be as slow as that. */
	require_ok(flagstore_set_breaker(store, &limits));
	return store;
}

static void suffer(const struct fault *fault)
{
	flagstore *store = open_scene(fault);
	pid_t reader = child(read_on, NULL), writer = child(write_on, NULL);
	struct rates before, during = {0, 0};
	int64_t began, opened = 0, closed;
	uint64_t trips, refused;

	note("%s", fault->what);
	pause_us(100000);
	before = measure(250);
	began = now_ms();
	fault->begin();
	if (fault->opens) {
		await_breaker(store, FLAGSTORE_BREAKER_OPEN, 30000);
		opened = now_ms() - began;
		refused = shared->refused;
		await_progress();
		during = measure(250);
		/* Ratios of one run; the machine is not ours alone. */
		require(during.reads > before.reads / 5);
		require(fault->on_failure == FLAGSTORE_REFUSE || during.writes > before.writes / 5);
		require(fault->on_failure == FLAGSTORE_DEGRADE || shared->refused > refused);
		require(persistence(store).failure[0]);
		if (fault->durability == FLAGSTORE_SYNC && fault->on_failure == FLAGSTORE_REFUSE)
			require_acknowledged();
	} else {
		pause_us(250000);
	}
	began = now_ms();
	fault->end();
	await_breaker(store, FLAGSTORE_BREAKER_CLOSED, 90000);
	closed = now_ms() - began;
	/* And it stays closed, as soon as all is well: a disk that is slow by itself is none of ours. */
	require_ok(flagstore_set_breaker(store, &(struct flagstore_breaker_limits){.commit_ms = 30000}));
	trips = persistence(store).trips;
	pause_us(300000);
	require_int(trips, persistence(store).trips);
	refused = shared->refused;
	(void)measure(50);
	require_int(refused, shared->refused);
	shared->stop = 1;
	child_succeeds(reader);
	child_succeeds(writer);
	require_in_step(store);
	require_model(store);
	printf("# %-44s opened after %5lld ms, closed %5lld ms after the end; of the speed before: reads %.2f, writes %.2f; refused %llu\n", fault->what,
	       (long long)opened, (long long)closed, during.reads / before.reads, during.writes / before.writes,
	       (unsigned long long)shared->refused);
	fflush(stdout);
	faults++;
	flagstore_close(store);
	require_ok(flagstore_unlink(SEGMENT));
}

static void suffer_all(const struct fault *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (getenv("FAULT") && !strstr(all[i].what, getenv("FAULT")))
			continue;
		directory = on_disk("faults");
		suffer(&all[i]);
	}
}

#define ASYNC FLAGSTORE_ASYNC
#define SYNC FLAGSTORE_SYNC
#define DEGRADE FLAGSTORE_DEGRADE
#define REFUSE FLAGSTORE_REFUSE

static void a_disk_that_fails_and_comes_back_loses_nothing(void **state)
{
	static const struct fault brief[] = {
		{"writes: no space (async, degrade)", ASYNC, DEGRADE, write_no_space, heal, true, false},
		{"syncs: I/O error (sync, refuse)", SYNC, REFUSE, sync_broken, heal, true, false},
		{"syncs: slow (sync, refuse)", SYNC, REFUSE, sync_slow, heal, true, false},
		{"writes: I/O error (sync, degrade)", SYNC, DEGRADE, write_broken, heal, true, false},
	}, more[] = {
		{"writes: no space (sync, refuse)", SYNC, REFUSE, write_no_space, heal, true, false},
		{"syncs: I/O error (async, degrade)", ASYNC, DEGRADE, sync_broken, heal, true, false},
		{"syncs: slow (async, degrade)", ASYNC, DEGRADE, sync_slow, heal, true, false},
		{"syncs: slow (sync, degrade)", SYNC, DEGRADE, sync_slow, heal, true, false},
		{"writes: I/O error (async, refuse)", ASYNC, REFUSE, write_broken, heal, true, false},
	};

	(void)state;
	suffer_all(brief, sizeof brief / sizeof *brief);
	if (getenv("FAULTS_ALL"))
		suffer_all(more, sizeof more / sizeof *more);
}

static void a_directory_that_goes_away_and_comes_back_is_filled_anew(void **state)
{
	static const struct fault brief[] = {
		{"directory removed, made anew (sync, degrade)", SYNC, DEGRADE, remove_directory, make_directory, true, false},
		{"data.mdb removed (async)", ASYNC, DEGRADE, remove_file, nothing, false, false},
		{"data.mdb replaced by an older copy (async)", ASYNC, DEGRADE, replace_by_older, nothing, false, false},
	}, more[] = {
		{"directory removed, made anew (async, refuse)", ASYNC, REFUSE, remove_directory, make_directory, true, false},
		{"data.mdb replaced by rubbish (async, degrade)", ASYNC, DEGRADE, replace_by_rubbish, remove_rubbish, true, false},
		{"data.mdb replaced by rubbish (sync, degrade)", SYNC, DEGRADE, replace_by_rubbish, remove_rubbish, true, false},
		{"data.mdb replaced by an older copy (sync)", SYNC, DEGRADE, replace_by_older, nothing, false, false},
		{"data.mdb can't be opened again (sync, degrade)", SYNC, DEGRADE, fail_opens, heal, true, false},
	};

	(void)state;
	suffer_all(brief, sizeof brief / sizeof *brief);
	if (getenv("FAULTS_ALL"))
		suffer_all(more, sizeof more / sizeof *more);
}

/* ---------------------------------------------------------------------------------------- in a child's own world */

static void suffer_a_full_file_system(void *argument)
{
	static const struct fault all[] = {
		{"file system full (async, degrade)", ASYNC, DEGRADE, fill_up, make_room, true, true},
		{"file system full (async, refuse)", ASYNC, REFUSE, fill_up, make_room, true, true},
	};
	char mounted[PATH_ROOM], place[PATH_ROOM + 8];

	(void)argument;
	snprintf(mounted, sizeof mounted, "%s", on_disk("mounted"));
	require(mkdir(mounted, 0700) == 0);
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", mounted, "tmpfs", 0, "size=16m") != 0)
		_exit(77);
	snprintf(place, sizeof place, "%s/lmdb", mounted);
	for (size_t i = 0; i < (getenv("FAULTS_ALL") ? 2 : 1); i++) {
		remove_tree(place);
		directory = place;
		suffer(&all[i]);
	}
}

static void a_file_system_that_is_full_loses_nothing(void **state)
{
	int status;

	(void)state;
	status = child_status(child(suffer_a_full_file_system, NULL), 120000);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("a mount is not allowed here");
	require_int(0, status);
	faults += getenv("FAULTS_ALL") ? 2 : 1;
}

static void suffer_a_lack_of_permission(void *argument)
{
	static const struct fault all[] = {
		{"directory forbidden (sync, degrade)", SYNC, DEGRADE, forbid_directory, allow_directory, true, false},
		{"directory forbidden (async, refuse)", ASYNC, REFUSE, forbid_directory, allow_directory, true, false},
	};
	char place[PATH_ROOM], folder[PATH_ROOM + 8];

	(void)argument;
	snprintf(place, sizeof place, "%s", on_disk("somebodys"));
	require(mkdir(place, 0700) == 0);
	if (getuid() == 0)
		require(chown(place, 65534, 65534) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	if (durable_move(place) != 0)
		_exit(77);
	snprintf(folder, sizeof folder, "%s/lmdb", place);
	for (size_t i = 0; i < (getenv("FAULTS_ALL") ? 2 : 1); i++) {
		directory = folder;
		suffer(&all[i]);
		remove_tree(folder);
	}
}

static void a_directory_that_may_not_be_entered_loses_nothing(void **state)
{
	int status;

	(void)state;
	status = child_status(child(suffer_a_lack_of_permission, NULL), 120000);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("another user can't do anything here");
	require_int(0, status);
	faults += getenv("FAULTS_ALL") ? 2 : 1;
}

static void be_a_stranger(void *argument)
{
	flagstore *store = NULL;

	(void)argument;
	require_error(FLAGSTORE_ENAMESPACE, flagstore_attach(SEGMENT, NULL, &store));
	store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require(flagstore_get(store, "flag"));
	require_error(FLAGSTORE_EREADONLY, flagstore_sync(store, 100));
	flagstore_close(store);
}

static void have_a_strange_child(void *argument)
{
	(void)argument;
	if (unshare(CLONE_NEWPID) != 0)
		_exit(77);
	in_child(be_a_stranger, NULL);
}

static void a_writer_from_another_pid_namespace_is_refused(void **state)
{
	flagstore *store;
	int status;

	(void)state;
	directory = on_disk("namespaces");
	store = fresh_durable(SEGMENT, directory, SYNC, 0);
	require_ok(flagstore_set(store, "flag", true));
	status = child_status(child(have_a_strange_child, NULL), 20000);
	require_in_step(store);
	flagstore_close(store);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("a PID namespace is not allowed here");
	require_int(0, status);
}

static int setup(void **state)
{
	shared = shared_memory(sizeof *shared);
	return durable_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_that_fails_and_comes_back_loses_nothing),
		cmocka_unit_test(a_directory_that_goes_away_and_comes_back_is_filled_anew),
		cmocka_unit_test(a_file_system_that_is_full_loses_nothing),
		cmocka_unit_test(a_directory_that_may_not_be_entered_loses_nothing),
		cmocka_unit_test(a_writer_from_another_pid_namespace_is_refused),
	};
	int failed;

	choose_tests();
	failed = cmocka_run_group_tests(tests, setup, durable_teardown);
	printf("# %lu faults\n", faults);
	printf("# lost %d\n", failed);
	return failed;
}

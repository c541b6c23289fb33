/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * create.c: making a segment, and unlinking it. A creator makes the file with O_EXCL, locks it, fills it, and says READY last. Who finds a
 * file that is not READY, and gets the setup lock, knows that its creator is dead: it may take the file over. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admit.h"
#include "error.h"
#include "file.h"
#include "grow.h"
#include "lock.h"
#include "persist.h"
#include "point.h"
#include "seat.h"
#include "worker.h"

#define MAX_BYTES_DEFAULT (UINT64_C(1) << 30)
#define SHARDS_DEFAULT 64
#define WORKERS_DEFAULT 256
#define SEATS_DEFAULT 1024
#define FLUSH_INTERVAL_DEFAULT_MS 50
#define FLUSH_INTERVAL_MAX_MS 60000
#define MODE_DEFAULT 0600
#define MODE_MAX 0660

static int check_options(const char *name, const struct flagstore_options *options)
{
	uint32_t shards = options->shards;
	struct rlimit limit;

	if (options->size != sizeof *options || options->flags & ~(uint32_t)(FLAGSTORE_CREATE | FLAGSTORE_NO_FLUSHER))
		return fs_fail(FLAGSTORE_EARGUMENT, "the options to create segment \"%.100s\" are not set up by FLAGSTORE_OPTIONS_INIT", name);
	if (options->max_bytes && (options->max_bytes < FS_MIN_BYTES || options->max_bytes > FS_MAX_BYTES))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": a maximum size of %llu bytes is not between %llu and %llu", name,
		               (unsigned long long)options->max_bytes, (unsigned long long)FS_MIN_BYTES, (unsigned long long)FS_MAX_BYTES);
	if (shards > FLAGSTORE_SHARDS_MAX || shards & (shards - 1))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u shards are not a power of two from 1 to %d", name, shards,
		               FLAGSTORE_SHARDS_MAX);
	if (options->workers > FLAGSTORE_WORKERS_MAX)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u workers are more than %d", name, options->workers, FLAGSTORE_WORKERS_MAX);
	if (options->seats > FLAGSTORE_SEATS_MAX)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u seats are more than %d", name, options->seats, FLAGSTORE_SEATS_MAX);
	if (options->mode & ~(uint32_t)MODE_MAX || (options->mode && (options->mode & 0600) != 0600))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": mode %04o is not within %04o, or keeps the owner out", name, options->mode, MODE_MAX);
	if (!options->persist && (options->durability || options->on_failure || options->flush_interval_ms))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": durability needs a directory to persist in", name);
	if (options->persist && (options->durability > FLAGSTORE_SYNC || options->on_failure > FLAGSTORE_REFUSE ||
	                         options->flush_interval_ms > FLUSH_INTERVAL_MAX_MS || !*options->persist ||
	                         strlen(options->persist) > FS_DIRECTORY_PATH / 2))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": durability, what happens on failure, flush interval (up to %d ms) or directory "
		               "(up to %d bytes) are not possible", name, FLUSH_INTERVAL_MAX_MS, FS_DIRECTORY_PATH / 2);
	if (options->persist && options->laboratory)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": a laboratory segment, which is meant to be broken, does not persist", name);
	/* Beyond the limit the kernel would kill us by SIGXFSZ instead of an error. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    (options->max_bytes ? options->max_bytes : MAX_BYTES_DEFAULT) > limit.rlim_cur)
		return fs_fail(FLAGSTORE_ENOSPACE, "segment \"%.100s\" can't be created: its maximum size is beyond this process's file size limit of %llu bytes "
		               "(ulimit -f); create it smaller", name, (unsigned long long)limit.rlim_cur);
	return FLAGSTORE_OK;
}

static uint32_t at_most(uint64_t number, uint32_t most)
{
	return number < most ? (uint32_t)number : most;
}

static void make_constants(const struct flagstore_options *options, struct fs_constants *constants)
{
	uint64_t max_bytes = options->max_bytes ? options->max_bytes : MAX_BYTES_DEFAULT;

	/* In a small segment what stands behind the heap shall not take more than an eighth: a sixteenth are seats, and as much are conflicts
	 * and shadows together. */
	uint32_t seats = at_most(max_bytes / 16 / sizeof(struct fs_seat), SEATS_DEFAULT);

	*constants = (struct fs_constants){
		.byte_order = FS_BYTE_ORDER,
		.layout = FS_LAYOUT_VERSION,
		.header_size = sizeof(struct fs_header),
		.shard_size = sizeof(struct fs_shard),
		.worker_size = sizeof(struct fs_worker),
		.slot_size = sizeof(struct fs_slot),
		.seat_size = sizeof(struct fs_seat),
		.conflict_size = sizeof(struct fs_conflict),
		.seats = fs_or_default(options->seats, seats),
		.conflicts = at_most(max_bytes / 32 / sizeof(struct fs_conflict) / 2 * 2, FS_CONFLICTS_MAX),
		.shadows = at_most(max_bytes / 32 / FS_PAGE * FS_PAGE / sizeof(struct fs_shadow), FS_SHADOWS_MAX),
		.shards = fs_or_default(options->shards, SHARDS_DEFAULT),
		.workers = fs_or_default(options->workers, WORKERS_DEFAULT),
		.lock_wait_ms = fs_or_default(options->lock_wait_ms, FS_LOCK_WAIT_DEFAULT_MS),
		.laboratory = options->laboratory,
		.feature_incompatible = options->persist ? FS_FEATURE_JOURNAL : 0,
		.max_bytes = max_bytes / FS_PAGE * FS_PAGE,
		.created_ms = fs_now_ms(),
	};
	memcpy(constants->magic, FS_MAGIC, sizeof constants->magic);
}

static int make_random(const flagstore *store, struct fs_constants *constants)
{
	uint8_t bytes[sizeof constants->hash_seed + sizeof constants->uuid];

	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s: there are no random bytes", store->path);
	memcpy(&constants->hash_seed, bytes, sizeof constants->hash_seed);
	memcpy(constants->uuid, bytes + sizeof constants->hash_seed, sizeof constants->uuid);
	/* A random UUID, RFC 4122 version 4. */
	constants->uuid[6] = (uint8_t)((constants->uuid[6] & 0x0f) | 0x40);
	constants->uuid[8] = (uint8_t)((constants->uuid[8] & 0x3f) | 0x80);
	return FLAGSTORE_OK;
}

/* Absolute, whatever directory the next who attaches is in. */
static int note_persistence(flagstore *store, const struct flagstore_options *options)
{
	struct fs_persistence *persistence = &store->persistence;
	char here[PATH_MAX] = "";

	persistence->durability = fs_or_default(options->durability, FLAGSTORE_ASYNC);
	persistence->on_failure = options->on_failure;
	persistence->flush_interval_ms = fs_or_default(options->flush_interval_ms, FLUSH_INTERVAL_DEFAULT_MS);
	if (*options->persist != '/' && !getcwd(here, sizeof here))
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s: the working directory, which %s lies in, is not known", store->path,
		                     options->persist);
	if ((size_t)snprintf(persistence->directory, sizeof persistence->directory, "%s%s%s", here, *here ? "/" : "", options->persist) >=
	    sizeof persistence->directory)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s: the path of directory %s is too long", store->path, options->persist);
	return FLAGSTORE_OK;
}

static int set_access(const flagstore *store, const struct flagstore_options *options)
{
	if (options->group != (gid_t)-1 && fchown(store->fd, (uid_t)-1, options->group) != 0)
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "segment %s can't be given to group %u", store->path, (unsigned)options->group);
	if (fchmod(store->fd, fs_or_default(options->mode, MODE_DEFAULT)) != 0)
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "the mode of segment %s can't be set", store->path);
	return FLAGSTORE_OK;
}

/* Fills the file, which is empty or what a dead creator left of his. Expects the setup lock. */
static int fill_file(flagstore *store, const struct flagstore_options *options)
{
	struct fs_constants *constants = &store->constants;
	struct fs_header *header;
	uint64_t first_bytes;
	int error;

	make_constants(options, constants);
	error = make_random(store, constants);
	if (error)
		return error;
	first_bytes = (uint64_t)fs_heap_start(constants) * FS_LINE;
	if (!fs_has_sound_tail(constants))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s: %u shards, %u workers and %u seats do not leave room for flags in a maximum size of "
		               "%llu bytes", store->path, constants->shards, constants->workers, constants->seats,
		               (unsigned long long)constants->max_bytes);
	/* To nothing first: what a dead creator left becomes zeros. Then the magic, so that what we leave can be told from a file of
	 * somebody else. */
	if (ftruncate(store->fd, 0) != 0 || pwrite(store->fd, FS_MAGIC, sizeof constants->magic, 0) != (ssize_t)sizeof constants->magic)
		return fs_open_error(store, "written");
	FS_POINT("magic written");
	if (ftruncate(store->fd, (off_t)constants->max_bytes) != 0)
		return fs_open_error(store, "given its size");
	FS_POINT("file sized");
	error = fs_room_allocate(store, 0, first_bytes);
	if (!error)
		error = fs_store_map(store, true);
	if (error)
		return error;
	header = fs_header_writable(store);
	constants->check = fs_constants_check(constants);
	header->constants = *constants;
	atomic_store_explicit(&header->heap, store->heap_start, memory_order_relaxed);
	atomic_store_explicit(&header->room, store->heap_start, memory_order_relaxed);
	FS_POINT("header written");
	if (!fs_room_reaches(store, store->heap_start))
		return fs_fail(FLAGSTORE_ESYSTEM, "segment %s: its file system does not keep the room that it gave", store->path);
	error = fs_make_locks(store);
	if (!error)
		error = fs_sign(store);
	if (!error)
		error = set_access(store, options);
	if (error)
		return error;
	store->lock_wait_ms = constants->lock_wait_ms;
	store->no_flusher = options->flags & FLAGSTORE_NO_FLUSHER;
	/* Only who has entered changes something in the table. */
	fs_worker_enter(store);
	fs_entered(store);
	if (options->reserve)
		error = fs_reserve(store, options->reserve);
	if (!error && options->persist)
		error = note_persistence(store, options);
	if (!error && options->persist)
		error = fs_persist_create(store);
	if (error)
		return error;
	/* release: whoever sees READY sees the rest. A death before this store leaves a file that is taken over. */
	atomic_store_explicit(&header->state, FS_READY, memory_order_release);
	FS_POINT("ready");
	fs_file_lock(store->fd, F_RDLCK, FS_LOCK_PRESENT);
	return FLAGSTORE_OK;
}

/* Is what stands in the file, whose setup lock we hold, nothing yet, or what a dead creator left? */
static int may_take_over(const flagstore *store)
{
	struct fs_header header = {.state = FS_CREATING};
	struct stat file;

	if (fstat(store->fd, &file) != 0)
		return fs_open_error(store, "read");
	if (!S_ISREG(file.st_mode))
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file; choose another name for the segment", store->path);
	if (pread(store->fd, &header, sizeof header, 0) < 0)
		return fs_open_error(store, "read");
	if (file.st_size && memcmp(header.constants.magic, FS_MAGIC, sizeof header.constants.magic) != 0)
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is a file of something else; choose another name for the segment", store->path);
	if (atomic_load(&header.state) != FS_CREATING)
		return fs_fail(FLAGSTORE_EEXISTS, "segment %s exists already; unlink it first, or attach to it", store->path);
	/* Nobody attaches to what a creator did not finish. With workers in it, it is a segment whose state was damaged, and to take it over
	 * would cut it under their feet. */
	if (!fs_file_lock(store->fd, F_WRLCK, FS_LOCK_PRESENT))
		return fs_fail(FLAGSTORE_EEXISTS, "segment %s exists already, in use by workers, and its header is damaged; unlink it first", store->path);
	return FLAGSTORE_OK;
}

/* Somebody may have unlinked the file between our opening and our locking it. */
static bool still_there(const flagstore *store)
{
	struct stat file, there;

	return fstat(store->fd, &file) == 0 && lstat(store->path, &there) == 0 && file.st_ino == there.st_ino && file.st_dev == there.st_dev;
}

/* Opens the file, made by us or found, and gets its setup lock. */
static int open_to_create(flagstore *store, uint32_t limit_ms)
{
	int error;

	for (;;) {
		/* 0600 until the mode is set: nobody else gets in before the segment is ready. */
		store->fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		FS_POINT("file created");
		if (store->fd < 0 && errno == ENOENT)
			return fs_fail(FLAGSTORE_ENOSEGMENT, "segment %s can't be created: its directory does not exist", store->path);
		if (store->fd < 0 && errno == EEXIST) {
			store->fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
			/* It has been unlinked meanwhile. */
			if (store->fd < 0 && errno == ENOENT)
				continue;
		}
		if (store->fd < 0)
			return fs_open_error(store, "created");
		error = fs_store_wait_for_lock(store, F_WRLCK, FS_LOCK_SETUP, limit_ms);
		if (error || still_there(store))
			return error;
		close(store->fd);
	}
}

static int create_file(flagstore *store, const struct flagstore_options *options)
{
	int error = open_to_create(store, fs_or_default(options->lock_wait_ms, FS_LOCK_WAIT_DEFAULT_MS));

	if (error)
		return error;
	error = may_take_over(store);
	if (error)
		return error;
	error = fill_file(store, options);
	if (error) {
		/* Nobody has seen it READY: while we hold the setup lock it is ours to remove. */
		unlink(store->path);
		return error;
	}
	return FLAGSTORE_OK;
}

int flagstore_create(const char *name, const struct flagstore_options *options, flagstore **store)
{
	const struct flagstore_options none = FLAGSTORE_OPTIONS_INIT;
	flagstore *made = NULL;
	int error;

	options = options ? options : &none;
	error = check_options(name, options);
	if (!error)
		error = fs_store_new(name, &made);
	if (error)
		return error;
	error = create_file(made, options);
	if (error) {
		/* The directory that it was to persist in is read as a worker. */
		if (made->mapping) {
			fs_seats_leave(made);
			fs_worker_leave(made);
		}
		fs_store_free(made);
		return error;
	}
	fs_file_lock(made->fd, F_UNLCK, FS_LOCK_SETUP);
	*store = fs_store_share(made);
	return FLAGSTORE_OK;
}

/* -------------------------------------------------------------------------------------------------- unlink */

int flagstore_unlink(const char *name)
{
	char magic[sizeof FS_MAGIC - 1] = "";
	flagstore *store;
	uint32_t retired = FS_RETIRED;
	struct stat file;
	int error = fs_store_new(name, &store);

	if (error)
		return error;
	store->fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (store->fd < 0)
		error = fs_open_error(store, "unlinked");
	else if (fstat(store->fd, &file) != 0 || !S_ISREG(file.st_mode) || pread(store->fd, magic, sizeof magic, 0) < 0)
		error = fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	else if (memcmp(magic, FS_MAGIC, sizeof magic) != 0)
		error = fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a flagstore segment, so it is left alone", store->path);
	else if (unlink(store->path) != 0)
		error = fs_open_error(store, "unlinked");
	/* For those that stay attached. It is news, no more: a write that fails changes nothing for them. */
	if (!error && file.st_size >= (off_t)sizeof(struct fs_header) &&
	    pwrite(store->fd, &retired, sizeof retired, offsetof(struct fs_header, state)) < 0)
		errno = 0;
	fs_store_free(store);
	return error;
}

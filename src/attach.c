/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * attach.c: attaching to a segment, and closing it. Whoever creates, resets or attaches read-write holds the file's setup lock
 * meanwhile. Nothing in the file is believed before it has been checked. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "admit.h"
#include "error.h"
#include "file.h"
#include "lock.h"
#include "persist.h"
#include "seat.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* Far in the future, and far from where the sum with the time in a slot's stamp would overflow. */
#define CREATED_MAX_MS (INT64_C(1) << 60)

/* ------------------------------------------------------------------------------------------------ constants */

uint64_t fs_constants_check(const struct fs_constants *constants)
{
	return XXH3_64bits(constants, offsetof(struct fs_constants, check));
}

/* Whole pages, and room for the heap before them. */
bool fs_has_sound_tail(const struct fs_constants *constants)
{
	return constants->seats && constants->seats <= FLAGSTORE_SEATS_MAX && constants->conflicts &&
	       constants->conflicts <= FS_CONFLICTS_MAX && constants->conflicts % 2 == 0 && constants->shadows &&
	       constants->shadows <= FS_SHADOWS_MAX && constants->shadows % (FS_PAGE / sizeof(struct fs_shadow)) == 0 &&
	       fs_heap_start(constants) < fs_tail(constants).journal / FS_LINE && fs_tail(constants).journal < constants->max_bytes;
}

/* Everything that later code relies on without looking again. */
static int check_constants(const flagstore *store, const struct fs_constants *constants, bool writable)
{
	uint32_t shards = constants->shards;

	if (constants->byte_order != FS_BYTE_ORDER)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s was made by a machine of another byte order", store->path);
	if (constants->layout != FS_LAYOUT_VERSION)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has layout version %u, and flagstore %s knows version %d; "
		               "export its flags with the version that made it", store->path, constants->layout, flagstore_version(), FS_LAYOUT_VERSION);
	if (constants->feature_incompatible & ~FS_FEATURE_JOURNAL)
		return fs_fail(FLAGSTORE_EFEATURE, "segment %s uses features (bits 0x%x) that flagstore %s does not know; use a newer version",
		               store->path, constants->feature_incompatible & ~FS_FEATURE_JOURNAL, flagstore_version());
	if (constants->feature_read_only && writable)
		return fs_fail(FLAGSTORE_EFEATURE, "segment %s uses features (bits 0x%x) with which flagstore %s can only read it; "
		               "attach read-only, or use a newer version", store->path, constants->feature_read_only, flagstore_version());
	if (constants->header_size != sizeof(struct fs_header) || constants->shard_size != sizeof(struct fs_shard) ||
	    constants->worker_size != sizeof(struct fs_worker) || constants->slot_size != sizeof(struct fs_slot) ||
	    constants->seat_size != sizeof(struct fs_seat) || constants->conflict_size != sizeof(struct fs_conflict))
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has records of other sizes than flagstore %s; it was made by another build", store->path,
		               flagstore_version());
	if (constants->check != fs_constants_check(constants) || !shards || shards > FLAGSTORE_SHARDS_MAX || shards & (shards - 1) ||
	    !constants->workers || constants->workers > FLAGSTORE_WORKERS_MAX || constants->max_bytes < FS_MIN_BYTES ||
	    constants->max_bytes > FS_MAX_BYTES || constants->max_bytes % FS_PAGE || !fs_has_sound_tail(constants) || constants->created_ms < 0 ||
	    constants->created_ms > CREATED_MAX_MS)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s has a damaged header", store->path);
	return FLAGSTORE_OK;
}

/* Reads the header, and takes over its constants when they are sound. */
static int read_header(flagstore *store, bool writable)
{
	struct fs_header header = {.state = FS_CREATING};
	struct stat file;
	ssize_t got;
	long long size;
	int error;

	if (fstat(store->fd, &file) == 0 && !S_ISREG(file.st_mode))
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	got = pread(store->fd, &header, sizeof header, 0);
	if (got < 0)
		return fs_open_error(store, "read");
	size = file.st_size;
	if (got && memcmp(header.constants.magic, FS_MAGIC, sizeof header.constants.magic) != 0)
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a flagstore segment: it does not begin with \"%s\"", store->path, FS_MAGIC);
	/* What a creator leaves, step by step: an empty file, the magic alone, the whole size without READY. */
	if (size <= (long long)sizeof header.constants.magic || (got == sizeof header && atomic_load(&header.state) == FS_CREATING))
		return fs_fail(FLAGSTORE_ENOTREADY, "segment %s was never finished by its creator; create it again, which takes it over", store->path);
	if (got < (ssize_t)sizeof header)
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s ends in its header, after %lld bytes", store->path, size);
	error = check_constants(store, &header.constants, writable);
	if (error)
		return error;
	if (atomic_load(&header.state) > FS_RETIRED)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s has a damaged header: its state is none", store->path);
	if ((uint64_t)size < header.constants.max_bytes)
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s has %lld bytes, and should have %llu; copy it whole", store->path, size,
		               (unsigned long long)header.constants.max_bytes);
	store->constants = header.constants;
	return FLAGSTORE_OK;
}

/* ------------------------------------------------------------------------------------------------ the dead */

static bool has_orphans(const flagstore *store)
{
	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_orphaned(&store->shards[i]))
			return true;
	return false;
}

/* Restores the shards whose writer died, so that who attaches now does not see a batch in part. Best effort: the next writer of such a
 * shard does it in any case. */
static void recover_orphans(flagstore *store)
{
	struct fs_deadline deadline = {.set = false};

	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_orphaned(&store->shards[i]) && fs_enter_locked(store, i, &deadline) == FLAGSTORE_OK)
			fs_leave(store, i);
}

/* -------------------------------------------------------------------------------------------------- attach */

static int attach_open_file(flagstore *store, const struct flagstore_options *options, bool writable)
{
	int error = read_header(store, writable);

	if (error)
		return error;
	if (options->flags & FLAGSTORE_UNLOCKED && !store->constants.laboratory)
		return fs_fail(FLAGSTORE_ENOTLABORATORY, "segment %s can't be written without locking, since it was not created as a laboratory segment; "
		               "attach without FLAGSTORE_UNLOCKED, or create one for experiments (flagctl create --lab)", store->path);
	store->unlocked = options->flags & FLAGSTORE_UNLOCKED;
	store->no_flusher = options->flags & FLAGSTORE_NO_FLUSHER;
	error = fs_store_map(store, writable);
	if (error)
		return error;
	store->lock_wait_ms = fs_or_default(options->lock_wait_ms, store->constants.lock_wait_ms);
	if (!fs_room_reaches(store, store->heap_start))
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s has less room in its file system than its header says; was it copied to a full disk?",
		               store->path);
	error = fs_persist_attach(store, writable);
	if (error || !writable)
		return fs_unless_lost(store, error);
	error = fs_admit(store);
	if (error)
		return error;
	if (!fs_file_lock(store->fd, F_RDLCK, FS_LOCK_PRESENT))
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be locked", store->path);
	fs_worker_enter(store);
	fs_entered(store);
	recover_orphans(store);
	return fs_unless_lost(store, FLAGSTORE_OK);
}

/* A reader can't restore anything, but may be allowed to come as a writer for a moment. Only when there is something to do: it takes
 * a worker entry. */
static void recover_for_reader(const char *name, const flagstore *store)
{
	flagstore *writer;

	if (has_orphans(store) && flagstore_attach(name, NULL, &writer) == FLAGSTORE_OK)
		flagstore_close(writer);
}

static int attach(const char *name, const struct flagstore_options *options, flagstore **store)
{
	flagstore *made = NULL;
	bool writable;
	int error;

	if (options->size != sizeof *options ||
	    options->flags & ~(uint32_t)(FLAGSTORE_READ_ONLY | FLAGSTORE_UNLOCKED | FLAGSTORE_CREATE | FLAGSTORE_NO_FLUSHER) ||
	    (options->flags & FLAGSTORE_READ_ONLY && options->flags != FLAGSTORE_READ_ONLY))
		return fs_fail(FLAGSTORE_EARGUMENT, "the options to attach to segment \"%.100s\" are not set up by FLAGSTORE_OPTIONS_INIT", name);
	error = fs_store_new(name, &made);
	if (error)
		return error;
	writable = !(options->flags & FLAGSTORE_READ_ONLY);
	/* O_NONBLOCK: a FIFO that stands there must not make us wait. */
	made->fd = open(made->path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (made->fd < 0)
		error = fs_open_error(made, writable ? "opened for writing" : "opened");
	if (!error)
		error = fs_store_wait_for_lock(made, writable ? F_WRLCK : F_RDLCK, FS_LOCK_SETUP, fs_or_default(options->lock_wait_ms, FS_LOCK_WAIT_DEFAULT_MS));
	if (!error)
		error = attach_open_file(made, options, writable);
	if (error) {
		fs_store_free(made);
		return error;
	}
	fs_file_lock(made->fd, F_UNLCK, FS_LOCK_SETUP);
	if (!writable)
		recover_for_reader(name, made);
	*store = fs_store_share(made);
	return FLAGSTORE_OK;
}

/* Of several that find none one creates it, and the others attach; unless it is unlinked all the time. */
#define CREATE_TRIES 100

int flagstore_attach(const char *name, const struct flagstore_options *options, flagstore **store)
{
	const struct flagstore_options none = FLAGSTORE_OPTIONS_INIT;
	int error = attach(name, options ? options : &none, store);

	for (int tries = 0; options && options->flags & FLAGSTORE_CREATE && tries < CREATE_TRIES; tries++) {
		if (error != FLAGSTORE_ENOSEGMENT && error != FLAGSTORE_ENOTREADY)
			break;
		error = flagstore_create(name, options, store);
		if (error != FLAGSTORE_EEXISTS)
			break;
		error = attach(name, options, store);
	}
	return error;
}

void flagstore_close(flagstore *store)
{
	if (!store)
		return;
	if (store->write_map) {
		fs_persist_leave(store->writing);
		fs_seats_leave(store->writing);
		fs_worker_leave(store->writing);
	}
	fs_store_free(store);
}

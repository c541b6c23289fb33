/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * file.c: a segment's file as one process has it: two mappings, and a struct flagstore for each, one that the caller has and reads through,
 * and one that writes. */
#include "file.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "lock.h"
#include "sigbus.h"

int fs_store_new(const char *name, flagstore **store)
{
	flagstore *made = calloc(1, sizeof *made);
	int error;

	if (!made)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to attach to segment \"%.100s\"", name);
	made->fd = -1;
	error = flagstore_path(name, made->path, sizeof made->path);
	if (error) {
		free(made);
		return error;
	}
	made->writing = made;
	*store = made;
	return FLAGSTORE_OK;
}

void fs_store_free(flagstore *store)
{
	size_t size = store->constants.max_bytes, kept = 0;
	flagstore *writing = store->writing;

	/* A thread that was in a write section when its memory went away may still have the lock on its list of held ones, which the
	 * C library writes to when that thread takes another robust lock. */
	if (store->write_map && store->mapping && fs_lost(store))
		kept = (size_t)store->heap_start * FS_LINE;
	fs_mapping_remove(store->mapping);
	if (store->read_map && store->read_map != store->write_map)
		munmap((char *)(uintptr_t)store->read_map, size);
	if (store->write_map)
		munmap(store->write_map + kept, size - kept);
	if (store->entered)
		munmap(store->entered, FS_PAGE);
	if (store->fd >= 0)
		close(store->fd);
	free(writing->reading);
	free(writing);
}

/* A mapping keeps its open file description for as long as it exists, in a forked child too. So it has one of its own, and that
 * of store->fd, with the locks by which this process is known to live, goes with this process. */
static void *map_file(const flagstore *store, int protection)
{
	int fd = fs_reopen(store);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, store->constants.max_bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return NULL;
	/* The table is the segment's, not this process's: keep it out of core dumps, which delay the news of an owner's death. */
	madvise(map, store->constants.max_bytes, MADV_DONTDUMP);
	return map;
}

static void look_through(flagstore *store, const char *map)
{
	store->map = map;
	store->to_writable = (uintptr_t)store->write_map - (uintptr_t)map;
	store->shards = (const void *)(map + FS_PAGE);
}

int fs_store_map(flagstore *store, bool writable)
{
	struct statfs system;

	store->write_map = writable ? map_file(store, PROT_READ | PROT_WRITE) : NULL;
#ifdef FS_THREAD_SANITIZER
	/* It tells accesses by their addresses, so that it must see reads and writes at the same ones. */
	store->read_map = writable ? store->write_map : map_file(store, PROT_READ);
#else
	store->read_map = map_file(store, PROT_READ);
#endif
	if (!store->read_map || (writable && !store->write_map))
		return fs_fail_errno(FLAGSTORE_ENOMEMORY, "segment %s can't be mapped at its maximum size of %llu bytes", store->path,
		                     (unsigned long long)store->constants.max_bytes);
	if (writable) {
		void *page = mmap(NULL, FS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED || madvise(page, FS_PAGE, MADV_WIPEONFORK) != 0)
			return fs_fail_errno(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory that fork wipes", store->path);
		store->entered = page;
		store->reading = malloc(sizeof *store->reading);
		if (!store->reading)
			return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to attach to segment %s", store->path);
	}
	store->mapping = fs_mapping_add(store->read_map, store->write_map, store->constants.max_bytes, store->entered);
	if (!store->mapping)
		return fs_fail(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory to attach to it", store->path);
	look_through(store, writable ? store->write_map : store->read_map);
	store->seed = store->constants.hash_seed;
	store->salt = fs_salt(store->seed);
	store->shard_mask = store->constants.shards - 1;
	store->heap_start = fs_heap_start(&store->constants);
	store->tail = fs_tail(&store->constants);
	store->max_lines = (uint32_t)(store->tail.journal / FS_LINE);
	store->ring_words = store->tail.journal < store->tail.seats ? (uint32_t)(fs_ring_bytes(&store->constants) / 8) : 0;
	store->created_ms = store->constants.created_ms;
	store->tmpfs = fstatfs(store->fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
	return FLAGSTORE_OK;
}

flagstore *fs_store_share(flagstore *store)
{
	flagstore *reading = store->reading;

	if (!reading)
		return store;
	*reading = *store;
	look_through(reading, store->read_map);
	return reading;
}

int fs_store_wait_for_lock(const flagstore *store, int type, int64_t byte, uint32_t limit_ms)
{
	uint64_t end = fs_monotonic_ns() + (uint64_t)limit_ms * 1000000;

	while (!fs_file_lock(store->fd, type, byte)) {
		if (errno != EAGAIN && errno != EACCES)
			return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be locked", store->path);
		if (fs_monotonic_ns() > end)
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: another process has been creating or attaching to it for more than %u ms; "
			               "see whether it is stopped", store->path, limit_ms);
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	return FLAGSTORE_OK;
}

int fs_open_error(const flagstore *store, const char *tried)
{
	switch (errno) {
	case ENOENT:
		return fs_fail(FLAGSTORE_ENOSEGMENT, "segment %s does not exist", store->path);
	case EACCES:
	case EPERM:
	case EROFS:
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "segment %s can't be %s", store->path, tried);
	case ELOOP:
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is a symbolic link, which is not followed; name the segment's own file", store->path);
	case EISDIR:
	case ENXIO:
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	case ENOSPC:
	case EDQUOT:
		return fs_fail_errno(FLAGSTORE_ENOSPACE, "segment %s can't be %s", store->path, tried);
	default:
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be %s", store->path, tried);
	}
}

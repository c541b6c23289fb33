/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * segment.c: the clocks and the file locks that a segment is used with, and its geometry. */
#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

fs_line fs_heap_start(const struct fs_constants *constants)
{
	size_t bytes = FS_PAGE + constants->shards * sizeof(struct fs_shard) + constants->workers * sizeof(struct fs_worker);

	return (fs_line)((bytes + FS_PAGE - 1) / FS_PAGE * FS_PAGE_LINES);
}

/* A power of two, at most a sixteenth of the segment. */
uint64_t fs_ring_bytes(const struct fs_constants *constants)
{
	uint64_t bytes = FS_JOURNAL_BYTES_MIN;

	while (bytes * 2 <= FS_JOURNAL_BYTES_MAX && bytes * 2 <= constants->max_bytes / 16)
		bytes *= 2;
	return bytes;
}

struct fs_tail fs_tail(const struct fs_constants *constants)
{
	struct fs_tail tail = {.shadows_end = constants->max_bytes};

	tail.shadows = tail.shadows_end - constants->shadows * sizeof(struct fs_shadow);
	tail.conflicts = tail.shadows - constants->conflicts * sizeof(struct fs_conflict);
	tail.seats = tail.conflicts - constants->seats * sizeof(struct fs_seat);
	tail.journal = tail.seats;
	if (constants->feature_incompatible & FS_FEATURE_JOURNAL)
		tail.journal -= sizeof(struct fs_journal) + fs_ring_bytes(constants);
	return tail;
}

bool fs_file_lock(int fd, int type, int64_t byte)
{
	/* Open-file-description locks: the kernel drops them with the last descriptor, whatever kills the process, they work across
	 * PID namespaces, and closing some other descriptor of the file does not lose them. */
	struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool fs_file_locked(int fd, int64_t byte)
{
	/* A question for a read lock: works on a read-only descriptor too, and conflicts with nothing but a write lock. */
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int fs_reopen(const flagstore *store)
{
	int mode = fcntl(store->fd, F_GETFL) & O_ACCMODE, fd;
	struct stat mine, there;
	char own[64];

	snprintf(own, sizeof own, "/proc/self/fd/%d", store->fd);
	fd = open(own, mode | O_CLOEXEC);
	if (fd < 0)
		fd = open(store->path, mode | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(store->fd, &mine) == 0 && fstat(fd, &there) == 0 && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
		return fd;
	close(fd);
	return -1;
}

uint64_t fs_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

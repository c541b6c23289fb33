/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * dump.c: the segment as it is now, as a file that can be looked at like a segment: every part that has room, at its own place. Nobody is
 * stopped, so what is copied later may be newer. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "segment.h"

static int write_error(const char *path)
{
	return fs_fail_errno(errno == ENOSPC || errno == EDQUOT ? FLAGSTORE_ENOSPACE : FLAGSTORE_ESYSTEM, "%s can't be written", path);
}

static int copy_pages(const flagstore *store, int file, const char *path, uint64_t from, uint64_t to)
{
	static const char zeros[FS_PAGE];
	char page[FS_PAGE];

	/* What the header says to have room has it, here too, also where there is nothing but zeros. */
	if (from < to && fallocate(file, 0, (off_t)from, (off_t)(to - from)) != 0 && errno != EOPNOTSUPP)
		return write_error(path);
	for (; from < to; from += FS_PAGE) {
		/* A copy of bytes that change; which is all that is promised. */
		memcpy(page, store->map + from, sizeof page);
		if (memcmp(page, zeros, sizeof page) != 0 && pwrite(file, page, sizeof page, (off_t)from) != (ssize_t)sizeof page)
			return write_error(path);
	}
	return FLAGSTORE_OK;
}

/* Nobody is alive in the copy: its locks are another boot's, so that who attaches as a writer makes them new. */
static int sign(int file, const char *path)
{
	static const char boot[33] = "00000000000000000000000000000000";

	return pwrite(file, boot, 32, offsetof(struct fs_header, boot)) == 32 ? FLAGSTORE_OK : write_error(path);
}

static int fill(const flagstore *store, int file, const char *path)
{
	const struct fs_tail *tail = &store->tail;
	uint64_t front, seats;
	int error;

	/* What has room now, as this process has verified it. */
	(void)fs_room_reaches(store, 0);
	front = fs_backed_bytes(store);
	seats = (uint64_t)atomic_load_explicit(&store->seat_room, memory_order_relaxed) * sizeof(struct fs_seat);
	if (ftruncate(file, (off_t)store->constants.max_bytes) != 0)
		return write_error(path);
	error = copy_pages(store, file, path, 0, front);
	if (!error && fs_journal(store))
		error = copy_pages(store, file, path, tail->journal, tail->seats);
	if (!error)
		error = copy_pages(store, file, path, tail->seats, tail->seats + seats);
	if (!error && fs_conflicts(store))
		error = copy_pages(store, file, path, tail->conflicts, tail->shadows);
	if (!error && fs_shadows(store))
		error = copy_pages(store, file, path, tail->shadows, tail->shadows_end);
	return error ? error : sign(file, path);
}

int flagstore_dump(const flagstore *store, const char *path)
{
	int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), error;

	if (file < 0)
		return fs_fail_errno(errno == EEXIST ? FLAGSTORE_EEXISTS : errno == EACCES || errno == EPERM || errno == EROFS ? FLAGSTORE_EPERMISSION :
		                     FLAGSTORE_ESYSTEM, "segment %s can't be dumped to %s", store->path, path);
	error = fill(store, file, path);
	if (error)
		unlink(path);
	close(file);
	return error;
}

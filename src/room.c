/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * room.c: room in the file system, taken before it is touched, so that a full one is an error of an insert and never a SIGBUS.
 * The header's room says how many lines have been given; each process keeps a number of its own, that it has verified, since
 * the header is untrusted: a hole of a tmpfs file takes a page when it is read, and raises SIGBUS when there is none.
 * Room is never given back. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "error.h"
#include "point.h"
#include "segment.h"

/* Taken at once: a fraction of what is there, so that a small table is a small file, and no single insert waits long for the kernel
 * to clear pages. */
#define CHUNK_MIN (32u << 10)
#define CHUNK_MAX (256u << 10)

/* relaxed: room only grows, and it is the kernel that keeps the promise behind it */
static void know_room(const flagstore *store, uint32_t lines)
{
	_Atomic uint32_t *room = &((flagstore *)(uintptr_t)store)->room;
	uint32_t known = atomic_load_explicit(room, memory_order_relaxed);

	while (known < lines &&
	       !atomic_compare_exchange_weak_explicit(room, &known, lines, memory_order_relaxed, memory_order_relaxed))
		;
}

bool fs_room_reaches(const flagstore *store, uint64_t end)
{
	uint32_t said = atomic_load_explicit(&fs_header(store)->room, memory_order_relaxed);
	struct stat file;

	if (end > said || said > store->max_lines || fstat(store->fd, &file) != 0)
		return false;
	if ((uint64_t)file.st_size < (uint64_t)said * FS_LINE)
		return false;
	/* Elsewhere reading a hole takes nothing, and blocks may be counted otherwise (compression). */
	if (store->tmpfs && (uint64_t)file.st_blocks * 512 < (uint64_t)said * FS_LINE)
		return false;
	know_room(store, said);
	return true;
}

bool fs_heap_reaches(const flagstore *store, fs_line line, uint32_t count)
{
	return line >= store->heap_start && fs_room_reaches(store, (uint64_t)line + count);
}

static int room_error(const flagstore *store, uint64_t to)
{
	switch (errno) {
	case ENOSPC:
	case EDQUOT:
		return fs_fail_errno(FLAGSTORE_ENOSPACE, "segment %s can't grow to %llu bytes; free room in its file system, or delete flags",
		                     store->path, (unsigned long long)to);
	case EOPNOTSUPP:
		return fs_fail(FLAGSTORE_ESYSTEM, "segment %s can't be kept in its file system, which can't take room beforehand (fallocate)",
		               store->path);
	default:
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't grow to %llu bytes", store->path, (unsigned long long)to);
	}
}

int fs_room_allocate(const flagstore *store, uint64_t from, uint64_t to)
{
	int failed;

	/* Not posix_fallocate: where the file system can't do it, the C library writes into the blocks, also into those that others have
	 * taken meanwhile. */
	do
		failed = fallocate(store->fd, 0, (off_t)from, (off_t)(to - from));
	while (failed && errno == EINTR);
	return failed ? room_error(store, to) : FLAGSTORE_OK;
}

int fs_room_take(flagstore *store, uint64_t end)
{
	struct fs_header *header = fs_header_writable(store);
	uint32_t had = atomic_load_explicit(&header->room, memory_order_relaxed);
	uint64_t from, need, want, limit = store->constants.max_bytes;
	int error;

	if (end <= had)
		return fs_room_reaches(store, end) ? FLAGSTORE_OK
		                                   : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: its file is smaller than its header says", store->path);
	need = (end * FS_LINE + FS_PAGE - 1) / FS_PAGE * FS_PAGE;
	if (need > limit)
		return fs_fail(FLAGSTORE_EFULL, "segment %s has reached its maximum size of %llu bytes; create a larger one, or delete flags",
		               store->path, (unsigned long long)limit);
	/* What the header promises wrongly is taken with the rest: afterwards all of it counts as verified. */
	from = fs_room_reaches(store, had) ? had : atomic_load_explicit(&store->room, memory_order_relaxed);
	from *= FS_LINE;
	want = from / 16 / FS_PAGE * FS_PAGE;
	want = from + (want < CHUNK_MIN ? CHUNK_MIN : want > CHUNK_MAX ? CHUNK_MAX : want);
	want = want < need ? need : want > limit ? limit : want;

	error = fs_room_allocate(store, from, want);
	if (error && want > need) {
		want = need;
		error = fs_room_allocate(store, from, want);
	}
	if (error)
		return error;
	FS_POINT("room given");

	/* Two processes may have taken the same bytes, which takes them once; the larger number stands. */
	while (had < want / FS_LINE &&
	       !atomic_compare_exchange_weak_explicit(&header->room, &had, (uint32_t)(want / FS_LINE), memory_order_relaxed,
	                                              memory_order_relaxed))
		;
	know_room(store, (uint32_t)(want / FS_LINE));
	return FLAGSTORE_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * room.c: room in the file system, taken before it is touched, so that a full one is an error of an insert and never a SIGBUS.
 * The header's room says how many lines have been given; each process keeps a number of its own, that it has verified, since
 * the header is untrusted: a hole of a tmpfs file takes a page when it is read, and raises SIGBUS when there is none.
 * Room is never given back. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "error.h"
#include "point.h"
#include "segment.h"

/* Behind the heap, what is used is given room piece by piece: seats one after the other, the conflicts as a whole, and so the shadows. The
 * header says how much of that has room too, so that it can be told from the heap's by the number of blocks that the file has. Each
 * number is raised after its room has been taken: it may be too small, after a death in between, and never too large. */

/* Taken at once when growth finds none: a fraction of what is there, so that a small table is a small file, and no single insert waits long
 * for the kernel to clear pages. */
#define CHUNK_MIN (32u << 10)
#define CHUNK_MAX (64u << 10)

/* Taken ahead, by an insert that has given back its lock (segment.h): the longest insert is shorter by that, and nobody waits for it. */
#define AHEAD_STEP (32u << 10)

/* relaxed: room only grows, and it is the kernel that keeps the promise behind it */
static void lift(_Atomic uint32_t *room, uint32_t to)
{
	uint32_t known = atomic_load_explicit(room, memory_order_relaxed);

	while (known < to && !atomic_compare_exchange_weak_explicit(room, &known, to, memory_order_relaxed, memory_order_relaxed))
		;
}

static void lift_backed(flagstore *store, uint32_t lines)
{
	uint64_t bytes = (uint64_t)lines * FS_LINE, known = fs_backed_bytes(store);

	while (known < bytes && !atomic_compare_exchange_weak_explicit(&store->backed, &known, bytes, memory_order_relaxed, memory_order_relaxed))
		;
}

/* What the header says, before the file is asked. */
struct said {
	uint32_t lines, seats, conflicts, shadows, journal;
};

static struct said read_rooms(const flagstore *store)
{
	const struct fs_header *header = fs_header(store);

	return (struct said){
		.lines = atomic_load_explicit(&header->room, memory_order_relaxed),
		.seats = atomic_load_explicit(&header->seat_room, memory_order_relaxed),
		.conflicts = atomic_load_explicit(&header->conflict_room, memory_order_relaxed),
		.shadows = atomic_load_explicit(&header->shadow_room, memory_order_relaxed),
		.journal = atomic_load_explicit(&header->journal_room, memory_order_relaxed),
	};
}

/* Learns all the rooms, if the file has as much as the header says. */
static bool learn(const flagstore *store, const struct said *said)
{
	flagstore *known = (flagstore *)(uintptr_t)store;
	const struct fs_tail *tail = &store->tail;
	struct stat file;
	uint64_t bytes;

	if (said->lines > store->max_lines || said->seats > store->constants.seats || said->conflicts > 1 || said->shadows > 1 || said->journal > 1 ||
	    fstat(store->fd, &file) != 0 || (uint64_t)file.st_size < (uint64_t)said->lines * FS_LINE)
		return false;
	bytes = (uint64_t)said->lines * FS_LINE + (uint64_t)said->seats * sizeof(struct fs_seat) +
	        said->conflicts * (tail->shadows - tail->conflicts) + said->shadows * (tail->shadows_end - tail->shadows) +
	        said->journal * (tail->seats - tail->journal);
	/* Elsewhere reading a hole takes nothing, and blocks may be counted otherwise (compression). */
	if (store->tmpfs && (uint64_t)file.st_blocks * 512 < bytes)
		return false;
	lift_backed(known, said->lines);
	/* A file that was cut has no end. */
	if ((uint64_t)file.st_size < tail->shadows_end)
		return true;
	lift(&known->seat_room, said->seats);
	lift(&known->conflict_room, said->conflicts);
	lift(&known->shadow_room, said->shadows);
	lift(&known->journal_room, said->journal);
	return true;
}

bool fs_room_reaches(const flagstore *store, uint64_t end)
{
	struct said said = read_rooms(store);

	return end <= said.lines && learn(store, &said);
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

/* False with errno. */
static bool allocate(const flagstore *store, uint64_t from, uint64_t to)
{
	int failed;

	/* Not posix_fallocate: where the file system can't do it, the C library writes into the blocks, also into those that others have
	 * taken meanwhile. */
	do
		failed = fallocate(store->fd, 0, (off_t)from, (off_t)(to - from));
	while (failed && errno == EINTR);
	return !failed;
}

int fs_room_allocate(const flagstore *store, uint64_t from, uint64_t to)
{
	return allocate(store, from, to) ? FLAGSTORE_OK : room_error(store, to);
}

void fs_touch(void *from, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
	(void)madvise(from, bytes, MADV_POPULATE_WRITE);
#else
	(void)from;
	(void)bytes;
#endif
}

/* Two processes may take the same bytes, which takes them once; the larger number stands. */
static int take(flagstore *store, uint64_t from, uint64_t to)
{
	int error = fs_room_allocate(store, from, to);

	if (error)
		return error;
	FS_POINT("room given");
	fs_touch(store->write_map + from, to - from);
	lift(&fs_header_writable(store)->room, (uint32_t)(to / FS_LINE));
	lift_backed(store, (uint32_t)(to / FS_LINE));
	return FLAGSTORE_OK;
}

int fs_room_take(flagstore *store, uint64_t end)
{
	uint32_t had = atomic_load_explicit(&fs_header(store)->room, memory_order_relaxed);
	uint64_t from, need, want, limit = (uint64_t)store->max_lines * FS_LINE;
	int error;

	if (end <= had)
		return fs_room_reaches(store, end) ? FLAGSTORE_OK
		                                   : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: its file is smaller than its header says", store->path);
	need = (end * FS_LINE + FS_PAGE - 1) / FS_PAGE * FS_PAGE;
	if (need > limit)
		return fs_fail(FLAGSTORE_EFULL, "segment %s has reached its maximum size of %llu bytes; create a larger one, or delete flags",
		               store->path, (unsigned long long)store->constants.max_bytes);
	/* What the header promises wrongly is taken with the rest: afterwards all of it counts as verified. */
	from = fs_room_reaches(store, had) ? had : fs_room(store);
	from *= FS_LINE;
	want = from / 16 / FS_PAGE * FS_PAGE;
	want = from + (want < CHUNK_MIN ? CHUNK_MIN : want > CHUNK_MAX ? CHUNK_MAX : want);
	want = want < need ? need : want > limit ? limit : want;

	error = take(store, from, want);
	return error && want > need ? take(store, from, need) : error;
}

void fs_room_take_ahead(flagstore *store, uint32_t had)
{
	uint64_t from = (uint64_t)had * FS_LINE, to = from + AHEAD_STEP, limit = (uint64_t)store->max_lines * FS_LINE;

	/* Nothing is said of a failure: who really needs the room will have one of his own. */
	if (to > limit || !fs_room_reaches(store, had) || take(store, from, to))
		atomic_store_explicit(&store->ahead_refused, had, memory_order_relaxed);
}

/* ---------------------------------------------------------------------------------------- behind the heap */

const struct fs_seat *fs_seat_at(const flagstore *store, uint32_t index)
{
	if (index >= store->constants.seats)
		return NULL;
	if (index >= atomic_load_explicit(&store->seat_room, memory_order_relaxed)) {
		struct said said = read_rooms(store);

		if (index >= said.seats || !learn(store, &said) || index >= atomic_load_explicit(&store->seat_room, memory_order_relaxed))
			return NULL;
	}
	return (const struct fs_seat *)(const void *)(store->map + store->tail.seats) + index;
}

bool fs_room_take_seat(flagstore *store)
{
	_Atomic uint32_t *room = &fs_header_writable(store)->seat_room;
	uint32_t had = atomic_load_explicit(room, memory_order_relaxed);
	uint64_t from = store->tail.seats + (uint64_t)had * sizeof(struct fs_seat);

	if (had >= store->constants.seats || !allocate(store, from, from + sizeof(struct fs_seat)))
		return false;
	FS_POINT("seat given room");
	/* Of two who took the same bytes one raises the number; the other finds a seat all the same, or comes again. */
	lift(room, had + 1);
	return true;
}

static int take_whole(flagstore *store, uint64_t from, uint64_t to, _Atomic uint32_t *said, _Atomic uint32_t *known)
{
	int error;

	if (atomic_load_explicit(known, memory_order_relaxed))
		return FLAGSTORE_OK;
	error = fs_room_allocate(store, from, to);
	if (error)
		return error;
	lift(said, 1);
	lift(known, 1);
	return FLAGSTORE_OK;
}

int fs_room_take_journal(flagstore *store)
{
	return take_whole(store, store->tail.journal, store->tail.seats, &fs_header_writable(store)->journal_room, &store->journal_room);
}

int fs_room_take_conflicts(flagstore *store)
{
	return take_whole(store, store->tail.conflicts, store->tail.shadows, &fs_header_writable(store)->conflict_room, &store->conflict_room);
}

int fs_room_take_shadows(flagstore *store)
{
	return take_whole(store, store->tail.shadows, store->tail.shadows_end, &fs_header_writable(store)->shadow_room, &store->shadow_room);
}

static bool knows(const flagstore *store, const _Atomic uint32_t *said, const _Atomic uint32_t *known)
{
	struct said rooms;

	if (atomic_load_explicit(known, memory_order_relaxed))
		return true;
	if (!atomic_load_explicit(said, memory_order_relaxed))
		return false;
	rooms = read_rooms(store);
	return learn(store, &rooms) && atomic_load_explicit(known, memory_order_relaxed);
}

const struct fs_conflict *fs_conflicts(const flagstore *store)
{
	return knows(store, &fs_header(store)->conflict_room, &store->conflict_room) ? (const void *)(store->map + store->tail.conflicts) : NULL;
}

const struct fs_shadow *fs_shadows(const flagstore *store)
{
	return knows(store, &fs_header(store)->shadow_room, &store->shadow_room) ? (const void *)(store->map + store->tail.shadows) : NULL;
}

const struct fs_journal *fs_journal(const flagstore *store)
{
	if (store->tail.journal == store->tail.seats || !knows(store, &fs_header(store)->journal_room, &store->journal_room))
		return NULL;
	return (const void *)(store->map + store->tail.journal);
}

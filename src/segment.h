/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * segment.h: a mapped file. A process's view of a segment, and the place where a line number becomes a pointer. */
#ifndef FS_SEGMENT_H
#define FS_SEGMENT_H

#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include "key.h"

/* Whether this process, as opposed to the one that it was forked from, has entered the segment as a worker (worker.c). */
struct fs_entered {
	_Atomic uint32_t state;
	_Atomic uint32_t seated; /* a thread has got a seat */
	_Atomic uint64_t life; /* a number that no other store of this process has, or of those that it was forked from; 0: not entered */
	struct fs_persister *_Atomic persister; /* persist.c; NULL: this process has not needed one yet */
};

/* Where in the file stands what stands behind the heap, in bytes. */
struct fs_tail {
	uint64_t journal; /* where the seats begin, when there is none */
	uint64_t seats;
	uint64_t conflicts;
	uint64_t shadows;
	uint64_t shadows_end;
};

struct flagstore {
	/* what a read needs */
	const char *map;                 /* mapping of max_bytes; read-only, but for a writing one */
	const struct fs_shard *shards;
	uint32_t shard_mask;             /* from a hash to its shard */
	struct fs_salt salt;             /* of the seed */
	_Atomic uint64_t backed;         /* bytes that this process knows to be backed by the file system, from the first one on; whole lines */
	fs_line heap_start;
	uint64_t seed;
	uint32_t max_lines;              /* where the heap must end */
	/* what a write needs */
	flagstore *writing;              /* the same store for writes: they touch a page in the writable mapping alone */
	char *write_map;                 /* writable mapping of the same bytes; NULL when attached read-only */
	uintptr_t to_writable;           /* from an address in map to the same place in write_map */
	struct fs_entered *entered;      /* a page that fork wipes */
	uint32_t worker;                 /* of the writing one: worker id of this process; 0 when all entries were taken */
	uint32_t lock_wait_ms;
	int64_t created_ms;
	struct fs_journal *journal;      /* in the writable mapping; NULL: changes are not kept, or can't be made */
	uint32_t ring_words;             /* of the journal; 0: the segment has none */
	/* the rest */
	const char *read_map;            /* the read-only mapping */
	flagstore *reading;              /* of the writing one: the one that the caller has, or will have */
	struct fs_tail tail;
	_Atomic uint32_t seat_room;      /* as backed: seats, and 1 if the conflicts, or the shadows, are known to be backed */
	_Atomic uint32_t conflict_room;
	_Atomic uint32_t shadow_room;
	_Atomic uint32_t journal_room;
	_Atomic uint32_t ahead_refused;  /* lines behind which no more room was to be had */
	struct fs_mapping *mapping;      /* sigbus.h */
	struct fs_constants constants;   /* as checked when attached */
	struct fs_persistence persistence; /* the same; durability 0: the flags are not kept in LMDB */
	int fd;
	bool tmpfs;
	bool unlocked;                   /* attached FLAGSTORE_UNLOCKED */
	bool no_flusher;                 /* attached FLAGSTORE_NO_FLUSHER */
	char path[PATH_MAX];
};

static inline uint32_t fs_own_worker(const flagstore *store)
{
	return store->writing->worker;
}

/* Lines that the shards, the workers and the header take: where the heap starts. */
fs_line fs_heap_start(const struct fs_constants *constants);

/* What their check value must be. */
uint64_t fs_constants_check(const struct fs_constants *constants);

/* Whether what they say of the tail can be, with room for the heap before it. */
bool fs_has_sound_tail(const struct fs_constants *constants);

/* Where the tail is; its beginning is where the heap must end. */
struct fs_tail fs_tail(const struct fs_constants *constants);

/* Learns how much room the file system has given by now. True when lines [0, end) are backed. Async-signal-safe. */
bool fs_room_reaches(const flagstore *store, uint64_t end);

/* The same for any line number; false too for lines that are not of the heap. */
bool fs_heap_reaches(const flagstore *store, fs_line line, uint32_t count);

/* Has the file system give room for the bytes [from, to) of the file. Errors: ENOSPACE, ESYSTEM. */
int fs_room_allocate(const flagstore *store, uint64_t from, uint64_t to);

/* Has the kernel enter pages of the writable mapping, which have room, in the page tables now, and not one by one in the middle of writes.
 * Nothing happens before Linux 5.14. */
void fs_touch(void *from, size_t bytes);

/* Takes room from the file system so that lines [0, end) are backed. Errors: ENOSPACE, EFULL, ESYSTEM. */
int fs_room_take(flagstore *store, uint64_t end);

/* The same for a little behind the room that there is, and that others may need soon; for speed alone. */
void fs_room_take_ahead(flagstore *store, uint32_t had);

/* Takes room for one more seat. False when there is none; nothing fails by that, so no detail is noted. */
bool fs_room_take_seat(flagstore *store);

/* The seat; NULL when it has no room yet. */
const struct fs_seat *fs_seat_at(const flagstore *store, uint32_t index);

static inline uint64_t fs_backed_bytes(const flagstore *store)
{
	/* relaxed: the number only grows, and what it promises is kept by the kernel, not by another thread's stores */
	return atomic_load_explicit(&store->backed, memory_order_relaxed);
}

/* The same in lines. */
static inline uint32_t fs_room(const flagstore *store)
{
	return (uint32_t)(fs_backed_bytes(store) / FS_LINE);
}

/* True when this process knows that the file is really backed up to that line, which begins or goes on at the offset, whatever that is:
 * there is something to read, if perhaps not of the heap. */
static inline bool fs_backed(const flagstore *store, uint64_t offset)
{
	return __builtin_expect(offset < fs_backed_bytes(store), 1);
}

/* The same for heap lines. */
static inline bool fs_known(const flagstore *store, fs_line line, uint32_t count)
{
	return __builtin_expect(line >= store->heap_start, 1) && fs_backed(store, ((uint64_t)line + count - 1) * FS_LINE);
}

/* The address of lines [line, line + count) of the heap in the mapping that the store looks through; NULL when they are not heap lines that
 * are really backed, whatever the number is. Here a line number becomes a pointer, and in fs_set_out() (find.h). Async-signal-safe. */
static inline const void *fs_at(const flagstore *store, fs_line line, uint32_t count)
{
	return fs_known(store, line, count) || fs_heap_reaches(store, line, count) ? store->map + (size_t)line * FS_LINE : NULL;
}

/* Later versions may use what is unused now, with a feature bit that says so. */
static inline bool fs_knows_all(const flagstore *store)
{
	return !store->constants.feature_compatible && !store->constants.feature_read_only;
}

/* The same place in the writable mapping. Only for a store that is not attached read-only. */
static inline void *fs_writable(flagstore *store, const void *address)
{
	return (void *)((uintptr_t)address + store->to_writable);
}

static inline fs_line fs_line_of(const flagstore *store, const void *address)
{
	return (fs_line)((size_t)((const char *)address - store->map) / FS_LINE);
}

static inline const struct fs_header *fs_header(const flagstore *store)
{
	return (const void *)store->map;
}

static inline struct fs_header *fs_header_writable(flagstore *store)
{
	return (void *)store->write_map;
}

/* Growth takes up to two buckets at once; that much is kept ready, if the table is large enough for it not to matter. Called after an insert,
 * without any lock. relaxed, and whatever the header says: what is taken is checked where it is taken. */
#define FS_AHEAD_LINES 3072u

static inline void fs_room_ahead(flagstore *store)
{
	uint32_t room = atomic_load_explicit(&fs_header(store)->room, memory_order_relaxed);
	uint32_t end = (fs_line)atomic_load_explicit(&fs_header(store)->heap, memory_order_relaxed);

	if (__builtin_expect(room - end < FS_AHEAD_LINES && room - end < end / 16, 0) &&
	    atomic_load_explicit(&store->ahead_refused, memory_order_relaxed) != room)
		fs_room_take_ahead(store, room);
}

static inline struct fs_shard *fs_shard_writable(flagstore *store, uint32_t index)
{
	return fs_writable(store, &store->shards[index]);
}

/* Of a shard in the writable mapping. */
static inline uint32_t fs_shard_index(const flagstore *store, const struct fs_shard *shard)
{
	return (uint32_t)(shard - (const struct fs_shard *)(const void *)(store->write_map + FS_PAGE));
}

static inline const struct fs_worker *fs_worker_entry(const flagstore *store, uint32_t index)
{
	const struct fs_worker *first = (const void *)(store->map + FS_PAGE + store->constants.shards * sizeof(struct fs_shard));

	return &first[index];
}

/* Locks (or unlocks) one of the bytes FS_LOCK_... of the open file: type is F_RDLCK, F_WRLCK or F_UNLCK. Does not wait; false when
 * somebody else holds it. Async-signal-safe. */
bool fs_file_lock(int fd, int type, int64_t byte);

/* True when somebody else holds a lock on the byte. Async-signal-safe. */
bool fs_file_locked(int fd, int64_t byte);

/* Has the file system give room for the conflicts, the shadows, or the journal. */
int fs_room_take_journal(flagstore *store);
int fs_room_take_conflicts(flagstore *store);
int fs_room_take_shadows(flagstore *store);

/* All of them; NULL when they have no room yet. */
const struct fs_conflict *fs_conflicts(const flagstore *store);
const struct fs_shadow *fs_shadows(const flagstore *store);
const struct fs_journal *fs_journal(const flagstore *store);

/* Bytes of the journal's ring in a segment that has a journal. */
uint64_t fs_ring_bytes(const struct fs_constants *constants);

/* Opens the store's file once more, which makes an open file description of its own; -1 when that can't be done. */
int fs_reopen(const flagstore *store);

/* Milliseconds since 1970, as coarse as the kernel's tick; for times that are shown, never for decisions. */
static inline int64_t fs_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + (uint32_t)now.tv_nsec / 1000000;
}

/* Nanoseconds on CLOCK_MONOTONIC. */
uint64_t fs_monotonic_ns(void);

#endif

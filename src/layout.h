/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * layout.h: the bytes of a segment, and nothing else. flagstore(5) says the same to people.
 *
 *     segment   | header page | shards | workers | heap: directories, buckets, key cells, redo records ... |
 *               ... | journal | seats | conflicts | shadows |
 *     bucket    | slot 0 | slot 1 | ... | bucket header, tags (one byte a slot), padding to a line |
 *     slot      | word 8 | stamp 8 | hash 4, check 4 | length 1, key 39 |            one cache line
 *
 * Everything is in the byte order of the host. Places in the segment are line numbers (a line is 64 bytes), never
 * pointers; segment.h turns a line number into a pointer, checked, and find.h does for reads. All fields that change after the
 * segment is ready are C11 atomics. Whatever is read from here is untrusted until it has been checked.
 *
 * The heap takes its room from its beginning on. What stands behind it, at the end of the file, takes room only when it is first used; it
 * stands there so that the part of the file that has room, up to the end of the heap, has no holes.
 *
 * Memory keeps its type for ever: what was once a slot is never anything but a slot, and so for tags, directories, key cells
 * and redo records. A block on a free list is used again for its own kind only, by its own shard. Therefore a late reader or
 * an old handle that looks at a recycled place still finds a word of the kind that it expects.
 */
#ifndef FS_LAYOUT_H
#define FS_LAYOUT_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "flagstore.h"

#define FS_MAGIC "FLAGSTOR"
#define FS_BYTE_ORDER UINT32_C(0x01020304)
#define FS_LAYOUT_VERSION 1

#define FS_LINE 64u  /* bytes in a line */
#define FS_PAGE 4096u
#define FS_PAGE_LINES (FS_PAGE / FS_LINE)

typedef uint32_t fs_line; /* a place in the segment; 0 is "none" (the header is there) */

/* -------------------------------------------------------------------------------------------------- slot
 *
 * Slot word: the slot's only truth. Every change of a flag becomes visible by one store of it.
 *
 *     63..60 reserved | 59..32 incarnation (28) | 31..4 version (28) | 3 reserved | 2..1 state | 0 value
 *
 * incarnation  which life of which key lives here: the shard's count of births. It goes along when growth moves the flag.
 *              A stale handle meets its number again only if its shard (one of 64) has seen a multiple of 2^28 births
 *              meanwhile and that very birth fell into the very slot.
 * version      counts the changes of this life. A stale compare-and-swap meets its number again only after a multiple of
 *              2^28 changes, and even then acts on the value that it expected.
 *
 * The states, as they stand in the word. */
#define FS_STATE_SHIFT 1

enum fs_state {
	FS_EMPTY = 0 << FS_STATE_SHIFT,  /* never used since its bucket was filled; the whole word is 0 */
	FS_DEAD = 1 << FS_STATE_SHIFT,   /* no flag; the next insert may use the slot */
	FS_LIVE = 2 << FS_STATE_SHIFT,   /* a flag; its word may be changed by a compare-and-swap without any lock */
	FS_FROZEN = 3 << FS_STATE_SHIFT, /* a flag; readers read it, changes need the shard's lock */
};

#define FS_STATE_MASK (UINT64_C(3) << FS_STATE_SHIFT)
#define FS_HOLDS ((uint64_t)(FS_LIVE & FS_FROZEN)) /* the bit of the states that hold a flag */

static_assert(FS_HOLDS && !(FS_HOLDS & (FS_EMPTY | FS_DEAD)), "one bit tells");

#define FS_VALUE FLAGSTORE_HANDLE_VALUE
#define FS_VERSION_SHIFT 4
#define FS_VERSION_BITS 28
#define FS_VERSION_MASK (((UINT64_C(1) << FS_VERSION_BITS) - 1) << FS_VERSION_SHIFT)
#define FS_RESERVED_MASK (UINT64_C(0xf) << 60 | UINT64_C(8))
#define FS_INCARNATION_SHIFT 32
#define FS_INCARNATION_BITS 28
#define FS_INCARNATION_MASK (((UINT64_C(1) << FS_INCARNATION_BITS) - 1) << FS_INCARNATION_SHIFT)

static_assert(FLAGSTORE_HANDLE_MASK == (FS_STATE_MASK | FS_INCARNATION_MASK), "the public header's mask");

/* Stamp: who changed the flag last, and when. Written after the word, and marked with the low bits of the word's version:
 * when these differ, the stamp belongs to an earlier change.
 *
 *     63..24 milliseconds since the segment's creation (40) | 23..7 worker id (17) | 6..0 version (7)
 *
 * Worker id: index of the worker entry + 1 (12 bits), and the low 5 bits of the entry's generation above them. */
#define FS_STAMP_VERSION_BITS 7
#define FS_STAMP_WORKER_BITS 17
#define FS_STAMP_TIME_SHIFT (FS_STAMP_VERSION_BITS + FS_STAMP_WORKER_BITS)
#define FS_WORKER_INDEX_BITS 12
#define FS_WORKER_GENERATION_BITS 5

static_assert(FLAGSTORE_WORKERS_MAX < (1 << FS_WORKER_INDEX_BITS), "a worker id has room for every index + 1");

#define FS_KEY_WORDS 5
#define FS_KEY_INLINE (FS_KEY_WORDS * 8 - 1) /* bytes of the longest key that stands in its slot */

struct fs_slot {
	_Atomic uint64_t word;
	_Atomic uint64_t stamp;
	_Atomic uint64_t identity;          /* low half: low 32 bits of the key's hash; high half: check value (key.h) */
	_Atomic uint64_t key[FS_KEY_WORDS]; /* byte 0: length; then the key. A key longer than FS_KEY_INLINE stands in a
	                                     * key cell, whose line is key[FS_KEY_CELL] */
};

#define FS_KEY_CELL 1

static_assert(sizeof(struct fs_slot) == FS_LINE, "a slot is one cache line");

/* ------------------------------------------------------------------------------------- bucket, directory
 *
 * Bucket word (in a directory) and directory word (in a shard):
 *
 *     63..34 line (30) | 33..11 replacements (23) | 10..5 slots of the bucket, in sixteens (6; 0 for a directory) | 4..0 depth (5)
 *
 * depth: of a bucket, how many hash bits all its keys share; of a directory, how many bits index it.
 * replacements: one more each time the word is replaced, so that a bucket recycled into the same place is not taken for the
 * old one. A directory entry is never 0; a shard without a directory has seen no insert yet.
 * The parts stand where a read needs the fewest steps from the word to the next load: the line at the top, to be shifted down to an
 * offset; the slots, and not a size class that would have to be looked up; the depth where a shift takes it from.
 *
 * Hash bits of a key: 63..54 shard | 39..32 tag | 31..0 place in the directory (key.h) | 11..0 preferred slot. */
#define FS_WORD_LINE_SHIFT 34
#define FS_WORD_LINE_BITS 30
#define FS_WORD_COUNT_SHIFT 11
#define FS_WORD_COUNT_BITS 23
#define FS_WORD_SLOTS_SHIFT 1 /* of the slots, which are a multiple of 16 */
#define FS_WORD_SLOTS_MASK UINT64_C(0x7e0)
#define FS_WORD_DEPTH_MASK UINT64_C(0x1f)
#define FS_DEPTH_MAX 20

/* Size classes. The largest is not the double of the one before it: its half fits well into that one when it splits. */
#define FS_BUCKET_CLASSES 7
#define FS_BUCKET_SLOTS_MAX 768
#define FS_BUCKET_SLOTS(X) X(16) X(32) X(64) X(128) X(256) X(512) X(768)

#define FS_GROUP 8 /* tags that are probed together */

/* Tags: only a hint, the slot word decides. A group that was ever full never shows an EMPTY tag again before its bucket is
 * rebuilt; so a search may stop at the first group with one. */
enum fs_tag {
	FS_TAG_EMPTY = 0,
	FS_TAG_TOMBSTONE = 1,
	FS_TAG_FIRST = 2, /* 2 to 255: part of the hash */
};

/* What stands behind a bucket's slots. They come first: a read that knows the bucket's line knows where its slot is. */
struct fs_bucket {
	_Atomic uint32_t next;     /* on a free list: the next block of it */
	_Atomic uint32_t occupied; /* tags that are not EMPTY */
	_Atomic uint32_t live;     /* flags */
	uint32_t reserved;
	_Atomic uint64_t tags[];   /* one byte a slot, byte i of word g is slot g * 8 + i's, by value, not by address */
};

static_assert(sizeof(struct fs_bucket) == 16, "tags follow the bucket header");

/* -------------------------------------------------------------------------------------------- heap blocks
 *
 * Kinds of block. Each has a fixed size (block.c) and free lists of its own, one in each shard. */
#define FS_CELL_KINDS 4       /* key cells of 1 to 4 lines */
#define FS_DIRECTORY_KINDS 18 /* directories of 1, 2, 4 ... lines: depth 3 or less, 4, 5 ... FS_DEPTH_MAX */
#define FS_REDO_KINDS 3       /* redo records for 64, 512 and FLAGSTORE_BATCH_MAX changes */

enum fs_kind {
	FS_KIND_BUCKET = 0,
	FS_KIND_CELL = FS_KIND_BUCKET + FS_BUCKET_CLASSES,
	FS_KIND_DIRECTORY = FS_KIND_CELL + FS_CELL_KINDS,
	FS_KIND_REDO = FS_KIND_DIRECTORY + FS_DIRECTORY_KINDS,
	FS_KINDS = FS_KIND_REDO + FS_REDO_KINDS,
};

static_assert(FS_KINDS <= 32, "the free list heads fit into two lines");

/* A block under way, in a shard's undertaking:  63 confirmed | 40 fresh index | 39..32 kind | 31..0 line.  0: none. */
#define FS_BLOCK_KIND_SHIFT 32
#define FS_BLOCK_INDEX_SHIFT 40
#define FS_BLOCK_CONFIRMED (UINT64_C(1) << 63)

/* A free block holds the line of the next one on its list: a bucket behind its slots, the others in their first four bytes. */

/* Redo record of a batch. Belongs to the batch's lowest shard. */
struct fs_redo_change {
	_Atomic uint32_t slot; /* line */
	_Atomic uint32_t shard;
	_Atomic uint64_t before;
	_Atomic uint64_t after;
};

struct fs_redo {
	_Atomic uint32_t next; /* on a free list */
	_Atomic uint32_t committed;
	_Atomic uint32_t count;
	uint32_t reserved[13];
	struct fs_redo_change changes[];
};

static_assert(sizeof(struct fs_redo) == FS_LINE && sizeof(struct fs_redo_change) == 24, "redo record");

/* ------------------------------------------------------------------------------------------------- shard */

/* What a shard is in the middle of. Written before the first store of the undertaking and after its last; recover.c says
 * for each what is done when its writer died. */
enum fs_phase {
	FS_IDLE = 0,
	FS_FILLING = 1,    /* fresh buckets are being filled from the outgoing one: given up */
	FS_PUBLISHING = 2, /* fresh buckets are complete: finished */
	FS_FOUNDING = 3,   /* the first bucket and directory: given up, unless the directory is in use */
	FS_DOUBLING = 4,   /* a directory of twice the size: given up, unless it is in use */
	FS_KEYING = 5,     /* a key cell on its way to a slot that does not live yet: given up */
	FS_RELEASING = 6,  /* the key cell of a slot that is dead: finished */
	FS_ENLARGING = 7,  /* a larger redo record: given up, unless it is in use */
};

struct fs_shard {
	/* line 0: what every reader loads, and hardly anybody writes */
	_Atomic uint64_t directory; /* directory word; 0 before the first insert */
	_Atomic uint32_t wanted;    /* bits of enum fs_wanted: somebody sleeps until something changes */
	_Atomic uint32_t changed;   /* futex word of those who wait for a flag of this shard */
	uint8_t line0[FS_LINE - 16];
	/* line 1: the writer lock */
	pthread_mutex_t mutex;      /* robust, process-shared */
	_Atomic uint64_t holder;    /* writer mark of the last that locked it */
	_Atomic uint64_t since_ns;  /* when, on CLOCK_MONOTONIC */
	_Atomic uint64_t sequence;  /* odd while the structure changes */
	/* line 2: counts, the guard's marks and the batch under way */
	_Atomic uint64_t births;    /* the last incarnation given out */
	_Atomic uint64_t redo;      /* this shard's redo record, as a block; 0 before the first batch that it leads */
	_Atomic uint64_t mark;      /* writer mark of who is in a write section; 0: nobody */
	_Atomic uint64_t left;      /* writer mark of the last that left one */
	_Atomic uint64_t epoch;     /* times that the lock was taken */
	_Atomic uint32_t live;      /* flags */
	_Atomic uint32_t recoveries;
	_Atomic uint32_t batch;     /* index + 1 of the shard that leads the batch under way; 0: none */
	uint8_t line2[FS_LINE - 52];
	/* line 3: the undertaking */
	_Atomic uint32_t phase;     /* enum fs_phase */
	_Atomic uint32_t where;     /* FILLING, PUBLISHING: first directory entry; KEYING, RELEASING: the slot's line */
	_Atomic uint64_t outgoing;  /* what is replaced: a bucket word, or a block */
	_Atomic uint64_t fresh[2];  /* blocks taken and not yet part of the table */
	_Atomic uint64_t claim;     /* block being cut off the end of the heap */
	_Atomic uint64_t growths;
	_Atomic uint64_t waits;     /* times that a writer found the lock taken */
	uint8_t line3[FS_LINE - 56];
	/* lines 4 and 5 */
	_Atomic uint32_t free[32]; /* by enum fs_kind: the first free block's line */
};

enum fs_wanted {
	FS_WANTED_SHARD = 1, /* wake those on the shard's futex word */
	FS_WANTED_ANY = 2,   /* wake those on the header's futex word */
};

static_assert(sizeof(pthread_mutex_t) == 40, "the mutex of glibc on x86-64");
static_assert(offsetof(struct fs_shard, mutex) == 1 * FS_LINE, "lock line");
static_assert(offsetof(struct fs_shard, births) == 2 * FS_LINE, "count line");
static_assert(offsetof(struct fs_shard, phase) == 3 * FS_LINE, "undertaking line");
static_assert(offsetof(struct fs_shard, free) == 4 * FS_LINE, "free list lines");
static_assert(sizeof(struct fs_shard) == 6 * FS_LINE, "a shard is six lines");

/* ------------------------------------------------------------------------------------------------ worker
 *
 * A worker holds its entry by an open-file-description lock on byte FS_LOCK_WORKER + index of the file: that alone says
 * whether it lives. The fields are written by the holder only; generation is odd meanwhile. */
#define FS_COMMAND_WORDS 4

struct fs_worker {
	_Atomic uint64_t generation; /* 0: never used */
	_Atomic uint64_t pid;
	_Atomic uint64_t uid;
	_Atomic uint64_t start_ticks;
	_Atomic int64_t attached_ms;
	_Atomic uint64_t command[FS_COMMAND_WORDS];
	uint8_t padding[128 - 8 * (5 + FS_COMMAND_WORDS)];
};

static_assert(sizeof(struct fs_worker) == 128, "a worker is two lines");

/* -------------------------------------------------------------------------------------------------- seat
 *
 * A seat is one thread of a worker: what it does, and a ring of what happened to it. Written by its thread alone; each field, and each
 * record, can be read by anybody at any time. A seat whose owner is dead is taken over when no other is left.
 *
 * Writer mark, which tells a thread from all others:   51..39 seat + 1 (13; 0: none) | 38..17 thread id (22) | 16..0 worker id (17)
 * Owner of a seat: the same without the seat. */
#define FS_MARK_WORKER_BITS FS_STAMP_WORKER_BITS
#define FS_MARK_THREAD_BITS 22
#define FS_MARK_SEAT_SHIFT (FS_MARK_WORKER_BITS + FS_MARK_THREAD_BITS)
#define FS_MARK_SEAT_BITS 13
#define FS_MARK_BITS (FS_MARK_SEAT_SHIFT + FS_MARK_SEAT_BITS)
#define FS_OWNER_MASK ((UINT64_C(1) << FS_MARK_SEAT_SHIFT) - 1)
#define FS_MARK_LOCKED (UINT64_C(1) << 63) /* in a shard's marks: it has, or had, the lock */

static_assert(FLAGSTORE_SEATS_MAX < (1 << FS_MARK_SEAT_BITS), "a writer mark has room for every seat + 1");

/* A change, or whatever else happened. The stamp says which record of the ring this is: number * 2 + 2, or one less while it is written;
 * 0: never written. Which of the others mean something depends on the kind (events.c). */
struct fs_event {
	_Atomic uint64_t stamp;
	_Atomic int64_t time_ns;    /* CLOCK_REALTIME; of a change, as coarse as the kernel's tick */
	_Atomic uint64_t what;      /* 7..0 enum flagstore_event_kind | 15..8 enum flagstore_operation | 16 batch | 17 unlocked
	                             * | 63..32 shard */
	_Atomic uint64_t who;       /* writer mark */
	_Atomic uint64_t slot;      /* line of the slot; of a wait and of a death the writer mark of the other thread */
	_Atomic uint64_t identity;  /* the slot's; of what takes time the nanoseconds that it took */
	_Atomic uint64_t before;    /* slot word */
	_Atomic uint64_t after;     /* slot word */
};

static_assert(sizeof(struct fs_event) == FS_LINE, "an event is a line");

#define FS_EVENT_BATCH_BIT 16
#define FS_EVENT_UNLOCKED_BIT 17
#define FS_EVENT_SHARD_SHIFT 32

#define FS_SEAT_EVENTS 62
#define FS_NAME_WORDS 2

struct fs_seat {
	/* line 0: whose it is, and the ring's end */
	_Atomic uint64_t owner;         /* 0: free */
	_Atomic int64_t taken_ms;       /* since when, milliseconds since 1970 */
	_Atomic uint64_t name[FS_NAME_WORDS]; /* of the thread, NUL-terminated */
	_Atomic uint64_t next;          /* the number of the next event; never goes back, whoever owns the seat */
	uint8_t line0[FS_LINE - 40];
	/* line 1: what the thread does */
	_Atomic uint64_t activity;      /* 7..0 enum flagstore_activity | 63..32 shard */
	_Atomic uint64_t since_ns;      /* since when, CLOCK_MONOTONIC */
	_Atomic uint64_t behind;        /* waiting: writer mark of who held the lock */
	_Atomic uint64_t locks;         /* write sections entered */
	_Atomic uint64_t waits;         /* of them, those for which it had to wait */
	_Atomic uint64_t waited_ns;
	_Atomic uint64_t site;          /* guard: where the last write section was called from, an address in the process; 0: not noted */
	_Atomic uint64_t operation;     /* guard: and what for, enum flagstore_operation */
	struct fs_event events[FS_SEAT_EVENTS];
};

#define FS_ACTIVITY_SHARD_SHIFT 32

static_assert(offsetof(struct fs_seat, activity) == 1 * FS_LINE, "seat line 1");
static_assert(offsetof(struct fs_seat, events) == 2 * FS_LINE, "seat ring");
static_assert(sizeof(struct fs_seat) == FS_PAGE, "a seat is a page");

/* -------------------------------------------------------------------------------------------------- guard
 *
 * A conflict: two threads wrote where one should have waited for the other. The records are a ring; the stamp is that of an event. The
 * body is written and read word by word. */
#define FS_STACK_FRAMES 24
#define FS_STACK_MODULES 6
#define FS_BUILD_ID_BYTES 20
#define FS_MODULE_PATH 164

struct fs_party {
	uint64_t who;        /* writer mark; 0: unknown */
	uint64_t site;       /* where it called the library: 63..56 module + 1 (0: unknown) | 55..0 offset in the module's file image */
	uint32_t pid;
	uint32_t operation;  /* enum flagstore_operation; 0: unknown */
	uint32_t unlocked;   /* 1: it wrote without the lock */
	uint32_t reserved;
	char command[32];    /* NUL-terminated */
};

struct fs_module {
	uint8_t build_id_length;
	uint8_t build_id[FS_BUILD_ID_BYTES];
	uint8_t reserved[7];
	char path[FS_MODULE_PATH]; /* NUL-terminated; of a longer one the end, behind "..." */
};

struct fs_conflict_body {
	uint64_t count;      /* how many times these two have met like that */
	int64_t first_ns;    /* CLOCK_REALTIME */
	int64_t last_ns;
	uint64_t epoch;      /* the shard's */
	uint32_t kind;       /* enum flagstore_conflict_kind */
	uint32_t shard;
	uint32_t slot;       /* line; 0: none */
	uint32_t guard;      /* enum flagstore_guard */
	struct fs_party parties[2]; /* who noticed; the other */
	uint8_t key_length;
	char key[FLAGSTORE_KEY_MAX];
	uint32_t frames;
	uint32_t modules;
	uint64_t stack[FS_STACK_FRAMES];          /* of who noticed, innermost first; as site */
	struct fs_module module[FS_STACK_MODULES];
};

#define FS_SITE_MODULE_SHIFT 56

struct fs_conflict {
	_Atomic uint64_t stamp;
	_Atomic uint64_t body[255];
};

static_assert(sizeof(struct fs_party) == 64 && sizeof(struct fs_module) == 192, "no padding");
#define FS_CONFLICTS_MAX 128u /* records */

static_assert(sizeof(struct fs_conflict) == 2048, "two to a page");
static_assert(sizeof(struct fs_conflict_body) <= sizeof(struct fs_conflict) - 8 && sizeof(struct fs_conflict_body) % 8 == 0, "fits");

/* Audit: who passed a slot last. An entry is its slots' whose line is its number, modulo the number of entries. The words are written one
 * by one, by anybody; only words that belong together are believed. */
struct fs_shadow {
	_Atomic uint64_t who;     /* 51..0 writer mark | 55..52 enum flagstore_operation | 57 held the lock | 56 wrote without it */
	_Atomic uint64_t where;   /* 63..32 slot line | 31..16 lock epoch | 15..0 digest of who */
	_Atomic int64_t time_ms;  /* since 1970, as coarse as the kernel's tick */
	_Atomic uint64_t site;    /* where the library was called, an address in that process */
};

static_assert(sizeof(struct fs_shadow) == 32, "two to a line");

#define FS_SHADOWS_MAX (1u << 16)
#define FS_SHADOW_OPERATION_SHIFT 52
#define FS_SHADOW_UNLOCKED (UINT64_C(1) << 56)
#define FS_SHADOW_LOCKED (UINT64_C(1) << 57)

/* ------------------------------------------------------------------------------------------------ journal
 *
 * Of a segment that is kept in LMDB too: every change of a flag, in the order in which the changes were made, for whoever writes them to
 * LMDB. The first page says where the journal begins and ends; behind it stands a ring of 8-byte words. A position counts the bytes that
 * were ever written, and is 0 when the segment is created; the byte at position p stands at p modulo the size of the ring.
 *
 * A record: its sum (journal.c) | 7..0 words of the record, 8 delete, 9 the batch goes on behind it | slot word after the change |
 * milliseconds since 1970 | key: its length in one byte, then the key, padded with zeros to whole words. */
#define FS_RECORD_WORDS 4 /* before the key */
#define FS_RECORD_WORDS_MAX (FS_RECORD_WORDS + (1 + FLAGSTORE_KEY_MAX + 7) / 8)
#define FS_RECORD_DELETE (UINT64_C(1) << 8)
#define FS_RECORD_MORE (UINT64_C(1) << 9)
#define FS_JOURNAL_BYTES_MIN (UINT64_C(64) << 10) /* of the ring */
#define FS_JOURNAL_BYTES_MAX (UINT64_C(8) << 20)

/* What the appender is in the middle of: 63..32 a kind | 31..0 line of the slot, or index of the shard that leads the batch. */
#define FS_INTENT_KIND_SHIFT 32
#define FS_INTENT_SLOT 1
#define FS_INTENT_BATCH 2

/* Commits of the last minute, by slices of five seconds. */
#define FS_BREAKER_SLICES 12
#define FS_BREAKER_SLICE_S 5

struct fs_breaker_slice {
	_Atomic uint32_t number;   /* which slice since boot; one that is not the right one counts as empty */
	_Atomic uint32_t commits;
	_Atomic uint32_t failures; /* of them */
	_Atomic uint32_t slow;     /* of them, longer than the limit */
	_Atomic uint32_t opens;    /* attempts to open the environment and to read from it */
	_Atomic uint32_t open_failures;
	uint32_t reserved[2];
};

#define FS_FAILURE_TEXT 192

struct fs_journal {
	/* line 0: the lock, which is taken for each change of a flag */
	pthread_mutex_t mutex;         /* robust, process-shared */
	_Atomic uint64_t holder;       /* writer mark of the last that locked it */
	uint8_t line0[FS_LINE - 48];
	/* line 1: written by who has the lock */
	_Atomic uint64_t head;         /* the end: all records before it are made */
	_Atomic uint64_t next;         /* the end that will be when the change under way is made; else the same as head */
	_Atomic uint64_t intent;       /* what that change is; 0: there is none */
	_Atomic uint64_t intended;     /* FS_INTENT_SLOT: the word that makes it */
	_Atomic uint64_t given_up;     /* times that records were given up, since the ring was full and nobody could write them */
	uint8_t line1[FS_LINE - 40];
	/* line 2: written by the flusher, but for what is said below */
	_Atomic uint64_t tail;         /* the beginning: what stands before it may be overwritten (also by who gives records up) */
	_Atomic uint64_t durable;      /* LMDB has all changes before this position */
	_Atomic uint32_t flushes;      /* futex word of those who wait for durable to move */
	_Atomic uint32_t wake;         /* futex word of the flusher (by writers) */
	_Atomic uint64_t flush_since_ns; /* whoever has the flush lock went on last then, CLOCK_MONOTONIC; 0: nobody has it */
	_Atomic uint32_t reconcile;    /* not 0: LMDB is to be compared with the whole table; grows with each wish (by anybody) */
	_Atomic uint32_t waiters;      /* threads that wait for durable to move; may be too many, after a death (by them) */
	_Atomic uint64_t flusher;      /* writer mark of the last flusher */
	uint8_t line2[FS_LINE - 48];
	/* line 3: the circuit breaker */
	_Atomic uint64_t breaker;      /* 7..0 enum flagstore_breaker_state | 63..8 since when, milliseconds since 1970 */
	_Atomic uint64_t retry_ns;     /* open: when to try again, CLOCK_MONOTONIC */
	_Atomic uint64_t retry_pause_ms; /* how long that was from the last failure */
	_Atomic uint64_t trips;        /* times that it opened */
	_Atomic uint32_t limit_failures; /* per mille of commits */
	_Atomic uint32_t limit_opens;  /* per mille of opens and reads */
	_Atomic uint32_t limit_ms;     /* of a commit */
	_Atomic uint32_t limit_samples; /* fewer commits tell nothing */
	_Atomic uint32_t forced;       /* 1: kept open by an administrator */
	uint8_t line3[FS_LINE - 52];
	/* counts for people */
	_Atomic uint64_t commits, commit_failures, records, reconciles, mismatches;
	_Atomic int64_t last_commit_ms;  /* since 1970 */
	_Atomic uint64_t last_commit_ns; /* how long it took */
	_Atomic uint64_t longest_commit_ns;
	struct fs_breaker_slice slices[FS_BREAKER_SLICES];
	_Atomic int64_t failed_ms;     /* when writing failed last, or was slower than the limit, since 1970; 0: never */
	_Atomic uint64_t failure[FS_FAILURE_TEXT / 8]; /* its sentence, NUL-terminated */
	uint8_t rest[FS_PAGE - 4 * FS_LINE - 9 * 8 - FS_BREAKER_SLICES * 32 - FS_FAILURE_TEXT];
};

static_assert(offsetof(struct fs_journal, head) == 1 * FS_LINE, "journal line 1");
static_assert(offsetof(struct fs_journal, tail) == 2 * FS_LINE, "journal line 2");
static_assert(offsetof(struct fs_journal, breaker) == 3 * FS_LINE, "journal line 3");
static_assert(sizeof(struct fs_journal) == FS_PAGE, "the ring begins at a page");

/* Where the flags are kept too; fixed at creation. */
#define FS_DIRECTORY_PATH 1024

struct fs_persistence {
	uint32_t durability; /* enum flagstore_durability */
	uint32_t on_failure; /* enum flagstore_on_failure */
	uint32_t flush_interval_ms;
	uint32_t reserved;
	char directory[FS_DIRECTORY_PATH]; /* absolute, NUL-terminated */
	uint64_t check;      /* XXH3 of all the bytes before it */
};

/* Bits of features. */
#define FS_FEATURE_JOURNAL 1u /* incompatible: every change is written to the journal, and flips take its lock */

/* Bytes of the file, far behind its end, that exist only to be locked. */
#define FS_LOCK_SETUP (INT64_C(1) << 60)         /* exclusive: whoever creates, resets or attaches read-write */
#define FS_LOCK_PRESENT (FS_LOCK_SETUP + 1)      /* shared: everybody that is attached read-write */
#define FS_LOCK_FLUSH (FS_LOCK_SETUP + 2)        /* exclusive: whoever writes to LMDB, meanwhile */
#define FS_LOCK_FLUSHER (FS_LOCK_SETUP + 3)      /* exclusive: the thread that does that regularly */
#define FS_LOCK_WORKER (FS_LOCK_SETUP + FS_PAGE) /* exclusive, one byte an entry: the worker lives */

/* ------------------------------------------------------------------------------------------------ header */

enum fs_segment_state {
	FS_CREATING = 0,
	FS_READY = 1,
	FS_RETIRED = 2, /* the file has been unlinked */
};

/* Fixed at creation; covered by check. */
struct fs_constants {
	char magic[8];
	uint32_t byte_order;
	uint32_t layout;
	uint32_t feature_incompatible; /* an unknown bit: don't attach */
	uint32_t feature_read_only;    /* an unknown bit: attach read-only */
	uint32_t feature_compatible;   /* an unknown bit: go on */
	uint32_t header_size;
	uint32_t shard_size;
	uint32_t worker_size;
	uint32_t slot_size;
	uint32_t seat_size;
	uint32_t conflict_size;
	uint32_t shards;
	uint32_t workers;
	uint32_t seats;
	uint32_t conflicts;
	uint32_t shadows;
	uint32_t lock_wait_ms;
	uint32_t laboratory;
	uint64_t max_bytes;
	uint64_t hash_seed;
	int64_t created_ms;
	uint8_t uuid[16];
	uint64_t check; /* XXH3 of all the bytes before it */
};

struct fs_header {
	struct fs_constants constants;
	/* line 2: who may write; changed only by a reset */
	_Atomic uint64_t pid_namespace;  /* inode number */
	_Atomic uint64_t boot[4];        /* boot id, 32 hexadecimal digits */
	_Atomic uint32_t state;          /* enum fs_segment_state */
	uint8_t line2[FS_LINE - 44];
	/* line 3: the heap */
	_Atomic uint64_t heap;           /* 42..32 index + 1 of the shard that took last | 31..0 the next free line */
	_Atomic uint32_t room;           /* lines, up to the end of the heap, that the file system has really given */
	_Atomic uint32_t seat_room;      /* seats that have room */
	_Atomic uint32_t conflict_room;  /* 1: the conflicts have room */
	_Atomic uint32_t shadow_room;    /* 1: the shadows have room */
	_Atomic uint32_t journal_room;   /* 1: the journal has room */
	uint8_t line3[FS_LINE - 28];
	/* line 4 */
	_Atomic uint32_t changed;        /* futex word of those who wait for any flag */
	_Atomic uint32_t next_worker;    /* where the search for a free worker entry goes on */
	_Atomic uint32_t next_seat;      /* where the search for a free seat goes on */
	_Atomic uint32_t standing;       /* threads that found no seat */
	uint8_t line4[FS_LINE - 16];
	/* line 5: what every writer reads, and hardly anybody writes */
	_Atomic uint64_t guard;          /* 7..0 enum flagstore_guard | 63..32 the audit's window in milliseconds */
	_Atomic uint64_t guard_since_ms; /* when it was set, milliseconds since 1970 */
	_Atomic uint64_t guard_by;       /* worker id of who set it */
	uint8_t line5[FS_LINE - 24];
	/* line 6 */
	_Atomic uint64_t next_conflict;  /* the number of the next conflict record */
	_Atomic uint64_t conflicts_seen; /* all of them, whether recorded or not */
	uint8_t line6[FS_LINE - 16];
	/* line 7 */
	struct fs_persistence persistence; /* with FS_FEATURE_JOURNAL */
	uint8_t rest[FS_PAGE - 7 * FS_LINE - sizeof(struct fs_persistence)];
};

static_assert(sizeof(struct fs_constants) == 2 * FS_LINE, "no padding in what check covers");
static_assert(offsetof(struct fs_header, pid_namespace) == 2 * FS_LINE, "header line 2");
static_assert(offsetof(struct fs_header, heap) == 3 * FS_LINE, "header line 3");
static_assert(offsetof(struct fs_header, changed) == 4 * FS_LINE, "header line 4");
static_assert(offsetof(struct fs_header, guard) == 5 * FS_LINE, "header line 5");
static_assert(offsetof(struct fs_header, next_conflict) == 6 * FS_LINE, "header line 6");
static_assert(sizeof(struct fs_header) == FS_PAGE, "the header is a page");

#define FS_HEAP_OWNER_SHIFT 32
#define FS_GUARD_WINDOW_SHIFT 32

#define FS_MIN_BYTES (UINT64_C(1) << 20)
#define FS_MAX_BYTES (UINT64_C(1) << 36)

static_assert(FS_MAX_BYTES / FS_LINE <= (UINT64_C(1) << FS_WORD_LINE_BITS), "a word has room for every line");
static_assert(FS_WORD_LINE_SHIFT + FS_WORD_LINE_BITS == 64 && FS_WORD_COUNT_SHIFT + FS_WORD_COUNT_BITS == FS_WORD_LINE_SHIFT, "parts of a word");
static_assert(!(FS_BUCKET_SLOTS_MAX << FS_WORD_SLOTS_SHIFT & ~FS_WORD_SLOTS_MASK) && FS_DEPTH_MAX < FS_WORD_DEPTH_MASK, "parts of a word");

#endif

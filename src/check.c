/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * check.c: every invariant of a segment. Reads only, trusts nothing, and says what it finds.
 *
 * A shard is looked at under its lock, or, by a store that may only read, again and again until its sequence count stood still.
 * Findings of a look are kept until it is known that it counts. At the end every line of the heap must have been met exactly once, in a
 * directory, a bucket, a key cell, a redo record or on a free list; that is asked only if nothing grew meanwhile. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "guard.h"
#include "persist.h"
#include "recover.h"
#include "redo.h"
#include "section.h"
#include "sigbus.h"
#include "undertaking.h"
#include "worker.h"

#define TRIES 100

struct finding {
	const char *kind, *cause;
	uint32_t shard, slot, writer;
	uint64_t offset;
	size_t length;
	char key[FLAGSTORE_KEY_MAX + 1];
	char text[160];
};

/* Lines that are part of something. */
struct range {
	fs_line line;
	uint32_t lines;
};

struct check {
	flagstore *store;
	uint8_t *met;          /* a bit a line: part of something */
	struct range *ranges;  /* met in this look, to be taken back if it does not count */
	size_t ranges_count, ranges_room;
	struct finding *kept;
	size_t kept_count, kept_room;
	bool no_memory;
	uint32_t shard;             /* being looked at */
	const struct fs_slot *slot; /* being looked at, or NULL */
	uint32_t place;             /* its index in its bucket */
	const char *cause;          /* of what is found next, when more is known than its kind */
	uint64_t heap;              /* the heap word when the check began */
	uint64_t lines;             /* met */
	uint64_t shard_lines;
};

/* What most likely led to a finding of the kind. Who keeps the rules causes none of them, so it is one of three: writers that did not
 * take the lock, a store that did not go through the library, a writer that is gone. */
static const char *cause_of(const char *kind)
{
	static const char *const causes[][2] = {
		{"directory", "a store that bypassed the library, or two writers without the lock replaced a bucket at the same time"},
		{"bucket", "a store that bypassed the library, or two writers without the lock replaced a bucket at the same time"},
		{"tag", "two writers without the lock stored tags of one group at the same time"},
		{"duplicate", "two writers without the lock inserted the key at the same time"},
		{"unreachable", "a writer without the lock inserted the flag while its bucket was being replaced"},
		{"count", "two writers without the lock counted at the same time"},
		{"room", "two writers without the lock took or gave the same block"},
		{"free-list", "two writers without the lock took or gave the same block"},
		{"frozen", "a writer died, or stands still, while it moved the flag or had it in a batch"},
		{"lock", "a writer died in the middle of a change; the next writer of the shard restores it"},
	};

	for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
		if (strcmp(causes[i][0], kind) == 0)
			return causes[i][1];
	return "a store that bypassed the library, or a damaged file";
}

/* Of the slot that is being looked at: which flag, and who changed it last. */
static void describe_slot(struct check *check, struct finding *finding)
{
	struct flagstore_flag flag;

	finding->slot = check->place;
	finding->length = fs_slot_copy_key(check->store, check->slot, finding->key);
	finding->key[finding->length] = 0;
	fs_slot_describe(check->store, check->slot, atomic_load_explicit(&check->slot->word, memory_order_relaxed), &flag);
	finding->writer = flag.writer;
}

static void __attribute__((format(printf, 4, 5))) find(struct check *check, const char *kind, const void *place, const char *format, ...)
{
	struct finding *finding;
	va_list arguments;

	if (check->kept_count == check->kept_room) {
		size_t room = check->kept_room ? check->kept_room * 2 : 64;
		struct finding *kept = realloc(check->kept, room * sizeof *kept);

		if (!kept) {
			check->no_memory = true;
			return;
		}
		check->kept = kept;
		check->kept_room = room;
	}
	finding = &check->kept[check->kept_count++];
	finding->kind = kind;
	finding->cause = check->cause ? check->cause : cause_of(kind);
	finding->shard = check->shard;
	finding->slot = UINT32_MAX;
	finding->writer = 0;
	finding->length = 0;
	finding->offset = (uint64_t)((const char *)place - check->store->map);
	if (check->slot)
		describe_slot(check, finding);
	va_start(arguments, format);
	vsnprintf(finding->text, sizeof finding->text, format, arguments);
	va_end(arguments);
	check->cause = NULL;
}

static void note_range(struct check *check, fs_line line, uint32_t lines)
{
	if (check->ranges_count == check->ranges_room) {
		size_t room = check->ranges_room ? check->ranges_room * 2 : 256;
		struct range *ranges = realloc(check->ranges, room * sizeof *ranges);

		if (!ranges) {
			check->no_memory = true;
			return;
		}
		check->ranges = ranges;
		check->ranges_room = room;
	}
	check->ranges[check->ranges_count++] = (struct range){line, lines};
}

/* Notes that a block is part of something; it must not be part of anything else. False when it is, or can't be: then what is in it has
 * been looked at, or means nothing. The caller has checked that the lines exist. */
static bool meet(struct check *check, fs_line line, uint32_t lines, const char *what)
{
	const char *place = check->store->map + (size_t)line * FS_LINE;

	for (uint32_t i = line; i < line + lines; i++) {
		if (check->met[i / 8] & 1 << i % 8) {
			find(check, "room", place, "the %s at line %u overlaps something else", what, line);
			return false;
		}
	}
	for (uint32_t i = line; i < line + lines; i++)
		check->met[i / 8] = (uint8_t)(check->met[i / 8] | 1 << i % 8);
	note_range(check, line, lines);
	check->shard_lines += lines;
	if (line + lines <= (fs_line)atomic_load_explicit(&fs_header(check->store)->heap, memory_order_relaxed))
		return true;
	find(check, "room", place, "the %s at line %u lies behind the end of the heap", what, line);
	return false;
}

/* ------------------------------------------------------------------------------------------------ what is zero */

/* Later versions may use what is unused now, with a feature bit that says so. */
static bool knows_all(const flagstore *store)
{
	return !store->constants.feature_compatible && !store->constants.feature_read_only;
}

/* The bytes from, up to to, are unused and 0. */
static void check_zero(struct check *check, const char *kind, const void *from, const void *to, const char *what)
{
	for (const char *byte = from; byte < (const char *)to && knows_all(check->store); byte++) {
		if (__atomic_load_n(byte, __ATOMIC_RELAXED)) {
			check->cause = "a store that bypassed the library: it writes nothing there";
			find(check, kind, byte, "a byte of the %s that is unused is not 0", what);
			return;
		}
	}
}

#define CHECK_UNUSED(check, kind, record, member, what)                                                                \
	check_zero(check, kind, (record)->member, (const char *)(record)->member + sizeof(record)->member, what)

/* --------------------------------------------------------------------------------------------------- slots */

struct bucket_at {
	struct fs_bucket_view view;
	uint64_t position; /* hash bits of its range */
	uint32_t depth;
};

/* The word, the identity and the key of a slot are of one writer, unless two filled it at the same time: then each of the three may be
 * of another one. */
static const char *cause_of_identity(uint64_t hash, uint64_t word, uint64_t identity)
{
	uint64_t differ = fs_identity(hash, word) ^ identity;

	if (__builtin_popcountll(differ) <= 2)
		return "a bit was flipped, in memory or by a store that bypassed the library";
	if (!(uint32_t)differ)
		return "two writers without the lock claimed the slot: word and key are of different lives";
	return "two writers without the lock claimed the slot, or a store that bypassed the library changed its key";
}

static void check_key(struct check *check, const struct bucket_at *at, uint32_t place, uint64_t word)
{
	const flagstore *store = check->store;
	const struct fs_slot *slot = &at->view.slots[place];
	uint64_t identity = atomic_load_explicit(&slot->identity, memory_order_relaxed), hash, births;
	char bytes[FLAGSTORE_KEY_MAX];
	fs_line cell = (fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed);
	size_t length = fs_slot_copy_key(store, slot, bytes);
	uint8_t tag = fs_tag_at(at->view.bucket, place);
	struct fs_found found;

	if (!fs_key_valid(bytes, length)) {
		find(check, "slot", slot, "the flag's key of %zu bytes is not valid", fs_slot_key_length(slot));
		return;
	}
	/* Checked once more: it may have changed since the key was copied. */
	if (length > FS_KEY_INLINE && fs_at(store, cell, fs_cell_lines(length)))
		meet(check, cell, fs_cell_lines(length), "key cell");
	/* Until the count comes round: an incarnation that is yet to be given out would be given out twice. */
	births = atomic_load_explicit(&store->shards[check->shard].births, memory_order_relaxed);
	if (births <= FS_INCARNATION_MASK >> FS_INCARNATION_SHIFT && (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT > births)
		find(check, "count", slot, "the flag's incarnation is later than the last of its shard, %llu", (unsigned long long)births);
	hash = fs_hash(store->seed, bytes, length);
	if (fs_identity(hash, word) != identity) {
		check->cause = cause_of_identity(hash, word, identity);
		find(check, "check-value", slot, "key, hash and incarnation do not belong together: the slot was written by somebody who did not keep the rules");
		return;
	}
	if (tag != fs_hash_tag(hash))
		find(check, "tag", slot, "the tag of slot %u is %u, and should be %u", place, tag, fs_hash_tag(hash));
	if (fs_hash_shard(hash, store->shard_count) != check->shard ||
	    fs_hash_index(hash, at->depth) != at->position >> (32 - at->depth)) {
		find(check, "unreachable", slot, "the flag lies in a bucket that is not in charge of its key");
		return;
	}
	if (fs_find(store, &(struct fs_key){bytes, length, hash}, &found) != FS_FOUND)
		find(check, "unreachable", slot, "a search for the flag's key does not find it");
	else if (found.slot != slot)
		find(check, "duplicate", slot, "the flag exists a second time, at line %u", fs_line_of(store, found.slot));
}

/* What the slot has behind its key, or beside the cell that holds the key. */
static void check_key_rest(struct check *check, const struct fs_slot *slot)
{
	size_t length = fs_slot_key_length(slot);
	const char *key = (const char *)slot->key;

	if (length <= FS_KEY_INLINE) {
		check_zero(check, "slot", key + 1 + length, slot + 1, "slot");
		return;
	}
	check_zero(check, "slot", key + 1, &slot->key[FS_KEY_CELL], "slot");
	check_zero(check, "slot", (const char *)&slot->key[FS_KEY_CELL] + sizeof(fs_line), slot + 1, "slot");
}

static void check_author(struct check *check, const struct fs_slot *slot)
{
	uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	uint32_t index = (uint32_t)(stamp >> FS_STAMP_VERSION_BITS) & ((1u << FS_WORKER_INDEX_BITS) - 1);

	if (index > check->store->constants.workers)
		find(check, "slot", slot, "the flag was changed last by worker entry %u, and there are %u", index, check->store->constants.workers);
}

static void check_slot(struct check *check, const struct bucket_at *at, uint32_t place)
{
	const struct fs_slot *slot = &at->view.slots[place];
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
	uint8_t tag = fs_tag_at(at->view.bucket, place);

	check->slot = slot;
	check->place = place;
	if (fs_word_state(word) == FS_EMPTY && word != 0)
		find(check, "slot", slot, "slot %u is empty, and its word is not 0", place);
	if (fs_word_state(word) != FS_EMPTY && word & FS_RESERVED_MASK)
		find(check, "slot", slot, "reserved bits of the word of slot %u are not 0", place);
	if (fs_word_holds(word)) {
		check_key_rest(check, slot);
		check_author(check, slot);
	}
	if (fs_word_state(word) == FS_FROZEN)
		find(check, "frozen", slot, "slot %u is frozen, and nobody is at work", place);
	if (fs_word_holds(word))
		check_key(check, at, place, word);
	else if (tag >= FS_TAG_FIRST)
		find(check, "tag", slot, "slot %u holds no flag, and has a tag", place);
	else if (fs_word_state(word) == FS_DEAD && fs_slot_key_length(slot) > FS_KEY_INLINE)
		find(check, "slot", slot, "slot %u is dead, and still names a key cell", place);
	check->slot = NULL;
}

static uint32_t check_bucket(struct check *check, const struct bucket_at *at)
{
	const struct fs_bucket *bucket = at->view.bucket;
	uint32_t live = 0, occupied = 0;

	for (uint32_t i = 0; i < at->view.count; i++) {
		check_slot(check, at, i);
		live += fs_word_holds(atomic_load_explicit(&at->view.slots[i].word, memory_order_relaxed));
		occupied += fs_tag_at(bucket, i) != FS_TAG_EMPTY;
	}
	check_zero(check, "bucket", &bucket->next, &bucket->occupied, "bucket");
	check_zero(check, "bucket", &bucket->reserved, bucket->tags, "bucket");
	check_zero(check, "bucket", (const char *)bucket->tags + at->view.count, at->view.slots, "bucket");
	if (atomic_load_explicit(&bucket->live, memory_order_relaxed) != live)
		find(check, "count", bucket, "the bucket has %u flags, and its count says %u", live,
		     atomic_load_explicit(&bucket->live, memory_order_relaxed));
	if (atomic_load_explicit(&bucket->occupied, memory_order_relaxed) != occupied)
		find(check, "count", bucket, "the bucket has %u tags in use, and its count says %u", occupied,
		     atomic_load_explicit(&bucket->occupied, memory_order_relaxed));
	return live;
}

/* -------------------------------------------------------------------------------------------------- shards */

/* All the directory's entries for one bucket hold the same word. */
static void check_entries(struct check *check, const _Atomic uint64_t *directory, uint32_t above, uint64_t position, uint64_t word)
{
	uint32_t depth = fs_dir_depth(word), first = (uint32_t)(position >> (32 - above));

	for (uint32_t i = 0; i < 1u << (above - depth); i++)
		if (atomic_load_explicit(&directory[first + i], memory_order_relaxed) != word)
			find(check, "directory", &directory[first + i], "directory entry %u differs from the others of its bucket", first + i);
}

/* A directory word is replaced when the directory is founded, and each time it doubles: its count is known. That of a bucket word is
 * bounded, as long as the shard's own count has not come round. */
static void check_replacements(struct check *check, const struct fs_shard *shard, uint64_t directory_word, const _Atomic uint64_t *entry,
                               uint64_t word)
{
	uint64_t growths = atomic_load_explicit(&shard->growths, memory_order_relaxed);
	uint64_t count = word >> FS_WORD_COUNT_SHIFT, most = UINT64_C(1) << (64 - FS_WORD_COUNT_SHIFT);

	if (!entry && (directory_word >> FS_WORD_COUNT_SHIFT != fs_dir_depth(directory_word) + 1 || fs_dir_class(directory_word)))
		find(check, "directory", shard, "the directory word does not have the count or the class that belongs to its depth");
	if (entry && growths < most - 1 && (count == 0 || count > growths + 1))
		find(check, "directory", entry, "a bucket word has been replaced %llu times, and its shard has seen %llu growths",
		     (unsigned long long)count, (unsigned long long)growths);
}

static void check_table(struct check *check, const struct fs_shard *shard)
{
	const flagstore *store = check->store;
	uint64_t directory_word = fs_directory_word(shard), position = 0, word;
	struct fs_walk walk = {0, 0};
	const _Atomic uint64_t *directory = directory_word ? fs_directory(store, directory_word) : NULL;
	uint32_t above = fs_dir_depth(directory_word), live = 0;

	if (directory_word && !directory)
		find(check, "directory", shard, "the directory word leads nowhere");
	if (directory) {
		uint32_t lines = fs_kind_lines(fs_directory_kind(above));

		meet(check, fs_dir_line(directory_word), lines, "directory");
		check_zero(check, "directory", directory + (1u << above), (const char *)directory + (size_t)lines * FS_LINE, "directory");
		check_replacements(check, shard, directory_word, NULL, 0);
	}
	/* All by one directory word: its depth bounds what is read below. */
	for (; directory && fs_next_bucket(store, directory_word, &walk, &word); position = walk.position) {
		struct bucket_at at = {.position = position, .depth = fs_dir_depth(word)};

		if (!word || !fs_bucket_view(store, word, &at.view)) {
			find(check, "bucket", &directory[position >> (32 - above)], "the bucket word of directory entry %llu leads nowhere",
			     (unsigned long long)(position >> (32 - above)));
			continue;
		}
		check_entries(check, directory, above, position, word);
		check_replacements(check, shard, directory_word, &directory[position >> (32 - above)], word);
		if (meet(check, fs_dir_line(word), fs_kind_lines(FS_KIND_BUCKET + fs_dir_class(word)), "bucket"))
			live += check_bucket(check, &at);
	}
	if (atomic_load_explicit(&shard->live, memory_order_relaxed) != live)
		find(check, "count", shard, "the shard has %u flags, and its count says %u", live,
		     atomic_load_explicit(&shard->live, memory_order_relaxed));
}

/* A handle that was made long ago may still look at a slot of a free bucket: none must live. */
static void check_free_bucket(struct check *check, fs_line line, uint32_t class)
{
	struct fs_bucket_view view;

	if (!fs_bucket_view(check->store, fs_dir_word(0, line, class, 0), &view))
		return;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t word = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);

		if (fs_word_state(word) == FS_LIVE)
			find(check, "free-list", &view.slots[i], "slot %u of a free bucket lives", i);
		else if (fs_word_state(word) == FS_EMPTY ? word != 0 : (word & FS_RESERVED_MASK) != 0)
			find(check, "free-list", &view.slots[i], "the word of slot %u of a free bucket is none", i);
	}
}

static void check_free_lists(struct check *check, const struct fs_shard *shard)
{
	for (uint32_t kind = 0; kind < FS_KINDS; kind++) {
		fs_line line = atomic_load_explicit(&shard->free[kind], memory_order_relaxed);

		while (line) {
			const _Atomic uint32_t *link = fs_at(check->store, line, fs_kind_lines(kind));

			if (!link) {
				find(check, "free-list", &shard->free[kind], "the free list of blocks of kind %u leads nowhere", kind);
				break;
			}
			/* Met before: it may be a circle. */
			if (!meet(check, line, fs_kind_lines(kind), "free block"))
				break;
			if (kind < FS_KIND_CELL)
				check_free_bucket(check, line, kind - FS_KIND_BUCKET);
			line = atomic_load_explicit(link, memory_order_relaxed);
		}
	}
	for (uint32_t kind = FS_KINDS; kind < sizeof shard->free / sizeof *shard->free; kind++)
		check_zero(check, "free-list", &shard->free[kind], &shard->free[kind] + 1, "free list heads");
}

static void check_redo(struct check *check, const struct fs_shard *shard)
{
	fs_block block = atomic_load_explicit(&shard->redo, memory_order_relaxed);
	uint32_t kind = fs_block_kind(block), room;
	const struct fs_redo *redo = fs_redo_of(check->store, shard, &room);

	if (!block)
		return;
	if (!redo || block != fs_block_make(fs_block_line(block), kind)) {
		find(check, "room", &shard->redo, "the redo record leads nowhere");
		return;
	}
	meet(check, fs_block_line(block), fs_kind_lines(kind), "redo record");
	CHECK_UNUSED(check, "room", redo, reserved, "redo record");
	if (atomic_load_explicit(&redo->committed, memory_order_relaxed) > 1 || atomic_load_explicit(&redo->count, memory_order_relaxed) > room)
		find(check, "room", redo, "the redo record says that %u changes were committed (%u), and has room for %u",
		     atomic_load_explicit(&redo->count, memory_order_relaxed), atomic_load_explicit(&redo->committed, memory_order_relaxed), room);
}

/* What the lock's owner, who is gone or is we, does not change: the words that the C library set when the lock was made. */
static void check_mutex(struct check *check, const struct fs_shard *shard)
{
	pthread_mutex_t made;

	if (fs_lock_init(&made) == 0 && (shard->mutex.__data.__kind != made.__data.__kind ||
	                                 shard->mutex.__data.__spins != made.__data.__spins ||
	                                 shard->mutex.__data.__elision != made.__data.__elision))
		find(check, "lock", &shard->mutex, "the lock is not of the kind that it was made");
	pthread_mutex_destroy(&made);
}

static bool can_be_mark(const flagstore *store, uint64_t mark)
{
	return (mark & ((1u << FS_WORKER_INDEX_BITS) - 1)) <= store->constants.workers && mark >> FS_MARK_SEAT_SHIFT <= store->constants.seats;
}

static void check_shard_words(struct check *check, const struct fs_shard *shard)
{
	uint64_t holder = atomic_load_explicit(&shard->holder, memory_order_relaxed);
	uint64_t mark = atomic_load_explicit(&shard->mark, memory_order_relaxed);
	uint64_t left = atomic_load_explicit(&shard->left, memory_order_relaxed);

	CHECK_UNUSED(check, "lock", shard, line0, "shard");
	CHECK_UNUSED(check, "lock", shard, line2, "shard");
	CHECK_UNUSED(check, "lock", shard, line3, "shard");
	if (!can_be_mark(check->store, holder))
		find(check, "lock", &shard->holder, "the last holder of the lock is a worker that can't be");
	/* A look with the lock is a write section like any other. */
	if (mark != (check->store->write_map ? fs_own_mark(check->store) | FS_MARK_LOCKED : 0))
		find(check, "lock", &shard->mark, "the shard is marked as being written by worker %u, and nobody has the lock", fs_mark_worker(mark));
	if (!can_be_mark(check->store, left & ~FS_MARK_LOCKED))
		find(check, "lock", &shard->left, "the last that wrote to the shard is a worker that can't be");
	if (atomic_load_explicit(&shard->wanted, memory_order_relaxed) & ~(uint32_t)(FS_WANTED_SHARD | FS_WANTED_ANY))
		find(check, "lock", &shard->wanted, "wishes that nobody can have are noted");
	if (atomic_load_explicit(&shard->claim, memory_order_relaxed) && atomic_load_explicit(&shard->phase, memory_order_relaxed) == FS_IDLE)
		find(check, "lock", &shard->claim, "a block is being taken off the heap, and nobody is at work");
}

static void check_shard(struct check *check, const struct fs_shard *shard)
{
	check_table(check, shard);
	check_free_lists(check, shard);
	check_redo(check, shard);
	check_mutex(check, shard);
	check_shard_words(check, shard);
	if (atomic_load_explicit(&shard->phase, memory_order_relaxed) != FS_IDLE)
		find(check, "lock", &shard->phase, "an undertaking is open, and nobody is at work");
	if (atomic_load_explicit(&shard->batch, memory_order_relaxed))
		find(check, "lock", &shard->batch, "a batch is noted, and nobody is at work");
}

/* ---------------------------------------------------------------------------------------------------- looks */

static void report(struct check *check, flagstore_found *found, void *argument, uint64_t *findings)
{
	for (size_t i = 0; i < check->kept_count; i++) {
		const struct finding *finding = &check->kept[i];

		if (found)
			found(&(struct flagstore_finding){.kind = finding->kind,
			                                  .shard = finding->shard,
			                                  .offset = finding->offset,
			                                  .text = finding->text,
			                                  .cause = finding->cause,
			                                  .slot = finding->slot,
			                                  .key = finding->length ? finding->key : NULL,
			                                  .length = finding->length,
			                                  .writer = finding->writer},
			      argument);
	}
	*findings += check->kept_count;
	check->kept_count = 0;
}

/* Takes back what a look that does not count has met and found. */
static void forget(struct check *check)
{
	for (size_t i = 0; i < check->ranges_count; i++)
		for (uint32_t j = check->ranges[i].line; j < check->ranges[i].line + check->ranges[i].lines; j++)
			check->met[j / 8] = (uint8_t)(check->met[j / 8] & ~(1 << j % 8));
	check->kept_count = check->ranges_count = check->shard_lines = 0;
}

static int look_locked(struct check *check)
{
	struct fs_deadline deadline = {.set = false};
	int error = fs_enter_locked(check->store, check->shard, &deadline);

	if (error)
		return error;
	check_shard(check, &check->store->shards[check->shard]);
	fs_leave(check->store, check->shard);
	return FLAGSTORE_OK;
}

static bool look_until_still(struct check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	for (int tries = 0; tries < TRIES; tries++) {
		uint64_t before = atomic_load_explicit(&shard->sequence, memory_order_acquire);

		if (!(before & 1)) {
			check_shard(check, shard);
			fs_acquire_fence();
			if (atomic_load_explicit(&shard->sequence, memory_order_relaxed) == before)
				return true;
			forget(check);
		}
		nanosleep(&(struct timespec){0, 100000}, NULL);
	}
	return false;
}

/* A shard that nobody is at work in, though one who was may have left it in the middle of a change. */
static void look_once(struct check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	if (atomic_load_explicit(&shard->sequence, memory_order_acquire) & 1)
		find(check, "lock", &shard->sequence, "a change of the shard was begun and not ended");
	check_shard(check, shard);
}

static bool abandoned(const struct check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	return fs_lock_orphaned(shard) && atomic_load_explicit(&shard->sequence, memory_order_relaxed) & 1;
}

/* False when the shard never stood still. */
static bool look(struct check *check, const struct fs_checking *how)
{
	if (how->still || (how->abandoned && abandoned(check))) {
		look_once(check);
		return true;
	}
	return look_until_still(check);
}

static bool has_boot_id(const struct fs_header *header)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 4; i++) {
		uint64_t word = atomic_load_explicit(&header->boot[i], memory_order_relaxed);

		for (int j = 0; j < 8; j++)
			if (!memchr(digits, (int)(word >> 8 * j & 0xff), sizeof digits - 1))
				return false;
	}
	return true;
}

/* Worker entries are their owners' to write, alive or dead; so only what can't be of anybody is wrong. */
static void check_workers(struct check *check)
{
	check->shard = UINT32_MAX;
	for (uint32_t i = 0; i < check->store->constants.workers; i++) {
		const struct fs_worker *entry = fs_worker_entry(check->store, i);

		CHECK_UNUSED(check, "worker", entry, padding, "worker entry");
		if (atomic_load_explicit(&entry->pid, memory_order_relaxed) > INT32_MAX ||
		    atomic_load_explicit(&entry->uid, memory_order_relaxed) > UINT32_MAX ||
		    atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) >> 56)
			find(check, "worker", entry, "worker entry %u is of a process that can't be", i);
	}
}

/* So it is with seats. */
static void check_seats(struct check *check)
{
	const struct fs_seat *seat;

	for (uint32_t i = 0; (seat = fs_seat_at(check->store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_relaxed);

		CHECK_UNUSED(check, "seat", seat, line0, "seat");
		if (owner & ~FS_OWNER_MASK || !can_be_mark(check->store, owner) ||
		    (atomic_load_explicit(&seat->activity, memory_order_relaxed) & 0xff) > FLAGSTORE_SYNCING)
			find(check, "seat", seat, "seat %u is of a thread that can't be", i);
	}
}

/* What a volatile segment does not have is zeros. Of a journal: its positions, whose order holds at any moment. */
static void check_persistence(struct check *check)
{
	const flagstore *store = check->store;
	const struct fs_header *header = fs_header(store);
	const struct fs_journal *journal = fs_journal(store);
	uint64_t tail, durable, head, next;

	if (!(store->constants.feature_incompatible & FS_FEATURE_JOURNAL)) {
		check_zero(check, "header", (const char *)&header->persistence, (const char *)(&header->persistence + 1), "header");
		if (atomic_load_explicit(&header->journal_room, memory_order_relaxed))
			find(check, "header", &header->journal_room, "the header says that there is a journal, which there is not");
		return;
	}
	if (!fs_persistence_sound(&header->persistence))
		find(check, "header", &header->persistence, "the header does not say where the flags are kept");
	if (!journal) {
		find(check, "header", &header->journal_room, "the journal is not backed by the file system");
		return;
	}
	durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
	tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
	head = atomic_load_explicit(&journal->head, memory_order_acquire);
	next = atomic_load_explicit(&journal->next, memory_order_acquire);
	if (durable > head || tail > head || head > next || next % 8 || head % 8 || tail % 8)
		find(check, "journal", journal, "the journal's positions are out of order: durable %llu, beginning %llu, end %llu, next %llu",
		     (unsigned long long)durable, (unsigned long long)tail, (unsigned long long)head, (unsigned long long)next);
	else if (head - tail > (uint64_t)store->ring_words * 8)
		find(check, "journal", journal, "the journal has %llu bytes, and room for %llu", (unsigned long long)(head - tail),
		     (unsigned long long)store->ring_words * 8);
}

static void check_header(struct check *check)
{
	const flagstore *store = check->store;
	const struct fs_header *header = fs_header(store);
	uint32_t room = atomic_load_explicit(&header->room, memory_order_relaxed), state = atomic_load_explicit(&header->state, memory_order_relaxed);
	uint64_t owner = check->heap >> FS_HEAP_OWNER_SHIFT, guard = fs_guard_word(store);

	check->shard = UINT32_MAX;
	CHECK_UNUSED(check, "header", header, line2, "header");
	CHECK_UNUSED(check, "header", header, line3, "header");
	CHECK_UNUSED(check, "header", header, line4, "header");
	CHECK_UNUSED(check, "header", header, line5, "header");
	CHECK_UNUSED(check, "header", header, line6, "header");
	check_persistence(check);
	CHECK_UNUSED(check, "header", header, rest, "header");
	check_zero(check, "header", fs_worker_entry(store, store->constants.workers), store->map + (size_t)store->heap_start * FS_LINE,
	           "gap before the heap");
	if (state != FS_READY && state != FS_RETIRED)
		find(check, "header", &header->state, "the segment's state is %u", state);
	if (atomic_load_explicit(&header->pid_namespace, memory_order_relaxed) > UINT32_MAX)
		find(check, "header", &header->pid_namespace, "the number of the PID namespace is none");
	if (!has_boot_id(header))
		find(check, "header", header->boot, "the boot id is none");
	if (owner > store->constants.shards || !owner != ((fs_line)check->heap == store->heap_start))
		find(check, "header", &header->heap, "the heap was cut last by shard %llu", (unsigned long long)owner - 1);
	/* Room only grows, by whole pages. */
	if (room < atomic_load_explicit(&store->room, memory_order_relaxed) || room % FS_PAGE_LINES)
		find(check, "header", &header->room, "the header says that %u lines are backed by the file system, and there were more", room);
	if (atomic_load_explicit(&header->seat_room, memory_order_relaxed) > store->constants.seats ||
	    atomic_load_explicit(&header->seat_room, memory_order_relaxed) < atomic_load_explicit(&store->seat_room, memory_order_relaxed) ||
	    atomic_load_explicit(&header->conflict_room, memory_order_relaxed) > 1 ||
	    atomic_load_explicit(&header->shadow_room, memory_order_relaxed) > 1 ||
	    atomic_load_explicit(&header->journal_room, memory_order_relaxed) > 1)
		find(check, "header", &header->seat_room, "the header says that seats, conflicts, shadows or the journal are backed by the file system, which they are not");
	if (guard & 0xffffff00 || fs_guard_mode(guard) > FLAGSTORE_GUARD_ENFORCE || guard >> FS_GUARD_WINDOW_SHIFT > FS_GUARD_WINDOW_MAX_MS)
		find(check, "guard", &header->guard, "the guard is set to a mode, or a window, that can't be");
	if (memcmp(&header->constants, &store->constants, sizeof store->constants) != 0 ||
	    store->constants.check != fs_constants_check(&store->constants))
		find(check, "header", header, "the header's constants are not what they were when the segment was created");
	if (room > store->max_lines || !fs_room_reaches(store, room))
		find(check, "header", &header->room, "the header says that %u lines are backed by the file system, which they are not", room);
	if ((fs_line)check->heap < store->heap_start || (fs_line)check->heap > room)
		find(check, "header", &header->heap, "the end of the heap, line %u, is outside of it", (fs_line)check->heap);
}

static void check_lines(struct check *check)
{
	const struct fs_header *header = fs_header(check->store);
	uint64_t used = (fs_line)check->heap - check->store->heap_start;

	check->shard = UINT32_MAX;
	/* Nobody took a block meanwhile, so every block was where it was met. */
	if (atomic_load_explicit(&header->heap, memory_order_relaxed) == check->heap && used != check->lines)
		find(check, "room", &header->heap, "%llu lines of the heap are handed out, and %llu are part of something",
		     (unsigned long long)used, (unsigned long long)check->lines);
}

int fs_check(flagstore *store, const struct fs_checking *how, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	size_t bytes = (size_t)store->max_lines / 8 + 1;
	struct check check = {.store = store, .met = calloc(bytes, 1), .heap = atomic_load_explicit(&fs_header(store)->heap, memory_order_acquire)};
	bool locking = !how->still && fs_entered(store);
	uint32_t passed_over = 0;
	uint64_t count = 0;
	int error = check.met ? FLAGSTORE_OK : fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to check segment %s", store->path);

	if (!error)
		check_header(&check);
	if (!error)
		check_workers(&check);
	if (!error)
		check_seats(&check);
	for (uint32_t i = 0; !error && i < store->constants.shards; i++) {
		report(&check, found, argument, &count);
		check.shard = i;
		check.shard_lines = check.ranges_count = 0;
		if (locking)
			error = look_locked(&check);
		else
			passed_over += !look(&check, how);
		check.lines += check.shard_lines;
		if (how->progress)
			how->progress(i + 1);
	}
	if (!error && !passed_over)
		check_lines(&check);
	if (!error && check.no_memory)
		error = fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for all that is wrong with segment %s", store->path);
	if (!error)
		report(&check, found, argument, &count);
	free(check.met);
	free(check.ranges);
	free(check.kept);
	error = fs_unless_lost(store, error);
	if (error)
		return error;
	*findings = count;
	if (skipped)
		*skipped = passed_over;
	return FLAGSTORE_OK;
}

int flagstore_check(flagstore *store, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	const struct fs_checking how = {.still = false};

	return fs_check(store, &how, found, argument, findings, skipped);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * repair.c: a damaged table made sound again. Expects all locks.
 *
 * What is believed is the slot: its check value binds key, hash and incarnation together. All the rest (tags, counts, links, which lines
 * belong to what) is made from slots anew. In this order, so that no block is taken before it is known which are free:
 * 1. directories and buckets that can't be are cut out of the table; each slot of the others is judged: kept, sealed, or put aside
 * 2. tags are rebuilt; of two copies of a flag the older one is put aside
 * 3. what is in use is known now: free lists are cut where they go wrong, and lines that belong to nothing become free blocks, after flags
 *    that stand in them have been noted. What is a bucket by all that stands there is a free bucket of the shard whose flags it had. Lines
 *    at the end of the heap that were never used are not of the heap. The rest becomes key cells
 * 4. parts of the table that were cut out get buckets, and every flag that was noted and that a search does not find is inserted
 *
 * Readers go on: a flag that they find stays where it is, and its word LIVE. Lines that belong to nothing are zeroed before they become
 * something else, so that a handle that still looks there finds no flag and searches again. Cells are what it may find there later without
 * harm: where it expects a life, which is a small number, there is text.
 *
 * Writers without the lock may go on, too, so what was judged may be another thing a moment later: no place is used as an index, and no
 * key hashed, that was not checked in the same breath. */
#include "repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "change.h"
#include "error.h"
#include "grow.h"
#include "journal.h"
#include "recover.h"
#include "redo.h"
#include "seat.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* A flag that must be found in the end. */
struct noted {
	uint32_t shard;
	uint64_t offset, stamp;
	size_t length;
	bool value;
	char key[FLAGSTORE_KEY_MAX];
	unsigned char bytes[FS_LINE]; /* of the slot in which it stood */
};

struct repair {
	flagstore *store;
	fs_repair_told *told;
	void *argument;
	uint8_t *met; /* a bit a line: in use, or on a free list */
	struct noted *noted;
	size_t noted_count, noted_room;
	uint32_t shard; /* being worked at; UINT32_MAX: none */
	fs_line end;    /* of what is in use */
	bool no_memory, not_kept;
};

/* ----------------------------------------------------------------------------------------------------- telling */

static uint64_t offset_of(const struct repair *repair, const void *place)
{
	return (uint64_t)((const char *)place - repair->store->map);
}

static void __attribute__((format(printf, 3, 4))) fixed(struct repair *repair, const void *place, const char *format, ...)
{
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	repair->told(&(struct fs_repair_done){.kind = FS_REPAIR_FIXED, .shard = repair->shard, .offset = offset_of(repair, place), .text = text},
	             repair->argument);
}

static void copy_bytes(const struct fs_slot *slot, unsigned char bytes[FS_LINE])
{
	for (size_t i = 0; i < FS_LINE; i++)
		bytes[i] = __atomic_load_n((const unsigned char *)slot + i, __ATOMIC_RELAXED);
}

/* False when what stands in the slot could not be kept: then it must stay there. */
static bool tell_slot(struct repair *repair, enum fs_repair_kind kind, const struct fs_slot *slot, const char *text)
{
	char key[FLAGSTORE_KEY_MAX];
	unsigned char bytes[FS_LINE];
	size_t length = fs_slot_copy_key(repair->store, slot, key);
	bool kept;

	copy_bytes(slot, bytes);
	kept = repair->told(&(struct fs_repair_done){.kind = kind,
	                                             .shard = repair->shard,
	                                             .offset = offset_of(repair, slot),
	                                             .text = text,
	                                             .key = length ? key : NULL,
	                                             .length = length,
	                                             .value = fs_word_value(atomic_load_explicit(&slot->word, memory_order_relaxed)),
	                                             .bytes = bytes},
	                    repair->argument);
	repair->not_kept |= !kept;
	return kept;
}

static void tell_noted(struct repair *repair, enum fs_repair_kind kind, const struct noted *noted, const char *text)
{
	if (!repair->told(&(struct fs_repair_done){.kind = kind,
	                                           .shard = noted->shard,
	                                           .offset = noted->offset,
	                                           .text = text,
	                                           .key = noted->key,
	                                           .length = noted->length,
	                                           .value = noted->value,
	                                           .bytes = noted->bytes},
	                  repair->argument))
		repair->not_kept = true;
}

/* ----------------------------------------------------------------------------------------------- small repairs */

static void set32(struct repair *repair, const _Atomic uint32_t *word, uint32_t right, const char *what)
{
	uint32_t wrong = atomic_load_explicit(word, memory_order_relaxed);

	if (wrong == right)
		return;
	fixed(repair, word, "%s was %u and is %u", what, wrong, right);
	atomic_store_explicit((_Atomic uint32_t *)fs_writable(repair->store, word), right, memory_order_relaxed);
}

static void set64(struct repair *repair, const _Atomic uint64_t *word, uint64_t right, const char *what)
{
	uint64_t wrong = atomic_load_explicit(word, memory_order_relaxed);

	if (wrong == right)
		return;
	fixed(repair, word, "%s was %#llx and is %#llx", what, (unsigned long long)wrong, (unsigned long long)right);
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(repair->store, word), right, memory_order_relaxed);
}

static void zero(struct repair *repair, const void *from, const void *to, const char *what)
{
	bool told = false;

	for (const char *byte = from; byte < (const char *)to; byte++) {
		if (!__atomic_load_n(byte, __ATOMIC_RELAXED))
			continue;
		if (!told)
			fixed(repair, byte, "bytes of the %s that are unused were not 0", what);
		told = true;
		__atomic_store_n((char *)fs_writable(repair->store, byte), 0, __ATOMIC_RELAXED);
	}
}

#define ZERO(repair, record, member, what)                                                                             \
	zero(repair, (record)->member, (const char *)(record)->member + sizeof(record)->member, what)

/* -------------------------------------------------------------------------------------------------------- lines */

static bool is_met(const struct repair *repair, fs_line line)
{
	return repair->met[line / 8] & 1 << line % 8;
}

/* False when a line of it is in use already, or none. The caller has checked that they exist. */
static bool meet(struct repair *repair, fs_line line, uint32_t lines)
{
	for (fs_line i = line; i < line + lines; i++)
		if (is_met(repair, i))
			return false;
	for (fs_line i = line; i < line + lines; i++)
		repair->met[i / 8] = (uint8_t)(repair->met[i / 8] | 1 << i % 8);
	repair->end = line + lines > repair->end ? line + lines : repair->end;
	return true;
}

/* -------------------------------------------------------------------------------------------------------- slots */

static void note(struct repair *repair, const struct fs_slot *slot, const char *key, size_t length, bool value)
{
	struct noted *noted;

	if (repair->noted_count == repair->noted_room) {
		size_t room = repair->noted_room ? repair->noted_room * 2 : 64;
		struct noted *all = realloc(repair->noted, room * sizeof *all);

		if (!all) {
			repair->no_memory = true;
			return;
		}
		repair->noted = all;
		repair->noted_room = room;
	}
	noted = &repair->noted[repair->noted_count++];
	*noted = (struct noted){.shard = repair->shard, .offset = offset_of(repair, slot), .length = length, .value = value};
	noted->stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	memcpy(noted->key, key, length);
	copy_bytes(slot, noted->bytes);
}

/* The slot holds no flag any more. Its cell, if it names one, is not given back: who knows whose it is. It becomes free as a line that
 * belongs to nothing. */
static void put_aside(struct repair *repair, const struct fs_bucket_view *view, uint32_t place)
{
	struct fs_slot *slot = fs_writable(repair->store, &view->slots[place]);
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);

	/* Flips need no lock, so the word may still move. seq_cst as in fs_flip(). */
	while (!atomic_compare_exchange_weak_explicit(&slot->word, &word,
	                                              fs_word_with_state(fs_word_next(word, false), FS_DEAD) & ~FS_RESERVED_MASK,
	                                              memory_order_seq_cst, memory_order_relaxed))
		;
	/* Pairs with the fence of readers that still look at the key. */
	fs_release_fence();
	atomic_store_explicit(&slot->key[0], 0, memory_order_relaxed);
	fs_tag_store(fs_writable(repair->store, view->bucket), place, FS_TAG_TOMBSTONE);
}

/* Key, hash and life belong together again. The life is a new one, so that no handle takes the flag for what its slot may have held. */
static void seal(struct repair *repair, const struct fs_shard *shard, struct fs_slot *slot, uint64_t hash)
{
	struct fs_shard *writable = fs_writable(repair->store, shard);
	uint64_t birth = atomic_load_explicit(&shard->births, memory_order_relaxed) + 1;
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), next;

	FS_NOTE(&writable->births, birth);
	do {
		next = fs_word_next(word, fs_word_value(word));
		next = (next & ~(FS_INCARNATION_MASK | FS_RESERVED_MASK)) | (birth << FS_INCARNATION_SHIFT & FS_INCARNATION_MASK);
	} while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_seq_cst, memory_order_relaxed));
	/* Readers compare the lower half alone, and that is the same. */
	atomic_store_explicit(&slot->identity, fs_identity(hash, next), memory_order_relaxed);
}

static bool in_charge(const struct repair *repair, uint64_t hash, uint64_t position, uint32_t depth)
{
	return fs_hash_shard(hash, repair->store->shard_count) == repair->shard && fs_hash_index(hash, depth) == position >> (32 - depth);
}

static void tidy_key_rest(struct repair *repair, const struct fs_slot *slot)
{
	size_t length = fs_slot_key_length(slot);
	const char *key = (const char *)slot->key;

	if (length <= FS_KEY_INLINE) {
		zero(repair, key + 1 + length, slot + 1, "slot");
		return;
	}
	zero(repair, key + 1, &slot->key[FS_KEY_CELL], "slot");
	zero(repair, (const char *)&slot->key[FS_KEY_CELL] + sizeof(fs_line), slot + 1, "slot");
}

/* A slot that holds a flag. What a reader can find under its key is kept whatever else is wrong with it; what nobody can find and does not
 * prove itself is put aside. */
static void judge_flag(struct repair *repair, const struct fs_shard *shard, const struct fs_bucket_view *view, uint32_t place,
                       uint64_t position, uint32_t depth)
{
	const flagstore *store = repair->store;
	const struct fs_slot *slot = &view->slots[place];
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), hash;
	uint64_t identity = atomic_load_explicit(&slot->identity, memory_order_relaxed);
	uint32_t author = (uint32_t)(atomic_load_explicit(&slot->stamp, memory_order_relaxed) >> FS_STAMP_VERSION_BITS) & ((1u << FS_WORKER_INDEX_BITS) - 1);
	char key[FLAGSTORE_KEY_MAX];
	size_t length = fs_slot_copy_key(store, slot, key);
	bool here, sound;

	if (!fs_key_valid(key, length)) {
		if (tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "it had no valid key"))
			put_aside(repair, view, place);
		return;
	}
	hash = fs_hash(store->seed, key, length);
	here = in_charge(repair, hash, position, depth);
	sound = fs_identity(hash, word) == identity;
	/* The whole hash decides shard, bucket and tag: all three right by chance is one in thousands, and more. */
	if (!sound && !(here && ((uint32_t)identity == (uint32_t)hash || fs_tag_at(view->bucket, place) == fs_hash_tag(hash)))) {
		if (tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "key, hash and life did not belong together"))
			put_aside(repair, view, place);
		return;
	}
	if (!here) {
		note(repair, slot, key, length, fs_word_value(word));
		put_aside(repair, view, place);
		return;
	}
	if (author > store->constants.workers)
		set64(repair, &slot->stamp, 0, "the stamp of a worker that can't be");
	tidy_key_rest(repair, slot);
	if (!sound || word & FS_RESERVED_MASK ||
	    (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT > atomic_load_explicit(&shard->births, memory_order_relaxed)) {
		(void)tell_slot(repair, FS_REPAIR_SEALED, slot, "its check value, or its life, was wrong; the flag is kept");
		seal(repair, shard, fs_writable(repair->store, slot), hash);
	}
	/* Nobody is at work: what is FROZEN was left so. */
	word = atomic_load_explicit(&slot->word, memory_order_relaxed);
	if (fs_word_state(word) == FS_FROZEN) {
		fixed(repair, slot, "slot %u was frozen, and nobody was at work", place);
		atomic_store_explicit(&((struct fs_slot *)fs_writable(repair->store, slot))->word, fs_word_with_state(word, FS_LIVE), memory_order_release);
	}
}

static void judge_rest(struct repair *repair, const struct fs_bucket_view *view, uint32_t place)
{
	const struct fs_slot *slot = &view->slots[place];
	struct fs_slot *writable = fs_writable(repair->store, slot);
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
	uint8_t tag = fs_tag_at(view->bucket, place);
	bool traces = fs_slot_key_length(slot) && (tag >= FS_TAG_FIRST || (fs_word_state(word) == FS_EMPTY && word));

	/* A flag may have been here whose state was overwritten, or that somebody deleted half. No search finds it. */
	if (traces && !tell_slot(repair, FS_REPAIR_QUARANTINE, slot, "its word says that it holds no flag, and its tag or word says that it did"))
		return;
	if (fs_word_state(word) == FS_EMPTY)
		set64(repair, &slot->word, 0, "the word of an empty slot");
	else if (word & FS_RESERVED_MASK)
		set64(repair, &slot->word, word & ~FS_RESERVED_MASK, "the word of a dead slot");
	if (fs_word_state(word) == FS_DEAD && fs_slot_key_length(slot) > FS_KEY_INLINE) {
		fixed(repair, slot, "slot %u was dead, and named a key cell", place);
		atomic_store_explicit(&writable->key[0], 0, memory_order_relaxed);
	}
	if (tag >= FS_TAG_FIRST) {
		fixed(repair, view->bucket, "the tag of slot %u, which holds no flag, was %u", place, tag);
		fs_tag_store(fs_writable(repair->store, view->bucket), place, FS_TAG_TOMBSTONE);
	}
}

/* ------------------------------------------------------------------------------------------------------ buckets */

/* A search for the flag stops at the first group with an EMPTY tag: there must be none on its way. */
static void clear_way(struct repair *repair, const struct fs_bucket_view *view, uint32_t place, uint64_t hash)
{
	struct fs_bucket *bucket = fs_writable(repair->store, view->bucket);
	uint32_t groups = view->count / FS_GROUP, group = fs_hash_slot(hash, view->count) / FS_GROUP;

	for (; group != place / FS_GROUP; group = group + 1 < groups ? group + 1 : 0) {
		for (uint32_t i = group * FS_GROUP; i < (group + 1) * FS_GROUP; i++) {
			if (fs_tag_at(bucket, i) != FS_TAG_EMPTY)
				continue;
			fixed(repair, bucket, "searches for the flag in slot %u ended at slot %u", place, i);
			fs_tag_store(bucket, i, FS_TAG_TOMBSTONE);
		}
	}
}

static void rebuild_tags(struct repair *repair, const struct fs_bucket_view *view)
{
	struct fs_bucket *bucket = fs_writable(repair->store, view->bucket);

	for (uint32_t i = 0; i < view->count; i++) {
		uint64_t hash;
		char key[FLAGSTORE_KEY_MAX];
		size_t length;

		if (!fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)))
			continue;
		length = fs_slot_copy_key(repair->store, &view->slots[i], key);
		if (!fs_key_valid(key, length))
			continue;
		hash = fs_hash(repair->store->seed, key, length);
		if (fs_tag_at(bucket, i) != fs_hash_tag(hash)) {
			fixed(repair, bucket, "the tag of slot %u was %u and is %u", i, fs_tag_at(bucket, i), fs_hash_tag(hash));
			fs_tag_store(bucket, i, fs_hash_tag(hash));
		}
		clear_way(repair, view, i, hash);
	}
}

/* Later than the other one: by the clock where both stamps tell, else by their births, which their shard counts. */
static bool is_newer(const struct fs_slot *one, const struct fs_slot *other)
{
	uint64_t first = atomic_load_explicit(&one->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;
	uint64_t second = atomic_load_explicit(&other->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;

	if (first && second && first != second)
		return first > second;
	return fs_word_version(atomic_load_explicit(&one->word, memory_order_relaxed)) >
	       fs_word_version(atomic_load_explicit(&other->word, memory_order_relaxed));
}

static void drop_duplicates(struct repair *repair, const struct fs_bucket_view *view)
{
	for (uint32_t i = 0; i < view->count; i++) {
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_slot_copy_key(repair->store, &view->slots[i], key);
		struct fs_found found;
		struct fs_key sought;
		uint32_t loser = i;

		if (!fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)) || !fs_key_make(repair->store, key, length, &sought) ||
		    fs_find(repair->store, &sought, &found) != FS_FOUND || found.slot == &view->slots[i])
			continue;
		/* Both are in the bucket that is in charge. */
		if (found.slot >= view->slots && found.slot < view->slots + view->count && is_newer(&view->slots[i], found.slot))
			loser = (uint32_t)(found.slot - view->slots);
		if (tell_slot(repair, FS_REPAIR_DROPPED, &view->slots[loser], "the flag existed twice; this is the older one"))
			put_aside(repair, view, loser);
	}
}

/* Only now, when it is known which slots stay: the cell of one that was put aside belongs to nothing. */
static void claim_cells(struct repair *repair, const struct fs_bucket_view *view)
{
	for (uint32_t i = 0; i < view->count; i++) {
		const struct fs_slot *slot = &view->slots[i];
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
		fs_line cell = (fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed);
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_slot_copy_key(repair->store, slot, key);

		if (!fs_word_holds(word) || length <= FS_KEY_INLINE || !fs_at(repair->store, cell, fs_cell_lines(length)) ||
		    meet(repair, cell, fs_cell_lines(length)))
			continue;
		/* The other flag of the cell has it. */
		note(repair, slot, key, length, fs_word_value(word));
		put_aside(repair, view, i);
	}
}

static uint32_t recount(struct repair *repair, const struct fs_bucket_view *view)
{
	const struct fs_bucket *bucket = view->bucket;
	uint32_t live = 0, occupied = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		live += fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed));
		occupied += fs_tag_at(bucket, i) != FS_TAG_EMPTY;
	}
	zero(repair, &bucket->next, &bucket->occupied, "bucket");
	zero(repair, &bucket->reserved, bucket->tags, "bucket");
	zero(repair, (const char *)bucket->tags + view->count, view->slots, "bucket");
	set32(repair, &bucket->live, live, "the bucket's count of flags");
	set32(repair, &bucket->occupied, occupied, "the bucket's count of tags");
	return live;
}

static void mend_bucket(struct repair *repair, const struct fs_shard *shard, const struct fs_bucket_view *view, uint64_t position, uint32_t depth)
{
	for (uint32_t i = 0; i < view->count; i++) {
		if (fs_word_holds(atomic_load_explicit(&view->slots[i].word, memory_order_relaxed)))
			judge_flag(repair, shard, view, i, position, depth);
		else
			judge_rest(repair, view, i);
	}
	rebuild_tags(repair, view);
	drop_duplicates(repair, view);
	claim_cells(repair, view);
	(void)recount(repair, view);
}

/* -------------------------------------------------------------------------------------------------- directories */

/* How many entries, from the first on, the bucket word is right for: all that it says, or as many as agree. */
static uint32_t agreeing(const _Atomic uint64_t *directory, uint32_t first, uint32_t above, uint64_t word, uint32_t *depth)
{
	for (*depth = fs_dir_depth(word); *depth < above; ++*depth) {
		uint32_t span = 1u << (above - *depth), i = 1;

		while (i < span && atomic_load_explicit(&directory[first + i], memory_order_relaxed) == word)
			i++;
		if (i == span)
			return span;
	}
	return 1;
}

/* Marks an entry that leads nowhere: it gets a fresh bucket when blocks can be taken. */
static void cut_out(struct repair *repair, const _Atomic uint64_t *entry)
{
	fixed(repair, entry, "a directory entry led nowhere, or to what is something else's");
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(repair->store, entry), 0, memory_order_release);
}

/* One bucket with all its entries; returns how many these are. */
static uint32_t mend_entry(struct repair *repair, const struct fs_shard *shard, const _Atomic uint64_t *directory, uint32_t first, uint32_t above)
{
	uint64_t word = atomic_load_explicit(&directory[first], memory_order_relaxed), right, growths, count;
	struct fs_bucket_view view;
	uint32_t depth, span;

	if (!word || fs_dir_depth(word) > above || (first & ((1u << (above - fs_dir_depth(word))) - 1)) ||
	    !fs_bucket_view(repair->store, word, &view) || !meet(repair, fs_dir_line(word), fs_kind_lines(FS_KIND_BUCKET + fs_dir_class(word)))) {
		cut_out(repair, &directory[first]);
		return 1;
	}
	span = agreeing(directory, first, above, word, &depth);
	count = word >> FS_WORD_COUNT_SHIFT;
	right = (word & ~(UINT64_C(0x1f) << FS_WORD_DEPTH_SHIFT)) | (uint64_t)depth << FS_WORD_DEPTH_SHIFT;
	if (!count)
		right |= UINT64_C(1) << FS_WORD_COUNT_SHIFT;
	growths = atomic_load_explicit(&shard->growths, memory_order_relaxed);
	if (count > growths + 1)
		set64(repair, &shard->growths, count - 1, "the shard's count of growths");
	for (uint32_t i = 0; i < span && right != word; i++)
		set64(repair, &directory[first + i], right, "a bucket word");
	mend_bucket(repair, shard, &view, (uint64_t)first << (32 - above), depth);
	return span;
}

static void mend_table(struct repair *repair, const struct fs_shard *shard)
{
	uint64_t word = fs_directory_word(shard), right;
	uint32_t depth = fs_dir_depth(word), lines;
	const _Atomic uint64_t *directory = word ? fs_directory(repair->store, word) : NULL;

	if (!word)
		return;
	lines = directory ? fs_kind_lines(fs_directory_kind(depth)) : 0;
	if (!directory || !meet(repair, fs_dir_line(word), lines)) {
		set64(repair, &shard->directory, 0, "the directory word, which led nowhere,");
		return;
	}
	right = (uint64_t)(depth + 1) << FS_WORD_COUNT_SHIFT | (uint64_t)depth << FS_WORD_DEPTH_SHIFT | fs_dir_line(word);
	set64(repair, &shard->directory, right, "the directory word");
	zero(repair, directory + (1u << depth), (const char *)directory + (size_t)lines * FS_LINE, "directory");
	for (uint32_t first = 0; first < 1u << depth;)
		first += mend_entry(repair, shard, directory, first, depth);
}

/* -------------------------------------------------------------------------------------------------------- shard */

static void mend_redo(struct repair *repair, const struct fs_shard *shard)
{
	fs_block block = atomic_load_explicit(&shard->redo, memory_order_relaxed);
	uint32_t room;
	const struct fs_redo *redo = fs_redo_of(repair->store, shard, &room);

	if (!block)
		return;
	if (!redo || block != fs_block_make(fs_block_line(block), fs_block_kind(block)) ||
	    !meet(repair, fs_block_line(block), fs_kind_lines(fs_block_kind(block)))) {
		set64(repair, &shard->redo, 0, "the redo record, which led nowhere,");
		return;
	}
	ZERO(repair, redo, reserved, "redo record");
	if (atomic_load_explicit(&redo->committed, memory_order_relaxed) > 1 || atomic_load_explicit(&redo->count, memory_order_relaxed) > room) {
		set32(repair, &redo->committed, 0, "whether the redo record was committed");
		set32(repair, &redo->count, 0, "the redo record's count");
	}
}

static bool can_be_mark(const flagstore *store, uint64_t mark)
{
	return (mark & ((1u << FS_WORKER_INDEX_BITS) - 1)) <= store->constants.workers && mark >> FS_MARK_SEAT_SHIFT <= store->constants.seats;
}

/* With the lock, which was not left by a dead one: nothing is under way, whatever the notes say. */
static void mend_words(struct repair *repair, const struct fs_shard *shard)
{
	uint32_t wanted = atomic_load_explicit(&shard->wanted, memory_order_relaxed);

	ZERO(repair, shard, line0, "shard");
	ZERO(repair, shard, line2, "shard");
	ZERO(repair, shard, line3, "shard");
	set32(repair, &shard->phase, FS_IDLE, "what was under way");
	set32(repair, &shard->batch, 0, "the batch under way");
	set64(repair, &shard->claim, 0, "the block that was being taken");
	set32(repair, &shard->wanted, wanted & (FS_WANTED_SHARD | FS_WANTED_ANY), "what is waited for");
	if (!can_be_mark(repair->store, atomic_load_explicit(&shard->holder, memory_order_relaxed)))
		set64(repair, &shard->holder, 0, "the last holder of the lock");
	if (!can_be_mark(repair->store, atomic_load_explicit(&shard->left, memory_order_relaxed) & ~FS_MARK_LOCKED))
		set64(repair, &shard->left, 0, "the last that wrote");
}

static void mend_free_bucket(struct repair *repair, fs_line line, uint32_t class)
{
	struct fs_bucket_view view;

	if (!fs_bucket_view(repair->store, fs_dir_word(0, line, class, 0), &view))
		return;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t word = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);

		if (fs_word_state(word) == FS_LIVE || (fs_word_state(word) == FS_EMPTY ? word != 0 : (word & FS_RESERVED_MASK) != 0))
			set64(repair, &view.slots[i].word, 0, "the word of a slot of a free bucket");
	}
}

/* What is on it stays on it up to the first block that can't be; the rest is found as lines that belong to nothing. */
static void mend_free_lists(struct repair *repair, const struct fs_shard *shard)
{
	for (uint32_t kind = 0; kind < sizeof shard->free / sizeof *shard->free; kind++) {
		const _Atomic uint32_t *link = &shard->free[kind];

		for (;;) {
			fs_line line = atomic_load_explicit(link, memory_order_relaxed);
			const _Atomic uint32_t *next = line && kind < FS_KINDS ? fs_at(repair->store, line, fs_kind_lines(kind)) : NULL;

			if (!line)
				break;
			if (!next || !meet(repair, line, fs_kind_lines(kind))) {
				set32(repair, link, 0, "a link of a free list");
				break;
			}
			if (kind < FS_KIND_CELL)
				mend_free_bucket(repair, line, kind - FS_KIND_BUCKET);
			link = next;
		}
	}
}

static void recount_shard(struct repair *repair, const struct fs_shard *shard)
{
	struct fs_walk walk = {0, 0};
	struct fs_bucket_view view;
	uint64_t word;
	uint32_t live = 0;

	while (fs_next_bucket(repair->store, fs_directory_word(shard), &walk, &word))
		if (word && fs_bucket_view(repair->store, word, &view))
			live += recount(repair, &view);
	set32(repair, &shard->live, live, "the shard's count of flags");
}

/* --------------------------------------------------------------------------------------------------------- heap */

/* How well the lines are a bucket: its slots that prove themselves, with the tag that says so. 0: they are none. */
static uint32_t proofs(const struct repair *repair, const struct fs_bucket_view *view, uint32_t *shard)
{
	const flagstore *store = repair->store;
	uint32_t right = 0, wrong = 0, occupied = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		const struct fs_slot *slot = &view->slots[i];
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), hash;
		uint8_t tag = fs_tag_at(view->bucket, i);
		char key[FLAGSTORE_KEY_MAX];
		size_t length;

		occupied += tag != FS_TAG_EMPTY;
		if (!fs_word_holds(word)) {
			wrong += tag >= FS_TAG_FIRST || (fs_word_state(word) == FS_EMPTY && word);
			continue;
		}
		length = fs_slot_copy_key(store, slot, key);
		hash = fs_key_valid(key, length) ? fs_hash(store->seed, key, length) : 0;
		if (!hash || fs_identity(hash, word) != atomic_load_explicit(&slot->identity, memory_order_relaxed) || tag != fs_hash_tag(hash)) {
			wrong++;
			continue;
		}
		*shard = fs_hash_shard(hash, store->shard_count);
		right++;
	}
	return right > wrong && atomic_load_explicit(&view->bucket->occupied, memory_order_relaxed) == occupied ? right : 0;
}

/* The bucket that stands at the line and ends before the other one, as a block; 0: none does. */
static fs_block bucket_at(const struct repair *repair, fs_line line, fs_line end, uint32_t *shard)
{
	fs_block found = 0;
	uint32_t most = 0;

	for (uint32_t class = 0; class < FS_BUCKET_CLASSES; class++) {
		struct fs_bucket_view view;
		uint32_t occupied, owner = 0, seen;

		if (fs_bucket_classes[class].lines > end - line || !fs_bucket_view(repair->store, fs_dir_word(0, line, class, 0), &view))
			break;
		occupied = atomic_load_explicit(&view.bucket->occupied, memory_order_relaxed);
		if (__atomic_load_n(&view.bucket->reserved, __ATOMIC_RELAXED) || !occupied || occupied > view.count)
			continue;
		seen = proofs(repair, &view, &owner);
		if (seen <= most)
			continue;
		most = seen;
		found = fs_block_make(line, FS_KIND_BUCKET + class);
		*shard = owner;
	}
	return found;
}

static void note_flags(struct repair *repair, fs_line from, fs_line to)
{
	for (fs_line line = from; line < to; line++) {
		const struct fs_slot *slot = fs_at(repair->store, line, 1);
		uint64_t word = slot ? atomic_load_explicit(&slot->word, memory_order_relaxed) : 0;
		char key[FLAGSTORE_KEY_MAX];
		size_t length = fs_word_state(word) == FS_LIVE ? fs_slot_copy_key(repair->store, slot, key) : 0;

		if (fs_key_valid(key, length) &&
		    fs_identity(fs_hash(repair->store->seed, key, length), word) == atomic_load_explicit(&slot->identity, memory_order_relaxed))
			note(repair, slot, key, length, fs_word_value(word));
	}
}

static void zero_lines(struct repair *repair, fs_line from, fs_line to)
{
	_Atomic uint64_t *words = fs_writable(repair->store, repair->store->map + (size_t)from * FS_LINE);

	for (size_t i = 0; i < (size_t)(to - from) * (FS_LINE / 8); i++)
		atomic_store_explicit(&words[i], 0, memory_order_relaxed);
}

static void give(struct repair *repair, uint32_t shard, fs_block block)
{
	zero_lines(repair, fs_block_line(block), fs_block_line(block) + fs_kind_lines(fs_block_kind(block)));
	(void)meet(repair, fs_block_line(block), fs_kind_lines(fs_block_kind(block)));
	fs_block_give(repair->store, fs_shard_writable(repair->store, shard), block);
}

/* By turns, so that all shards have some. */
static void give_cells(struct repair *repair, fs_line from, fs_line to)
{
	if (from < to)
		fixed(repair, repair->store->map + (size_t)from * FS_LINE, "%u lines belonged to nothing; they are free for keys now", to - from);
	while (from < to) {
		uint32_t lines = to - from < FS_CELL_KINDS ? to - from : FS_CELL_KINDS;

		give(repair, from % repair->store->constants.shards, fs_block_make(from, FS_KIND_CELL + lines - 1));
		from += lines;
	}
}

/* Lines that belong to nothing. */
static void free_gap(struct repair *repair, fs_line from, fs_line to)
{
	fs_line rest = from;

	note_flags(repair, from, to);
	for (fs_line line = from; line < to;) {
		uint32_t shard = 0;
		fs_block block = bucket_at(repair, line, to, &shard);

		if (!block) {
			line++;
			continue;
		}
		give_cells(repair, rest, line);
		fixed(repair, repair->store->map + (size_t)line * FS_LINE, "a bucket belonged to nothing; it is free for shard %u now", shard);
		give(repair, shard, block);
		rest = line += fs_kind_lines(fs_block_kind(block));
	}
	give_cells(repair, rest, to);
}

static bool is_unused(const struct repair *repair, fs_line line)
{
	const _Atomic uint64_t *words = (const void *)(repair->store->map + (size_t)line * FS_LINE);

	for (size_t i = 0; i < FS_LINE / 8; i++)
		if (atomic_load_explicit(&words[i], memory_order_relaxed))
			return false;
	return true;
}

static void mend_heap(struct repair *repair)
{
	flagstore *store = repair->store;
	const struct fs_header *header = fs_header(store);
	uint64_t heap = atomic_load_explicit(&header->heap, memory_order_relaxed), owner = heap >> FS_HEAP_OWNER_SHIFT;
	fs_line end = (fs_line)heap, room = atomic_load_explicit(&store->room, memory_order_relaxed);

	repair->shard = UINT32_MAX;
	/* What is in use is not behind the end; how much was taken beyond that, nobody knows if the word is wrong. */
	if (end < repair->end || end > room || end > store->max_lines)
		end = repair->end;
	while (end > repair->end && is_unused(repair, end - 1))
		end--;
	if (owner > store->constants.shards || !owner != (end == store->heap_start))
		owner = end == store->heap_start ? 0 : 1;
	set64(repair, &header->heap, owner << FS_HEAP_OWNER_SHIFT | end, "the end of the heap");
	for (fs_line line = store->heap_start; line < end;) {
		fs_line from = line;

		while (line < end && !is_met(repair, line))
			line++;
		if (line > from)
			free_gap(repair, from, line);
		while (line < end && is_met(repair, line))
			line++;
	}
}

static void mend_header(struct repair *repair)
{
	flagstore *store = repair->store;
	const struct fs_header *header = fs_header(store);
	uint32_t room = atomic_load_explicit(&header->room, memory_order_relaxed), state = atomic_load_explicit(&header->state, memory_order_relaxed);
	const struct fs_seat *seat;

	repair->shard = UINT32_MAX;
	ZERO(repair, header, line2, "header");
	ZERO(repair, header, line3, "header");
	ZERO(repair, header, line4, "header");
	ZERO(repair, header, line5, "header");
	ZERO(repair, header, rest, "header");
	zero(repair, fs_worker_entry(store, store->constants.workers), store->map + (size_t)store->heap_start * FS_LINE, "gap before the heap");
	if (state != FS_READY && state != FS_RETIRED)
		set32(repair, &header->state, FS_READY, "the segment's state");
	if (room < atomic_load_explicit(&store->room, memory_order_relaxed) || room > store->max_lines || room % FS_PAGE_LINES)
		set32(repair, &header->room, atomic_load_explicit(&store->room, memory_order_relaxed), "the room that the header says there is");
	for (uint32_t i = 0; i < store->constants.workers; i++) {
		const struct fs_worker *entry = fs_worker_entry(store, i);

		ZERO(repair, entry, padding, "worker entry");
		if (atomic_load_explicit(&entry->pid, memory_order_relaxed) > INT32_MAX)
			set64(repair, &entry->pid, 0, "a worker's process");
		if (atomic_load_explicit(&entry->uid, memory_order_relaxed) > UINT32_MAX)
			set64(repair, &entry->uid, UINT32_MAX, "a worker's user");
		if (atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) >> 56)
			set64(repair, &entry->command[FS_COMMAND_WORDS - 1],
			      atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) << 8 >> 8, "a worker's command");
	}
	for (uint32_t i = 0; (seat = fs_seat_at(store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_relaxed);

		ZERO(repair, seat, line0, "seat");
		if (owner & ~FS_OWNER_MASK || !can_be_mark(store, owner))
			set64(repair, &seat->owner, 0, "a seat's owner");
		if ((atomic_load_explicit(&seat->activity, memory_order_relaxed) & 0xff) > FLAGSTORE_SYNCING)
			set64(repair, &seat->activity, FLAGSTORE_IDLE, "what a seat's thread does");
	}
}

/* ---------------------------------------------------------------------------------------------------- insertion */

/* The largest bucket that the shard has free: more likely than not what an entry led to that was cut out. So its flags find room in a segment
 * that has none to give. */
static uint32_t free_class(const struct fs_shard *shard)
{
	for (uint32_t class = FS_BUCKET_CLASSES; class-- > 0;)
		if (atomic_load_explicit(&shard->free[FS_KIND_BUCKET + class], memory_order_relaxed))
			return class;
	return 0;
}

/* A bucket for an entry that was cut out. */
static int fill_entry(struct repair *repair, struct fs_shard *shard, const _Atomic uint64_t *entry, uint32_t depth)
{
	flagstore *store = repair->store;
	struct fs_bucket_view view;
	struct fs_bucket *bucket;
	fs_block block;
	uint32_t class = free_class(shard);
	int error = fs_block_take(store, shard, FS_KIND_BUCKET + class, 0, &block);

	if (error || !fs_bucket_view(store, fs_dir_word(0, fs_block_line(block), class, 0), &view))
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free bucket does not exist", store->path);
	bucket = fs_writable(store, view.bucket);
	/* As a taken bucket is cleaned in grow.c: late readers may still be looking at it. */
	fs_release_fence();
	for (uint32_t i = 0; i < view.count; i++)
		atomic_store_explicit(&((struct fs_slot *)fs_writable(store, &view.slots[i]))->word, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < view.count / FS_GROUP; i++)
		atomic_store_explicit(&bucket->tags[i], 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->next, 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->occupied, 0, memory_order_relaxed);
	atomic_store_explicit(&bucket->live, 0, memory_order_relaxed);
	/* release: pairs with the readers' acquire load; they see the bucket empty. */
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(store, entry), fs_dir_word(0, fs_block_line(block), class, depth), memory_order_release);
	return FLAGSTORE_OK;
}

static int fill_entries(struct repair *repair, const struct fs_shard *shard)
{
	uint64_t word = fs_directory_word(shard);
	const _Atomic uint64_t *directory = word ? fs_directory(repair->store, word) : NULL;
	int error = FLAGSTORE_OK;

	for (uint32_t i = 0; directory && !error && i < 1u << fs_dir_depth(word); i++)
		if (!atomic_load_explicit(&directory[i], memory_order_relaxed))
			error = fill_entry(repair, fs_writable(repair->store, shard), &directory[i], fs_dir_depth(word));
	return error;
}

static int insert(struct repair *repair, const struct noted *noted, const struct fs_key *key)
{
	struct fs_shard *shard = fs_writable(repair->store, fs_shard_of(repair->store, key->hash));
	struct fs_found planted;
	int error = fs_make_room(repair->store, shard, key->hash, 1);

	if (!error)
		error = fs_plant(repair->store, shard, key, &planted);
	if (!error)
		fs_quicken(repair->store, shard, &planted, fs_word_alive(planted.word, noted->value));
	return error;
}

static bool stamped_later(const struct noted *noted, const struct fs_slot *slot)
{
	uint64_t time = noted->stamp >> FS_STAMP_TIME_SHIFT;

	return time && time > atomic_load_explicit(&slot->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;
}

/* A noted flag is there in the end, with the value that is the newest. */
static void settle(struct repair *repair, const struct noted *noted)
{
	struct fs_found found;
	struct fs_key key;

	if (!fs_key_make(repair->store, noted->key, noted->length, &key))
		return;
	if (fs_find(repair->store, &key, &found) != FS_FOUND) {
		bool inserted = insert(repair, noted, &key) == FLAGSTORE_OK;

		tell_noted(repair, inserted ? FS_REPAIR_MOVED : FS_REPAIR_NO_ROOM, noted,
		           inserted ? "no search found it; it is where it belongs now" : "no search found it, and there is no room where it belongs");
		return;
	}
	if (!stamped_later(noted, found.slot)) {
		tell_noted(repair, FS_REPAIR_DROPPED, noted, "no search found it, and the flag exists where it belongs, as new or newer");
		return;
	}
	tell_noted(repair, FS_REPAIR_MOVED, noted, "no search found it; the flag where it belongs was older, and has its value now");
	while (fs_word_value(found.word) != noted->value && !fs_flip(repair->store, key.hash, &found, noted->value))
		if (fs_find(repair->store, &key, &found) != FS_FOUND)
			return;
}

/* ------------------------------------------------------------------------------------------------------- whole */

static void mend_all(struct repair *repair)
{
	const flagstore *store = repair->store;

	mend_header(repair);
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		mend_words(repair, &store->shards[i]);
		mend_table(repair, &store->shards[i]);
		mend_redo(repair, &store->shards[i]);
	}
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		mend_free_lists(repair, &store->shards[i]);
	}
	mend_heap(repair);
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		if (fill_entries(repair, &store->shards[i]))
			fixed(repair, &store->shards[i], "there is no room for a bucket; part of the shard stays cut out");
	}
	for (size_t i = 0; i < repair->noted_count; i++) {
		repair->shard = repair->noted[i].shard;
		settle(repair, &repair->noted[i]);
	}
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		recount_shard(repair, &store->shards[i]);
	}
}

void fs_repair_recover(flagstore *store)
{
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		struct fs_shard *shard = fs_shard_writable(store, i);
		uint64_t sequence = atomic_load_explicit(&shard->sequence, memory_order_relaxed);

		if (sequence & 1)
			fs_recover(store, i);
		atomic_store_explicit(&shard->sequence, sequence + (sequence & 1), memory_order_relaxed);
		atomic_store_explicit(&shard->mark, 0, memory_order_relaxed);
	}
}

static void leave_all(flagstore *store, uint32_t entered)
{
	for (uint32_t i = 0; i < entered; i++)
		fs_leave(store, i);
}

int fs_repair_begin(flagstore *store)
{
	struct fs_deadline deadline = {.set = false};
	int error = FLAGSTORE_OK;

	fs_entered(store);
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		error = fs_enter_locked(store, i, &deadline);
		if (error) {
			leave_all(store, i);
			break;
		}
	}
	return fs_unless_lost(store, error);
}

void fs_repair_end(flagstore *store)
{
	leave_all(store, store->constants.shards);
}

int fs_repair(flagstore *store, fs_repair_told *told, void *argument)
{
	struct repair repair = {.store = store, .told = told, .argument = argument, .end = store->heap_start};
	int error = FLAGSTORE_OK;

	repair.met = calloc((size_t)store->max_lines / 8 + 1, 1);
	if (!repair.met)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to repair segment %s", store->path);
	mend_all(&repair);
	/* What a repair changes is no change that the journal has. */
	if (store->journal)
		fs_journal_distrust(store);
	free(repair.met);
	free(repair.noted);
	if (repair.not_kept)
		error = fs_fail(FLAGSTORE_ESYSTEM, "what stands in slots of segment %s that can't be believed could not be kept, so it was left there",
		                store->path);
	if (!error && repair.no_memory)
		error = fs_fail(FLAGSTORE_ENOMEMORY, "there was no memory for all the flags of segment %s that were found", store->path);
	return fs_unless_lost(store, error);
}

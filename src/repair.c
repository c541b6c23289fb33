/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * repair.c: a damaged table made sound again. Expects all locks. Its parts are mendheader.c, mendshard.c, mendbucket.c and
 * mendheap.c; here what they have noted is put back, and the whole is driven.
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

#include <stdlib.h>

#include "change.h"
#include "error.h"
#include "grow.h"
#include "journal.h"
#include "mend.h"
#include "recover.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* ------------------------------------------------------------------------------------------- what is put back */

static void tell_noted(struct fs_mend *repair, enum fs_repair_kind kind, const struct fs_mend_noted *noted, const char *text)
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
static int fill_entry(struct fs_mend *repair, struct fs_shard *shard, const _Atomic uint64_t *entry, uint32_t depth)
{
	flagstore *store = repair->store;
	struct fs_bucket_view view;
	fs_block block;
	uint32_t class = free_class(shard);
	int error = fs_block_take(store, shard, FS_KIND_BUCKET + class, 0, &block);

	if (error || !fs_bucket_at(store, fs_block_line(block), class, &view))
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free bucket does not exist", store->path);
	fs_bucket_clean(store, &view);
	/* release: pairs with the readers' acquire load; they see the bucket empty. */
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(store, entry), fs_bucket_word_after(0, fs_block_line(block), class, depth),
	                      memory_order_release);
	return FLAGSTORE_OK;
}

static int fill_entries(struct fs_mend *repair, const struct fs_shard *shard)
{
	uint64_t word = fs_directory_word(shard);
	const _Atomic uint64_t *directory = word ? fs_directory(repair->store, word) : NULL;
	int error = FLAGSTORE_OK;

	for (uint32_t i = 0; directory && !error && i < 1u << fs_dir_depth(word); i++)
		if (!atomic_load_explicit(&directory[i], memory_order_relaxed))
			error = fill_entry(repair, fs_writable(repair->store, shard), &directory[i], fs_dir_depth(word));
	return error;
}

static int insert(struct fs_mend *repair, const struct fs_mend_noted *noted, const struct fs_key *key)
{
	struct fs_shard *shard = fs_writable(repair->store, fs_shard_of(repair->store, key->hash));
	struct fs_planted planted;
	struct fs_spot spot;
	int error;

	fs_spot_for(repair->store, shard, key->hash, &spot);
	error = fs_make_room(repair->store, shard, key->hash, &spot);
	if (!error)
		error = fs_plant(repair->store, shard, key, &spot, &planted);
	if (!error)
		fs_quicken(repair->store, shard, &planted, fs_word_alive(planted.word, noted->value));
	return error;
}

static bool stamped_later(const struct fs_mend_noted *noted, const struct fs_slot *slot)
{
	uint64_t time = noted->stamp >> FS_STAMP_TIME_SHIFT;

	return time && time > atomic_load_explicit(&slot->stamp, memory_order_relaxed) >> FS_STAMP_TIME_SHIFT;
}

/* A noted flag is there in the end, with the value that is the newest. */
static void settle(struct fs_mend *repair, const struct fs_mend_noted *noted)
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

static void mend_all(struct fs_mend *repair)
{
	const flagstore *store = repair->store;

	fs_mend_header(repair);
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		fs_mend_shard(repair, &store->shards[i]);
	}
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		fs_mend_free_lists(repair, &store->shards[i]);
	}
	fs_mend_heap(repair);
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		if (fill_entries(repair, &store->shards[i]))
			fs_mend_fixed(repair, &store->shards[i], "there is no room for a bucket; part of the shard stays cut out");
	}
	for (size_t i = 0; i < repair->noted_count; i++) {
		repair->shard = repair->noted[i].shard;
		settle(repair, &repair->noted[i]);
	}
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		repair->shard = i;
		fs_mend_recount(repair, &store->shards[i]);
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
	struct fs_mend repair = {.store = store->writing, .told = told, .argument = argument, .end = store->heap_start};
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

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * batch.c: several changes as one.
 *
 * A commit goes through these steps, and only the fifth can be seen from outside:
 * 1. the changes are sorted by place in the table, those of one key put together into one item
 * 2. the shards are entered in ascending order
 * 3. what must exist does exist; every bucket has room for the flags to be inserted; the leader has a redo record
 * 4. the shards note the leader; flags that exist are FROZEN, new ones planted, so that each item has a word before and a word after,
 *    which are written to the redo record
 * 5. the record says committed
 * 6. the words are stored, what died is buried, the shards forget the leader
 * Up to 5 a death (or a lack of room) leaves nothing but work for fs_tidy(); from 5 on everything is done by fs_redo_finish(). */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "error.h"
#include "event.h"
#include "grow.h"
#include "journal.h"
#include "persist.h"
#include "point.h"
#include "recover.h"
#include "redo.h"
#include "section.h"
#include "sigbus.h"
#include "store.h"
#include "worker.h"

/* A change as it was asked for. Its key stands in the batch's text. */
struct change {
	size_t key;
	size_t length;
	uint64_t hash;
	uint64_t place; /* shard, then the hash bits that a directory is indexed by */
	uint32_t order;
	struct fs_rule rule;
};

/* All changes of one key. */
struct item {
	struct fs_key key;
	uint32_t first, count; /* in the sorted changes */
	uint32_t shard;
	bool existed, exists; /* before and after */
	const struct fs_slot *slot;
	const struct fs_bucket *bucket; /* of one that was planted; else NULL */
	uint64_t before, after;
};

struct flagstore_batch {
	flagstore *store;
	struct change *changes;
	size_t count, room;
	char *text;
	size_t text_length, text_room;
};

/* ------------------------------------------------------------------------------------- collecting changes */

int flagstore_batch_begin(flagstore *store, flagstore_batch **batch)
{
	if (!store->write_map)
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process", store->path);
	*batch = calloc(1, sizeof **batch);
	if (!*batch)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for a batch");
	(*batch)->store = store;
	return FLAGSTORE_OK;
}

void flagstore_batch_abort(flagstore_batch *batch)
{
	if (!batch)
		return;
	free(batch->changes);
	free(batch->text);
	free(batch);
}

static bool make_place(flagstore_batch *batch, size_t length)
{
	if (batch->count == batch->room) {
		size_t room = batch->room ? batch->room * 2 : 16;
		struct change *changes = realloc(batch->changes, room * sizeof *changes);

		if (!changes)
			return false;
		batch->changes = changes;
		batch->room = room;
	}
	if (batch->text_room - batch->text_length < length) {
		size_t room = (batch->text_room + length) * 2;
		char *text = realloc(batch->text, room);

		if (!text)
			return false;
		batch->text = text;
		batch->text_room = room;
	}
	return true;
}

static int add_change(flagstore_batch *batch, const char *bytes, size_t length, struct fs_rule rule)
{
	struct fs_key key;

	if (!fs_key_make(batch->store, bytes, length, &key))
		return fs_fail(FLAGSTORE_EKEY, "a key of %zu bytes%s can't be used in a batch", length,
		               length && length <= FLAGSTORE_KEY_MAX ? " with a NUL byte in it" : "");
	if (batch->count == FLAGSTORE_BATCH_MAX)
		return fs_fail(FLAGSTORE_ETOOBIG, "a batch holds at most %d changes", FLAGSTORE_BATCH_MAX);
	if (!make_place(batch, length))
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for another change in the batch");
	batch->changes[batch->count] = (struct change){
		.key = batch->text_length,
		.length = length,
		.hash = key.hash,
		.place = (uint64_t)fs_hash_shard(key.hash, batch->store->shard_mask) << 32 | (key.hash & UINT32_MAX),
		.order = (uint32_t)batch->count,
		.rule = rule,
	};
	memcpy(batch->text + batch->text_length, bytes, length);
	batch->text_length += length;
	batch->count++;
	return FLAGSTORE_OK;
}

int flagstore_batch_set_n(flagstore_batch *batch, const char *key, size_t length, bool value)
{
	return add_change(batch, key, length, (struct fs_rule){.kind = FS_RULE_SET, .desired = value});
}

int flagstore_batch_set(flagstore_batch *batch, const char *key, bool value)
{
	return flagstore_batch_set_n(batch, key, strlen(key), value);
}

int flagstore_batch_toggle_n(flagstore_batch *batch, const char *key, size_t length)
{
	return add_change(batch, key, length, (struct fs_rule){.kind = FS_RULE_TOGGLE});
}

int flagstore_batch_toggle(flagstore_batch *batch, const char *key)
{
	return flagstore_batch_toggle_n(batch, key, strlen(key));
}

int flagstore_batch_delete_n(flagstore_batch *batch, const char *key, size_t length)
{
	return add_change(batch, key, length, (struct fs_rule){.kind = FS_RULE_DELETE});
}

int flagstore_batch_delete(flagstore_batch *batch, const char *key)
{
	return flagstore_batch_delete_n(batch, key, strlen(key));
}

/* --------------------------------------------------------------------------------------------- 1. sorting */

struct commit {
	flagstore *store;
	const flagstore_batch *batch;
	struct change *changes; /* sorted */
	struct item *items;
	uint32_t count; /* items */
	uint32_t first_shard;
	bool *entered;  /* by shard */
	struct fs_deadline deadline;
	int64_t now_ms; /* of its records, flips and deletes */
	size_t changed;
};

static int compare_changes(const void *left, const void *right, void *text)
{
	const struct change *a = left, *b = right;
	int order;

	if (a->place != b->place)
		return a->place < b->place ? -1 : 1;
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	order = memcmp((const char *)text + a->key, (const char *)text + b->key, a->length);
	if (order)
		return order;
	return a->order < b->order ? -1 : 1;
}

static bool same_key(const flagstore_batch *batch, const struct change *a, const struct change *b)
{
	return a->length == b->length && memcmp(batch->text + a->key, batch->text + b->key, a->length) == 0;
}

static void sort_into_items(struct commit *commit)
{
	const flagstore_batch *batch = commit->batch;

	memcpy(commit->changes, batch->changes, batch->count * sizeof *commit->changes);
	qsort_r(commit->changes, batch->count, sizeof *commit->changes, compare_changes, batch->text);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct change *change = &commit->changes[i];

		if (i && same_key(batch, change, change - 1)) {
			commit->items[commit->count - 1].count++;
			continue;
		}
		commit->items[commit->count++] = (struct item){
			.key = {batch->text + change->key, change->length, change->hash},
			.first = i,
			.count = 1,
			.shard = fs_hash_shard(change->hash, commit->store->shard_mask),
		};
	}
	commit->first_shard = commit->items[0].shard;
}

/* ------------------------------------------------------------------------------------- 2. entering, leaving */

static void leave_all(struct commit *commit)
{
	for (uint32_t i = 0; i < commit->store->constants.shards; i++)
		if (commit->entered[i])
			fs_leave(commit->store, i);
}

/* Enters the shards of the items, and on the way those that still note our leader because of a batch whose writer died: they are
 * recovered by that, and then the leader's redo record is free. Nobody else can note the leader while we hold its lock. */
static int enter_all(struct commit *commit)
{
	flagstore *store = commit->store;
	uint32_t item = 0;

	for (uint32_t i = commit->first_shard; i < store->constants.shards; i++) {
		bool ours = item < commit->count && commit->items[item].shard == i;
		int error;

		if (!ours && atomic_load_explicit(&store->shards[i].batch, memory_order_acquire) != commit->first_shard + 1)
			continue;
		error = fs_enter(store, i, &commit->deadline);
		if (error)
			return error;
		if (!ours) {
			fs_leave(store, i);
			continue;
		}
		commit->entered[i] = true;
		while (item < commit->count && commit->items[item].shard == i)
			item++;
	}
	return FLAGSTORE_OK;
}

/* ------------------------------------------------------------------------------------------ 3. making room */

/* Which items exist now, and which will: that does not depend on values, and can't change while we hold the locks. */
static int look_up(struct commit *commit)
{
	for (uint32_t i = 0; i < commit->count; i++) {
		struct item *item = &commit->items[i];
		struct fs_found found;
		enum fs_outcome outcome = fs_find(commit->store, &item->key, &found);
		char text[FS_PRINTABLE_SIZE];

		if (outcome == FS_DAMAGED)
			return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the table leads nowhere for flag \"%s\"; check the segment", commit->store->path,
			               fs_printable(item->key.bytes, item->key.length, text));
		item->existed = item->exists = outcome == FS_FOUND;
		item->slot = item->existed ? found.slot : NULL;
		/* A try before, which the journal had no room for, may have planted it. */
		item->bucket = NULL;
		for (uint32_t j = 0; j < item->count; j++) {
			struct fs_effect effect;

			if (fs_rule_apply(&commit->changes[item->first + j].rule, item->exists, 0, &effect))
				return fs_fail(FLAGSTORE_ENOTFOUND, "segment %s has no flag \"%s\", which change %u of the batch needs", commit->store->path,
				               fs_printable(item->key.bytes, item->key.length, text), commit->changes[item->first + j].order + 1);
			item->exists = effect.action == FS_INSERT || (item->exists && effect.action != FS_DELETE);
		}
	}
	return FLAGSTORE_OK;
}

static bool is_insert(const struct item *item)
{
	return !item->existed && item->exists;
}

/* The items from i on that go into the same bucket, as the directory is now; how many of them are inserts, and the last of those. */
static uint32_t same_bucket(const struct commit *commit, uint32_t i, uint32_t *inserts, const struct item **insert)
{
	const struct fs_shard *shard = &commit->store->shards[commit->items[i].shard];
	const _Atomic uint64_t *entry = fs_entry_of(commit->store, shard, commit->items[i].key.hash);
	uint32_t depth = entry ? fs_dir_depth(atomic_load_explicit(entry, memory_order_relaxed)) : 0;
	uint32_t index = fs_hash_index(commit->items[i].key.hash, depth), j = i;

	*inserts = 0;
	for (; j < commit->count && commit->items[j].shard == commit->items[i].shard &&
	       fs_hash_index(commit->items[j].key.hash, depth) == index;
	     j++) {
		if (!is_insert(&commit->items[j]))
			continue;
		*insert = &commit->items[j];
		++*inserts;
	}
	return j;
}

static int make_room(struct commit *commit)
{
	const struct item *insert = NULL;
	uint32_t i = 0, inserts;

	while (i < commit->count) {
		uint32_t end = same_bucket(commit, i, &inserts, &insert);
		bool fits = true;
		int error = FLAGSTORE_OK;

		/* After a step of growth the items from i on may be several buckets'. */
		if (inserts)
			error = fs_make_room_step(commit->store, fs_shard_writable(commit->store, insert->shard), insert->key.hash, inserts, &fits);
		if (error)
			return error;
		if (fits)
			i = end;
	}
	/* Growth may have moved any flag. */
	for (i = 0; i < commit->count; i++) {
		struct fs_found found;

		if (!commit->items[i].existed)
			continue;
		if (fs_find(commit->store, &commit->items[i].key, &found) != FS_FOUND)
			return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a flag was lost while its bucket grew; check the segment", commit->store->path);
		commit->items[i].slot = found.slot;
	}
	return fs_redo_reserve(commit->store, fs_shard_writable(commit->store, commit->first_shard), commit->count);
}

/* -------------------------------------------------------------------------------------------- 4. preparing */

static void note_leader(struct commit *commit, uint32_t leader)
{
	for (uint32_t i = 0; i < commit->store->constants.shards; i++)
		if (commit->entered[i])
			FS_NOTE(&fs_shard_writable(commit->store, i)->batch, leader);
	FS_POINT("leader noted");
}

/* The word that the changes lead to, from one that can't move any more. */
static void decide(struct commit *commit, struct item *item, uint64_t word, bool exists)
{
	uint64_t start = word;

	for (uint32_t i = 0; i < item->count; i++) {
		struct fs_effect effect;

		fs_rule_apply(&commit->changes[item->first + i].rule, exists, word, &effect);
		if (effect.action == FS_KEEP)
			continue;
		/* Within the batch a flag that was deleted and inserted again has only changed; one that did not exist starts anew. */
		word = exists || item->existed ? fs_word_next(word, effect.value) : fs_word_alive(start, effect.value);
		exists = effect.action != FS_DELETE;
	}
	commit->changed += item->existed ? word != start : exists;
	item->after = fs_word_with_state(word, exists ? FS_LIVE : FS_DEAD);
}

static int prepare(struct commit *commit)
{
	for (uint32_t i = 0; i < commit->count; i++) {
		struct item *item = &commit->items[i];
		struct fs_shard *shard = fs_shard_writable(commit->store, item->shard);
		struct fs_planted planted;
		struct fs_spot spot;
		int error;

		if (item->existed) {
			item->before = fs_slot_freeze(fs_writable(commit->store, item->slot));
			FS_POINT("flag frozen");
			decide(commit, item, item->before, true);
			continue;
		}
		if (!item->exists)
			continue;
		fs_spot_for(commit->store, shard, item->key.hash, &spot);
		error = fs_plant(commit->store, shard, &item->key, &spot, &planted);
		if (error)
			return error;
		item->slot = planted.slot;
		item->bucket = planted.bucket;
		item->before = planted.word;
		decide(commit, item, planted.word, false);
	}
	return FLAGSTORE_OK;
}

static struct fs_redo *write_redo(struct commit *commit)
{
	uint32_t room = 0, count = 0;
	const struct fs_redo *place = fs_redo_of(commit->store, &commit->store->shards[commit->first_shard], &room);
	struct fs_redo *redo;

	if (!place || room < commit->count)
		return NULL;
	redo = fs_writable(commit->store, place);
	for (uint32_t i = 0; i < commit->count; i++) {
		const struct item *item = &commit->items[i];
		struct fs_redo_change *change = &redo->changes[count];

		if (!item->slot)
			continue;
		atomic_store_explicit(&change->slot, fs_line_of(commit->store, item->slot), memory_order_relaxed);
		atomic_store_explicit(&change->shard, item->shard, memory_order_relaxed);
		atomic_store_explicit(&change->before, item->before, memory_order_relaxed);
		atomic_store_explicit(&change->after, item->after, memory_order_relaxed);
		count++;
		FS_POINT("change written");
	}
	atomic_store_explicit(&redo->count, count, memory_order_relaxed);
	FS_POINT("redo written");
	return redo;
}

/* Whether the item changes anything that the journal has to say. */
static bool is_journaled(const struct item *item)
{
	return item->slot && (item->existed ? fs_word_changes(item->after) != fs_word_changes(item->before) : item->exists);
}

static size_t journal_bytes(const struct commit *commit)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < commit->count; i++)
		bytes += is_journaled(&commit->items[i]) ? fs_record_bytes(commit->items[i].key.length) : 0;
	return bytes;
}

/* All records are one change: the flusher never cuts between them. */
static void write_journal(struct commit *commit)
{
	uint32_t left = 0;

	if (!commit->store->journal)
		return;
	for (uint32_t i = 0; i < commit->count; i++)
		left += is_journaled(&commit->items[i]);
	if (!left)
		return;
	for (uint32_t i = 0; i < commit->count; i++)
		if (is_journaled(&commit->items[i]) &&
		    !fs_journal_write(commit->store, commit->items[i].slot, commit->items[i].after, commit->now_ms, --left > 0))
			fs_journal_distrust(commit->store);
	fs_journal_intend_batch(commit->store, commit->first_shard);
}

/* --------------------------------------------------------------------------------------------- 6. applying */

static void apply(struct commit *commit)
{
	flagstore *store = commit->store;

	for (uint32_t i = 0; i < commit->count; i++) {
		struct item *item = &commit->items[i];
		struct fs_shard *shard = fs_shard_writable(store, item->shard);
		bool changed;

		if (!item->slot)
			continue;
		if (item->bucket) {
			fs_quicken(store, shard, &(struct fs_planted){item->bucket, item->slot, item->before}, item->after);
			continue;
		}
		changed = fs_word_changes(item->after) != fs_word_changes(item->before);
		if (changed)
			fs_slot_stamp(store, fs_writable(store, item->slot), item->after, commit->now_ms);
		fs_redo_apply(store, item->slot, item->before, item->after);
		if (changed)
			fs_event_change(store, item->slot, fs_change_what(item->exists ? FLAGSTORE_FLIP : FLAGSTORE_DELETE, item->shard, true),
			                item->before, item->after, commit->now_ms);
		if (!item->exists)
			fs_bury(store, shard, item->slot);
	}
}

/* Steps 3 to 6, with all shards entered. */
static int carry_out(struct commit *commit)
{
	flagstore *store = commit->store;
	const struct fs_redo *had;
	struct fs_redo *redo;
	uint32_t room;
	int error = look_up(commit);

	commit->now_ms = fs_now_ms();
	if (!error)
		error = make_room(commit);
	if (error)
		return error;
	had = fs_redo_of(store, &store->shards[commit->first_shard], &room);
	if (had)
		FS_NOTE(&((struct fs_redo *)fs_writable(store, had))->committed, 0);
	note_leader(commit, commit->first_shard + 1);
	error = prepare(commit);
	redo = error ? NULL : write_redo(commit);
	if (redo)
		error = fs_journal_lock(store, journal_bytes(commit), &commit->deadline);
	if (!redo || error) {
		for (uint32_t i = 0; i < store->constants.shards; i++)
			if (commit->entered[i])
				fs_tidy(store, fs_shard_writable(store, i));
		note_leader(commit, 0);
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a redo record does not exist", store->path);
	}
	write_journal(commit);
	FS_NOTE(&redo->committed, 1);
	FS_POINT("committed");
	fs_journal_unlock(store, true);
	apply(commit);
	note_leader(commit, 0);
	return FLAGSTORE_OK;
}

static int enter_and_carry_out(struct commit *commit)
{
	int error;

	memset(commit->entered, 0, commit->store->constants.shards * sizeof *commit->entered);
	commit->deadline.set = false;
	commit->changed = 0;
	error = enter_all(commit);
	if (!error)
		error = carry_out(commit);
	leave_all(commit);
	return error;
}

static int make_journal_room(struct commit *commit)
{
	size_t bytes = journal_bytes(commit);

	/* fs_persist_make_room() promises half of the journal. */
	if (bytes > (size_t)commit->store->ring_words * 4)
		return fs_fail(FLAGSTORE_ETOOBIG, "segment %s: a batch that takes %zu bytes of journal is too large for one of %zu; make it smaller, or create a "
		               "larger segment", commit->store->path, bytes, (size_t)commit->store->ring_words * 8);
	return fs_persist_make_room(commit->store);
}

int flagstore_batch_commit(flagstore_batch *batch, size_t *changed)
{
	flagstore *store = batch->store->writing;
	struct commit commit = {
		.store = store,
		.batch = batch,
		.changes = malloc((batch->count + 1) * sizeof(struct change)),
		.items = malloc((batch->count + 1) * sizeof(struct item)),
		.entered = calloc(store->constants.shards, sizeof(bool)),
	};
	int error = FLAGSTORE_OK;

	if (!commit.changes || !commit.items || !commit.entered) {
		error = fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to commit a batch of %zu changes", batch->count);
	} else if (batch->count) {
		fs_thread.site = __builtin_return_address(0);
		fs_entered(store);
		fs_thread.operation = FLAGSTORE_FLIP;
		fs_thread.key = NULL;
		sort_into_items(&commit);
		error = enter_and_carry_out(&commit);
		/* A full journal is written, by us or somebody else, with no lock held. */
		while (error == FS_JOURNAL_FULL) {
			error = make_journal_room(&commit);
			if (!error)
				error = enter_and_carry_out(&commit);
		}
		for (uint32_t i = 0; !error && i < store->constants.shards; i++)
			if (commit.entered[i])
				fs_wake(store, fs_shard_writable(store, i));
		error = fs_unless_lost(store, fs_persisted(store, error));
	}
	free(commit.changes);
	free(commit.items);
	free(commit.entered);
	if (error)
		return error;
	if (changed)
		*changed = commit.changed;
	flagstore_batch_abort(batch);
	return FLAGSTORE_OK;
}

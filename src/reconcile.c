/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reconcile.c: comparing the table with LMDB as both are at one moment, while others go on writing.
 *
 * The journal makes it possible. Its end is noted, the whole table is read, flag by flag, while it moves, and the end is noted again. A
 * flag with no record in between was all the time as it was read; of one that has records the last one says what it was at the second
 * end. (Batches are in the journal a moment before they are in the table: those that the first end includes are waited for.) So the table
 * as it was read, with these records applied, is the table at the second end, exactly. The flush lock keeps the records from being
 * overwritten; if the journal is full all the same, records may be given up, and it is begun anew. */
#include <stdlib.h>
#include <string.h>

#include "breaker.h"
#include "cursor.h"
#include "error.h"
#include "event.h"
#include "key.h"
#include "persist.h"
#include "section.h"
#include "sigbus.h"

static struct fs_saved saved_of(const struct flagstore_flag *flag)
{
	return (struct fs_saved){.value = flag->value, .changes = flag->changes, .changed_ms = flag->changed_ms};
}

/* ------------------------------------------------------------------------------------------------ reconciling */

struct reconciliation {
	flagstore *store;
	struct fs_disk_use *use;
	uint64_t changed, steps;
};

/* What LMDB has and the table has not, or has otherwise. */
static int correct(struct reconciliation *reconciliation)
{
	flagstore *store = reconciliation->store;
	struct fs_disk_use *use = reconciliation->use;
	const char *key;
	size_t length;
	struct fs_saved saved;
	bool exists;
	int error = fs_disk_next(use, &exists, &key, &length, &saved);

	while (!error && exists) {
		struct flagstore_flag flag;

		fs_flush_goes_on(store, &reconciliation->steps);
		flagstore_lookup_n(store, key, length, &flag);
		if (!flag.exists) {
			reconciliation->changed++;
			error = fs_disk_delete_here(use);
		} else if (flag.value != saved.value) {
			char copy[FLAGSTORE_KEY_MAX];
			struct fs_saved now = saved_of(&flag);

			reconciliation->changed++;
			/* The key lies in a page that the change may move. */
			memcpy(copy, key, length);
			error = fs_disk_put(use, copy, length, &now);
		}
		if (!error)
			error = fs_disk_next(use, &exists, &key, &length, &saved);
	}
	return error;
}

/* What the table has and LMDB has not. */
static int complete(void *argument, const struct flagstore_entry *entry)
{
	struct reconciliation *reconciliation = argument;
	struct fs_saved saved = saved_of(&entry->flag), had;
	bool exists;
	int error;

	fs_flush_goes_on(reconciliation->store, &reconciliation->steps);
	error = fs_disk_get(reconciliation->use, entry->key, entry->length, &exists, &had);
	if (error || exists)
		return error;
	reconciliation->changed++;
	return fs_disk_put(reconciliation->use, entry->key, entry->length, &saved);
}

int fs_reconcile(struct fs_persister *persister)
{
	flagstore *store = persister->store;
	struct fs_journal *journal = store->journal;
	uint32_t wish = atomic_load_explicit(&journal->reconcile, memory_order_acquire);
	uint64_t began = fs_monotonic_ns(), start = fs_journal_end(store), reached, end;
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	struct reconciliation reconciliation = {.store = store, .use = &use};
	int error = fs_batches_settle(store);

	if (!error)
		error = fs_flush_transaction(persister, &use, &meta);
	if (error)
		return error;
	wish = meta.exists ? wish : atomic_load_explicit(&journal->reconcile, memory_order_acquire);
	error = correct(&reconciliation);
	if (!error)
		error = fs_visit_all(store, complete, &reconciliation);
	end = fs_journal_end(store);
	if (!error)
		error = fs_flush_records(persister, &use, start, end, UINT64_MAX, &reached);
	if (error) {
		fs_disk_abort(&use);
		/* Records were given up meanwhile, or are damaged: the wish stays, and the caller begins anew. */
		return error == FLAGSTORE_EBUSY ? FLAGSTORE_OK : error;
	}
	error = fs_flush_commit(persister, &use, &meta, reached);
	if (error)
		return error;
	fs_journal_durable(store, reached);
	/* A wish that came meanwhile stays. A death before this store leaves nothing worse than that it is done once more. */
	atomic_compare_exchange_strong_explicit(&journal->reconcile, &wish, 0, memory_order_acq_rel, memory_order_relaxed);
	fs_count(&journal->reconciles, 1);
	fs_event_note(store, FLAGSTORE_RECONCILIATION, UINT32_MAX, reconciliation.changed, fs_monotonic_ns() - began);
	return FLAGSTORE_OK;
}

/* -------------------------------------------------------------------------------------------------- verifying */

struct suspect {
	size_t key; /* in the text */
	uint8_t length;
	bool in_table, table_value, in_lmdb, lmdb_value;
	uint64_t hash;
};

/* Flags that differ as they were read, and the hashes of those that were changed meanwhile. */
struct suspects {
	struct suspect *all;
	size_t count, room;
	char *text;
	size_t text_length, text_room;
	uint64_t *moved;
	size_t moved_count, moved_room;
};

static bool grow(void *array, size_t *room, size_t need, size_t size)
{
	size_t wanted = *room ? *room : 64;
	void *grown;

	if (need <= *room)
		return true;
	while (wanted < need)
		wanted *= 2;
	grown = reallocarray(*(void **)array, wanted, size);
	if (!grown)
		return false;
	*(void **)array = grown;
	*room = wanted;
	return true;
}

static int no_memory(const flagstore *store)
{
	return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to compare segment %s with LMDB", store->path);
}

static int suspect(const flagstore *store, struct suspects *suspects, const char *key, size_t length, const struct flagstore_flag *flag,
                   bool in_lmdb, bool lmdb_value)
{
	if (!grow(&suspects->all, &suspects->room, suspects->count + 1, sizeof *suspects->all) ||
	    !grow(&suspects->text, &suspects->text_room, suspects->text_length + length + 1, 1))
		return no_memory(store);
	suspects->all[suspects->count++] = (struct suspect){
		.key = suspects->text_length,
		.length = (uint8_t)length,
		.in_table = flag->exists,
		.table_value = flag->value,
		.in_lmdb = in_lmdb,
		.lmdb_value = lmdb_value,
		.hash = fs_hash(store->seed, key, length),
	};
	memcpy(suspects->text + suspects->text_length, key, length);
	suspects->text[suspects->text_length + length] = 0;
	suspects->text_length += length + 1;
	return FLAGSTORE_OK;
}

struct comparison {
	flagstore *store;
	struct fs_disk_use *use;
	struct suspects *suspects;
	uint64_t compared, steps;
};

static int compare_lmdb(struct comparison *comparison)
{
	flagstore *store = comparison->store;
	const char *key;
	size_t length;
	struct fs_saved saved;
	bool exists;
	int error = fs_disk_next(comparison->use, &exists, &key, &length, &saved);

	while (!error && exists) {
		struct flagstore_flag flag;

		fs_flush_goes_on(store, &comparison->steps);
		comparison->compared++;
		flagstore_lookup_n(store, key, length, &flag);
		if (!flag.exists || flag.value != saved.value)
			error = suspect(store, comparison->suspects, key, length, &flag, true, saved.value);
		if (!error)
			error = fs_disk_next(comparison->use, &exists, &key, &length, &saved);
	}
	return error;
}

static int compare_table(void *argument, const struct flagstore_entry *entry)
{
	struct comparison *comparison = argument;
	struct fs_saved saved;
	bool exists;
	int error;

	fs_flush_goes_on(comparison->store, &comparison->steps);
	error = fs_disk_get(comparison->use, entry->key, entry->length, &exists, &saved);
	if (error || exists)
		return error;
	comparison->compared++;
	return suspect(comparison->store, comparison->suspects, entry->key, entry->length, &entry->flag, false, false);
}

static int compare_hashes(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static int collect_moved(flagstore *store, struct suspects *suspects, uint64_t position, uint64_t end)
{
	struct fs_record record;

	for (; position < end; position = record.end) {
		if (!fs_journal_read(store, position, end, &record))
			return fs_fail(FLAGSTORE_EBUSY, "segment %s: so many changes came while it was compared with LMDB that the journal went round; try "
			               "again when less is going on", store->path);
		if (!grow(&suspects->moved, &suspects->moved_room, suspects->moved_count + 1, sizeof *suspects->moved))
			return no_memory(store);
		suspects->moved[suspects->moved_count++] = fs_hash(store->seed, record.key, record.length);
	}
	if (suspects->moved_count)
		qsort(suspects->moved, suspects->moved_count, sizeof *suspects->moved, compare_hashes);
	return FLAGSTORE_OK;
}

/* Those that were changed meanwhile are no differences: what they were at one moment is not known. */
static void acquit_moved(struct suspects *suspects, uint64_t *moving)
{
	size_t kept = 0;

	for (size_t i = 0; i < suspects->count; i++) {
		if (suspects->moved_count &&
		    bsearch(&suspects->all[i].hash, suspects->moved, suspects->moved_count, sizeof *suspects->moved, compare_hashes)) {
			(*moving)++;
			continue;
		}
		suspects->all[kept++] = suspects->all[i];
	}
	suspects->count = kept;
}

static void report(const struct suspects *suspects, flagstore_differs *differs, void *argument, struct flagstore_verification *verification)
{
	for (size_t i = 0; i < suspects->count; i++) {
		const struct suspect *found = &suspects->all[i];

		verification->missing += !found->in_lmdb;
		verification->surplus += !found->in_table;
		verification->different += found->in_table && found->in_lmdb;
		if (differs)
			differs(&(struct flagstore_difference){
				.key = suspects->text + found->key,
				.length = found->length,
				.in_table = found->in_table,
				.table_value = found->table_value,
				.in_lmdb = found->in_lmdb,
				.lmdb_value = found->lmdb_value,
			}, argument);
	}
}

/* With the flush lock, and LMDB up to date. */
static int find_differences(struct fs_persister *persister, struct suspects *suspects, struct flagstore_verification *verification)
{
	flagstore *store = persister->store;
	uint64_t start = atomic_load_explicit(&store->journal->durable, memory_order_acquire);
	struct fs_disk_use use;
	struct comparison comparison = {.store = store, .use = &use, .suspects = suspects};
	int error = fs_batches_settle(store);

	if (!error)
		error = fs_disk_begin(persister->disk, false, &use);
	if (error)
		return error;
	error = compare_lmdb(&comparison);
	if (!error)
		error = fs_visit_all(store, compare_table, &comparison);
	verification->compared = comparison.compared;
	fs_disk_abort(&use);
	if (!error)
		error = collect_moved(store, suspects, start, fs_journal_end(store));
	if (error)
		return error;
	acquit_moved(suspects, &verification->moving);
	fs_count(&store->journal->mismatches, suspects->count);
	if (suspects->count)
		fs_event_note(store, FLAGSTORE_MISMATCH, UINT32_MAX, suspects->count, 0);
	return FLAGSTORE_OK;
}

/* The table is given what LMDB had, change by change, as anybody would. */
static int repair_table(flagstore *store, const struct suspects *suspects, uint64_t *repaired)
{
	for (size_t i = 0; i < suspects->count; i++) {
		const struct suspect *found = &suspects->all[i];
		const char *key = suspects->text + found->key;
		int error = found->in_lmdb ? flagstore_set_n(store, key, found->length, found->lmdb_value) : flagstore_delete_n(store, key, found->length);

		if (error && error != FLAGSTORE_ENOTFOUND)
			return error;
		(*repaired)++;
	}
	return FLAGSTORE_OK;
}

static int verify(struct fs_persister *persister, enum flagstore_verify what, struct suspects *suspects,
                  struct flagstore_verification *verification)
{
	flagstore *store = persister->store;
	/* What the journal has is not missing in LMDB; and a whole comparison that is due would hide what it mends. */
	int error = fs_flush(persister);

	if (!error)
		error = find_differences(persister, suspects, verification);
	if (!error && what == FLAGSTORE_REPAIR_LMDB && suspects->count) {
		fs_journal_distrust(store);
		error = fs_flush(persister);
		verification->repaired = error ? 0 : suspects->count;
	}
	return error;
}

int flagstore_verify(flagstore *store, enum flagstore_verify what, flagstore_differs *differs, void *argument,
                     struct flagstore_verification *verification)
{
	struct suspects suspects = {.count = 0};
	struct fs_persister *persister;
	int error;

	memset(verification, 0, sizeof *verification);
	if (!store->persistence.durability)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s is volatile: there is nothing to compare it with", store->path);
	error = fs_flush_begin(store, -1, &persister);
	if (error)
		return error;
	error = verify(persister, what, &suspects, verification);
	fs_flush_end(persister);
	if (!error)
		report(&suspects, differs, argument, verification);
	if (!error && what == FLAGSTORE_REPAIR_TABLE)
		error = repair_table(store, &suspects, &verification->repaired);
	free(suspects.all);
	free(suspects.text);
	free(suspects.moved);
	return fs_unless_lost(store, error);
}

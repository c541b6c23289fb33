/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * change.h: the primitive changes of one slot. */
#ifndef FS_CHANGE_H
#define FS_CHANGE_H

#include "event.h"
#include "grow.h"
#include "point.h"

/* Flips (or rewrites) a LIVE flag of that hash: one compare-and-swap of its word, no lock needed but the journal's, if there is one
 * (fs_journal_lock(), and fs_journal_unlock() with the result). False when the word is no longer found->word. */
bool fs_flip(flagstore *store, uint64_t hash, const struct fs_found *found, bool value);

/* The same for a flag that was found LIVE, by a thread that has entered the store and is in no write section; site is where it called the
 * library. What is seldom to be done is left to the other one: false, too, when the store was attached without locking. */
static inline __attribute__((always_inline)) bool fs_flip_usual(flagstore *store, uint32_t shard, struct fs_found found, bool value,
                                                                int64_t now_ms, const void *site)
{
	struct fs_slot *slot = fs_writable(store, found.slot);
	uint64_t before = found.word, next = fs_word_next(before, value), what = fs_flip_what(shard);
	fs_line line = fs_line_of(store, found.slot);

	/* A damaged table may lead a read to what is not of the heap (find.h); no change goes there. */
	if (__builtin_expect(store->unlocked || line < store->heap_start, 0))
		return false;
	/* As in fs_flip(). */
	if (!atomic_compare_exchange_strong_explicit(&slot->word, &before, next, memory_order_seq_cst, memory_order_relaxed))
		return false;
	FS_POINT("flipped");
	fs_slot_stamp(store, slot, next, now_ms);
	if (__builtin_expect(fs_guard_audits(store), 0)) {
		fs_thread.site = site;
		fs_thread.key = NULL;
		fs_guard_pass(store, line, what, now_ms);
	}
	if (__builtin_expect(fs_thread.seat != NULL, 1))
		fs_event_write_change(fs_thread.seat, slot, line, what, found.word, next, now_ms);
	return true;
}

/* The following expect the shard's lock. */

/* A slot with a key in it whose life has not begun. */
struct fs_planted {
	const struct fs_bucket *bucket;
	const struct fs_slot *slot;
	uint64_t word; /* DEAD */
};

/* Puts the key into the slot that fs_make_room() saw to, complete but for its life. Errors: ENOSPACE, EFULL (a long key's cell),
 * ECORRUPT. */
int fs_plant(flagstore *store, struct fs_shard *shard, const struct fs_key *key, const struct fs_spot *spot, struct fs_planted *planted);

/* Stores the word of a planted slot: the moment at which the flag exists. */
void fs_quicken(flagstore *store, struct fs_shard *shard, const struct fs_planted *planted, uint64_t word);

/* Kills the flag: the moment at which it is gone. */
void fs_kill(flagstore *store, struct fs_shard *shard, const struct fs_found *found);

/* What is left to do for a slot whose word has become DEAD: its key cell, its tag, the counts. */
void fs_bury(flagstore *store, struct fs_shard *shard, const struct fs_slot *slot);

void fs_wake_waiting(flagstore *store, struct fs_shard *shard);

/* Wakes those that wait for a change of this shard, or of anything. Called after every visible change, under the lock or not. */
static inline void fs_wake(flagstore *store, struct fs_shard *shard)
{
	/* seq_cst, here and where wanted is set (wait.c): either this load sees the wish, or the waiter, who looks at the flag after
	 * wishing, sees the change. */
	if (__builtin_expect(atomic_load_explicit(&shard->wanted, memory_order_seq_cst) != 0, 0))
		fs_wake_waiting(store, shard);
}

#endif

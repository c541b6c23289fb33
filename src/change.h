/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * change.h: the primitive changes of one slot. */
#ifndef FS_CHANGE_H
#define FS_CHANGE_H

#include "table.h"

/* Flips (or rewrites) a LIVE flag of that hash: one compare-and-swap of its word, no lock needed but the journal's, if there is one
 * (fs_journal_lock(), and fs_journal_unlock() with the result). False when the word is no longer found->word. */
bool fs_flip(flagstore *store, uint64_t hash, const struct fs_found *found, bool value);

/* The following expect the shard's lock. */

/* Puts the key into a slot of its bucket that fs_make_room() saw to, complete but for its life: the word is DEAD. *planted is the slot
 * and that word; fs_quicken() gives it life. Errors: ENOSPACE, EFULL (a long key's cell), ECORRUPT. */
int fs_plant(flagstore *store, struct fs_shard *shard, const struct fs_key *key, struct fs_found *planted);

/* Stores the word of a planted slot: the moment at which the flag exists. */
void fs_quicken(flagstore *store, struct fs_shard *shard, const struct fs_found *planted, uint64_t word);

/* Kills the flag: the moment at which it is gone. */
void fs_kill(flagstore *store, struct fs_shard *shard, const struct fs_found *found);

/* What is left to do for a slot whose word has become DEAD: its key cell, its tag, the counts. */
void fs_bury(flagstore *store, struct fs_shard *shard, const struct fs_slot *slot);

/* Wakes those that wait for a change of this shard, or of anything. Called after every visible change, under the lock or not. */
void fs_wake(flagstore *store, struct fs_shard *shard);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * journal.h: the order of all changes, for whoever writes them to LMDB.
 *
 * A change of a flag that is kept in LMDB is made under the journal's lock: its record is written behind the journal's end, the intent is
 * noted, the change is made by its one store, and then the end is moved behind the record. So the order of the records is that in which the
 * changes were made, and LMDB, which holds all changes before some position, holds the table as it was at some moment.
 * After a death in between, whoever has the lock next looks whether the store was made, and moves the end, or forgets the record.
 *
 * The lock comes after those of the shards. Nobody waits for anything while he has it. */
#ifndef FS_JOURNAL_H
#define FS_JOURNAL_H

#include "lock.h"
#include "table.h"

/* What fs_journal_lock() says when there is no room in the ring: nothing has been done, and fs_persist_make_room() helps. */
#define FS_JOURNAL_FULL 1

/* A record as it was read. */
struct fs_record {
	uint64_t position, end;
	uint64_t word;    /* slot word after the change */
	int64_t time_ms;
	bool deleted, more;
	union {
		uint64_t words[FS_RECORD_WORDS_MAX - FS_RECORD_WORDS]; /* as they stand in the ring */
		struct {
			uint8_t length;
			char key[FLAGSTORE_KEY_MAX];
		};
	};
};

/* Bytes that a record of such a key takes. */
static inline size_t fs_record_bytes(size_t length)
{
	return (FS_RECORD_WORDS + (1 + length + 7) / 8) * 8;
}

/* Locks the journal for changes whose records take so many bytes. A segment without a journal: nothing is done.
 * Returns FLAGSTORE_OK, FS_JOURNAL_FULL, or EREFUSED (the breaker is open and writes are to be refused), ETIMEDOUT, ECORRUPT, ESYSTEM. */
int fs_journal_lock(flagstore *store, size_t bytes, struct fs_deadline *deadline);

/* Writes the record of the flag in the slot, whose word is to become after now. False: the slot's key can't be read. */
bool fs_journal_write(flagstore *store, const struct fs_slot *slot, uint64_t after, int64_t now_ms, bool more);

/* Notes that the commit of the batch that the shard leads makes the records that were written since the lock was taken. */
void fs_journal_intend_batch(flagstore *store, uint32_t leader);

/* The same for one flag: writes its record, which the word of the slot makes. False: the slot's key can't be read. */
bool fs_journal_intend(flagstore *store, const struct fs_slot *slot, uint64_t after, int64_t now_ms);

/* The same for a flag that was found before the lock was taken. False, too, when it has changed since; perhaps it is another one by now, with
 * a longer key than there is room for. Who gives the slot to another key has this lock. */
static inline bool fs_journal_intend_flip(flagstore *store, const struct fs_found *found, uint64_t after, int64_t now_ms)
{
	return atomic_load_explicit(&found->slot->word, memory_order_relaxed) == found->word && fs_journal_intend(store, found->slot, after, now_ms);
}

/* Moves the end behind the records, if the change was made, and unlocks. A segment without a journal: nothing is done. */
void fs_journal_unlock(flagstore *store, bool made);

/* Waits until no change is half in the journal: who comes back has seen the end of all that was begun before. For growth, whose
 * slots must not be those that an intent names. Errors as above. */
int fs_journal_settle(flagstore *store);

/* Recovery: what the shard's dead writer left in the journal. */
void fs_journal_recover(flagstore *store);

/* The end of the journal, with all records before it complete; settled, if the last writer died. */
uint64_t fs_journal_end(flagstore *store);

/* Reads the record at position, which must end at or before end. False: there is no such record, since the bytes are damaged or have been
 * overwritten. */
bool fs_journal_read(const flagstore *store, uint64_t position, uint64_t end, struct fs_record *record);

/* Whether the record at position, which has been read once, has the same key as that one. */
bool fs_journal_has_key(const flagstore *store, uint64_t position, const struct fs_record *record);

/* LMDB has all changes before position, which the flusher says. */
void fs_journal_durable(flagstore *store, uint64_t position);

/* Nothing that is in the ring can be written: LMDB is to be compared with the whole table. */
void fs_journal_distrust(flagstore *store);

/* Looks whether the positions of the beginning and the end can be. If not, which is damage, the journal is begun anew, empty, and LMDB is to
 * be compared with the whole table. Errors as of fs_journal_lock(). */
int fs_journal_mend(flagstore *store);

/* Wakes those who wait for changes to be durable, to look again. */
void fs_flushes_move(flagstore *store);

/* With so many bytes in it, the journal is written before its oldest change is old enough, so that it does not become full. */
static inline uint64_t fs_journal_busy_bytes(const flagstore *store)
{
	return (uint64_t)store->ring_words * 2;
}

/* The age of the oldest change that LMDB does not have yet, in milliseconds; 0: there is none. For people and for deciding when to flush. */
int64_t fs_journal_age_ms(const flagstore *store);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * journal.c: the journal (journal.h says what it is for).
 *
 * A death leaves:
 * - before the intent: bytes behind the end, which nobody looks at
 * - between the intent and the end: next is not head, and the intent says where to see whether the change was made
 * - after the end: nothing
 * The slot that an intent names can't have become another flag's meanwhile: who inserts, deletes or moves flags of a shard whose writer
 * died recovers the shard first, which settles the journal (fs_journal_recover()); and a flip that has only the journal's lock is settled
 * by growth before the slot is left (fs_journal_settle()), and by everybody else who changes the slot, since that takes this lock. */
#include "journal.h"

#include <errno.h>

#include "breaker.h"
#include "error.h"
#include "event.h"
#include "futex.h"
#include "point.h"
#include "redo.h"
#include "slot.h"

/* No journal comes so far. */
#define POSITION_MAX (UINT64_C(1) << 62)

static uint64_t ring_bytes(const flagstore *store)
{
	return (uint64_t)store->ring_words * 8;
}

/* ------------------------------------------------------------------------------------------------- recovery */

/* FROZEN and LIVE are the same flag: growth, or a batch, may just have frozen it. */
static bool has_word(const flagstore *store, fs_line line, uint64_t intended)
{
	const struct fs_slot *slot = fs_at(store, line, 1);
	uint64_t word = slot ? atomic_load_explicit(&slot->word, memory_order_acquire) : 0;

	if (fs_word_state(word) == FS_FROZEN)
		word = fs_word_with_state(word, FS_LIVE);
	return slot && word == intended;
}

static bool is_committed(const flagstore *store, uint32_t leader)
{
	uint32_t room;
	const struct fs_redo *redo = leader < store->constants.shards ? fs_redo_of(store, &store->shards[leader], &room) : NULL;

	return redo && atomic_load_explicit(&redo->committed, memory_order_acquire);
}

static bool was_made(const flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	uint64_t intent = atomic_load_explicit(&journal->intent, memory_order_relaxed);
	uint32_t where = (uint32_t)intent;

	switch (intent >> FS_INTENT_KIND_SHIFT) {
	case FS_INTENT_SLOT:
		return has_word(store, where, atomic_load_explicit(&journal->intended, memory_order_relaxed));
	case FS_INTENT_BATCH:
		return is_committed(store, where);
	default:
		return false;
	}
}

/* The end is moved, or the records forgotten. */
static void finish(flagstore *store, bool made)
{
	struct fs_journal *journal = store->journal;
	uint64_t head = atomic_load_explicit(&journal->head, memory_order_relaxed);

	if (made) {
		/* release: pairs with the acquire load of whoever reads the records before it */
		FS_NOTE(&journal->head, atomic_load_explicit(&journal->next, memory_order_relaxed));
		FS_POINT("journal end moved");
	} else {
		FS_NOTE(&journal->next, head);
	}
	FS_NOTE(&journal->intent, 0);
}

/* Its last owner died. Whatever it has become since: as long as positions are out of order, nothing that is there can be believed. */
static void settle(flagstore *store)
{
	struct fs_journal *journal = store->journal;
	uint64_t head = atomic_load_explicit(&journal->head, memory_order_relaxed), next = atomic_load_explicit(&journal->next, memory_order_relaxed);

	if (next != head)
		finish(store, next > head && next - head <= ring_bytes(store) && was_made(store));
	FS_NOTE(&journal->intent, 0);
	FS_POINT("journal settled");
	pthread_mutex_consistent(&journal->mutex);
}

/* -------------------------------------------------------------------------------------------------- locking */

static int not_locked(flagstore *store, int error)
{
	uint64_t holder = atomic_load_explicit(&store->journal->holder, memory_order_relaxed);
	char who[FS_HOLDER_SIZE];

	if (error == ETIMEDOUT) {
		fs_name_holder(store, holder, who);
		return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: the journal stayed locked for more than %u ms; it is held by %s; see whether that process "
		               "is stopped or dumping core", store->path, store->lock_wait_ms, who);
	}
	if (error == ENOTRECOVERABLE || error == EINVAL)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the lock of the journal is damaged; export the flags and create the segment anew",
		               store->path);
	errno = error;
	return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s: the journal can't be locked", store->path);
}

static int lock(flagstore *store, struct fs_deadline *deadline)
{
	struct fs_journal *journal = store->journal;
	int error = pthread_mutex_trylock(&journal->mutex);

	if (__builtin_expect(error == EBUSY, 0)) {
		fs_deadline_set(store, deadline);
		error = fs_mutex_wait(&journal->mutex, &deadline->at);
	}
	if (__builtin_expect(error && error != EOWNERDEAD, 0))
		return not_locked(store, error);
	atomic_store_explicit(&journal->holder, fs_own_mark(store), memory_order_relaxed);
	if (__builtin_expect(error == EOWNERDEAD, 0))
		settle(store);
	return FLAGSTORE_OK;
}

/* Nobody can write the records: they are given up, and LMDB is compared with the whole table when it can be written again. */
static void give_up(flagstore *store)
{
	struct fs_journal *journal = store->journal;

	/* Before the tail: who finds his records overwritten finds this too. */
	fs_journal_distrust(store);
	FS_NOTE(&journal->tail, atomic_load_explicit(&journal->head, memory_order_relaxed));
	fs_count(&journal->given_up, 1);
}

static bool has_room(const flagstore *store, size_t bytes)
{
	const struct fs_journal *journal = store->journal;
	/* relaxed: the tail only follows; what it frees was read before it was moved (release), and a store of ours that came too early would
	 * be seen by the reader, who looks at the tail again */
	uint64_t used = atomic_load_explicit(&journal->head, memory_order_relaxed) - atomic_load_explicit(&journal->tail, memory_order_acquire);

	return used <= ring_bytes(store) && bytes <= ring_bytes(store) - used;
}

int fs_journal_lock(flagstore *store, size_t bytes, struct fs_deadline *deadline)
{
	int error;

	if (!store->journal)
		return FLAGSTORE_OK;
	if (__builtin_expect(fs_breaker_state(store) != FLAGSTORE_BREAKER_CLOSED, 0) && store->persistence.on_failure == FLAGSTORE_REFUSE)
		return fs_breaker_refused(store);
	error = lock(store, deadline);
	if (error || __builtin_expect(has_room(store, bytes), 1))
		return error;
	/* Half-open, somebody is just writing, perhaps the whole table: giving up would make him begin anew. */
	if (fs_breaker_state(store) == FLAGSTORE_BREAKER_OPEN && bytes <= ring_bytes(store)) {
		give_up(store);
		return FLAGSTORE_OK;
	}
	pthread_mutex_unlock(&store->journal->mutex);
	return FS_JOURNAL_FULL;
}

/* The flusher sleeps while there is nothing to write: so the first record behind the tail wakes it. And while nothing is old enough: so does
 * the one that makes the journal busy. The tail is looked at after the end was moved, with the unlock, a full barrier, in between: whoever
 * moved it there before will see the new end. */
static void wake_flusher(flagstore *store, uint64_t begin)
{
	struct fs_journal *journal = store->journal;
	uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed), busy = tail + fs_journal_busy_bytes(store);

	if (tail != begin && (begin >= busy || atomic_load_explicit(&journal->head, memory_order_relaxed) < busy))
		return;
	/* seq_cst on both sides: as in fs_wake() */
	atomic_fetch_add_explicit(&journal->wake, 1, memory_order_seq_cst);
	fs_futex_wake(&journal->wake);
}

void fs_journal_unlock(flagstore *store, bool made)
{
	struct fs_journal *journal = store->journal;
	uint64_t begin;

	if (!journal)
		return;
	begin = atomic_load_explicit(&journal->head, memory_order_relaxed);
	finish(store, made);
	pthread_mutex_unlock(&journal->mutex);
	FS_POINT("journal unlocked");
	/* With sync the writer is about to write it himself. */
	if (made && store->persistence.durability == FLAGSTORE_ASYNC)
		wake_flusher(store, begin);
}

int fs_journal_settle(flagstore *store)
{
	struct fs_deadline deadline = {.set = false};
	int error;

	if (!store->journal)
		return FLAGSTORE_OK;
	error = lock(store, &deadline);
	if (!error)
		pthread_mutex_unlock(&store->journal->mutex);
	return error;
}

static bool is_orphaned(const struct fs_journal *journal)
{
	/* As fs_lock_orphaned(). */
	return __atomic_load_n((const uint32_t *)(const void *)&journal->mutex, __ATOMIC_RELAXED) & FUTEX_OWNER_DIED;
}

void fs_journal_recover(flagstore *store)
{
	/* The dead thread may have had both locks: then nobody else has this one. If somebody has it, he has settled it. */
	if (store->journal && is_orphaned(store->journal))
		(void)fs_journal_settle(store);
}

uint64_t fs_journal_end(flagstore *store)
{
	fs_journal_recover(store);
	/* acquire: pairs with finish(); the records before it are seen */
	return atomic_load_explicit(&store->journal->head, memory_order_acquire);
}

/* ------------------------------------------------------------------------------------------------- writing */

/* A record's first word is its sum: its position, so that an old record is not taken for one of now, and each word behind it times an odd
 * factor, so that no change of one word leaves the sum what it was. */
#define SUM_FACTOR FS_PRIME_1

static_assert(SUM_FACTOR % 2 == 1, "odd factors");

/* Where a record is written, word by word. */
struct pen {
	_Atomic uint64_t *ring, *at, *end;
	uint64_t sum, factor;
};

static inline struct pen pen_at(flagstore *store, uint64_t position)
{
	_Atomic uint64_t *ring = (_Atomic uint64_t *)(void *)((char *)store->journal + sizeof(struct fs_journal));

	return (struct pen){ring, ring + position / 8 % store->ring_words, ring + store->ring_words, position, SUM_FACTOR};
}

static inline void skip(struct pen *pen)
{
	if (++pen->at == pen->end)
		pen->at = pen->ring;
}

static inline void put(struct pen *pen, uint64_t word)
{
	/* relaxed: seen by the release store of head */
	atomic_store_explicit(pen->at, word, memory_order_relaxed);
	pen->sum += word * pen->factor;
	pen->factor += 2;
	skip(pen);
}

/* Words that a record takes for a key: its length, and its bytes. */
static inline uint32_t key_words(size_t length)
{
	return (uint32_t)((1 + length + 7) / 8);
}

/* A short key stands in the record as it stands in the slot. */
static inline void put_short_key(struct pen *pen, const struct fs_slot *slot, size_t length)
{
	for (uint32_t i = 0; i < key_words(length); i++)
		put(pen, atomic_load_explicit(&slot->key[i], memory_order_relaxed));
}

/* False when it can't be read. */
static __attribute__((noinline)) bool put_long_key(struct pen *pen, const flagstore *store, const struct fs_slot *slot, size_t length)
{
	uint64_t words[FS_RECORD_WORDS_MAX - FS_RECORD_WORDS];

	words[key_words(length) - 1] = 0;
	*(unsigned char *)words = (unsigned char)length;
	if (fs_slot_copy_key(store, slot, (char *)words + 1) != length)
		return false;
	for (uint32_t i = 0; i < key_words(length); i++)
		put(pen, words[i]);
	return true;
}

bool fs_journal_write(flagstore *store, const struct fs_slot *slot, uint64_t after, int64_t now_ms, bool more)
{
	struct fs_journal *journal = store->journal;
	uint64_t position = atomic_load_explicit(&journal->next, memory_order_relaxed);
	size_t length = fs_slot_key_length(slot);
	uint32_t count = FS_RECORD_WORDS + key_words(length);
	struct pen pen = pen_at(store, position);
	_Atomic uint64_t *sum = pen.at;

	skip(&pen);
	put(&pen, count | (fs_word_holds(after) ? 0 : FS_RECORD_DELETE) | (more ? FS_RECORD_MORE : 0));
	put(&pen, after);
	put(&pen, (uint64_t)now_ms);
	if (length - 1 < FS_KEY_INLINE)
		put_short_key(&pen, slot, length);
	else if (!length || !put_long_key(&pen, store, slot, length))
		return false;
	atomic_store_explicit(sum, pen.sum, memory_order_relaxed);
	/* Before the change, and so before anybody can see it: who sees it and waits for this position waits for this change. A death
	 * before the intent leaves a next without one, which is forgotten. */
	FS_NOTE(&journal->next, position + 8 * (uint64_t)count);
	return true;
}

void fs_journal_intend_batch(flagstore *store, uint32_t leader)
{
	FS_NOTE(&store->journal->intent, (uint64_t)FS_INTENT_BATCH << FS_INTENT_KIND_SHIFT | leader);
	FS_POINT("journal intends");
}

bool fs_journal_intend(flagstore *store, const struct fs_slot *slot, uint64_t after, int64_t now_ms)
{
	if (!fs_journal_write(store, slot, after, now_ms, false))
		return false;
	atomic_store_explicit(&store->journal->intended, after, memory_order_relaxed);
	FS_NOTE(&store->journal->intent, (uint64_t)FS_INTENT_SLOT << FS_INTENT_KIND_SHIFT | fs_line_of(store, slot));
	FS_POINT("journal intends");
	return true;
}

/* ------------------------------------------------------------------------------------------------- reading */

/* Where a record is read, word by word. */
struct eye {
	const _Atomic uint64_t *ring, *at, *end;
	uint64_t sum, factor;
};

static struct eye eye_at(const flagstore *store, const struct fs_journal *journal, uint64_t position)
{
	const _Atomic uint64_t *ring = (const _Atomic uint64_t *)(const void *)((const char *)journal + sizeof *journal);

	return (struct eye){ring, ring + position / 8 % store->ring_words, ring + store->ring_words, 0, SUM_FACTOR};
}

static inline uint64_t take_sum(struct eye *eye)
{
	uint64_t word = atomic_load_explicit(eye->at, memory_order_relaxed);

	if (++eye->at == eye->end)
		eye->at = eye->ring;
	return word;
}

static inline uint64_t take(struct eye *eye)
{
	uint64_t word = take_sum(eye);

	eye->sum += word * eye->factor;
	eye->factor += 2;
	return word;
}

bool fs_journal_read(const flagstore *store, uint64_t position, uint64_t end, struct fs_record *record)
{
	const struct fs_journal *journal = fs_journal(store);
	uint64_t sum, about;
	struct eye eye;
	uint32_t count;

	if (!journal || position % 8 || end < position + 8 * (FS_RECORD_WORDS + 1))
		return false;
	eye = eye_at(store, journal, position);
	sum = take_sum(&eye);
	about = take(&eye);
	count = (uint32_t)(about & 0xff);
	if (count <= FS_RECORD_WORDS || count > FS_RECORD_WORDS_MAX || end < position + 8 * (uint64_t)count)
		return false;
	record->position = position;
	record->end = position + 8 * (uint64_t)count;
	record->deleted = about & FS_RECORD_DELETE;
	record->more = about & FS_RECORD_MORE;
	record->word = take(&eye);
	record->time_ms = (int64_t)take(&eye);
	for (uint32_t i = FS_RECORD_WORDS; i < count; i++)
		record->words[i - FS_RECORD_WORDS] = take(&eye);
	if (sum != position + eye.sum)
		return false;
	/* The records from the tail on were not overwritten: pairs with the store of the tail, which comes before it is written over. */
	fs_acquire_fence();
	if (atomic_load_explicit(&journal->tail, memory_order_relaxed) > position)
		return false;
	return fs_record_bytes(record->length) == 8 * (size_t)count && fs_key_valid(record->key, record->length);
}

bool fs_journal_has_key(const flagstore *store, uint64_t position, const struct fs_record *record)
{
	const struct fs_journal *journal = fs_journal(store);
	struct eye eye;

	if (!journal)
		return false;
	eye = eye_at(store, journal, position + 8 * FS_RECORD_WORDS);
	/* The length is part of the first word, and what follows the key in the last one is 0, if nothing is damaged. */
	for (uint32_t i = 0; i < fs_record_bytes(record->length) / 8 - FS_RECORD_WORDS; i++)
		if (take(&eye) != record->words[i])
			return false;
	return true;
}

/* ---------------------------------------------------------------------------------------------- the flusher's */

void fs_flushes_move(flagstore *store)
{
	atomic_fetch_add_explicit(&store->journal->flushes, 1, memory_order_seq_cst);
	/* seq_cst: either we see the waiter, or he sees the number */
	if (atomic_load_explicit(&store->journal->waiters, memory_order_seq_cst))
		fs_futex_wake(&store->journal->flushes);
}

void fs_journal_durable(flagstore *store, uint64_t position)
{
	struct fs_journal *journal = store->journal;
	uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);

	/* release: pairs with the acquire load of who waits; a death before it leaves records that are written once more. */
	atomic_store_explicit(&journal->durable, position, memory_order_release);
	/* Records may have been given up meanwhile: the tail never goes back. release: they have been read */
	while (tail < position &&
	       !atomic_compare_exchange_weak_explicit(&journal->tail, &tail, position, memory_order_release, memory_order_relaxed))
		;
	fs_flushes_move(store);
}

void fs_journal_distrust(flagstore *store)
{
	/* A number that grows: who has just reconciled takes back no later wish. release: before what follows in the program */
	if (atomic_fetch_add_explicit(&store->journal->reconcile, 1, memory_order_acq_rel) == UINT32_MAX)
		atomic_fetch_add_explicit(&store->journal->reconcile, 1, memory_order_acq_rel);
}

/* Also without the lock: then it may be a false alarm. The beginning is read before the end, and none of them goes back. */
static bool is_in_order(const flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
	uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&journal->head, memory_order_acquire);

	/* What LMDB does not have and the journal neither, was given up. */
	return head % 8 == 0 && head < POSITION_MAX && tail <= head && head - tail <= ring_bytes(store) && durable <= head &&
	       (durable >= tail || atomic_load_explicit(&journal->reconcile, memory_order_acquire));
}

int fs_journal_mend(flagstore *store)
{
	struct fs_journal *journal = store->journal;
	struct fs_deadline deadline = {.set = false};
	uint64_t head;
	int error;

	if (__builtin_expect(is_in_order(store), 1))
		return FLAGSTORE_OK;
	error = lock(store, &deadline);
	if (error)
		return error;
	if (!is_in_order(store)) {
		fs_journal_distrust(store);
		head = atomic_load_explicit(&journal->head, memory_order_relaxed);
		head = head < POSITION_MAX ? (head + 7) / 8 * 8 : ring_bytes(store);
		FS_NOTE(&journal->tail, head);
		FS_NOTE(&journal->durable, 0);
		FS_NOTE(&journal->next, head);
		FS_NOTE(&journal->head, head);
		fs_count(&journal->given_up, 1);
	}
	pthread_mutex_unlock(&journal->mutex);
	return FLAGSTORE_OK;
}

int64_t fs_journal_age_ms(const flagstore *store)
{
	const struct fs_journal *journal = fs_journal(store);
	uint64_t tail = journal ? atomic_load_explicit(&journal->tail, memory_order_acquire) : 0;
	struct fs_record record;
	int64_t age;

	if (!journal || atomic_load_explicit(&journal->head, memory_order_acquire) == tail || !fs_journal_read(store, tail, UINT64_MAX, &record))
		return 0;
	age = (int64_t)((uint64_t)fs_now_ms() - (uint64_t)record.time_ms);
	return age > 0 ? age : 1;
}

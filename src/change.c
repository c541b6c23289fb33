/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * change.c: the primitive changes of one slot. Each becomes visible by one store of the slot word. */
#include "change.h"

#include "error.h"
#include "event.h"
#include "futex.h"
#include "journal.h"
#include "point.h"
#include "section.h"
#include "undertaking.h"

/* In a laboratory: what a program does that knows of no other writer. */
static bool flip_unlocked(flagstore *store, uint32_t shard, const struct fs_found *found, uint64_t next)
{
	struct fs_slot *slot = fs_writable(store, found->slot);
	struct fs_deadline deadline = {.set = false};
	bool ours = fs_thread.sections == 0, same;

	if (ours && fs_enter(store, shard, &deadline) != FLAGSTORE_OK)
		return false;
	/* The guard was told to enforce in this very moment: the next try locks. */
	if (!fs_thread.unlocked) {
		fs_leave(store, shard);
		return false;
	}
	same = atomic_load_explicit(&slot->word, memory_order_relaxed) == found->word;
	if (same) {
		int64_t now_ms = fs_now_ms();

		atomic_store_explicit(&slot->word, next, memory_order_seq_cst);
		fs_slot_stamp(store, slot, next, now_ms);
		fs_event_change(store, found->slot, fs_change_what(FLAGSTORE_FLIP, shard, false), found->word, next, now_ms);
	}
	if (ours)
		fs_leave(store, shard);
	return same;
}

bool fs_flip(flagstore *store, uint64_t hash, const struct fs_found *found, bool value)
{
	struct fs_slot *slot = fs_writable(store, found->slot);
	uint64_t word = found->word, next = fs_word_next(word, value);
	int64_t now_ms;

	if (fs_goes_unlocked(store) && fs_word_state(word) == FS_LIVE && !(fs_thread.sections && !fs_thread.unlocked))
		return flip_unlocked(store, fs_hash_shard(hash, store->shard_mask), found, next);
	if (fs_word_state(word) != FS_LIVE)
		return false;
	now_ms = fs_now_ms();
	if (store->journal && !fs_journal_intend_flip(store, found, next, now_ms))
		return false;
	/* The whole word is compared, incarnation and state included: nothing but the flag that was found, unfrozen, is changed.
	 * seq_cst: the release part pairs with the readers' acquire loads, the total order with that of wanted in fs_wake(). */
	if (!atomic_compare_exchange_strong_explicit(&slot->word, &word, next, memory_order_seq_cst, memory_order_relaxed))
		return false;
	FS_POINT("flipped");
	fs_slot_stamp(store, slot, next, now_ms);
	fs_event_change(store, found->slot, fs_change_what(FLAGSTORE_FLIP, fs_hash_shard(hash, store->shard_mask), false), found->word, next, now_ms);
	return true;
}

void fs_wake_waiting(flagstore *store, struct fs_shard *shard)
{
	/* The wish is taken away with the first wake, so that the wish of a dead process costs one system call and no more. */
	uint32_t wanted = atomic_exchange_explicit(&shard->wanted, 0, memory_order_seq_cst);

	/* The shard's number moves whoever wished, before any call: by it a watch knows where to look. */
	atomic_fetch_add_explicit(&shard->changed, 1, memory_order_release);
	if (wanted & FS_WANTED_SHARD)
		fs_futex_wake(&shard->changed);
	if (wanted & FS_WANTED_ANY) {
		atomic_fetch_add_explicit(&fs_header_writable(store)->changed, 1, memory_order_release);
		fs_futex_wake(&fs_header_writable(store)->changed);
	}
}

/* Of a change in a write section. A shard notes its batch for as long as that changes anything. */
static uint64_t what_of(const flagstore *store, const struct fs_shard *shard, enum flagstore_operation operation)
{
	return fs_change_what(operation, fs_shard_index(store, shard), atomic_load_explicit(&shard->batch, memory_order_relaxed) != 0);
}

/* The length last: with it, and not before, a dead slot is taken to own the cell that it names. */
static void store_key_words(struct fs_slot *slot, const uint64_t words[FS_KEY_WORDS])
{
	for (int i = FS_KEY_WORDS - 1; i > 0; i--)
		atomic_store_explicit(&slot->key[i], words[i], memory_order_relaxed);
	FS_NOTE(&slot->key[0], words[0]);
}

static int store_long_key(flagstore *store, struct fs_shard *shard, struct fs_slot *slot, const struct fs_key *key)
{
	uint32_t lines = fs_cell_lines(key->length);
	uint64_t words[FS_KEY_WORDS] = {0};
	const char *place;
	char *cell;
	fs_block block;
	int error;

	fs_undertake(shard, FS_KEYING, 0, (fs_line)(((char *)slot - store->write_map) / FS_LINE));
	error = fs_block_take(store, shard, FS_KIND_CELL + lines - 1, 0, &block);
	place = error ? NULL : fs_at(store, fs_block_line(block), lines);
	if (!place) {
		fs_undertaking_resolve(store, shard);
		return error ? error : fs_fail(FLAGSTORE_ECORRUPT, "segment %s: a free key cell does not exist", store->path);
	}
	cell = fs_writable(store, place);
	/* As with a slot's key: who sees these bytes sees that the slots that named this cell before hold it no more. */
	fs_release_fence();
	for (size_t i = 0; i < key->length; i++)
		__atomic_store_n(&cell[i], key->bytes[i], __ATOMIC_RELAXED);
	*(unsigned char *)words = (unsigned char)key->length;
	words[FS_KEY_CELL] = fs_block_line(block);
	store_key_words(slot, words);
	FS_POINT("long key stored");
	fs_undertaken(shard);
	return FLAGSTORE_OK;
}

/* A short key as it stands in a slot. */
static void lay_out_key(const struct fs_key *key, uint64_t words[FS_KEY_WORDS])
{
	memset(words, 0, FS_KEY_WORDS * sizeof *words);
	if (key->length > FS_KEY_INLINE)
		return;
	*(unsigned char *)words = (unsigned char)key->length;
	memcpy((char *)words + 1, key->bytes, key->length);
}

static int store_key(flagstore *store, struct fs_shard *shard, struct fs_slot *slot, const struct fs_key *key,
                     const uint64_t words[FS_KEY_WORDS])
{
	if (key->length > FS_KEY_INLINE)
		return store_long_key(store, shard, slot, key);
	store_key_words(slot, words);
	return FLAGSTORE_OK;
}

int fs_plant(flagstore *store, struct fs_shard *shard, const struct fs_key *key, const struct fs_spot *spot, struct fs_planted *planted)
{
	uint64_t birth = atomic_load_explicit(&shard->births, memory_order_relaxed) + 1, words[FS_KEY_WORDS];
	struct fs_slot *slot;
	int error;

	/* In a damaged bucket, whose tags and their count do not agree. */
	if (spot->place >= spot->view.count)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: there is no slot for the key; check the segment", store->path);
	/* Before the slot is touched: a processor that has these bytes still on their way reads them as words only after all stores before, of
	 * which the one to the slot waits for memory. */
	lay_out_key(key, words);
	*planted = (struct fs_planted){spot->view.bucket, &spot->view.slots[spot->place], fs_word_planted(birth)};
	slot = fs_writable(store, planted->slot);

	/* The number is used up before it is used, so that no two lives share it. */
	FS_NOTE(&shard->births, birth);
	/* The bytes of an EMPTY slot may be left from before its bucket was recycled: the cell that they name is somebody else's. */
	if (fs_word_state(atomic_load_explicit(&slot->word, memory_order_relaxed)) == FS_EMPTY)
		FS_NOTE(&slot->key[0], 0);
	/* The word says DEAD before the bytes change; the fence pairs with the one of readers that still look at the old key. */
	FS_NOTE(&slot->word, planted->word);
	FS_POINT("slot claimed");
	error = store_key(store, shard, slot, key, words);
	if (error)
		return error;
	atomic_store_explicit(&slot->identity, fs_identity(key->hash, planted->word), memory_order_relaxed);
	atomic_store_explicit(&slot->stamp, 0, memory_order_relaxed);
	FS_POINT("slot filled");
	/* The tag before the word: a LIVE slot always has its tag. */
	fs_tag_store(fs_writable(store, planted->bucket), spot->place, fs_hash_tag(key->hash));
	FS_POINT("tag stored");
	return FLAGSTORE_OK;
}

static void add(_Atomic uint32_t *count, uint32_t difference)
{
	/* Written under the lock alone, read by anybody. */
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + difference, memory_order_relaxed);
}

void fs_quicken(flagstore *store, struct fs_shard *shard, const struct fs_planted *planted, uint64_t word)
{
	struct fs_bucket *bucket = fs_writable(store, planted->bucket);
	struct fs_slot *slot = fs_writable(store, planted->slot);
	int64_t now_ms = fs_now_ms();

	/* The stamp first, while nobody can flip the flag: its own version marks it. */
	fs_slot_stamp(store, slot, word, now_ms);
	/* seq_cst as in fs_flip(); release: who sees the word sees the key. */
	atomic_store_explicit(&slot->word, word, memory_order_seq_cst);
	FS_POINT("flag born");
	fs_event_change(store, planted->slot, what_of(store, shard, FLAGSTORE_INSERT), planted->word, word, now_ms);
	add(&bucket->live, 1);
	add(&shard->live, 1);
}

void fs_kill(flagstore *store, struct fs_shard *shard, const struct fs_found *found)
{
	struct fs_slot *slot = fs_writable(store, found->slot);
	uint64_t word = found->word, dead;

	/* Flips need no lock, so the word may still move. seq_cst as in fs_flip(). */
	do
		dead = fs_word_dead(word);
	while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, dead, memory_order_seq_cst, memory_order_relaxed));
	FS_POINT("flag dead");
	fs_event_change(store, found->slot, what_of(store, shard, FLAGSTORE_DELETE), word, dead, fs_now_ms());
	fs_bury(store, shard, found->slot);
}

/* The bucket that the slot lies in, which is the one in charge of its key. */
static bool bucket_with(const flagstore *store, struct fs_shard *shard, const struct fs_slot *slot, struct fs_bucket_view *view)
{
	const _Atomic uint64_t *entry = fs_entry_of(store, shard, atomic_load_explicit(&slot->identity, memory_order_relaxed));

	return entry && fs_bucket_view(store, atomic_load_explicit(entry, memory_order_relaxed), view) && slot >= view->slots &&
	       slot < view->slots + view->count;
}

void fs_bury(flagstore *store, struct fs_shard *shard, const struct fs_slot *slot)
{
	struct fs_bucket_view view;
	struct fs_bucket *bucket;
	uint32_t place;

	/* The word is DEAD before the cell is used again: pairs with the fence of readers that still look at the key. */
	fs_release_fence();
	fs_cell_release(store, shard, fs_writable(store, slot));
	if (bucket_with(store, shard, slot, &view)) {
		uint64_t tags;

		bucket = fs_writable(store, view.bucket);
		place = (uint32_t)(slot - view.slots);
		tags = atomic_load_explicit(&bucket->tags[place / FS_GROUP], memory_order_relaxed);
		/* A group that still has an EMPTY tag was never full, so no search ever went past it. */
		fs_tag_store(bucket, place, fs_tags_any_empty(tags) ? FS_TAG_EMPTY : FS_TAG_TOMBSTONE);
		FS_POINT("tag cleared");
		add(&bucket->live, UINT32_MAX);
	}
	add(&shard->live, UINT32_MAX);
}

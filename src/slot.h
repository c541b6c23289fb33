/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * slot.h: the slot word's parts, and a slot's key under the slot word's protection.
 *
 * The slot word is the sequence lock of the slot's other bytes: they change only while the word is EMPTY or DEAD, or, in a
 * bucket that is being filled again, after it was made EMPTY. A reader loads the word (acquire), reads the bytes, and loads the word
 * again behind an acquire fence: if the incarnation is the same and the state LIVE or FROZEN, the bytes belong to it. The fence pairs
 * with the release fence that a writer puts between making the word EMPTY or DEAD and changing the bytes (Boehm, MSPC 2012,
 * doi 10.1145/2247684.2247688). */
#ifndef FS_SLOT_H
#define FS_SLOT_H

#include "fence.h"
#include "key.h"
#include "segment.h"

static inline enum fs_state fs_word_state(uint64_t word)
{
	return (enum fs_state)(word & FS_STATE_MASK);
}

static inline bool fs_word_value(uint64_t word)
{
	return (word & FS_VALUE) != 0;
}

/* LIVE or FROZEN: the slot holds a flag. */
static inline bool fs_word_holds(uint64_t word)
{
	return (word & FS_HOLDS) != 0;
}

/* No writer leaves such a word: EMPTY, and not 0, or DEAD without a life before (which it has once both of its counts have come round). */
static inline bool fs_word_senseless(uint64_t word)
{
	return fs_word_state(word) == FS_EMPTY ? word != 0 : word == FS_DEAD;
}

static inline uint64_t fs_word_with_state(uint64_t word, enum fs_state state)
{
	return (word & ~FS_STATE_MASK) | state;
}

/* The word after the next change of the flag. */
static inline uint64_t fs_word_next(uint64_t word, bool value)
{
	uint64_t version = (word + (UINT64_C(1) << FS_VERSION_SHIFT)) & FS_VERSION_MASK;

	return (word & ~(FS_VERSION_MASK | FS_VALUE)) | version | (value ? FS_VALUE : 0);
}

/* The word of a planted slot: a new life, not begun. */
static inline uint64_t fs_word_planted(uint64_t incarnation)
{
	return (incarnation << FS_INCARNATION_SHIFT & FS_INCARNATION_MASK) | UINT64_C(1) << FS_VERSION_SHIFT | FS_DEAD;
}

/* The word with which a planted slot's life begins: change 1. */
static inline uint64_t fs_word_alive(uint64_t planted, bool value)
{
	return fs_word_with_state(planted, FS_LIVE) | (value ? FS_VALUE : 0);
}

/* The word with which a life ends. */
static inline uint64_t fs_word_dead(uint64_t word)
{
	return fs_word_with_state(fs_word_next(word, false), FS_DEAD);
}

static inline uint32_t fs_word_changes(uint64_t word)
{
	return (uint32_t)((word & FS_VERSION_MASK) >> FS_VERSION_SHIFT);
}

/* What the public API calls version: incarnation and version, so that it differs after delete and insert too. */
static inline uint64_t fs_word_version(uint64_t word)
{
	return (word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT << FS_VERSION_BITS | fs_word_changes(word);
}

/* Freezes the slot: from here on its word changes under the lock, which the caller holds, alone. Returns the word, whose state is FROZEN
 * if the slot holds a flag. */
static inline uint64_t fs_slot_freeze(struct fs_slot *slot)
{
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);

	/* acquire and release: the flips so far come before it, and what is done with the word comes after */
	while (fs_word_state(word) == FS_LIVE) {
		uint64_t frozen = fs_word_with_state(word, FS_FROZEN);

		if (atomic_compare_exchange_weak_explicit(&slot->word, &word, frozen, memory_order_acq_rel, memory_order_relaxed))
			word = frozen;
	}
	return word;
}

static inline uint32_t fs_cell_lines(size_t length)
{
	return (uint32_t)((length + FS_LINE - 1) / FS_LINE);
}

/* Where the slot's key of that length stands; NULL when the slot names no place that exists. The bytes may be changing. */
static inline const char *fs_slot_key(const flagstore *store, const struct fs_slot *slot, size_t length)
{
	if (length <= FS_KEY_INLINE)
		return (const char *)slot->key + 1;
	return fs_at(store, (fs_line)atomic_load_explicit(&slot->key[FS_KEY_CELL], memory_order_relaxed), fs_cell_lines(length));
}

static inline size_t fs_slot_key_length(const struct fs_slot *slot)
{
	return __atomic_load_n((const unsigned char *)slot->key, __ATOMIC_RELAXED);
}

static inline uint64_t fs_differ_at(const char *one, const char *other, size_t place)
{
	return fs_load_8(one + place) ^ fs_load_8(other + place);
}

/* Compare bytes that may be changing; the result counts only if the slot word says so afterwards. Plain loads are measurably the fastest
 * way; a build for ThreadSanitizer uses atomic loads, as the language demands. */
static inline bool fs_bytes_equal(const char *shared, const char *bytes, size_t length)
{
#ifdef FS_THREAD_SANITIZER
	for (size_t i = 0; i < length; i++)
		if (__atomic_load_n(&shared[i], __ATOMIC_RELAXED) != bytes[i])
			return false;
	return true;
#else
	return memcmp(shared, bytes, length) == 0;
#endif
}

/* For a usual key: the same loads whatever its length (key.h). */
static inline bool fs_bytes_equal_usual(const char *shared, const char *bytes, size_t length)
{
#ifdef FS_THREAD_SANITIZER
	return fs_bytes_equal(shared, bytes, length);
#else
	/* Another pointer, for all that a compiler knows: else it keeps those that the hash has used, five where one and lengths are enough. */
	__asm__("" : "+r"(bytes));
	return (fs_differ_at(shared, bytes, 0) | fs_differ_at(shared, bytes, length - 8) |
	        fs_differ_at(shared, bytes, fs_span_second(length)) | fs_differ_at(shared, bytes, fs_span_last_but_one(length)) |
	        fs_differ_at(shared, bytes, fs_span_middle(length))) == 0;
#endif
}

/* Whether the slot has that usual key, if its word says afterwards that it has one. The hash need not be looked at: the bytes decide. */
static inline bool fs_slot_has_usual_key(const struct fs_slot *slot, const char *bytes, size_t length)
{
	return fs_slot_key_length(slot) == length && fs_bytes_equal_usual((const char *)slot->key + 1, bytes, length);
}

/* False when the slot can't have the key, by hash and length. */
static inline bool fs_slot_may_have_key(const struct fs_slot *slot, const struct fs_key *key)
{
	return (uint32_t)atomic_load_explicit(&slot->identity, memory_order_relaxed) == (uint32_t)key->hash &&
	       fs_slot_key_length(slot) == key->length;
}

/* Copies the slot's key into bytes[FLAGSTORE_KEY_MAX]; returns its length, 0 when there is no valid one. The copy counts only if the
 * slot word says so afterwards. */
size_t fs_slot_copy_key(const flagstore *store, const struct fs_slot *slot, char *bytes);

/* The tag that the slot's key should have; computed from the key, for when the tag itself can't be believed. */
uint8_t fs_slot_tag(const flagstore *store, const struct fs_slot *slot);

/* The flag of a slot whose word was seen: what the public API tells of it. Async-signal-safe. */
void fs_slot_describe(const flagstore *store, const struct fs_slot *slot, uint64_t word, struct flagstore_flag *flag);

/* Notes who changed the flag, and when, in milliseconds since 1970, after its word was stored. */
static inline void fs_slot_stamp(const flagstore *store, struct fs_slot *slot, uint64_t word, int64_t now_ms)
{
	int64_t since = now_ms - store->created_ms;
	uint64_t mark = fs_word_changes(word) & ((1u << FS_STAMP_VERSION_BITS) - 1);

	/* A clock that was set back must not reach into other fields. */
	atomic_store_explicit(&slot->stamp,
	                      (uint64_t)(since < 0 ? 0 : since) << FS_STAMP_TIME_SHIFT | (uint64_t)fs_own_worker(store) << FS_STAMP_VERSION_BITS | mark,
	                      memory_order_relaxed);
}

#endif

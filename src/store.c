/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * store.c: the point operations of the public API.
 *
 * A read is fs_find(). Every write is the same engine, write_key(), with another rule: find the flag without a lock; ask the rule what
 * it means for a flag in that state; nothing to do, or one compare-and-swap, and the write is over. Only what changes the table's
 * structure (insert, delete), or meets a FROZEN slot, whatever it wants of it, goes on under the shard's lock. write_usual() and
 * insert_missing() are the short ways through it that most writes take. */
#include "store.h"

#include <string.h>

#include "change.h"
#include "error.h"
#include "find.h"
#include "grow.h"
#include "journal.h"
#include "persist.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* --------------------------------------------------------------------------------------------------- reads */

static __attribute__((noinline)) bool get_further(const flagstore *store, const char *key, size_t length, uint64_t hash)
{
	return fs_word_value(fs_find_further(store, key, length, hash).word);
}

/* A key that is not fs_key_usual(), and its hash; 0: it can't be a key. One that is not valid is in no slot, so there is no need to look for
 * NUL bytes in it. */
static __attribute__((noinline)) struct fs_found find_unusual(const flagstore *store, const char *key, size_t length, uint64_t *hash)
{
	*hash = 0;
	if (length - 1 >= FLAGSTORE_KEY_MAX)
		return (struct fs_found){NULL, 0};
	*hash = fs_hash(store->seed, key, length);
	return fs_find_further(store, key, length, *hash);
}

static __attribute__((noinline)) bool get_unusual(const flagstore *store, const char *key, size_t length)
{
	uint64_t hash;

	return fs_word_value(find_unusual(store, key, length, &hash).word);
}

static inline __attribute__((always_inline)) bool get(const flagstore *store, const char *key, size_t length)
{
	struct fs_found found;
	struct fs_way way;
	uint64_t hash;

	if (__builtin_expect(!fs_key_usual(length), 0))
		return get_unusual(store, key, length);
	hash = fs_hash_usual(&store->salt, key, length);
	if (__builtin_expect(fs_find_usual(store, (struct fs_key){key, length, hash}, &way, &found) == FS_UNUSUAL, 0))
		return get_further(store, key, length, hash);
	return fs_word_value(found.word);
}

bool flagstore_get_n(const flagstore *store, const char *key, size_t length)
{
	return get(store, key, length);
}

bool flagstore_get(const flagstore *store, const char *key)
{
	return get(store, key, strlen(key));
}

int flagstore_lookup_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag)
{
	struct fs_key sought;
	struct fs_found found;

	if (!fs_key_make(store, key, length, &sought))
		return FLAGSTORE_EKEY;
	if (fs_find(store, &sought, &found) != FS_FOUND) {
		memset(flag, 0, sizeof *flag);
		return fs_lost(store) ? FLAGSTORE_ETRUNCATED : FLAGSTORE_ENOTFOUND;
	}
	fs_slot_describe(store, found.slot, found.word, flag);
	return FLAGSTORE_OK;
}

int flagstore_lookup(const flagstore *store, const char *key, struct flagstore_flag *flag)
{
	return flagstore_lookup_n(store, key, strlen(key), flag);
}

/* -------------------------------------------------------------------------------------------------- writes */

/* A flip fails only when another one came in between; so among writers each gets his turn long before this. */
#define FLIPS_MAX 1000000

static int refused(const flagstore *store, const struct fs_key *key, int error)
{
	char text[FS_PRINTABLE_SIZE];

	fs_printable(key->bytes, key->length, text);
	if (error == FLAGSTORE_ENOTFOUND)
		return fs_fail(error, "segment %s has no flag \"%s\"", store->path, text);
	return fs_fail(error, "segment %s: flag \"%s\" is not as expected", store->path, text);
}

static int damaged(const flagstore *store, const struct fs_key *key)
{
	char text[FS_PRINTABLE_SIZE];

	return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the table leads nowhere for flag \"%s\"; check the segment", store->path,
	               fs_printable(key->bytes, key->length, text));
}

static int restless(const flagstore *store, const struct fs_key *key)
{
	char text[FS_PRINTABLE_SIZE];

	return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: flag \"%s\" is being overwritten all the time by somebody who does not keep the rules",
	               store->path, fs_printable(key->bytes, key->length, text));
}

/* With the journal's lock, if there is one. */
static int plant(flagstore *store, struct fs_shard *shard, const struct fs_key *key, const struct fs_spot *spot, bool value)
{
	struct fs_planted planted;
	int error = fs_plant(store, shard, key, spot, &planted);
	uint64_t word;

	if (error)
		return error;
	word = fs_word_alive(planted.word, value);
	if (store->journal && !fs_journal_intend(store, planted.slot, word, fs_now_ms()))
		fs_journal_distrust(store);
	fs_quicken(store, shard, &planted, word);
	return FLAGSTORE_OK;
}

static int insert(flagstore *store, struct fs_shard *shard, const struct fs_key *key, struct fs_spot *spot, bool value,
                  struct fs_deadline *deadline)
{
	int error = fs_make_room(store, shard, key->hash, spot);

	if (!error)
		error = fs_journal_lock(store, fs_record_bytes(key->length), deadline);
	if (error)
		return error;
	error = plant(store, shard, key, spot, value);
	fs_journal_unlock(store, !error);
	return error;
}

static int flip(flagstore *store, const struct fs_key *key, const struct fs_found *found, bool value, bool *flipped,
                struct fs_deadline *deadline)
{
	int error = fs_journal_lock(store, fs_record_bytes(key->length), deadline);

	if (error)
		return error;
	*flipped = fs_flip(store, key->hash, found, value);
	fs_journal_unlock(store, *flipped);
	return FLAGSTORE_OK;
}

static int kill_flag(flagstore *store, struct fs_shard *shard, const struct fs_key *key, struct fs_found *found, struct fs_deadline *deadline)
{
	int error = fs_journal_lock(store, fs_record_bytes(key->length), deadline);

	if (error)
		return error;
	if (store->journal) {
		uint64_t dead;

		/* Nobody flips it from here on. */
		found->word = atomic_load_explicit(&found->slot->word, memory_order_relaxed);
		dead = fs_word_dead(found->word);
		if (!fs_journal_intend(store, found->slot, dead, fs_now_ms()))
			fs_journal_distrust(store);
	}
	fs_kill(store, shard, found);
	fs_journal_unlock(store, true);
	return FLAGSTORE_OK;
}

/* Inside a write section nothing is FROZEN; flips by others may still come between, then it looks again. */
static int write_locked(flagstore *store, struct fs_shard *shard, const struct fs_key *key, const struct fs_rule *rule,
                        struct fs_effect *effect, struct fs_deadline *deadline)
{
	struct fs_spot spot;
	/* Who wants to insert has not found the key before the lock. Mostly one look at where it is to go tells that it is still so. */
	bool missed = effect->action == FS_INSERT && fs_spot_for(store, shard, key->hash, &spot) && fs_spot_is_missed(&spot, key->hash);

	for (int tries = 0; tries < FLIPS_MAX; tries++) {
		struct fs_found found = {NULL, 0};
		enum fs_outcome outcome = missed ? FS_MISSING : fs_find(store, key, &found);
		bool flipped;
		int error;

		if (outcome == FS_DAMAGED)
			return damaged(store, key);
		error = fs_rule_apply(rule, outcome == FS_FOUND, found.word, effect);
		if (error)
			return refused(store, key, error);
		switch (effect->action) {
		case FS_KEEP:
			return FLAGSTORE_OK;
		case FS_INSERT:
			if (!missed)
				fs_spot_for(store, shard, key->hash, &spot);
			return insert(store, shard, key, &spot, effect->value, deadline);
		case FS_DELETE:
			return kill_flag(store, shard, key, &found, deadline);
		case FS_REWRITE:
			error = flip(store, key, &found, effect->value, &flipped, deadline);
			if (error || flipped)
				return error;
			if (fs_word_state(found.word) != FS_LIVE)
				return damaged(store, key);
			break;
		}
	}
	return restless(store, key);
}

/* For the guard: what the look before the lock led to. */
static enum flagstore_operation operation_of(const struct fs_effect *effect)
{
	return effect->action == FS_INSERT ? FLAGSTORE_INSERT : effect->action == FS_DELETE ? FLAGSTORE_DELETE : FLAGSTORE_FLIP;
}

static int write_under_lock(flagstore *store, const struct fs_key *key, const struct fs_rule *rule, struct fs_effect *effect)
{
	uint32_t index = fs_hash_shard(key->hash, store->shard_mask);
	struct fs_shard *shard = fs_shard_writable(store, index);
	struct fs_deadline deadline = {.set = false};
	int error;

	fs_thread.key = key;
	fs_thread.operation = operation_of(effect);
	error = fs_enter(store, index, &deadline);
	if (error)
		return error;
	error = write_locked(store, shard, key, rule, effect, &deadline);
	fs_leave(store, index);
	if (!error && effect->action != FS_KEEP)
		fs_wake(store, shard);
	if (effect->action == FS_INSERT)
		fs_room_ahead(store);
	return error;
}

static int try_write(flagstore *store, const char *bytes, size_t length, const struct fs_rule *rule, struct fs_effect *effect)
{
	struct fs_deadline deadline = {.set = false};
	struct fs_key key;
	int error;

	if (!fs_key_make(store, bytes, length, &key))
		return fs_fail(FLAGSTORE_EKEY, "a key of %zu bytes%s can't be used", length,
		               length && length <= FLAGSTORE_KEY_MAX ? " with a NUL byte in it" : "");
	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process", store->path);
	for (int tries = 0;; tries++) {
		struct fs_found found = {NULL, 0};
		enum fs_outcome outcome = fs_find(store, &key, &found);
		bool flipped;

		if (outcome == FS_DAMAGED)
			return damaged(store, &key);
		/* A FROZEN flag may be part of a batch that has been committed and whose writer is dead. What is decided now comes after that
		 * batch, so its value is not the one to decide by, not even that there is nothing to do. */
		if (outcome == FS_FOUND && fs_word_state(found.word) != FS_LIVE) {
			effect->action = FS_REWRITE;
			return write_under_lock(store, &key, rule, effect);
		}
		error = fs_rule_apply(rule, outcome == FS_FOUND, found.word, effect);
		if (error)
			return refused(store, &key, error);
		if (effect->action == FS_KEEP)
			return FLAGSTORE_OK;
		if (effect->action != FS_REWRITE)
			return write_under_lock(store, &key, rule, effect);
		fs_thread.operation = FLAGSTORE_FLIP;
		fs_thread.key = &key;
		error = flip(store, &key, &found, effect->value, &flipped, &deadline);
		if (!error && flipped)
			fs_wake(store, fs_shard_writable(store, fs_hash_shard(key.hash, store->shard_mask)));
		if (error || flipped)
			return error;
		if (tries == FLIPS_MAX)
			return restless(store, &key);
	}
}

/* A full journal is written, by us or somebody else, with no lock held. */
static int write_key(flagstore *store, const char *bytes, size_t length, const struct fs_rule *rule, struct fs_effect *effect)
{
	int error = try_write(store, bytes, length, rule, effect);

	while (error == FS_JOURNAL_FULL) {
		error = fs_persist_make_room(store);
		if (!error)
			error = try_write(store, bytes, length, rule, effect);
	}
	return error;
}

/* What came of a write. */
struct written {
	int error;
	struct fs_effect effect;
};

/* What write_key() does for most inserts, those of a key that a look without a lock has just missed. False: nothing has been done, and it
 * must be called. */
static bool insert_missing(flagstore *store, const struct fs_key *key, const struct fs_rule *rule, struct written *written)
{
	if (fs_rule_apply(rule, false, 0, &written->effect) || written->effect.action != FS_INSERT || !fs_key_valid(key->bytes, key->length) ||
	    !fs_entered(store))
		return false;
	written->error = write_under_lock(store, key, rule, &written->effect);
	return written->error != FS_JOURNAL_FULL;
}

/* All that a write may be, with the place from which the library was called, for the guard. missing: the hash of a key that was missing a
 * moment ago; 0: not known. Rule and result go by value, so that those who call this seldom need not keep them in memory. */
static __attribute__((noinline)) struct written write_unusual(flagstore *store, const char *bytes, size_t length, uint64_t missing,
                                                              struct fs_rule rule, const void *site)
{
	struct written written = {FLAGSTORE_OK, {FS_KEEP, false}};

	fs_thread.site = site;
	if (!missing || !insert_missing(store, &(struct fs_key){bytes, length, missing}, &rule, &written))
		written.error = write_key(store, bytes, length, &rule, &written.effect);
	written.error = fs_unless_lost(store, fs_persisted(store, written.error));
	return written;
}

/* Part of the public function itself, whatever the compiler thinks of that: its return address is where the library was called, and of
 * the rules only its own is left. */
#define HERE static inline __attribute__((always_inline))
#define SITE __builtin_return_address(0)

/* FS_UNUSUAL: nothing has been done, and write_key() must be called. */
static __attribute__((noinline)) int flip_journaled(flagstore *store, uint32_t shard, size_t length, struct fs_found found, bool value,
                                                    const void *site)
{
	struct fs_deadline deadline = {.set = false};
	int error = fs_journal_lock(store, fs_record_bytes(length), &deadline);
	int64_t now_ms;
	bool flipped;

	if (error)
		return error == FS_JOURNAL_FULL ? FS_UNUSUAL : error;
	/* Not before: who had to wait for the lock makes his change now. */
	now_ms = fs_now_ms();
	flipped = fs_journal_intend_flip(store, &found, fs_word_next(found.word, value), now_ms) &&
	          fs_flip_usual(store, shard, found, value, now_ms, site);
	fs_journal_unlock(store, flipped);
	return flipped ? FLAGSTORE_OK : FS_UNUSUAL;
}

/* What write_key() does for most writes, those of flags that exist, without a detour. False: nothing has been done; *missing is the hash of
 * a key that is missing. A flag that was found has a valid key, unless damage gave it one with a NUL byte; a missing one has no LIVE word. */
HERE bool write_usual(flagstore *store, const char *bytes, size_t length, struct fs_rule rule, struct fs_effect *effect, uint64_t *missing,
                      int *error)
{
	struct fs_found found;
	struct fs_way way;
	uint64_t hash;
	uint32_t shard;
	int outcome;

	if (__builtin_expect(!store->entered, 0))
		return false;
	if (__builtin_expect(fs_key_usual(length), 1)) {
		hash = fs_hash_usual(&store->salt, bytes, length);
		outcome = fs_find_usual(store, (struct fs_key){bytes, length, hash}, &way, &found);
	} else {
		uint64_t whole; /* not hash itself, which shall stay in a register */

		found = find_unusual(store, bytes, length, &whole);
		hash = whole;
		outcome = found.slot ? FS_FOUND : found.word ? FS_UNUSUAL : FS_MISSING;
		way.directory_word = 0; /* fs_expect_insert() has nothing to go by */
	}
	if (__builtin_expect(outcome == FS_UNUSUAL || fs_word_state(found.word) != FS_LIVE, 0)) {
		if (outcome == FS_MISSING) {
			*missing = hash;
			fs_expect_insert(&way, hash);
		}
		return false;
	}
	if (fs_rule_apply(&rule, true, found.word, effect))
		return false;
	/* Nothing is to be written; but whether it is durable may have to be waited for. */
	if (effect->action == FS_KEEP && !store->journal)
		return true;
	if (__builtin_expect(!fs_entered_before(store), 0))
		return false;
	if (effect->action != FS_REWRITE)
		return effect->action == FS_KEEP;
	shard = fs_hash_shard(hash, store->shard_mask);
	if (__builtin_expect(store->journal != NULL, 0)) {
		*error = flip_journaled(store, shard, length, found, effect->value, SITE);
		if (*error)
			return *error != FS_UNUSUAL;
	} else if (!fs_flip_usual(store, shard, found, effect->value, fs_now_ms(), SITE)) {
		return false;
	}
	fs_wake(store, fs_shard_writable(store, shard));
	return true;
}

HERE int write_flag(flagstore *store, const char *bytes, size_t length, struct fs_rule rule, struct fs_effect *effect)
{
	struct written written;
	uint64_t missing = 0;
	int error = FLAGSTORE_OK;

	store = store->writing;
	if (__builtin_expect(write_usual(store, bytes, length, rule, effect, &missing, &error), 1))
		return fs_lost(store) ? fs_unless_lost(store, error) : fs_persisted(store, error);
	written = write_unusual(store, bytes, length, missing, rule, SITE);
	*effect = written.effect;
	return written.error;
}

HERE int set_flag(flagstore *store, const char *key, size_t length, bool value)
{
	struct fs_effect effect;

	return write_flag(store, key, length, (struct fs_rule){.kind = FS_RULE_SET, .desired = value}, &effect);
}

int flagstore_set_n(flagstore *store, const char *key, size_t length, bool value)
{
	return set_flag(store, key, length, value);
}

int flagstore_set(flagstore *store, const char *key, bool value)
{
	return set_flag(store, key, strlen(key), value);
}

HERE int set_if_absent_flag(flagstore *store, const char *key, size_t length, bool value, bool *inserted)
{
	struct fs_effect effect;
	int error = write_flag(store, key, length, (struct fs_rule){.kind = FS_RULE_SET_IF_ABSENT, .desired = value}, &effect);

	if (!error)
		*inserted = effect.action == FS_INSERT;
	return error;
}

int flagstore_set_if_absent_n(flagstore *store, const char *key, size_t length, bool value, bool *inserted)
{
	return set_if_absent_flag(store, key, length, value, inserted);
}

int flagstore_set_if_absent(flagstore *store, const char *key, bool value, bool *inserted)
{
	return set_if_absent_flag(store, key, strlen(key), value, inserted);
}

HERE int toggle_flag(flagstore *store, const char *key, size_t length, bool *value)
{
	struct fs_effect effect;
	int error = write_flag(store, key, length, (struct fs_rule){.kind = FS_RULE_TOGGLE}, &effect);

	if (!error && value)
		*value = effect.value;
	return error;
}

int flagstore_toggle_n(flagstore *store, const char *key, size_t length, bool *value)
{
	return toggle_flag(store, key, length, value);
}

int flagstore_toggle(flagstore *store, const char *key, bool *value)
{
	return toggle_flag(store, key, strlen(key), value);
}

HERE int compare_and_set_flag(flagstore *store, const char *key, size_t length, bool expected, bool desired)
{
	struct fs_effect effect;

	return write_flag(store, key, length, (struct fs_rule){.kind = FS_RULE_COMPARE, .expected = expected, .desired = desired}, &effect);
}

int flagstore_compare_and_set_n(flagstore *store, const char *key, size_t length, bool expected, bool desired)
{
	return compare_and_set_flag(store, key, length, expected, desired);
}

int flagstore_compare_and_set(flagstore *store, const char *key, bool expected, bool desired)
{
	return compare_and_set_flag(store, key, strlen(key), expected, desired);
}

HERE int compare_and_set_version_flag(flagstore *store, const char *key, size_t length, const struct flagstore_flag *expected,
                                        bool desired)
{
	struct fs_effect effect;
	struct fs_rule rule = {
		.kind = FS_RULE_COMPARE_VERSION,
		.expected = expected->value,
		.version = expected->exists ? expected->version : 0,
		.desired = desired,
	};

	if (expected->exists && !expected->version)
		return fs_fail(FLAGSTORE_EARGUMENT, "a flag that exists never has version 0");
	return write_flag(store, key, length, rule, &effect);
}

int flagstore_compare_and_set_version_n(flagstore *store, const char *key, size_t length, const struct flagstore_flag *expected,
                                        bool desired)
{
	return compare_and_set_version_flag(store, key, length, expected, desired);
}

int flagstore_compare_and_set_version(flagstore *store, const char *key, const struct flagstore_flag *expected, bool desired)
{
	return compare_and_set_version_flag(store, key, strlen(key), expected, desired);
}

HERE int delete_flag(flagstore *store, const char *key, size_t length)
{
	/* Never done without the lock. */
	return write_unusual(store->writing, key, length, 0, (struct fs_rule){.kind = FS_RULE_DELETE}, SITE).error;
}

int flagstore_delete_n(flagstore *store, const char *key, size_t length)
{
	return delete_flag(store, key, length);
}

int flagstore_delete(flagstore *store, const char *key)
{
	return delete_flag(store, key, strlen(key));
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * many.c: reads of many flags, which wait side by side instead of one after the other: for memory when the table is large, and for each
 * other's steps when it is small, since a single read is a chain of them. */
#include "find.h"

#define AT_ONCE 32

/* A key on its way; ahead if it is one that fs_arrive() knows, and has not met its end where it set out. */
struct traveller {
	struct fs_key key; /* length 0 if it can't be a key */
	struct fs_way way;
	bool ahead;
};

static size_t length_of(const char *const *keys, const size_t *lengths, size_t i)
{
	return lengths ? lengths[i] : strlen(keys[i]);
}

static struct fs_key key_of(const flagstore *store, const char *bytes, size_t length)
{
	if (fs_key_usual(length))
		return (struct fs_key){bytes, length, fs_hash_usual(&store->salt, bytes, length)};
	if (length < 1 || length > FLAGSTORE_KEY_MAX)
		return (struct fs_key){bytes, 0, 0};
	return (struct fs_key){bytes, length, fs_hash(store->seed, bytes, length)};
}

static void set_out(const flagstore *store, struct traveller *traveller)
{
	traveller->ahead = fs_set_out(store, traveller->key.hash, &traveller->way);
	if (!traveller->ahead)
		return;
	__builtin_prefetch(traveller->way.group);
	traveller->ahead = fs_key_usual(traveller->key.length);
}

static void come_near(struct traveller *traveller)
{
	if (!traveller->ahead)
		return;
	fs_come_near(&traveller->way, traveller->key.hash);
	if (traveller->way.marks)
		__builtin_prefetch(fs_slot_marked(traveller->way.slots, traveller->way.marks));
}

static bool arrive(const flagstore *store, const struct traveller *traveller)
{
	const struct fs_key *key = &traveller->key;
	struct fs_found found;

	if (__builtin_expect(!traveller->ahead || fs_arrive(&traveller->way, *key, &found) == FS_UNUSUAL, 0))
		return key->length && fs_word_value(fs_find_further(store, key->bytes, key->length, key->hash).word);
	return fs_word_value(found.word);
}

static void get_together(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	struct traveller travellers[AT_ONCE];

	/* A loop for each step: the shorter its body, the more keys are on their way at once. */
	for (size_t i = 0; i < count; i++)
		travellers[i].key = key_of(store, keys[i], length_of(keys, lengths, i));
	for (size_t i = 0; i < count; i++)
		set_out(store, &travellers[i]);
	for (size_t i = 0; i < count; i++)
		come_near(&travellers[i]);
	for (size_t i = 0; i < count; i++)
		values[i] = arrive(store, &travellers[i]);
}

void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	for (size_t done = 0; done < count; done += AT_ONCE)
		get_together(store, keys + done, lengths ? lengths + done : NULL, count - done < AT_ONCE ? count - done : AT_ONCE, values + done);
}

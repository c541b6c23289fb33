/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * many.c: reads of many flags, which wait side by side instead of one after the other: for memory when the table is large, and for each
 * other's steps when it is small, since a single read is a chain of them. */
#include "find.h"

#define AT_ONCE 32

/* A key on its way. */
struct traveller {
	struct fs_key key; /* length 0 if it can't be a key */
	struct fs_way way;
};

static size_t length_of(const char *const *keys, const size_t *lengths, size_t i)
{
	return lengths ? lengths[i] : strlen(keys[i]);
}

static __attribute__((noinline)) struct fs_key unusual_key(const flagstore *store, const char *bytes, size_t length)
{
	if (length < 1 || length > FLAGSTORE_KEY_MAX)
		return (struct fs_key){bytes, 0, 0};
	return (struct fs_key){bytes, length, fs_hash(store->seed, bytes, length)};
}

static void set_out(const flagstore *store, struct traveller *traveller)
{
	if (fs_set_out(store, traveller->key.hash, &traveller->way))
		__builtin_prefetch(traveller->way.group);
}

/* Goes on to the next group if the key may be there, and fetches what is marked there. */
static __attribute__((noinline)) void go_on(const flagstore *store, struct fs_way *way, uint64_t hash)
{
	if (fs_tags_any_empty(way->tags) || !fs_way_is_known(store, way))
		return;
	fs_go_on(store, way);
	fs_come_near(way, hash);
	if (way->marks)
		__builtin_prefetch(fs_slot_marked(way->slots, way->marks));
}

/* Fetches the first slot that is marked. */
static inline void fetch_marked(const flagstore *store, struct fs_way *way, uint64_t hash)
{
	if (__builtin_expect(way->marks != 0, 1))
		__builtin_prefetch(fs_slot_marked(way->slots, way->marks));
	else
		go_on(store, way, hash);
}

static void come_near(const flagstore *store, struct traveller *traveller)
{
	if (!traveller->way.group)
		return;
	fs_come_near(&traveller->way, traveller->key.hash);
	fetch_marked(store, &traveller->way, traveller->key.hash);
}

/* A long key will be compared with what stands in a cell. */
static void fetch_cell(const flagstore *store, const struct traveller *traveller)
{
	const char *cell;

	if (!traveller->way.group || traveller->key.length <= FS_KEY_INLINE || !traveller->way.marks)
		return;
	cell = fs_slot_key(store, fs_slot_marked(traveller->way.slots, traveller->way.marks), traveller->key.length);
	if (cell)
		__builtin_prefetch(cell);
}

/* Whether the answer is known now, as nearly always. */
static bool arrive(const struct traveller *traveller, bool *value)
{
	struct fs_found found;

	if (!traveller->way.group || fs_arrive(&traveller->way, traveller->key, &found) == FS_UNUSUAL)
		return false;
	*value = fs_word_value(found.word);
	return true;
}

/* Fetches what is marked behind the first slot, which most likely has another key. The traveller stays: it may as well have the right one,
 * and have been frozen at that moment. */
static void look_ahead(const flagstore *store, const struct traveller *traveller)
{
	struct fs_way way = traveller->way;

	if (!way.group)
		return;
	way.marks &= way.marks - 1;
	fetch_marked(store, &way, traveller->key.hash);
}

static bool arrive_late(const flagstore *store, const struct traveller *traveller)
{
	const struct fs_key *key = &traveller->key;

	return key->length && fs_word_value(fs_find_on(store, traveller->way, key->bytes, key->length, key->hash).word);
}

static void get_together(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	struct traveller travellers[AT_ONCE];
	size_t late[AT_ONCE], behind = 0, unusual;

	/* A loop for each step: the shorter its body, the more keys are on their way at once. */
	for (size_t i = 0; i < count; i++) {
		size_t length = length_of(keys, lengths, i);

		if (__builtin_expect(fs_key_usual(length), 1)) {
			travellers[i].key = (struct fs_key){keys[i], length, fs_hash_usual(&store->salt, keys[i], length)};
		} else {
			travellers[i].key = unusual_key(store, keys[i], length);
			late[behind++] = i;
		}
	}
	unusual = behind;
	for (size_t i = 0; i < count; i++)
		set_out(store, &travellers[i]);
	for (size_t i = 0; i < count; i++)
		come_near(store, &travellers[i]);
	for (size_t i = 0; i < unusual; i++)
		fetch_cell(store, &travellers[late[i]]);
	for (size_t i = 0; i < count; i++) {
		if (__builtin_expect(fs_key_usual(travellers[i].key.length) && !arrive(&travellers[i], &values[i]), 0))
			late[behind++] = i;
	}
	for (size_t i = unusual; i < behind; i++)
		look_ahead(store, &travellers[late[i]]);
	for (size_t i = 0; i < behind; i++)
		values[late[i]] = arrive_late(store, &travellers[late[i]]);
}

void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values)
{
	for (size_t done = 0; done < count; done += AT_ONCE)
		get_together(store, keys + done, lengths ? lengths + done : NULL, count - done < AT_ONCE ? count - done : AT_ONCE, values + done);
}

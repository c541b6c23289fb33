/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * facts.c: what stands in a slot. */
#include "facts.h"

#include "describe.h"
#include "keytext.h"
#include "recover.h"

enum {
	TRIES = 100,
};

static bool read_once(const flagstore *store, const struct fs_slot *slot, struct facts *facts)
{
	/* As a reader: acquire, the bytes, the word again behind a fence (slot.h). */
	facts->word = atomic_load_explicit(&slot->word, memory_order_acquire);
	facts->stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	facts->identity = atomic_load_explicit(&slot->identity, memory_order_relaxed);
	facts->length = fs_slot_copy_key(store, slot, facts->key);
	fs_slot_describe(store, slot, facts->word, &facts->flag);
	fs_acquire_fence();
	return atomic_load_explicit(&slot->word, memory_order_relaxed) == facts->word;
}

void facts_read(const flagstore *store, const struct fs_slot *slot, uint8_t tag, struct facts *facts)
{
	int tries = 0;

	facts->offset = (uint64_t)((const char *)slot - store->map);
	facts->tag = tag;
	while (!read_once(store, slot, facts) && ++tries < TRIES)
		;
	facts->flag.exists = fs_word_holds(facts->word);
	facts->sound = fs_key_valid(facts->key, facts->length) &&
	               fs_identity(fs_hash(store->seed, facts->key, facts->length), facts->word) == facts->identity;
}

const char *facts_state(const struct facts *facts)
{
	static const char *const names[] = {"EMPTY", "DEAD", "LIVE", "FROZEN"};

	return names[fs_word_state(facts->word) >> FS_STATE_SHIFT];
}

json_t *facts_json(const flagstore *store, uint32_t place, const struct facts *facts)
{
	return json_pack("{s:I, s:I, s:s, s:b, s:I, s:I, s:I, s:o, s:b, s:I, s:o}", "slot", (json_int_t)place, "offset", (json_int_t)facts->offset,
	                 "state", facts_state(facts), "value", (int)fs_word_value(facts->word), "changes", (json_int_t)fs_word_changes(facts->word),
	                 "incarnation", (json_int_t)((facts->word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT), "tag", (json_int_t)facts->tag,
	                 "key", facts->length ? json_string(keytext_encode(facts->key, facts->length).text) : json_null(), "sound",
	                 (int)facts->sound, "changed_ms", (json_int_t)facts->flag.changed_ms, "writer",
	                 describe_writer_json(store, facts->flag.writer));
}

void facts_walk(const flagstore *store, uint32_t shard, facts_visit *visit, void *argument)
{
	uint64_t directory_word = fs_directory_word(&store->shards[shard]), word;
	struct fs_walk walk = {0, 0};
	struct fs_bucket_view view;

	while (fs_next_bucket(store, directory_word, &walk, &word))
		if (word && fs_bucket_view(store, word, &view))
			visit(store, word, &view, argument);
}

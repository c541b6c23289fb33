/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * slot.c: a slot's key and stamp. */
#include "slot.h"

size_t fs_slot_copy_key(const flagstore *store, const struct fs_slot *slot, char *bytes)
{
	size_t length = fs_slot_key_length(slot);
	const char *shared = length ? fs_slot_key(store, slot, length) : NULL;

	if (!shared)
		return 0;
	for (size_t i = 0; i < length; i++)
		bytes[i] = __atomic_load_n(&shared[i], __ATOMIC_RELAXED);
	return length;
}

uint8_t fs_slot_tag(const flagstore *store, const struct fs_slot *slot)
{
	char bytes[FLAGSTORE_KEY_MAX];
	size_t length = fs_slot_copy_key(store, slot, bytes);

	return length ? fs_hash_tag(fs_hash(store->seed, bytes, length)) : FS_TAG_FIRST;
}

void fs_slot_describe(const flagstore *store, const struct fs_slot *slot, uint64_t word, struct flagstore_flag *flag)
{
	uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	uint64_t mark = (UINT64_C(1) << FS_STAMP_VERSION_BITS) - 1;

	*flag = (struct flagstore_flag){
		.value = fs_word_value(word),
		.exists = true,
		.version = fs_word_version(word),
		.changes = fs_word_changes(word),
	};
	if (stamp == 0 || (stamp & mark) != (fs_word_changes(word) & mark))
		return;
	flag->changed_ms = store->created_ms + (int64_t)(stamp >> FS_STAMP_TIME_SHIFT);
	flag->writer = (uint32_t)(stamp >> FS_STAMP_VERSION_BITS) & ((1u << FS_STAMP_WORKER_BITS) - 1);
}

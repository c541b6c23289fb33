/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mend.c: what all parts of a repair do: telling what they find, putting single words right, and noting which lines are in use and which
 * flags are to be found again. */
#include "mend.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t offset_of(const struct fs_mend *repair, const void *place)
{
	return (uint64_t)((const char *)place - repair->store->map);
}

void fs_mend_fixed(struct fs_mend *repair, const void *place, const char *format, ...)
{
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	repair->told(&(struct fs_repair_done){.kind = FS_REPAIR_FIXED, .shard = repair->shard, .offset = offset_of(repair, place), .text = text},
	             repair->argument);
}

static void copy_bytes(const struct fs_slot *slot, unsigned char bytes[FS_LINE])
{
	for (size_t i = 0; i < FS_LINE; i++)
		bytes[i] = __atomic_load_n((const unsigned char *)slot + i, __ATOMIC_RELAXED);
}

bool fs_mend_tell_slot(struct fs_mend *repair, enum fs_repair_kind kind, const struct fs_slot *slot, const char *text)
{
	char key[FLAGSTORE_KEY_MAX];
	unsigned char bytes[FS_LINE];
	size_t length = fs_slot_copy_key(repair->store, slot, key);
	bool kept;

	copy_bytes(slot, bytes);
	kept = repair->told(&(struct fs_repair_done){.kind = kind,
	                                             .shard = repair->shard,
	                                             .offset = offset_of(repair, slot),
	                                             .text = text,
	                                             .key = length ? key : NULL,
	                                             .length = length,
	                                             .value = fs_word_value(atomic_load_explicit(&slot->word, memory_order_relaxed)),
	                                             .bytes = bytes},
	                    repair->argument);
	repair->not_kept |= !kept;
	return kept;
}

void fs_mend_set32(struct fs_mend *repair, const _Atomic uint32_t *word, uint32_t right, const char *what)
{
	uint32_t wrong = atomic_load_explicit(word, memory_order_relaxed);

	if (wrong == right)
		return;
	fs_mend_fixed(repair, word, "%s was %u and is %u", what, wrong, right);
	atomic_store_explicit((_Atomic uint32_t *)fs_writable(repair->store, word), right, memory_order_relaxed);
}

void fs_mend_set64(struct fs_mend *repair, const _Atomic uint64_t *word, uint64_t right, const char *what)
{
	uint64_t wrong = atomic_load_explicit(word, memory_order_relaxed);

	if (wrong == right)
		return;
	fs_mend_fixed(repair, word, "%s was %#llx and is %#llx", what, (unsigned long long)wrong, (unsigned long long)right);
	atomic_store_explicit((_Atomic uint64_t *)fs_writable(repair->store, word), right, memory_order_relaxed);
}

void fs_mend_zero(struct fs_mend *repair, const void *from, const void *to, const char *what)
{
	bool told = false;

	for (const char *byte = from; byte < (const char *)to && fs_knows_all(repair->store); byte++) {
		if (!__atomic_load_n(byte, __ATOMIC_RELAXED))
			continue;
		if (!told)
			fs_mend_fixed(repair, byte, "bytes of the %s that are unused were not 0", what);
		told = true;
		__atomic_store_n((char *)fs_writable(repair->store, byte), 0, __ATOMIC_RELAXED);
	}
}

bool fs_mend_is_met(const struct fs_mend *repair, fs_line line)
{
	return repair->met[line / 8] & 1 << line % 8;
}

bool fs_mend_meet(struct fs_mend *repair, fs_line line, uint32_t lines)
{
	for (fs_line i = line; i < line + lines; i++)
		if (fs_mend_is_met(repair, i))
			return false;
	for (fs_line i = line; i < line + lines; i++)
		repair->met[i / 8] = (uint8_t)(repair->met[i / 8] | 1 << i % 8);
	repair->end = line + lines > repair->end ? line + lines : repair->end;
	return true;
}

void fs_mend_note(struct fs_mend *repair, const struct fs_slot *slot, const char *key, size_t length, bool value)
{
	struct fs_mend_noted *noted;

	if (repair->noted_count == repair->noted_room) {
		size_t room = repair->noted_room ? repair->noted_room * 2 : 64;
		struct fs_mend_noted *all = realloc(repair->noted, room * sizeof *all);

		if (!all) {
			repair->no_memory = true;
			return;
		}
		repair->noted = all;
		repair->noted_room = room;
	}
	noted = &repair->noted[repair->noted_count++];
	*noted = (struct fs_mend_noted){.shard = repair->shard, .offset = offset_of(repair, slot), .length = length, .value = value};
	noted->stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	memcpy(noted->key, key, length);
	copy_bytes(slot, noted->bytes);
}

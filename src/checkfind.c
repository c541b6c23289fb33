/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * checkfind.c: what all parts of a check do: noting what they find, and which lines are part of something. */
#include "checkfind.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What most likely led to a finding of the kind. Who keeps the rules causes none of them, so it is one of three: writers that did not
 * take the lock, a store that did not go through the library, a writer that is gone. */
static const char *cause_of(const char *kind)
{
	static const char *const causes[][2] = {
		{"directory", "a store that bypassed the library, or two writers without the lock replaced a bucket at the same time"},
		{"bucket", "a store that bypassed the library, or two writers without the lock replaced a bucket at the same time"},
		{"tag", "two writers without the lock stored tags of one group at the same time"},
		{"duplicate", "two writers without the lock inserted the key at the same time"},
		{"unreachable", "a writer without the lock inserted the flag while its bucket was being replaced"},
		{"count", "two writers without the lock counted at the same time"},
		{"room", "two writers without the lock took or gave the same block"},
		{"free-list", "two writers without the lock took or gave the same block"},
		{"frozen", "a writer died, or stands still, while it moved the flag or had it in a batch"},
		{"lock", "a writer died in the middle of a change; the next writer of the shard restores it"},
	};

	for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
		if (strcmp(causes[i][0], kind) == 0)
			return causes[i][1];
	return "a store that bypassed the library, or a damaged file";
}

/* Of the slot that is being looked at: which flag, and who changed it last. */
static void describe_slot(struct fs_check *check, struct fs_check_finding *finding)
{
	struct flagstore_flag flag;

	finding->slot = check->place;
	finding->length = fs_slot_copy_key(check->store, check->slot, finding->key);
	finding->key[finding->length] = 0;
	fs_slot_describe(check->store, check->slot, atomic_load_explicit(&check->slot->word, memory_order_relaxed), &flag);
	finding->writer = flag.writer;
}

void fs_check_find(struct fs_check *check, const char *kind, const void *place, const char *format, ...)
{
	struct fs_check_finding *finding;
	va_list arguments;

	if (check->kept_count == check->kept_room) {
		size_t room = check->kept_room ? check->kept_room * 2 : 64;
		struct fs_check_finding *kept = realloc(check->kept, room * sizeof *kept);

		if (!kept) {
			check->no_memory = true;
			return;
		}
		check->kept = kept;
		check->kept_room = room;
	}
	finding = &check->kept[check->kept_count++];
	finding->kind = kind;
	finding->cause = check->cause ? check->cause : cause_of(kind);
	finding->shard = check->shard;
	finding->slot = UINT32_MAX;
	finding->writer = 0;
	finding->length = 0;
	finding->offset = (uint64_t)((const char *)place - check->store->map);
	if (check->slot)
		describe_slot(check, finding);
	va_start(arguments, format);
	vsnprintf(finding->text, sizeof finding->text, format, arguments);
	va_end(arguments);
	check->cause = NULL;
}

static void note_range(struct fs_check *check, fs_line line, uint32_t lines)
{
	if (check->ranges_count == check->ranges_room) {
		size_t room = check->ranges_room ? check->ranges_room * 2 : 256;
		struct fs_check_range *ranges = realloc(check->ranges, room * sizeof *ranges);

		if (!ranges) {
			check->no_memory = true;
			return;
		}
		check->ranges = ranges;
		check->ranges_room = room;
	}
	check->ranges[check->ranges_count++] = (struct fs_check_range){line, lines};
}

bool fs_check_meet(struct fs_check *check, fs_line line, uint32_t lines, const char *what)
{
	const char *place = check->store->map + (size_t)line * FS_LINE;

	for (uint32_t i = line; i < line + lines; i++) {
		if (check->met[i / 8] & 1 << i % 8) {
			fs_check_find(check, "room", place, "the %s at line %u overlaps something else", what, line);
			return false;
		}
	}
	for (uint32_t i = line; i < line + lines; i++)
		check->met[i / 8] = (uint8_t)(check->met[i / 8] | 1 << i % 8);
	note_range(check, line, lines);
	check->shard_lines += lines;
	if (line + lines <= (fs_line)atomic_load_explicit(&fs_header(check->store)->heap, memory_order_relaxed))
		return true;
	fs_check_find(check, "room", place, "the %s at line %u lies behind the end of the heap", what, line);
	return false;
}

void fs_check_zero(struct fs_check *check, const char *kind, const void *from, const void *to, const char *what)
{
	for (const char *byte = from; byte < (const char *)to && fs_knows_all(check->store); byte++) {
		if (__atomic_load_n(byte, __ATOMIC_RELAXED)) {
			check->cause = "a store that bypassed the library: it writes nothing there";
			fs_check_find(check, kind, byte, "a byte of the %s that is unused is not 0", what);
			return;
		}
	}
}

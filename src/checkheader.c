/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * checkheader.c: the invariants of what stands before and behind the heap: header, worker entries, seats, journal. */
#include <string.h>

#include "checkfind.h"
#include "guard.h"
#include "persist.h"
#include "seat.h"

static bool has_boot_id(const struct fs_header *header)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 4; i++) {
		uint64_t word = atomic_load_explicit(&header->boot[i], memory_order_relaxed);

		for (int j = 0; j < 8; j++)
			if (!memchr(digits, (int)(word >> 8 * j & 0xff), sizeof digits - 1))
				return false;
	}
	return true;
}

/* Worker entries are their owners' to write, alive or dead; so only what can't be of anybody is wrong. */
static void check_workers(struct fs_check *check)
{
	for (uint32_t i = 0; i < check->store->constants.workers; i++) {
		const struct fs_worker *entry = fs_worker_entry(check->store, i);

		FS_CHECK_UNUSED(check, "worker", entry, padding, "worker entry");
		if (atomic_load_explicit(&entry->pid, memory_order_relaxed) > INT32_MAX ||
		    atomic_load_explicit(&entry->uid, memory_order_relaxed) > UINT32_MAX ||
		    atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) >> 56)
			fs_check_find(check, "worker", entry, "worker entry %u is of a process that can't be", i);
	}
}

/* So it is with seats. */
static void check_seats(struct fs_check *check)
{
	const struct fs_seat *seat;

	for (uint32_t i = 0; (seat = fs_seat_at(check->store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_relaxed);

		FS_CHECK_UNUSED(check, "seat", seat, line0, "seat");
		if (owner & ~FS_OWNER_MASK || !fs_mark_can_be(check->store, owner) ||
		    (atomic_load_explicit(&seat->activity, memory_order_relaxed) & 0xff) > FLAGSTORE_SYNCING)
			fs_check_find(check, "seat", seat, "seat %u is of a thread that can't be", i);
	}
}

/* What a volatile segment does not have is zeros. Of a journal: its positions, whose order holds at any moment. */
static void check_persistence(struct fs_check *check)
{
	const flagstore *store = check->store;
	const struct fs_header *header = fs_header(store);
	const struct fs_journal *journal = fs_journal(store);
	uint64_t tail, durable, head, next;

	if (!(store->constants.feature_incompatible & FS_FEATURE_JOURNAL)) {
		fs_check_zero(check, "header", (const char *)&header->persistence, (const char *)(&header->persistence + 1), "header");
		if (atomic_load_explicit(&header->journal_room, memory_order_relaxed))
			fs_check_find(check, "header", &header->journal_room, "the header says that there is a journal, which there is not");
		return;
	}
	if (!fs_persistence_sound(&header->persistence))
		fs_check_find(check, "header", &header->persistence, "the header does not say where the flags are kept");
	if (!journal) {
		fs_check_find(check, "header", &header->journal_room, "the journal is not backed by the file system");
		return;
	}
	durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
	tail = atomic_load_explicit(&journal->tail, memory_order_acquire);
	head = atomic_load_explicit(&journal->head, memory_order_acquire);
	next = atomic_load_explicit(&journal->next, memory_order_acquire);
	if (durable > head || tail > head || head > next || next % 8 || head % 8 || tail % 8)
		fs_check_find(check, "journal", journal, "the journal's positions are out of order: durable %llu, beginning %llu, end %llu, next %llu",
		              (unsigned long long)durable, (unsigned long long)tail, (unsigned long long)head, (unsigned long long)next);
	else if (head - tail > (uint64_t)store->ring_words * 8)
		fs_check_find(check, "journal", journal, "the journal has %llu bytes, and room for %llu", (unsigned long long)(head - tail),
		              (unsigned long long)store->ring_words * 8);
}

static void check_fixed_part(struct fs_check *check)
{
	const flagstore *store = check->store;
	const struct fs_header *header = fs_header(store);
	uint32_t room = atomic_load_explicit(&header->room, memory_order_relaxed), state = atomic_load_explicit(&header->state, memory_order_relaxed);
	uint64_t owner = check->heap >> FS_HEAP_OWNER_SHIFT, guard = fs_guard_word(store);

	FS_CHECK_UNUSED(check, "header", header, line2, "header");
	FS_CHECK_UNUSED(check, "header", header, line3, "header");
	FS_CHECK_UNUSED(check, "header", header, line4, "header");
	FS_CHECK_UNUSED(check, "header", header, line5, "header");
	FS_CHECK_UNUSED(check, "header", header, line6, "header");
	check_persistence(check);
	FS_CHECK_UNUSED(check, "header", header, rest, "header");
	fs_check_zero(check, "header", fs_worker_entry(store, store->constants.workers), store->map + (size_t)store->heap_start * FS_LINE,
	              "gap before the heap");
	if (state != FS_READY && state != FS_RETIRED)
		fs_check_find(check, "header", &header->state, "the segment's state is %u", state);
	if (atomic_load_explicit(&header->pid_namespace, memory_order_relaxed) > UINT32_MAX)
		fs_check_find(check, "header", &header->pid_namespace, "the number of the PID namespace is none");
	if (!has_boot_id(header))
		fs_check_find(check, "header", header->boot, "the boot id is none");
	if (owner > store->constants.shards || !owner != ((fs_line)check->heap == store->heap_start))
		fs_check_find(check, "header", &header->heap, "the heap was cut last by shard %llu", (unsigned long long)owner - 1);
	/* Room only grows, by whole pages. */
	if (room < fs_room(store) || room % FS_PAGE_LINES)
		fs_check_find(check, "header", &header->room, "the header says that %u lines are backed by the file system, and there were more", room);
	if (atomic_load_explicit(&header->seat_room, memory_order_relaxed) > store->constants.seats ||
	    atomic_load_explicit(&header->seat_room, memory_order_relaxed) < atomic_load_explicit(&store->seat_room, memory_order_relaxed) ||
	    atomic_load_explicit(&header->conflict_room, memory_order_relaxed) > 1 ||
	    atomic_load_explicit(&header->shadow_room, memory_order_relaxed) > 1 ||
	    atomic_load_explicit(&header->journal_room, memory_order_relaxed) > 1)
		fs_check_find(check, "header", &header->seat_room, "the header says that seats, conflicts, shadows or the journal "
		              "are backed by the file system, which they are not");
	if (guard & 0xffffff00 || fs_guard_mode(guard) > FLAGSTORE_GUARD_ENFORCE || guard >> FS_GUARD_WINDOW_SHIFT > FS_GUARD_WINDOW_MAX_MS)
		fs_check_find(check, "guard", &header->guard, "the guard is set to a mode, or a window, that can't be");
	if (memcmp(&header->constants, &store->constants, sizeof store->constants) != 0 ||
	    store->constants.check != fs_constants_check(&store->constants))
		fs_check_find(check, "header", header, "the header's constants are not what they were when the segment was created");
	if (room > store->max_lines || !fs_room_reaches(store, room))
		fs_check_find(check, "header", &header->room, "the header says that %u lines are backed by the file system, which they are not", room);
	if ((fs_line)check->heap < store->heap_start || (fs_line)check->heap > room)
		fs_check_find(check, "header", &header->heap, "the end of the heap, line %u, is outside of it", (fs_line)check->heap);
}

void fs_check_header(struct fs_check *check)
{
	check->shard = UINT32_MAX;
	check_fixed_part(check);
	check_workers(check);
	check_seats(check);
}

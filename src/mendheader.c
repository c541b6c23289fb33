/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mendheader.c: what stands before and behind the heap is made right by itself: header, worker entries, seats. */
#include "mend.h"
#include "seat.h"

void fs_mend_header(struct fs_mend *repair)
{
	flagstore *store = repair->store;
	const struct fs_header *header = fs_header(store);
	uint32_t room = atomic_load_explicit(&header->room, memory_order_relaxed), state = atomic_load_explicit(&header->state, memory_order_relaxed);
	const struct fs_seat *seat;

	repair->shard = UINT32_MAX;
	FS_MEND_ZERO(repair, header, line2, "header");
	FS_MEND_ZERO(repair, header, line3, "header");
	FS_MEND_ZERO(repair, header, line4, "header");
	FS_MEND_ZERO(repair, header, line5, "header");
	FS_MEND_ZERO(repair, header, line6, "header");
	FS_MEND_ZERO(repair, header, rest, "header");
	fs_mend_zero(repair, fs_worker_entry(store, store->constants.workers), store->map + (size_t)store->heap_start * FS_LINE, "gap before the heap");
	if (state != FS_READY && state != FS_RETIRED)
		fs_mend_set32(repair, &header->state, FS_READY, "the segment's state");
	if (room < fs_room(store) || room > store->max_lines || room % FS_PAGE_LINES)
		fs_mend_set32(repair, &header->room, fs_room(store), "the room that the header says there is");
	for (uint32_t i = 0; i < store->constants.workers; i++) {
		const struct fs_worker *entry = fs_worker_entry(store, i);

		FS_MEND_ZERO(repair, entry, padding, "worker entry");
		if (atomic_load_explicit(&entry->pid, memory_order_relaxed) > INT32_MAX)
			fs_mend_set64(repair, &entry->pid, 0, "a worker's process");
		if (atomic_load_explicit(&entry->uid, memory_order_relaxed) > UINT32_MAX)
			fs_mend_set64(repair, &entry->uid, UINT32_MAX, "a worker's user");
		if (atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) >> 56)
			fs_mend_set64(repair, &entry->command[FS_COMMAND_WORDS - 1],
			              atomic_load_explicit(&entry->command[FS_COMMAND_WORDS - 1], memory_order_relaxed) << 8 >> 8, "a worker's command");
	}
	for (uint32_t i = 0; (seat = fs_seat_at(store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_relaxed);

		FS_MEND_ZERO(repair, seat, line0, "seat");
		if (owner & ~FS_OWNER_MASK || !fs_mark_can_be(store, owner))
			fs_mend_set64(repair, &seat->owner, 0, "a seat's owner");
		if ((atomic_load_explicit(&seat->activity, memory_order_relaxed) & 0xff) > FLAGSTORE_SYNCING)
			fs_mend_set64(repair, &seat->activity, FLAGSTORE_IDLE, "what a seat's thread does");
	}
}

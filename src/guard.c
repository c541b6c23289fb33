/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.c: the guard. Two ways to see a writer that broke the rules:
 *
 * Marks. Who is in a write section of a shard has his mark in it, always, whatever the mode; with the guard on he looks at the mark that
 * he found when he came, and at his own when he goes, as Go's runtime does with the hashWriting bit of its maps. All are plain loads and
 * stores: writers that keep the rules have the lock meanwhile. Of two that are in at the same time the later one mostly finds the first
 * one's mark; when both came at the same moment, the one whose mark was overwritten finds that when he goes. Flips by compare-and-swap are no
 * sections: they are right beside anything.
 *
 * Shadows (audit). Each change of a flag leaves in the shadow of its slot who made it, when, from where, and whether he had the lock, and
 * which time it was that the lock had been taken. The next one who changes the slot looks at that. Two who had the lock one after the other
 * are fine; so are flips by compare-and-swap, alone or with them. It is a conflict if one of the two wrote without the lock and the other
 * one came within the window, as near as chance lets them come; or if both had the lock at the very same time of its being taken. */
#include "guard.h"

#include <string.h>

#include "error.h"
#include "event.h"
#include "fence.h"
#include "probe.h"
#include "worker.h"

#define WINDOW_DEFAULT_MS 15

/* ----------------------------------------------------------------------------------------------------- modes */

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_guard_name(int mode)
{
	switch (mode) {
		FLAGSTORE_GUARDS(NAME_OF)
	default:
		return "unknown";
	}
}

static uint32_t window_of(uint64_t word)
{
	uint32_t window = (uint32_t)(word >> FS_GUARD_WINDOW_SHIFT);

	return window ? window : WINDOW_DEFAULT_MS;
}

enum flagstore_guard flagstore_guard(const flagstore *store, uint32_t *window_ms)
{
	uint64_t word = fs_guard_word(store);

	if (window_ms)
		*window_ms = window_of(word);
	return fs_guard_mode(word) <= FLAGSTORE_GUARD_ENFORCE ? (enum flagstore_guard)fs_guard_mode(word) : FLAGSTORE_GUARD_OFF;
}

int flagstore_set_guard(flagstore *store, enum flagstore_guard mode, uint32_t window_ms)
{
	struct fs_header *header;
	uint64_t before, after;
	int error = FLAGSTORE_OK;

	if ((uint32_t)mode > FLAGSTORE_GUARD_ENFORCE || window_ms > FS_GUARD_WINDOW_MAX_MS)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s: guard mode %d with a window of %u ms can't be; modes are 0 to %d, a window is up to %d ms",
		               store->path, (int)mode, window_ms, FLAGSTORE_GUARD_ENFORCE, FS_GUARD_WINDOW_MAX_MS);
	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "the guard of segment %s can't be set: it is attached read-only by this process", store->path);
	store = store->writing;
	/* Now, so that no writer has to find out that there is no room. */
	if (mode != FLAGSTORE_GUARD_OFF)
		error = fs_room_take_conflicts(store);
	if (!error && mode == FLAGSTORE_GUARD_AUDIT)
		error = fs_room_take_shadows(store);
	if (error)
		return error;
	header = fs_header_writable(store);
	before = fs_guard_word(store);
	after = (uint64_t)(window_ms ? window_ms : window_of(before)) << FS_GUARD_WINDOW_SHIFT | mode;
	atomic_store_explicit(&header->guard, after, memory_order_release);
	atomic_store_explicit(&header->guard_by, fs_own_worker(store), memory_order_relaxed);
	atomic_store_explicit(&header->guard_since_ms, (uint64_t)fs_now_ms(), memory_order_relaxed);
	fs_event_guard(store, before, after);
	FS_PROBE3(guard, store->path, (int)fs_guard_mode(before), (int)mode);
	return FLAGSTORE_OK;
}

/* ----------------------------------------------------------------------------------------------------- marks */

static bool same_thread(uint64_t mark, uint64_t other)
{
	return ((mark ^ other) & FS_OWNER_MASK) == 0;
}

/* What is known of the other one: his seat says where his last section was called from. */
static void ask_seat(const flagstore *store, struct fs_meeting *meeting)
{
	uint64_t other = meeting->other & ~FS_MARK_LOCKED;
	uint32_t number = (uint32_t)(other >> FS_MARK_SEAT_SHIFT);
	const struct fs_seat *seat = number ? fs_seat_at(store, number - 1) : NULL;

	if (!seat || !same_thread(atomic_load_explicit(&seat->owner, memory_order_relaxed), other))
		return;
	meeting->other_site = atomic_load_explicit(&seat->site, memory_order_relaxed);
	meeting->other_operation = (uint32_t)atomic_load_explicit(&seat->operation, memory_order_relaxed);
}

static void meet(flagstore *store, enum flagstore_conflict_kind kind, uint32_t index, fs_line slot, uint64_t other)
{
	struct fs_meeting meeting = {.kind = kind, .shard = index, .slot = slot, .other = other, .operation = fs_thread.operation,
	                             .unlocked = fs_thread.unlocked};

	ask_seat(store, &meeting);
	fs_conflict_record(store, &meeting);
}

void fs_guard_enter(flagstore *store, uint32_t index, uint64_t mark)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t found = atomic_load_explicit(&shard->mark, memory_order_relaxed);

	/* A death may leave a mark, or its lack; neither harms. */
	FS_NOTE(&shard->mark, mark);
	if (__builtin_expect(fs_guard_mode(fs_guard_word(store)) == FLAGSTORE_GUARD_OFF, 1))
		return;
	if (fs_thread.seat && fs_seat_is_current(store)) {
		atomic_store_explicit(&fs_thread.seat->site, (uintptr_t)fs_thread.site, memory_order_relaxed);
		atomic_store_explicit(&fs_thread.seat->operation, fs_thread.operation, memory_order_relaxed);
	}
	if (found && !same_thread(found, mark))
		meet(store, FLAGSTORE_CONFLICT_ENTRY, index, 0, found);
}

/* The slot that the section changed last: the seat's last event says it. */
static fs_line last_slot(const flagstore *store, uint32_t index)
{
	const struct fs_seat *seat = fs_own_seat(store);
	uint64_t next = seat ? atomic_load_explicit(&seat->next, memory_order_relaxed) : 0, what;
	const struct fs_event *event;

	if (!next)
		return 0;
	event = &seat->events[(next - 1) % FS_SEAT_EVENTS];
	what = atomic_load_explicit(&event->what, memory_order_relaxed);
	if ((what & 0xff) != FLAGSTORE_CHANGE || what >> FS_EVENT_SHARD_SHIFT != index)
		return 0;
	return (fs_line)atomic_load_explicit(&event->slot, memory_order_relaxed);
}

void fs_guard_leave(flagstore *store, uint32_t index, uint64_t mark)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	uint64_t found = atomic_load_explicit(&shard->mark, memory_order_relaxed);

	if (__builtin_expect(found != mark && fs_guard_mode(fs_guard_word(store)) != FLAGSTORE_GUARD_OFF, 0)) {
		/* Who has gone meanwhile has taken his mark with him. */
		if (!found)
			found = atomic_load_explicit(&shard->left, memory_order_relaxed);
		if (!same_thread(found, mark))
			meet(store, FLAGSTORE_CONFLICT_EXIT, index, last_slot(store, index), found);
	}
	atomic_store_explicit(&shard->left, mark, memory_order_relaxed);
	atomic_store_explicit(&shard->mark, 0, memory_order_relaxed);
}

/* ----------------------------------------------------------------------------------------------------- audit */

/* Ties the first word of a shadow to the second. */
static uint64_t digest_of(uint64_t who)
{
	return who * UINT64_C(0x9e3779b97f4a7c15) >> 48;
}

static bool is_conflict(uint64_t before, uint64_t before_epoch, uint64_t now, uint64_t epoch)
{
	if (same_thread(before, now))
		return false;
	if ((before | now) & FS_SHADOW_UNLOCKED)
		return true;
	return before & now & FS_SHADOW_LOCKED && before_epoch == epoch;
}

void fs_guard_pass(flagstore *store, fs_line slot, uint64_t what, int64_t now_ms)
{
	const struct fs_shadow *shadows = fs_shadows(store);
	uint32_t index = (uint32_t)(what >> FS_EVENT_SHARD_SHIFT) % store->constants.shards;
	uint64_t epoch = atomic_load_explicit(&store->shards[index].epoch, memory_order_relaxed) & 0xffff;
	uint64_t operation = what >> 8 & 0xf, who = fs_own_mark(store) | operation << FS_SHADOW_OPERATION_SHIFT, before, where, site;
	struct fs_shadow *shadow;
	int64_t age;

	if (!shadows)
		return;
	if (fs_thread.sections)
		who |= fs_thread.unlocked ? FS_SHADOW_UNLOCKED : FS_SHADOW_LOCKED;
	shadow = fs_writable(store, &shadows[slot % store->constants.shadows]);
	before = atomic_load_explicit(&shadow->who, memory_order_relaxed);
	where = atomic_load_explicit(&shadow->where, memory_order_relaxed);
	age = now_ms - atomic_load_explicit(&shadow->time_ms, memory_order_relaxed);
	site = atomic_load_explicit(&shadow->site, memory_order_relaxed);
	atomic_store_explicit(&shadow->who, who, memory_order_relaxed);
	atomic_store_explicit(&shadow->where, (uint64_t)slot << 32 | epoch << 16 | digest_of(who), memory_order_relaxed);
	atomic_store_explicit(&shadow->time_ms, now_ms, memory_order_relaxed);
	atomic_store_explicit(&shadow->site, (uintptr_t)fs_thread.site, memory_order_relaxed);
	/* Others write their words in between; those that do not belong together say nothing. */
	if (where >> 32 != slot || (where & 0xffff) != digest_of(before) || age < 0 || age > window_of(fs_guard_word(store)) ||
	    !is_conflict(before, where >> 16 & 0xffff, who, epoch))
		return;
	fs_conflict_record(store, &(struct fs_meeting){
		.kind = FLAGSTORE_CONFLICT_SLOT,
		.shard = index,
		.slot = slot,
		.other = (before & ((UINT64_C(1) << FS_MARK_BITS) - 1)) | (before & FS_SHADOW_UNLOCKED ? 0 : FS_MARK_LOCKED),
		.other_site = site,
		.other_operation = (uint32_t)(before >> FS_SHADOW_OPERATION_SHIFT & 0xf),
		.operation = (enum flagstore_operation)operation,
		.unlocked = (who & FS_SHADOW_UNLOCKED) != 0,
	});
}

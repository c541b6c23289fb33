/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * event.c: events that are out of the ordinary. Their time is exact. */
#include "event.h"

#include <time.h>

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void fs_event_note(const flagstore *store, enum flagstore_event_kind kind, uint32_t shard, uint64_t other, uint64_t duration_ns)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (seat)
		fs_event_write(seat, fs_thread.mark,
		               &(struct fs_news){.time_ns = now_ns(), .what = fs_event_what(kind, shard), .slot = other, .identity = duration_ns});
}

static void note_turn(const flagstore *store, enum flagstore_event_kind kind, uint64_t from, uint64_t to)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (seat)
		fs_event_write(seat, fs_thread.mark,
		               &(struct fs_news){.time_ns = now_ns(), .what = fs_event_what(kind, UINT32_MAX), .before = from, .after = to});
}

void fs_event_guard(const flagstore *store, uint64_t from, uint64_t to)
{
	note_turn(store, FLAGSTORE_GUARD, from, to);
}

void fs_event_breaker(const flagstore *store, uint64_t from, uint64_t to)
{
	note_turn(store, FLAGSTORE_BREAKER, from, to);
}

void fs_event_conflict(const flagstore *store, uint32_t shard, uint64_t other, fs_line slot)
{
	struct fs_seat *seat = fs_own_seat(store);

	if (seat)
		fs_event_write(seat, fs_thread.mark,
		               &(struct fs_news){.time_ns = now_ns(), .what = fs_event_what(FLAGSTORE_CONFLICT, shard), .slot = other, .before = slot});
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * seat.c: seats. A seat belongs to the thread whose owner word it shows. A thread takes one with a compare-and-swap of that word and gives
 * it back with a store, when it ends or when its process closes the segment. It is looked for in this order:
 * 1. one that was given back
 * 2. one that has never been used, which takes a page from the file system; when there is none the thread stands
 * 3. one whose owner is dead
 * So what a thread left that was killed can be seen for as long as there are other seats, and a segment takes no more pages for seats than
 * there ever were threads at the same time, plus those that were killed. The search goes round, so that the ring of a thread that has
 * ended stays readable for as long as possible.
 * A thread of a process that has no worker entry gets no seat: nobody could tell whether it lives.
 *
 * The threads of this process keep their seats in a list of their own, by the life of the store. The end of a thread and the closing of a
 * store may come at the same time: the thread says "leaving" and looks whether the store is still open; who closes says "not open" and
 * waits until nobody is leaving. Both are seq_cst, so that one of the two sees the other. */
#include "seat.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "event.h"
#include "point.h"
#include "sigbus.h"
#include "worker.h"

_Thread_local struct fs_thread fs_thread = {.life = UINT64_MAX};

/* A place that this thread has in a store that it wrote to. */
struct place {
	struct place *next;
	struct fs_mapping *mapping; /* the store's; never freed */
	struct fs_thread thread;
};

static pthread_key_t places_key;
static pthread_once_t places_once = PTHREAD_ONCE_INIT;
static bool places_possible;

/* -------------------------------------------------------------------------------------------- giving back */

static void give_back(struct fs_seat *seat, uint64_t owner)
{
	atomic_store_explicit(&seat->activity, FLAGSTORE_IDLE, memory_order_relaxed);
	/* release: the next owner sees the ring's end. A compare-and-swap, since a seat may have been taken for a dead one's. */
	atomic_compare_exchange_strong_explicit(&seat->owner, &owner, 0, memory_order_release, memory_order_relaxed);
}

/* Whether the store of that life is open, here and not in a process that this one was forked from; if so, done() must follow. */
static bool is_open(struct fs_mapping *mapping, uint64_t life)
{
	const struct fs_entered *entered;

	atomic_fetch_add_explicit(&mapping->leaving, 1, memory_order_seq_cst);
	entered = atomic_load_explicit(&mapping->entered, memory_order_seq_cst);
	if (entered && atomic_load_explicit(&entered->life, memory_order_relaxed) == life)
		return true;
	atomic_fetch_sub_explicit(&mapping->leaving, 1, memory_order_release);
	return false;
}

static void done(struct fs_mapping *mapping)
{
	atomic_fetch_sub_explicit(&mapping->leaving, 1, memory_order_release);
}

static void thread_ends(void *list)
{
	struct place *place = list;

	fs_conflict_forget();
	fs_thread = (struct fs_thread){.life = UINT64_MAX};
	while (place) {
		struct place *next = place->next;

		if (place->thread.seat && is_open(place->mapping, place->thread.life)) {
			give_back(place->thread.seat, place->thread.mark & FS_OWNER_MASK);
			done(place->mapping);
		}
		free(place);
		place = next;
	}
}

/* Those of stores that were closed, or are a parent process's, are forgotten. */
static struct place *without_closed(struct place *list)
{
	struct place **link = &list;

	while (*link) {
		struct place *place = *link;

		if (is_open(place->mapping, place->thread.life)) {
			done(place->mapping);
			link = &place->next;
			continue;
		}
		*link = place->next;
		free(place);
	}
	return list;
}

void fs_seats_leave(flagstore *store)
{
	uint32_t count = atomic_load_explicit(&store->seat_room, memory_order_relaxed);
	bool entered = atomic_load_explicit(&store->entered->state, memory_order_relaxed) != 0;
	struct fs_mapping *mapping = store->mapping;

	if (entered)
		fs_event_note(store, FLAGSTORE_DETACH, UINT32_MAX, 0, 0);
	atomic_store_explicit(&mapping->entered, NULL, memory_order_seq_cst);
	/* In a child that never entered, threads of the parent may seem to be leaving for ever. */
	while (entered && atomic_load_explicit(&mapping->leaving, memory_order_seq_cst))
		sched_yield();
	for (uint32_t i = 0; entered && fs_own_worker(store) && i < count; i++) {
		struct fs_seat *seat = fs_writable(store, fs_seat_at(store, i));
		uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_relaxed);

		if (owner && fs_mark_worker(owner) == fs_own_worker(store))
			give_back(seat, owner);
	}
}

void fs_seats_clear(flagstore *store)
{
	const struct fs_seat *seat;

	for (uint32_t i = 0; (seat = fs_seat_at(store, i)); i++)
		atomic_store_explicit(&((struct fs_seat *)fs_writable(store, seat))->owner, 0, memory_order_relaxed);
}

void fs_seat_vacate(flagstore *store, uint64_t mark)
{
	uint32_t number = (uint32_t)(mark >> FS_MARK_SEAT_SHIFT);
	const struct fs_seat *seat = number ? fs_seat_at(store, number - 1) : NULL;

	if (seat)
		give_back(fs_writable(store, seat), mark & FS_OWNER_MASK);
}

/* ------------------------------------------------------------------------------------------------- taking */

static bool owner_lives(const flagstore *store, uint64_t owner)
{
	uint32_t worker = fs_mark_worker(owner);

	if (!fs_worker_lives(store, worker))
		return false;
	/* A thread that ended without running its destructors. */
	return worker != fs_own_worker(store) || syscall(SYS_tgkill, getpid(), fs_mark_thread(owner), 0) == 0 || errno != ESRCH;
}

static void move_in(struct fs_seat *seat)
{
	uint64_t name[FS_NAME_WORDS] = {0};

	(void)prctl(PR_GET_NAME, name);
	atomic_store_explicit(&seat->activity, FLAGSTORE_IDLE, memory_order_relaxed);
	atomic_store_explicit(&seat->behind, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->locks, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->waits, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->waited_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->site, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->operation, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->taken_ms, fs_now_ms(), memory_order_relaxed);
	for (int i = 0; i < FS_NAME_WORDS; i++)
		atomic_store_explicit(&seat->name[i], name[i], memory_order_relaxed);
	FS_POINT("seat taken");
}

static bool take_from(flagstore *store, uint32_t index, uint64_t was, uint64_t owner)
{
	const struct fs_seat *place = fs_seat_at(store, index);
	struct fs_seat *seat;

	if (!place)
		return false;
	seat = fs_writable(store, place);
	/* acquire: pairs with the release in give_back() */
	if (!atomic_compare_exchange_strong_explicit(&seat->owner, &was, owner, memory_order_acq_rel, memory_order_relaxed))
		return false;
	move_in(seat);
	fs_thread.seat = seat;
	fs_thread.mark = owner | (uint64_t)(index + 1) << FS_MARK_SEAT_SHIFT;
	return true;
}

static uint64_t owner_of(const flagstore *store, uint32_t index)
{
	const struct fs_seat *seat = fs_seat_at(store, index);

	return seat ? atomic_load_explicit(&seat->owner, memory_order_relaxed) : UINT64_MAX;
}

static uint32_t seats_with_room(const flagstore *store)
{
	uint32_t room = atomic_load_explicit(&fs_header(store)->seat_room, memory_order_relaxed);

	return room < store->constants.seats ? room : store->constants.seats;
}

static void look_for_seat(flagstore *store, uint64_t owner)
{
	struct fs_header *header = fs_header_writable(store);
	uint32_t count = seats_with_room(store), first = atomic_fetch_add_explicit(&header->next_seat, 1, memory_order_relaxed), had = count;

	for (uint32_t i = 0; i < count; i++)
		if (!owner_of(store, (first + i) % count) && take_from(store, (first + i) % count, 0, owner))
			return;
	while (fs_room_take_seat(store)) {
		for (count = seats_with_room(store); had < count; had++)
			if (take_from(store, had, 0, owner))
				return;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint64_t was = owner_of(store, (first + i) % count);

		if (was != UINT64_MAX && (!was || !owner_lives(store, was)) && take_from(store, (first + i) % count, was, owner))
			return;
	}
	atomic_fetch_add_explicit(&header->standing, 1, memory_order_relaxed);
}

static void make_key(void)
{
	places_possible = pthread_key_create(&places_key, thread_ends) == 0;
}

void fs_seat_take(flagstore *store)
{
	uint64_t life = atomic_load_explicit(&store->entered->life, memory_order_acquire), owner;
	struct place *list, *place;
	int saved = errno;

	pthread_once(&places_once, make_key);
	list = places_possible ? without_closed(pthread_getspecific(places_key)) : NULL;
	for (place = list; place && place->thread.life != life; place = place->next)
		;
	if (place) {
		(void)pthread_setspecific(places_key, list);
		place->thread.site = fs_thread.site;
		fs_thread = place->thread;
		errno = saved;
		return;
	}
	owner = fs_own_worker(store) | (uint64_t)syscall(SYS_gettid) << FS_MARK_WORKER_BITS;
	fs_thread = (struct fs_thread){.life = life, .mark = owner, .site = fs_thread.site};
	/* Without a place to keep it in, a seat could not be given back. */
	place = places_possible ? malloc(sizeof *place) : NULL;
	if (place) {
		*place = (struct place){list, store->mapping, fs_thread};
		list = place;
	}
	if (places_possible && pthread_setspecific(places_key, list) != 0) {
		free(place);
		place = NULL;
	}
	if (place && fs_own_worker(store)) {
		look_for_seat(store, owner & FS_OWNER_MASK);
		place->thread = fs_thread;
	}
	if (fs_thread.seat && !atomic_exchange_explicit(&store->entered->seated, 1, memory_order_relaxed))
		fs_event_note(store, FLAGSTORE_ATTACH, UINT32_MAX, 0, 0);
	errno = saved;
}

/* ------------------------------------------------------------------------------------------------ reading */

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_activity_name(int activity)
{
	switch (activity) {
		FLAGSTORE_ACTIVITIES(NAME_OF)
	default:
		return "unknown";
	}
}

static void describe(const flagstore *store, uint32_t index, const struct fs_seat *place, uint64_t owner, struct flagstore_seat *seat)
{
	uint64_t activity = atomic_load_explicit(&place->activity, memory_order_relaxed), name[FS_NAME_WORDS], now = fs_monotonic_ns();
	uint64_t since = atomic_load_explicit(&place->since_ns, memory_order_relaxed);
	uint64_t behind = atomic_load_explicit(&place->behind, memory_order_relaxed);
	struct flagstore_worker worker;

	*seat = (struct flagstore_seat){
		.seat = index,
		.worker = fs_mark_worker(owner),
		.alive = owner_lives(store, owner),
		.self = fs_own_seat(store) && fs_own_seat(store) == (const void *)((uintptr_t)place + store->to_writable),
		.thread = fs_mark_thread(owner),
		.taken_ms = atomic_load_explicit(&place->taken_ms, memory_order_relaxed),
		.activity = (activity & 0xff) <= FLAGSTORE_SYNCING ? (enum flagstore_activity)(activity & 0xff) : FLAGSTORE_IDLE,
		.shard = UINT32_MAX,
		.locks = atomic_load_explicit(&place->locks, memory_order_relaxed),
		.waits = atomic_load_explicit(&place->waits, memory_order_relaxed),
		.waited_ns = atomic_load_explicit(&place->waited_ns, memory_order_relaxed),
		.events = atomic_load_explicit(&place->next, memory_order_relaxed),
	};
	if (seat->activity != FLAGSTORE_IDLE) {
		seat->shard = (uint32_t)(activity >> FS_ACTIVITY_SHARD_SHIFT);
		/* 0: not noted, of a section without the lock. */
		seat->since_ns = since && now > since ? (int64_t)(now - since) : 0;
	}
	if (seat->activity == FLAGSTORE_WAITING) {
		seat->behind_worker = fs_mark_worker(behind);
		seat->behind_thread = fs_mark_thread(behind);
	}
	for (int i = 0; i < FS_NAME_WORDS; i++)
		name[i] = atomic_load_explicit(&place->name[i], memory_order_relaxed);
	memcpy(seat->name, name, sizeof seat->name);
	seat->name[sizeof seat->name - 1] = 0;
	if (flagstore_worker(store, seat->worker, &worker) == FLAGSTORE_OK)
		seat->pid = worker.pid;
}

size_t flagstore_seats(const flagstore *store, struct flagstore_seat *seats, size_t room)
{
	const struct fs_seat *place;
	size_t count = 0;

	for (uint32_t i = 0; (place = fs_seat_at(store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&place->owner, memory_order_relaxed);

		if (!owner)
			continue;
		if (count < room)
			describe(store, i, place, owner, &seats[count]);
		count++;
	}
	return count;
}

uint32_t fs_seats_taken(const flagstore *store)
{
	const struct fs_seat *place;
	uint32_t count = 0;

	for (uint32_t i = 0; (place = fs_seat_at(store, i)); i++) {
		uint64_t owner = atomic_load_explicit(&place->owner, memory_order_relaxed);

		count += owner && owner_lives(store, owner);
	}
	return count;
}

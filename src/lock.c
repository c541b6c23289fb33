/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lock.c: a shard's writer lock. Robust: when its owner dies, the kernel says so to the next who locks it. The lock is held
 * for one write, never longer, and the mapping that it lies in is never moved while it is held: the kernel finds a dead
 * thread's locks through a list of that thread's own pointers. */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "event.h"
#include "point.h"
#include "probe.h"
#include "worker.h"

int fs_lock_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;
	int error;

	memset(mutex, 0, sizeof *mutex);
	error = pthread_mutexattr_init(&attributes);
	if (error)
		return error;
	error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	if (!error)
		error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	if (!error)
		error = pthread_mutex_init(mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return error;
}

void fs_name_holder(const flagstore *store, uint64_t holder, char who[FS_HOLDER_SIZE])
{
	struct flagstore_worker worker;
	char command[FS_PRINTABLE_SIZE];

	snprintf(who, FS_HOLDER_SIZE, "%s", "an unknown worker");
	if (flagstore_worker(store, fs_mark_worker(holder), &worker) == FLAGSTORE_OK)
		snprintf(who, FS_HOLDER_SIZE, "worker %ld (%s)", (long)worker.pid, fs_printable(worker.command, strlen(worker.command), command));
}

static int timed_out(flagstore *store, uint32_t index)
{
	const struct fs_shard *shard = &store->shards[index];
	uint64_t since = atomic_load_explicit(&shard->since_ns, memory_order_relaxed), now = fs_monotonic_ns();
	char who[FS_HOLDER_SIZE];

	fs_name_holder(store, atomic_load_explicit(&shard->holder, memory_order_relaxed), who);
	return fs_fail(FLAGSTORE_ETIMEDOUT,
	               "segment %s: shard %u stayed locked for more than %u ms; it is held by %s, since %.3f s; "
	               "see whether that process is stopped or dumping core",
	               store->path, index, store->lock_wait_ms, who, now > since ? (double)(now - since) / 1e9 : 0.0);
}

void fs_deadline_set(const flagstore *store, struct fs_deadline *deadline)
{
	if (deadline->set)
		return;
	clock_gettime(CLOCK_MONOTONIC, &deadline->at);
	deadline->at.tv_sec += store->lock_wait_ms / 1000;
	deadline->at.tv_nsec += (long)(store->lock_wait_ms % 1000) * 1000000;
	if (deadline->at.tv_nsec >= 1000000000) {
		deadline->at.tv_nsec -= 1000000000;
		deadline->at.tv_sec++;
	}
	deadline->set = true;
}

static uint64_t coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* An unlock wakes one of those who sleep. If that one is killed before it has the lock, and another one, who did not sleep, has taken
 * the lock meanwhile and knows of no sleepers, nobody wakes the others: they would sleep beside a free lock. So each looks again
 * after a short while. */
#define SLEEP_NS 20000000

static bool earlier(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

int fs_mutex_wait(pthread_mutex_t *mutex, const struct timespec *end)
{
	int error;

	do {
		struct timespec now, until;

		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!earlier(&now, end)) {
			error = pthread_mutex_trylock(mutex);
			return error == EBUSY ? ETIMEDOUT : error;
		}
		until = now;
		until.tv_nsec += SLEEP_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		error = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, earlier(&until, end) ? &until : end);
	} while (error == ETIMEDOUT);
	return error;
}

/* A wait that is longer is an event. */
#define LONG_WAIT_NS 100000

static int wait_as_seen(flagstore *store, uint32_t index, struct fs_deadline *deadline)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	struct fs_seat *seat = fs_own_seat(store);
	uint64_t behind = atomic_load_explicit(&shard->holder, memory_order_relaxed), began = fs_monotonic_ns(), took;
	int error;

	atomic_fetch_add_explicit(&shard->waits, 1, memory_order_relaxed);
	fs_deadline_set(store, deadline);
	if (seat)
		atomic_store_explicit(&seat->behind, behind, memory_order_relaxed);
	fs_seat_does(seat, FLAGSTORE_WAITING, index, began);
	error = fs_mutex_wait(&shard->mutex, &deadline->at);
	took = fs_monotonic_ns() - began;
	if (seat) {
		fs_count(&seat->waits, 1);
		fs_count(&seat->waited_ns, took);
	}
	if (took > LONG_WAIT_NS)
		fs_event_note(store, FLAGSTORE_WAIT, index, behind, took);
	FS_PROBE4(wait, store->path, index, fs_mark_worker(behind), took);
	return error;
}

static void now_held(flagstore *store, uint32_t index)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	struct fs_seat *seat = fs_own_seat(store);
	uint64_t now = coarse_ns();

	atomic_store_explicit(&shard->holder, fs_own_mark(store), memory_order_relaxed);
	atomic_store_explicit(&shard->since_ns, now, memory_order_relaxed);
	fs_count(&shard->epoch, 1);
	fs_seat_does(seat, FLAGSTORE_HOLDING, index, now);
	if (seat)
		fs_count(&seat->locks, 1);
}

int fs_lock(flagstore *store, uint32_t index, struct fs_deadline *deadline)
{
	struct fs_shard *shard = fs_shard_writable(store, index);
	int error = pthread_mutex_trylock(&shard->mutex);

	if (error == EBUSY)
		error = wait_as_seen(store, index, deadline);
	switch (error) {
	case 0:
	case EOWNERDEAD:
		now_held(store, index);
		FS_POINT("locked");
		return error ? FS_LOCKED_DEAD : FS_LOCKED;
	case ETIMEDOUT:
		fs_seat_rests(store);
		return timed_out(store, index);
	case ENOTRECOVERABLE:
	case EINVAL:
		fs_seat_rests(store);
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s: the lock of shard %u is damaged; export the flags and create the segment anew",
		               store->path, index);
	default:
		fs_seat_rests(store);
		errno = error;
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s: shard %u can't be locked", store->path, index);
	}
}

bool fs_lock_orphaned(const struct fs_shard *shard)
{
	/* The mutex's first word is the futex that the kernel marks: linux/futex.h. */
	return __atomic_load_n((const uint32_t *)&shard->mutex, __ATOMIC_RELAXED) & FUTEX_OWNER_DIED;
}

void fs_lock_recovered(struct fs_shard *shard)
{
	pthread_mutex_consistent(&shard->mutex);
}

void fs_unlock(struct fs_shard *shard)
{
	pthread_mutex_unlock(&shard->mutex);
	FS_POINT("unlocked");
}

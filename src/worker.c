/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * worker.c: worker entries. An entry belongs to whoever holds the lock on its byte of the file; that lock, not a pid, says
 * whether he lives. The search for a free entry goes round, so that a dead worker can be told for as long as possible.
 * Processes for which no entry is left work all the same; they are not listed, and their changes have no author. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "point.h"
#include "sigbus.h"

enum { FORKED = 0, ENTERED = 1, ENTERING = 2 };

static uint64_t start_ticks(void)
{
	char text[1024], *field;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = 0;
	/* Field 22; fields are counted from behind the command name, which may hold anything. */
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field + 1, NULL, 10) : 0;
}

static void read_command(char command[8 * FS_COMMAND_WORDS])
{
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t length = -1;

	memset(command, 0, 8 * FS_COMMAND_WORDS);
	if (fd >= 0) {
		length = read(fd, command, 8 * FS_COMMAND_WORDS - 1);
		close(fd);
	}
	if (length > 0)
		command[strcspn(command, "\n")] = 0;
}

static void fill_entry(struct fs_worker *entry)
{
	uint64_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed), words[FS_COMMAND_WORDS];
	char command[8 * FS_COMMAND_WORDS];

	/* Odd while the fields change. A dead owner may have left it odd. The fence pairs with the one in flagstore_worker(): who
	 * sees a new field sees the odd number. */
	generation = (generation | 1) + (generation & 1 ? 2 : 0);
	atomic_store_explicit(&entry->generation, generation, memory_order_relaxed);
	FS_POINT("worker entry opened");
	fs_release_fence();
	read_command(command);
	memcpy(words, command, sizeof words);
	atomic_store_explicit(&entry->pid, (uint64_t)getpid(), memory_order_relaxed);
	atomic_store_explicit(&entry->uid, (uint64_t)getuid(), memory_order_relaxed);
	atomic_store_explicit(&entry->start_ticks, start_ticks(), memory_order_relaxed);
	atomic_store_explicit(&entry->attached_ms, fs_now_ms(), memory_order_relaxed);
	for (size_t i = 0; i < FS_COMMAND_WORDS; i++)
		atomic_store_explicit(&entry->command[i], words[i], memory_order_relaxed);
	FS_POINT("worker entry filled");
	atomic_store_explicit(&entry->generation, generation + 1, memory_order_release);
}

/* Generations in use are even, so that half of the number tells two holders apart. */
static uint32_t make_id(uint32_t index, uint64_t generation)
{
	return (uint32_t)(index + 1) |
	       (uint32_t)(generation / 2 & ((1u << FS_WORKER_GENERATION_BITS) - 1)) << FS_WORKER_INDEX_BITS;
}

static void begin_life(flagstore *store)
{
	static _Atomic uint64_t lives;

	/* release: pairs with fs_entered() and fs_worker_see_to() */
	atomic_store_explicit(&store->entered->life, atomic_fetch_add_explicit(&lives, 1, memory_order_relaxed) + 1, memory_order_release);
	atomic_store_explicit(&store->entered->state, ENTERED, memory_order_release);
}

void fs_worker_enter(flagstore *store)
{
	struct fs_header *header = fs_header_writable(store);
	uint32_t count = store->constants.workers;
	uint32_t first = atomic_fetch_add_explicit(&header->next_worker, 1, memory_order_relaxed);

	store->writing->worker = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = (first + i) % count;
		struct fs_worker *entry = fs_writable(store, fs_worker_entry(store, index));

		if (!fs_file_lock(store->fd, F_WRLCK, FS_LOCK_WORKER + index))
			continue;
		fill_entry(entry);
		store->writing->worker = make_id(index, atomic_load_explicit(&entry->generation, memory_order_relaxed));
		break;
	}
	begin_life(store);
}

void fs_worker_leave(flagstore *store)
{
	if (fs_own_worker(store) && atomic_load_explicit(&store->entered->state, memory_order_acquire) == ENTERED)
		fs_file_lock(store->fd, F_UNLCK, FS_LOCK_WORKER + (fs_own_worker(store) & ((1u << FS_WORKER_INDEX_BITS) - 1)) - 1);
	store->writing->worker = 0;
}

void fs_worker_see_to(flagstore *store)
{
	uint32_t state = FORKED;
	int saved = errno, fd;

	/* One thread enters, the others wait for it. The word lies in memory that fork wipes, so it can't be found half set. */
	while (!atomic_compare_exchange_strong_explicit(&store->entered->state, &state, ENTERING, memory_order_acquire, memory_order_acquire)) {
		if (state == ENTERED)
			return;
		state = FORKED;
		sched_yield();
	}
	/* Threads that were ending in the parent are not here. */
	atomic_store_explicit(&store->mapping->leaving, 0, memory_order_relaxed);
	/* The inherited open file description shares its locks with the parent. */
	fd = fs_reopen(store);
	if (fd >= 0 && dup3(fd, store->fd, O_CLOEXEC) >= 0) {
		close(fd);
		fs_file_lock(store->fd, F_RDLCK, FS_LOCK_PRESENT);
		fs_worker_enter(store);
	} else {
		/* Without a description of its own the child can't hold an entry. It works, unlisted. */
		if (fd >= 0)
			close(fd);
		store->writing->worker = 0;
		begin_life(store);
	}
	errno = saved;
}

static bool read_entry(const flagstore *store, uint32_t index, struct flagstore_worker *worker)
{
	const struct fs_worker *entry = fs_worker_entry(store, index);
	uint64_t words[FS_COMMAND_WORDS], generation;

	for (int tries = 0; tries < 1000; tries++) {
		generation = atomic_load_explicit(&entry->generation, memory_order_acquire);
		if (generation == 0 || generation & 1)
			return false;
		worker->pid = (pid_t)atomic_load_explicit(&entry->pid, memory_order_relaxed);
		worker->uid = (uid_t)atomic_load_explicit(&entry->uid, memory_order_relaxed);
		worker->start_ticks = atomic_load_explicit(&entry->start_ticks, memory_order_relaxed);
		worker->attached_ms = atomic_load_explicit(&entry->attached_ms, memory_order_relaxed);
		for (size_t i = 0; i < FS_COMMAND_WORDS; i++)
			words[i] = atomic_load_explicit(&entry->command[i], memory_order_relaxed);
		/* pairs with the fence in fill_entry() */
		fs_acquire_fence();
		if (atomic_load_explicit(&entry->generation, memory_order_relaxed) != generation)
			continue;
		memcpy(worker->command, words, sizeof worker->command);
		worker->command[sizeof worker->command - 1] = 0;
		worker->id = make_id(index, generation);
		worker->self = worker->id == fs_own_worker(store);
		/* A process's own lock never conflicts with a question of its own. */
		worker->alive = worker->self || fs_file_locked(store->fd, FS_LOCK_WORKER + index);
		return true;
	}
	return false;
}

bool fs_worker_lives(const flagstore *store, uint32_t id)
{
	uint32_t index = (id & ((1u << FS_WORKER_INDEX_BITS) - 1)) - 1;
	uint64_t generation;

	if (id == 0 || index >= store->constants.workers)
		return false;
	generation = atomic_load_explicit(&fs_worker_entry(store, index)->generation, memory_order_relaxed);
	return make_id(index, generation) == id && (id == fs_own_worker(store) || fs_file_locked(store->fd, FS_LOCK_WORKER + index));
}

int flagstore_worker(const flagstore *store, uint32_t id, struct flagstore_worker *worker)
{
	uint32_t index = (id & ((1u << FS_WORKER_INDEX_BITS) - 1)) - 1;
	struct flagstore_worker found;

	if (id == 0 || index >= store->constants.workers || !read_entry(store, index, &found) || found.id != id)
		return fs_fail(FLAGSTORE_ENOTFOUND, "segment %s: writer %u is not known any more", store->path, id);
	*worker = found;
	return FLAGSTORE_OK;
}

size_t flagstore_workers(const flagstore *store, struct flagstore_worker *workers, size_t room)
{
	struct flagstore_worker found;
	size_t count = 0;

	for (uint32_t i = 0; i < store->constants.workers; i++) {
		if (!read_entry(store, i, &found))
			continue;
		if (count < room)
			workers[count] = found;
		count++;
	}
	return count;
}

uint32_t fs_workers_alive(const flagstore *store)
{
	struct flagstore_worker found;
	uint32_t alive = 0;

	for (uint32_t i = 0; i < store->constants.workers; i++)
		alive += read_entry(store, i, &found) && found.alive;
	return alive;
}

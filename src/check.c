/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * check.c: every invariant of a segment. Reads only, trusts nothing, and says what it finds.
 *
 * A shard is looked at under its lock, or, by a store that may only read, again and again until its sequence count stood still.
 * Findings of a look are kept until it is known that it counts. At the end every line of the heap must have been met exactly once, in a
 * directory, a bucket, a key cell, a redo record or on a free list; that is asked only if nothing grew meanwhile. */
#include "check.h"

#include <stdlib.h>
#include <time.h>

#include "checkfind.h"
#include "error.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

/* A shard is looked at so often, and, together with all others, for so long, until it stands still. */
#define TRIES 100
#define PATIENCE_NS 1000000000u

static void report(struct fs_check *check, flagstore_found *found, void *argument, uint64_t *findings)
{
	for (size_t i = 0; i < check->kept_count; i++) {
		const struct fs_check_finding *finding = &check->kept[i];

		if (found)
			found(&(struct flagstore_finding){.kind = finding->kind,
			                                  .shard = finding->shard,
			                                  .offset = finding->offset,
			                                  .text = finding->text,
			                                  .cause = finding->cause,
			                                  .slot = finding->slot,
			                                  .key = finding->length ? finding->key : NULL,
			                                  .length = finding->length,
			                                  .writer = finding->writer},
			      argument);
	}
	*findings += check->kept_count;
	check->kept_count = 0;
}

/* Takes back what a look that does not count has met and found. */
static void forget(struct fs_check *check)
{
	for (size_t i = 0; i < check->ranges_count; i++)
		for (uint32_t j = check->ranges[i].line; j < check->ranges[i].line + check->ranges[i].lines; j++)
			check->met[j / 8] = (uint8_t)(check->met[j / 8] & ~(1 << j % 8));
	check->kept_count = check->ranges_count = check->shard_lines = 0;
}

static int look_locked(struct fs_check *check)
{
	struct fs_deadline deadline = {.set = false};
	int error = fs_enter_locked(check->store, check->shard, &deadline);

	if (error)
		return error;
	fs_check_shard(check, &check->store->shards[check->shard]);
	fs_leave(check->store, check->shard);
	return FLAGSTORE_OK;
}

static bool look_until_still(struct fs_check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	for (int tries = 0; tries < TRIES || fs_monotonic_ns() < check->patient_until_ns; tries++) {
		uint64_t before = atomic_load_explicit(&shard->sequence, memory_order_acquire);

		if (!(before & 1)) {
			fs_check_shard(check, shard);
			fs_acquire_fence();
			if (atomic_load_explicit(&shard->sequence, memory_order_relaxed) == before)
				return true;
			forget(check);
		}
		nanosleep(&(struct timespec){0, 100000}, NULL);
	}
	return false;
}

/* A shard that nobody is at work in, though one who was may have left it in the middle of a change. */
static void look_once(struct fs_check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	if (atomic_load_explicit(&shard->sequence, memory_order_acquire) & 1)
		fs_check_find(check, "lock", &shard->sequence, "a change of the shard was begun and not ended");
	fs_check_shard(check, shard);
}

static bool abandoned(const struct fs_check *check)
{
	const struct fs_shard *shard = &check->store->shards[check->shard];

	return fs_lock_orphaned(shard) && atomic_load_explicit(&shard->sequence, memory_order_relaxed) & 1;
}

/* False when the shard never stood still. */
static bool look(struct fs_check *check, const struct fs_checking *how)
{
	if (how->still || (how->abandoned && abandoned(check))) {
		look_once(check);
		return true;
	}
	return look_until_still(check);
}

static void check_lines(struct fs_check *check)
{
	const struct fs_header *header = fs_header(check->store);
	uint64_t used = (fs_line)check->heap - check->store->heap_start;

	check->shard = UINT32_MAX;
	/* Nobody took a block meanwhile, so every block was where it was met. */
	if (atomic_load_explicit(&header->heap, memory_order_relaxed) == check->heap && used != check->lines)
		fs_check_find(check, "room", &header->heap, "%llu lines of the heap are handed out, and %llu are part of something",
		              (unsigned long long)used, (unsigned long long)check->lines);
}

int fs_check(flagstore *store, const struct fs_checking *how, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	size_t bytes = (size_t)store->max_lines / 8 + 1;
	struct fs_check check = {.store = store, .met = calloc(bytes, 1), .heap = atomic_load_explicit(&fs_header(store)->heap, memory_order_acquire),
	                         .patient_until_ns = fs_monotonic_ns() + PATIENCE_NS};
	bool locking = !how->still && fs_entered(store);
	uint32_t passed_over = 0;
	uint64_t count = 0;
	int error = check.met ? FLAGSTORE_OK : fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to check segment %s", store->path);

	if (!error)
		fs_check_header(&check);
	for (uint32_t i = 0; !error && i < store->constants.shards; i++) {
		report(&check, found, argument, &count);
		check.shard = i;
		check.shard_lines = check.ranges_count = 0;
		if (locking)
			error = look_locked(&check);
		else
			passed_over += !look(&check, how);
		check.lines += check.shard_lines;
		if (how->progress)
			how->progress(i + 1);
	}
	if (!error && !passed_over)
		check_lines(&check);
	if (!error && check.no_memory)
		error = fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory for all that is wrong with segment %s", store->path);
	if (!error)
		report(&check, found, argument, &count);
	free(check.met);
	free(check.ranges);
	free(check.kept);
	error = fs_unless_lost(store, error);
	if (error)
		return error;
	*findings = count;
	if (skipped)
		*skipped = passed_over;
	return FLAGSTORE_OK;
}

int flagstore_check(flagstore *store, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped)
{
	const struct fs_checking how = {.still = false};

	return fs_check(store, &how, found, argument, findings, skipped);
}

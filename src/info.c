/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * info.c: all about a segment, read without a lock. */
#include <stdio.h>
#include <sys/stat.h>

#include "error.h"
#include "recover.h"
#include "sigbus.h"
#include "worker.h"

#ifndef FLAGSTORE_VERSION
#define FLAGSTORE_VERSION "0.1.0"
#endif

const char *flagstore_version(void)
{
	return FLAGSTORE_VERSION;
}

static void add_bucket(const flagstore *store, uint64_t position, uint64_t end, uint64_t word, struct flagstore_info *info)
{
	struct fs_bucket_view view;

	if (!word || !fs_bucket_view(store, word, &view))
		return;
	info->buckets++;
	info->slots += view.count;
	for (uint32_t i = 0; i < view.count; i++) {
		uint64_t slot = atomic_load_explicit(&view.slots[i].word, memory_order_relaxed);
		uint32_t place = fs_hash_place(atomic_load_explicit(&view.slots[i].identity, memory_order_relaxed));

		/* As in cursor.c: half a bucket may have been counted in the one that replaces it. */
		if (place < position || place >= end)
			continue;
		info->flags += fs_word_holds(slot);
		info->true_flags += fs_word_holds(slot) && fs_word_value(slot);
	}
}

static void add_shard(const flagstore *store, const struct fs_shard *shard, struct fs_walk *walk, struct flagstore_info *info)
{
	uint64_t position = 0, word;

	info->growths += atomic_load_explicit(&shard->growths, memory_order_relaxed);
	info->recoveries += atomic_load_explicit(&shard->recoveries, memory_order_relaxed);
	walk->position = 0;
	for (; fs_next_bucket(store, fs_directory_word(shard), walk, &word); position = walk->position)
		add_bucket(store, position, walk->position, word, info);
}

int flagstore_info(const flagstore *store, struct flagstore_info *info)
{
	const struct fs_constants *constants = &store->constants;
	const struct fs_header *header = fs_header(store);
	struct fs_walk walk = {0, 0};
	struct stat file;
	int length = 0;

	if (fstat(store->fd, &file) != 0)
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be asked about its file", store->path);
	*info = (struct flagstore_info){
		.path = store->path,
		.layout = constants->layout,
		.read_only = !store->write_map,
		.laboratory = constants->laboratory,
		.retired = atomic_load_explicit(&header->state, memory_order_relaxed) == FS_RETIRED,
		.mode = file.st_mode & 07777,
		.owner = file.st_uid,
		.group = file.st_gid,
		.created_ms = constants->created_ms,
		.pid_namespace = atomic_load_explicit(&header->pid_namespace, memory_order_relaxed),
		.max_bytes = constants->max_bytes,
		.file_bytes = (uint64_t)file.st_blocks * 512,
		.used_bytes = (uint64_t)(fs_line)atomic_load_explicit(&header->heap, memory_order_relaxed) * FS_LINE,
		.shards = constants->shards,
		.lock_wait_ms = store->lock_wait_ms,
		.workers = fs_workers_alive(store),
		.workers_max = constants->workers,
		.seats = fs_seats_taken(store),
		.guard = (int)flagstore_guard(store, NULL),
		.durability = (int)store->persistence.durability,
		.conflicts = atomic_load_explicit(&header->conflicts_seen, memory_order_relaxed),
		.seats_max = constants->seats,
		.standing = atomic_load_explicit(&header->standing, memory_order_relaxed),
	};
	for (size_t i = 0; i < sizeof constants->uuid; i++)
		length += snprintf(info->uuid + length, sizeof info->uuid - (size_t)length, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		                   constants->uuid[i]);
	for (uint32_t i = 0; i < constants->shards; i++)
		add_shard(store, &store->shards[i], &walk, info);
	info->truncated = fs_lost(store) || (uint64_t)file.st_size < constants->max_bytes;
	return FLAGSTORE_OK;
}

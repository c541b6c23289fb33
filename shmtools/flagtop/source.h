/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * source.h: what flagtop reads of a segment by the library's inner names, because the public API does not tell it: the counters of
 * shards and rings, keys of slots, and a count of all slots. Everything is read through the read-only mapping, without a lock, and
 * checked by the library's own means; nothing is written. */
#ifndef SOURCE_H
#define SOURCE_H

#include <flagstore.h>

/* A shard's counters as they are now. */
struct source_shard {
	uint64_t locks;         /* times that its lock was taken */
	uint64_t waits;         /* times that a writer found the lock taken */
	uint64_t growths;
	uint64_t recoveries;
	uint32_t live;          /* flags */
	bool held;              /* the lock is taken at this moment */
	bool orphaned;          /* its holder died, and nobody has locked it since */
	uint32_t holder_worker; /* who locked it last */
	pid_t holder_thread;
	int64_t held_ns;        /* for how long; 0 when it is not held */
};

void source_shard(const flagstore *store, uint32_t index, struct source_shard *shard);

/* The number of events that were ever written to the ring of this seat, whosever it was; false: no such seat yet. */
bool source_seat_events(const flagstore *store, uint32_t seat, uint64_t *events);

/* What the header says; cheap, unlike flagstore_info(). */
struct source_header {
	uint64_t conflicts;
	uint64_t file_bytes, used_bytes;
	uint32_t standing;
	bool retired;   /* unlinked, by flagstore_unlink() or otherwise */
	bool truncated; /* cut short, or its memory went away */
};

int source_header(const flagstore *store, struct source_header *header);

/* The life of a flag that a change is about: its shard and this number tell it from all others. */
uint64_t source_life(const struct flagstore_event *change);

/* The key of a life that was seen in the slot at this offset; 0: the slot belongs to another one by now. key has room for
 * FLAGSTORE_KEY_MAX bytes. */
size_t source_key_at(const flagstore *store, uint64_t offset, uint64_t life, char *key);

/* The shard of a flag and its life, for one that a cursor has found. */
uint32_t source_shard_of(const flagstore *store, const char *key, size_t length);
uint64_t source_life_of(const struct flagstore_flag *flag);

#endif

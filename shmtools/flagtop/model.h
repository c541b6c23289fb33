/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * model.h: what there is to see of a segment, sampled. The segment has counts; rates are differences between two looks. Knows nothing of
 * terminals, and writes nothing into the segment.
 *
 * Between two looks model_poll() should be called some times a second: an event ring keeps 62 events, and what is overwritten before it
 * was read is only counted. All bytes of keys, names and commands are untrusted: show them by keytext_encode(). */
#ifndef MODEL_H
#define MODEL_H

#include <flagstore.h>

enum {
	MODEL_TAIL = 500,   /* events kept */
	MODEL_HOT = 200,    /* of the flags that were changed between two looks, the most changed ones */
	MODEL_CONFLICTS = 64,
	MODEL_POLL_MS = 50, /* how often to poll */
};

/* A thread of a worker; worker 0: not known. */
struct model_who {
	uint32_t worker;
	pid_t pid, thread;
	char command[32];
};

struct model_key {
	size_t length; /* 0: not known */
	char bytes[FLAGSTORE_KEY_MAX + 1];
};

struct model_shard {
	uint32_t index;
	double locks, waits;     /* a second */
	uint64_t waited_ns;      /* in the waits that ended since the last look, of those that are events (longer than 0.1 ms) */
	uint32_t live, waiters;
	bool held, orphaned;
	int64_t held_ns;
	struct model_who holder; /* if it is held, or orphaned */
};

struct model_thread {
	struct model_who who;
	bool seated;             /* false: a worker none of whose threads has written yet */
	bool alive;
	char name[16];
	enum flagstore_activity activity;
	uint32_t shard;
	int64_t since_ns;
	struct model_who behind;
	double locks, waits, changes; /* a second */
	uint64_t waited_ns;      /* since the last look */
};

struct model_hot {
	uint32_t shard;
	uint64_t life;
	struct model_key key;
	uint64_t changes;        /* since the last look */
	uint32_t first, last;    /* the flag's own counts of changes that were seen: the ones between happened too */
	struct flagstore_event event; /* the last one seen */
	struct model_who who;
};

struct model_event {
	struct flagstore_event event;
	struct model_key key;
	struct model_who who, other;
};

/* Conflicts that have kind, commands and places in the programs in common. */
struct model_group {
	struct flagstore_conflict last;
	uint64_t count;
	uint32_t records;
};

enum model_health {
	MODEL_HEALTHY,
	MODEL_BLOCKED, /* somebody has waited for a lock, or held one, for a second or longer */
	MODEL_CORRUPT, /* in the last seconds a shard that nobody changed had not as many flags as it said, or a damaged one, or the guard
	                * saw a conflict */
};

/* All that one look has seen. Arrays belong to the model and are good until its next look. */
struct frame {
	int64_t time_ms;
	double seconds;          /* since the look before */
	bool retired, truncated;
	enum model_health health;
	char reason[192];        /* untrusted bytes; empty: nothing to say */
	uint64_t flags, true_flags, dead;
	double changes, waits, locks; /* a second */
	uint64_t waited_ns;
	uint64_t growths, recoveries, conflicts; /* since creation */
	char uuid[37]; /* the segment's; another one may have its name by now */
	uint64_t new_growths, new_recoveries, new_conflicts;
	int guard;
	uint32_t workers, workers_max, seats, seats_max, standing;
	uint64_t file_bytes, used_bytes, max_bytes;
	uint64_t events_written, events_seen; /* since the look before */
	size_t shard_count, thread_count, hot_count, group_count, tail_count;
	struct model_shard *shards;
	struct model_thread *threads;
	struct model_hot *hot;
	struct model_group *groups;
	struct model_event *tail; /* oldest first */
};

struct model;

/* Takes a first look; the store must outlive the model. Returns a result of the library. */
int model_open(const flagstore *store, struct model **model);

/* Reads the event rings. Returns a result of the library: ETRUNCATED when the segment's memory went away. */
int model_poll(struct model *model);

/* Polls, and looks at everything. The frame is good until the next look. */
int model_look(struct model *model, const struct frame **frame);

const char *model_health_word(enum model_health health);

void model_close(struct model *model);

#endif

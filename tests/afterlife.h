/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * afterlife.h: what must hold after the death of a writer, asked of those who were attached before, of those who come now, of the
 * next writer, and of the checker.
 *
 *     call_witnesses(&witnesses, &scene);          makes VICTIM, a copy of the scene's segment
 *     ... a child dies while it writes there ...
 *     happened = require_recovered(&witnesses, first, &recovery);
 *     rewind_victim(&witnesses);                   VICTIM is as it was, for the next death
 *     ...
 *     dismiss_witnesses(&witnesses);
 */
#ifndef FLAGSTORE_TESTS_AFTERLIFE_H
#define FLAGSTORE_TESTS_AFTERLIFE_H

#include "operations.h"

#define VICTIM "victim"

/* Attached to VICTIM before the death. */
struct witnesses {
	const struct scene *scene;
	flagstore *reader;
	flagstore *neighbour; /* may write; a child forked from here writes with it too */
	flagstore_handle *handles[TOUCHED_MAX]; /* the reader's, of the flags that the write changes */
	const char *image; /* what VICTIM is rewound to: as it was when they were called, or another copy of it */
};

void call_witnesses(struct witnesses *witnesses, const struct scene *scene);
void dismiss_witnesses(struct witnesses *witnesses);

/* Gives VICTIM, which stays the same file, the bytes of the image. */
void rewind_victim(struct witnesses *witnesses);

/* The reader sees each flag as it was before the write or as it is after it, without waiting for anybody. */
void require_reader_unharmed(const struct witnesses *witnesses);

/* Who comes first after the death, and so puts everything right. */
enum first {
	FIRST_NEIGHBOUR, /* one who was attached before, by his next write */
	FIRST_WRITER,    /* one who attaches */
	FIRST_READER,    /* one who attaches read-only */
	FIRSTS,
};
extern const char *const first_names[FIRSTS];

/* Inserts NEXT flags, so many that every shard gets some: whoever writes next writes everywhere. */
enum { NEXT = 24 };
void write_everywhere(flagstore *store);

/* All that must hold after a death. Returns whether the write has happened. */
struct recovery {
	uint64_t recoveries; /* shards that were recovered */
	int64_t longest_us;  /* the longest call of the one who came first */
};
bool require_recovered(const struct witnesses *witnesses, enum first first, struct recovery *recovery);

#endif

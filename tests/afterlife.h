/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * afterlife.h: what must hold after the death of a writer, asked of readers that were there before, of readers that come now, of the
 * next writer, and of the checker.
 *
 *     reader = open_before(&scene, handles);       makes VICTIM, a copy of the scene's segment
 *     ... a child dies while it writes there ...
 *     require_readers_unharmed(reader, handles, &scene);
 *     happened = require_recovered(&scene, &recovery);
 *     require_handles_follow(reader, handles, &scene);
 *     close_before(reader, handles, &scene);
 */
#ifndef FLAGSTORE_TESTS_AFTERLIFE_H
#define FLAGSTORE_TESTS_AFTERLIFE_H

#include "operations.h"

#define VICTIM "victim"

/* A copy of the scene's segment, a reader of it, and the reader's handles of the flags that the write changes. */
flagstore *open_before(const struct scene *scene, flagstore_handle **handles);
void close_before(flagstore *reader, flagstore_handle **handles, const struct scene *scene);

/* They see each flag as it was before the write or as it is after it, without waiting for anybody. */
void require_readers_unharmed(const flagstore *before, flagstore_handle *const *handles, const struct scene *scene);

/* The reader's handles follow their flags wherever the recovery has put them, also those that were read in between. */
void require_handles_follow(const flagstore *before, flagstore_handle *const *handles, const struct scene *scene);

/* Inserts NEXT flags, so many that every shard gets some: whoever comes next comes everywhere. */
enum { NEXT = 24 };
void write_everywhere(flagstore *store);

/* The next writer puts everything right, and the checker finds nothing. Returns whether the write has happened. */
struct recovery {
	uint64_t recoveries; /* shards that were recovered */
	int64_t longest_us;  /* the longest insert of the next writer */
};
bool require_recovered(const struct scene *scene, struct recovery *recovery);

#endif

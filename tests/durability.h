/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durability.h: what the tests of segments that persist share: directories to persist in, what LMDB has in them, and what must hold
 * whatever happened.
 *
 * Directories on a disk are beside the temporary files ($TMPDIR); where nothing but a death is tried, they lie beside the segments, in
 * memory.
 */
#ifndef FLAGSTORE_TESTS_DURABILITY_H
#define FLAGSTORE_TESTS_DURABILITY_H

#include <lmdb.h>

#include "support.h"

enum { PATH_ROOM = 512 };

/* In place of segments_setup() and segments_teardown(): with a folder on a disk, which is gone at the end. */
int durable_setup(void **state);
int durable_teardown(void **state);

/* A path of that name, at which nothing stands any more: on the disk, or beside the segments. One of a few static places. */
const char *on_disk(const char *name);
const char *in_memory(const char *name);

/* From here on in a child that is another user: segments, and what on_disk() names, are in this folder. */
int durable_move(const char *folder);

/* With all that is in it; nothing at all is fine. */
void remove_tree(const char *path);

/* Options of a segment of 64 MiB that persists there. */
struct flagstore_options persisting(const char *directory, uint32_t durability);

/* A new one; nobody lends a thread if flags say so. */
flagstore *fresh_durable(const char *name, const char *directory, uint32_t durability, uint32_t flags);

struct flagstore_persistence persistence(const flagstore *store);

/* What LMDB has: 1 true, 0 false, -1 nothing; and how many flags. */
int saved(const char *directory, const char *key);
uint64_t saved_flags(const char *directory);

/* The same of several, in one look. */
void saved_all(const char *directory, unsigned count, const char *const *keys, int *values);

/* The same until it is so; fails after 20 seconds. */
void await_saved(const char *directory, const char *key, int value);

/* Copies data.mdb alone, as it is, into a new directory: for looks by nobody who is in the first. */
void copy_saved(const char *from, const char *to);

/* Waits until the breaker is in that state. */
void await_breaker(const flagstore *store, int state, int limit_ms);

/* Everything is in LMDB that is in the table, and nothing else; and nothing is wrong with the segment. */
void require_in_step(flagstore *store);

/* The numbers of findings of flagstore_verify(). */
struct flagstore_verification verify(flagstore *store, enum flagstore_verify what);

/* An environment opened as by a foreign program; in a process of its own. */
MDB_env *foreign_open(const char *directory);
MDB_txn *foreign_begin(MDB_env *env, unsigned flags, MDB_dbi *flags_of);

/* Only the tests whose names fit $ONLY, a pattern, if there is one. */
void choose_tests(void);

/* How long a soak lasts that $SOAK says; otherwise so long. */
int soak_ms(int otherwise);

#endif

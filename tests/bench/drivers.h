/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * drivers.h: the peers, each behind a program of its own that does what a line tells it (driver.h). */
#ifndef DRIVERS_H
#define DRIVERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Every peer: its name, a short title for a table's column, the packages that it is built with, whether other workers may use it at
 * the same time. */
#define PEERS(X)                                                                                                       \
	X(FLAGSTORE, "flagstore", "FLAGSTORE", "", true)                                                                   \
	X(ABSL, "absl", "ABSL", "g++ libabsl-dev", false)                                                                  \
	X(ABSL_MUTEX, "absl-mutex", "ABSL-MX", "g++ libabsl-dev", true)                                                    \
	X(CK, "ck", "CK", "libck-dev", true)                                                                               \
	X(URCU, "urcu", "URCU", "liburcu-dev", true)                                                                       \
	X(TBB, "tbb", "TBB", "g++ libtbb-dev", true)                                                                       \
	X(GO_RWMUTEX, "go-rwmutex", "GO-RW", "golang-go", true)                                                            \
	X(GO_SYNCMAP, "go-syncmap", "GO-SYNC", "golang-go", true)                                                          \
	X(GLIB, "glib", "GLIB", "libglib2.0-dev", true)                                                                    \
	X(BOOST, "boost", "BOOST", "g++ libboost-dev", true)                                                               \
	X(TDB, "tdb", "TDB", "libtdb-dev", true)                                                                           \
	X(LMDB, "lmdb", "LMDB", "liblmdb-dev", true)                                                                       \
	X(REDIS, "redis", "REDIS", "redis-server libhiredis-dev", true)                                                    \
	X(MEMCACHED, "memcached", "MEMC", "memcached libmemcached-dev", true)

enum peer_number {
#define PEER_NUMBER(name, word, title, packages, concurrent) PEER_##name,
	PEERS(PEER_NUMBER)
#undef PEER_NUMBER
	PEER_COUNT,
};

extern const struct peer_entry {
	const char *name, *title, *packages;
	bool concurrent;
} peer_entries[PEER_COUNT];

struct driver {
	bool wanted;
	bool running;
	pid_t pid;
	FILE *orders, *answers;
	json_t *introduction; /* what it has said about itself when it last started; NULL: it never did */
};

/* Whether its program has been built. */
bool driver_built(enum peer_number peer);

/* Starts it on a file of keys, with a new directory of its own below `directory`. Returns false after saying why it does not run. */
bool driver_start(struct driver *driver, enum peer_number peer, const char *keys, const char *directory);

/* Gives it one work to do. NULL after saying why there is no answer; it does not run any more then. */
json_t *driver_do(struct driver *driver, enum peer_number peer, const char *work, unsigned milliseconds);

/* Lets it end, and its directory vanish. */
void driver_stop(struct driver *driver, enum peer_number peer, const char *directory);

#endif

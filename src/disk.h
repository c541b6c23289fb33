/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * disk.h: flags in an LMDB environment, whose records flagstore(5) describes. Nothing else of the library knows LMDB.
 *
 * An environment is open once in a process, however many stores use it, and is never used across a fork: a child opens it anew. All
 * transactions of one environment in one process come one after the other. */
#ifndef FS_DISK_H
#define FS_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fs_disk;

/* A transaction; and what it stands at, when it is walked through. */
struct fs_disk_use {
	struct fs_disk *disk;
	void *transaction, *cursor;
	bool writes;
};

/* A flag's record. */
struct fs_saved {
	bool value;
	uint32_t changes;
	int64_t changed_ms;
};

/* What the records are of. */
struct fs_disk_meta {
	bool exists;
	uint8_t uuid[16];  /* of the segment that wrote last */
	uint64_t position; /* of its journal: all changes before it are here */
	int64_t time_ms;   /* when, since 1970 */
	char path[PATH_MAX]; /* of that segment */
};

enum fs_disk_form {
	FS_DISK_DIRECTORY, /* one that a segment persists in */
	FS_DISK_FILE,      /* a backup */
};

/* Opens it. create: what does not exist is made, with that mode. Errors: EPERSIST, ENOMEMORY. */
int fs_disk_open(const char *path, enum fs_disk_form form, bool create, mode_t mode, struct fs_disk **disk);

/* In a process that did not open it, nothing is done. NULL is allowed. */
void fs_disk_close(struct fs_disk *disk);

/* Whether its file is still the one that stands at its path. */
bool fs_disk_is_there(const struct fs_disk *disk);

/* Begins a transaction, to read or to write; waits for those of other threads, and a writer for that of other processes. Ended by
 * fs_disk_commit() or fs_disk_abort(). Errors: EPERSIST. */
int fs_disk_begin(struct fs_disk *disk, bool writes, struct fs_disk_use *use);

/* Returns when all is on the disk. Whatever it returns, the transaction is over. Errors: EPERSIST, FS_DISK_AGAIN. */
int fs_disk_commit(struct fs_disk_use *use);
void fs_disk_abort(struct fs_disk_use *use);

/* What a change or a commit returns when the environment was too small, or another process has enlarged it: abort, and do all again. */
#define FS_DISK_AGAIN 1

/* Errors of all: EPERSIST, FS_DISK_AGAIN. */
int fs_disk_put(struct fs_disk_use *use, const char *key, size_t length, const struct fs_saved *saved);
int fs_disk_delete(struct fs_disk_use *use, const char *key, size_t length); /* one that does not exist, too */
int fs_disk_get(struct fs_disk_use *use, const char *key, size_t length, bool *exists, struct fs_saved *saved);
int fs_disk_read_meta(struct fs_disk_use *use, struct fs_disk_meta *meta);
int fs_disk_write_meta(struct fs_disk_use *use, const struct fs_disk_meta *meta);

/* The next flag, in the order of the keys' bytes; the first, after fs_disk_begin(). The key is valid until the next call. *exists is false at
 * the end. A record that is none is EPERSIST. */
int fs_disk_next(struct fs_disk_use *use, bool *exists, const char **key, size_t *length, struct fs_saved *saved);

/* How many flags there are; 0 when that can't be read. */
uint64_t fs_disk_count(const struct fs_disk_use *use);

/* Deletes the one that fs_disk_next() gave. */
int fs_disk_delete_here(struct fs_disk_use *use);

#endif

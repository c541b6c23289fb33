/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * checkfind.h: the parts of a check, and what they share. check.c says when a look counts. */
#ifndef FS_CHECKFIND_H
#define FS_CHECKFIND_H

#include "check.h"
#include "table.h"

struct fs_check_finding {
	const char *kind, *cause;
	uint32_t shard, slot, writer;
	uint64_t offset;
	size_t length;
	char key[FLAGSTORE_KEY_MAX + 1];
	char text[160];
};

/* Lines that are part of something. */
struct fs_check_range {
	fs_line line;
	uint32_t lines;
};

struct fs_check {
	flagstore *store;
	uint8_t *met;                  /* a bit a line: part of something */
	struct fs_check_range *ranges; /* met in this look, to be taken back if it does not count */
	size_t ranges_count, ranges_room;
	struct fs_check_finding *kept;
	size_t kept_count, kept_room;
	bool no_memory;
	uint32_t shard;             /* being looked at */
	const struct fs_slot *slot; /* being looked at, or NULL */
	uint32_t place;             /* its index in its bucket */
	const char *cause;          /* of what is found next, when more is known than its kind */
	uint64_t heap;              /* the heap word when the check began */
	uint64_t lines;             /* met */
	uint64_t shard_lines;
	uint64_t patient_until_ns;  /* CLOCK_MONOTONIC */
};

/* Notes that something is wrong at the place. */
void fs_check_find(struct fs_check *check, const char *kind, const void *place, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Notes that a block is part of something; it must not be part of anything else. False when it is, or can't be: then what is in it has
 * been looked at, or means nothing. The caller has checked that the lines exist. */
bool fs_check_meet(struct fs_check *check, fs_line line, uint32_t lines, const char *what);

/* The bytes from, up to to, are unused and 0. */
void fs_check_zero(struct fs_check *check, const char *kind, const void *from, const void *to, const char *what);

#define FS_CHECK_UNUSED(check, kind, record, member, what)                                                             \
	fs_check_zero(check, kind, (record)->member, (const char *)(record)->member + sizeof(record)->member, what)

/* checkheader.c: all that is no shard's. */
void fs_check_header(struct fs_check *check);

/* checkshard.c: all of a shard, while nothing changes in it. */
void fs_check_shard(struct fs_check *check, const struct fs_shard *shard);

#endif

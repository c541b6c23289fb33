/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * mend.h: the parts of a repair, and what they share. repair.c says in which order they come, and why. */
#ifndef FS_MEND_H
#define FS_MEND_H

#include "repair.h"
#include "table.h"

/* A flag that must be found in the end. */
struct fs_mend_noted {
	uint32_t shard;
	uint64_t offset, stamp;
	size_t length;
	bool value;
	char key[FLAGSTORE_KEY_MAX];
	unsigned char bytes[FS_LINE]; /* of the slot in which it stood */
};

struct fs_mend {
	flagstore *store;
	fs_repair_told *told;
	void *argument;
	uint8_t *met; /* a bit a line: in use, or on a free list */
	struct fs_mend_noted *noted;
	size_t noted_count, noted_room;
	uint32_t shard; /* being worked at; UINT32_MAX: none */
	fs_line end;    /* of what is in use */
	bool no_memory, not_kept;
};

/* Says what is put right at the place. */
void fs_mend_fixed(struct fs_mend *repair, const void *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says what becomes of a flag in a slot. False when what stands in the slot could not be kept: then it must stay there. */
bool fs_mend_tell_slot(struct fs_mend *repair, enum fs_repair_kind kind, const struct fs_slot *slot, const char *text);

/* Stores what is right, if something else is there, and says so. */
void fs_mend_set32(struct fs_mend *repair, const _Atomic uint32_t *word, uint32_t right, const char *what);
void fs_mend_set64(struct fs_mend *repair, const _Atomic uint64_t *word, uint64_t right, const char *what);

/* The same for bytes that are unused. */
void fs_mend_zero(struct fs_mend *repair, const void *from, const void *to, const char *what);

#define FS_MEND_ZERO(repair, record, member, what)                                                                     \
	fs_mend_zero(repair, (record)->member, (const char *)(record)->member + sizeof(record)->member, what)

/* Whether the line is in use; takes lines into use: false when one of them is already, or there is none. The caller has checked that they
 * exist. */
bool fs_mend_is_met(const struct fs_mend *repair, fs_line line);
bool fs_mend_meet(struct fs_mend *repair, fs_line line, uint32_t lines);

/* The flag that stands in the slot is to be found in the end, wherever. */
void fs_mend_note(struct fs_mend *repair, const struct fs_slot *slot, const char *key, size_t length, bool value);

/* mendheader.c: what stands before and behind the heap. */
void fs_mend_header(struct fs_mend *repair);

/* mendshard.c: a shard with its table, but for what is free; and, when no flag moves any more, its counts. */
void fs_mend_shard(struct fs_mend *repair, const struct fs_shard *shard);
void fs_mend_recount(struct fs_mend *repair, const struct fs_shard *shard);

/* mendbucket.c: a bucket that is in charge of the position, to that depth; and its counts, of which that of its flags is returned. */
void fs_mend_bucket(struct fs_mend *repair, const struct fs_shard *shard, const struct fs_bucket_view *view, uint64_t position, uint32_t depth);
uint32_t fs_mend_count(struct fs_mend *repair, const struct fs_bucket_view *view);

/* mendheap.c: what is free, when all that is in use has been met. */
void fs_mend_free_lists(struct fs_mend *repair, const struct fs_shard *shard);
void fs_mend_heap(struct fs_mend *repair);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * keypack.h: the keys that a measurement uses, in a file that every process maps: so all have the same keys in the same order, and
 * none spends time on making or finding them. In C and in C++.
 *
 * A key is a record: its length, its bits, its bytes, a NUL. Records lie one behind the other in the order of use, which is a random
 * one. So a loop reads them forwards, where the processor fetches ahead: 27 bytes a key, and no cache miss that it would have to
 * wait for. Lists:
 *
 *	load     every key once, in the order in which tables are filled
 *	access   keys in another order: blocks in which each key stands once, a block after the other so that at least 65,536 keys are
 *	         there (a processor learns a short order by heart, which real work never allows); of more than 2 million keys
 *	         some 2 million, in one block
 *	missing  keys that no table has
 *
 * The order of filling is not that of use: a table that lays down its records one after the other would be read forwards, too. */
#ifndef KEYPACK_H
#define KEYPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEYPACK_MAGIC UINT64_C(0x316b636170796566)

/* A record's bits. */
enum {
	KEYPACK_TRUE = 1,   /* the flag's value when a table is filled */
	KEYPACK_FIRST = 2,  /* WORK_MIX: the first worker flips it */
	KEYPACK_SECOND = 4, /* WORK_MIX: the second one does */
};

struct keypack_list {
	uint64_t offset; /* of the first record in the file */
	uint64_t count;  /* records */
};

struct keypack {
	uint64_t magic;
	uint64_t bytes; /* of the file */
	uint64_t block; /* records in a block of the access list */
	struct keypack_list load, access, missing;
};

struct keypack_key {
	const char *bytes; /* with a NUL behind them */
	size_t length;
	unsigned bits;
};

static inline const unsigned char *keypack_first(const struct keypack *pack, const struct keypack_list *list)
{
	return (const unsigned char *)pack + list->offset;
}

/* Reads the record and returns the next one. */
static inline const unsigned char *keypack_read(const unsigned char *record, struct keypack_key *key)
{
	key->length = record[0];
	key->bits = record[1];
	key->bytes = (const char *)record + 2;
	return record + 3 + key->length;
}

/* Maps a file for reading. NULL: errno says why not; 0 when it is no such file. */
const struct keypack *keypack_map(const char *path);
void keypack_unmap(const struct keypack *pack);

/* --------------------------------------------------------------------------------------------- making them */

/* Keys in one heap, in any order; the first `present` are for a table, the others are the missing ones. */
struct keypack_keys {
	char *heap; /* each key with a NUL behind it */
	size_t used, room;
	uint64_t *at; /* of the key in the heap */
	unsigned char *bits;
	size_t count, present, slots;
};

/* Adds one; returns false without memory. */
bool keypack_add(struct keypack_keys *keys, const char *key, size_t length, bool value);
void keypack_free(struct keypack_keys *keys);

/* Makes keys as real projects name their flags, the same ones on every machine: lengths with the quantiles of 15,753 real names (median
 * 23, p90 38, p99 56, at most 87 bytes), or all of one length (10 or more); 28 of 100 are true. Returns false without memory. */
bool keypack_invent(struct keypack_keys *keys, size_t present, size_t missing, size_t length);

/* Shuffles and writes them. Returns false with errno. */
bool keypack_write(const char *path, struct keypack_keys *keys);

#ifdef __cplusplus
}
#endif

#endif

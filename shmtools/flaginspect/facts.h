/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * facts.h: what stands in a slot, taken apart, whether it is right or not. */
#ifndef FACTS_H
#define FACTS_H

#include <jansson.h>

#include "table.h"

struct facts {
	uint64_t offset; /* in the file */
	uint64_t word, stamp, identity;
	uint8_t tag;
	size_t length;   /* of the key; 0: none can be made out */
	char key[FLAGSTORE_KEY_MAX];
	bool sound;      /* key, hash and incarnation belong together */
	struct flagstore_flag flag;
};

/* Reads a slot. One that changes meanwhile, in a live segment, is read once more. */
void facts_read(const flagstore *store, const struct fs_slot *slot, uint8_t tag, struct facts *facts);

/* "EMPTY", "LIVE", "FROZEN", "DEAD". */
const char *facts_state(const struct facts *facts);

/* {"offset": ..., "state": ..., "key": ..., ...} */
json_t *facts_json(const flagstore *store, uint32_t place, const struct facts *facts);

/* Calls visit for each bucket that the shard's directory leads to, and that exists, in the order of their hash bits. */
typedef void facts_visit(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument);
void facts_walk(const flagstore *store, uint32_t shard, facts_visit *visit, void *argument);

#endif

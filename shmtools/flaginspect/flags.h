/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flags.h: all flags of a source, by key. */
#ifndef FLAGS_H
#define FLAGS_H

#include "source.h"

struct flag {
	char *key;
	size_t length;
	uint32_t shard;
	uint64_t offset; /* of its slot */
	bool sound;
	struct flagstore_flag flag;
};

struct flags {
	struct flag *all; /* sorted by key, bytes as numbers */
	size_t count, room;
};

/* A flag that exists twice is there twice. */
void flags_read(const struct source *source, struct flags *flags);
void flags_free(struct flags *flags);

/* Below, equal to, or above 0, as the one's key comes before, is, or comes after the other's. */
int flags_compare(const struct flag *one, const struct flag *other);

#endif

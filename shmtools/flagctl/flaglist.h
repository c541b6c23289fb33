/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglist.h: flags in memory: read from files, or collected from a segment. */
#ifndef FLAGLIST_H
#define FLAGLIST_H

#include <flagstore.h>

struct flaglist_item {
	char *key; /* length bytes and a NUL */
	size_t length;
	struct flagstore_flag flag;
	const char *file; /* where it was read; the name belongs to the caller */
	size_t line;      /* 0: not known */
};

struct flaglist {
	struct flaglist_item *items;
	size_t count, room;
};

/* Adds a flag at the end and returns it. Never fails: without memory the process ends. */
struct flaglist_item *flaglist_add(struct flaglist *list, const char *key, size_t length,
                                   const struct flagstore_flag *flag);

/* Adds all flags of the segment that the filter lets through. Returns STATUS_DONE, or after printing a failure the exit
 * status: then the list has all flags that could be reached. */
int flaglist_collect(struct flaglist *list, const flagstore *store);

/* By bytes of the keys; equal keys stay in the order in which they came. */
void flaglist_sort(struct flaglist *list);

/* The first of two neighbours with the same key in a sorted list, NULL when all keys differ. */
const struct flaglist_item *flaglist_duplicate(const struct flaglist *list);

void flaglist_free(struct flaglist *list);

#endif

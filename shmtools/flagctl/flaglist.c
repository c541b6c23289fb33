/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglist.c: flags in memory. */
#include "flaglist.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "filter.h"

struct flaglist_item *flaglist_add(struct flaglist *list, const char *key, size_t length,
                                   const struct flagstore_flag *flag)
{
	struct flaglist_item *item;

	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 256;
		list->items = reallocarray(list->items, list->room, sizeof *list->items);
		if (!list->items)
			failure_memory();
	}
	item = &list->items[list->count++];
	*item = (struct flaglist_item){.key = malloc(length + 1), .length = length, .flag = *flag};
	if (!item->key)
		failure_memory();
	memcpy(item->key, key, length);
	item->key[length] = '\0';
	return item;
}

int flaglist_collect(struct flaglist *list, const flagstore *store)
{
	struct flagstore_entry entry;
	flagstore_cursor *cursor;
	int error, status = STATUS_DONE;

	error = flagstore_cursor_open(store, &cursor);
	if (error)
		return failure_of_library(error);
	while ((error = flagstore_cursor_next(cursor, &entry)) != FLAGSTORE_ENOTFOUND) {
		if (error)
			status = failure_of_library(error);
		if (error == FLAGSTORE_ECORRUPT)
			continue; /* what lies behind the damage is worth having */
		if (error)
			break;
		if (filter_matches(entry.key, entry.length))
			flaglist_add(list, entry.key, entry.length, &entry.flag);
	}
	flagstore_cursor_close(cursor);
	return status;
}

static int compare_keys(const struct flaglist_item *a, const struct flaglist_item *b)
{
	int order = memcmp(a->key, b->key, a->length < b->length ? a->length : b->length);

	if (order != 0)
		return order;
	return (a->length > b->length) - (a->length < b->length);
}

static int compare_items(const void *left, const void *right)
{
	const struct flaglist_item *a = left, *b = right;

	return compare_keys(a, b);
}

void flaglist_sort(struct flaglist *list)
{
	if (list->count > 1 && mergesort(list->items, list->count, sizeof *list->items, compare_items) != 0)
		failure_memory();
}

const struct flaglist_item *flaglist_duplicate(const struct flaglist *list)
{
	for (size_t i = 1; i < list->count; i++) {
		if (compare_keys(&list->items[i - 1], &list->items[i]) == 0)
			return &list->items[i - 1];
	}
	return NULL;
}

void flaglist_free(struct flaglist *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].key);
	free(list->items);
	*list = (struct flaglist){0};
}

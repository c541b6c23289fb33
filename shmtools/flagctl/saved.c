/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * saved.c: flags on disk. No segment is needed. */
#include "saved.h"

#include "failure.h"

struct reading {
	struct flaglist *list;
	const char *path;
};

static int add(const char *key, size_t length, bool value, void *argument)
{
	const struct reading *reading = argument;
	struct flaglist_item *item = flaglist_add(reading->list, key, length, &(struct flagstore_flag){.exists = true, .value = value});

	item->file = reading->path;
	return 0;
}

int saved_read(const char *path, struct flaglist *list)
{
	struct reading reading = {list, path};
	int error = flagstore_read_saved(path, add, &reading);

	return error ? failure(STATUS_INPUT, "%s", flagstore_detail()) : STATUS_DONE;
}

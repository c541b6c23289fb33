/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * changes.h: several changes that happen as one. */
#ifndef CHANGES_H
#define CHANGES_H

#include <flagstore.h>

#include "keytext.h"

enum change_kind {
	CHANGE_SET,
	CHANGE_TOGGLE,
	CHANGE_DELETE,
};

struct change {
	enum change_kind kind;
	bool value; /* CHANGE_SET */
	struct key key;
};

struct changes {
	struct change *items;
	size_t count, room;
};

/* Adds a change at the end, all zero, and returns it; the pointer is good until the next call. Never fails: without
 * memory the process ends. */
struct change *changes_add(struct changes *changes);

/* Makes all changes of segment name or, after printing a failure, none. Returns the exit status; *changed is the number
 * of flags that were really changed. */
int changes_apply(const struct changes *changes, const char *name, size_t *changed);

void changes_free(struct changes *changes);

#endif

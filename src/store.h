/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * store.h: what a write means for a flag in a given state; the same for a point write and for a change of a batch. */
#ifndef FS_STORE_H
#define FS_STORE_H

#include "table.h"

enum fs_rule_kind {
	FS_RULE_SET,
	FS_RULE_SET_IF_ABSENT,
	FS_RULE_TOGGLE,
	FS_RULE_COMPARE,
	FS_RULE_COMPARE_VERSION,
	FS_RULE_DELETE,
};

struct fs_rule {
	enum fs_rule_kind kind;
	bool desired;
	bool expected;    /* COMPARE, COMPARE_VERSION */
	uint64_t version; /* COMPARE_VERSION: as the public API tells it; 0: the flag must not exist */
};

enum fs_action { FS_KEEP, FS_REWRITE, FS_INSERT, FS_DELETE };

struct fs_effect {
	enum fs_action action;
	bool value; /* the flag's value afterwards */
};

/* What the rule does to a flag that exists with that word, or does not exist. Errors: ENOTFOUND, ECONFLICT, without a detail. */
int fs_rule_apply(const struct fs_rule *rule, bool exists, uint64_t word, struct fs_effect *effect);

#endif

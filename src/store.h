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
static inline int fs_rule_apply(const struct fs_rule *rule, bool exists, uint64_t word, struct fs_effect *effect)
{
	bool value = exists && fs_word_value(word);

	*effect = (struct fs_effect){FS_KEEP, value};
	switch (rule->kind) {
	case FS_RULE_SET:
		if (!exists || value != rule->desired)
			*effect = (struct fs_effect){exists ? FS_REWRITE : FS_INSERT, rule->desired};
		return FLAGSTORE_OK;
	case FS_RULE_SET_IF_ABSENT:
		if (!exists)
			*effect = (struct fs_effect){FS_INSERT, rule->desired};
		return FLAGSTORE_OK;
	case FS_RULE_TOGGLE:
		if (!exists)
			return FLAGSTORE_ENOTFOUND;
		*effect = (struct fs_effect){FS_REWRITE, !value};
		return FLAGSTORE_OK;
	case FS_RULE_COMPARE:
		if (!exists)
			return FLAGSTORE_ENOTFOUND;
		if (value != rule->expected)
			return FLAGSTORE_ECONFLICT;
		if (value != rule->desired)
			*effect = (struct fs_effect){FS_REWRITE, rule->desired};
		return FLAGSTORE_OK;
	case FS_RULE_COMPARE_VERSION:
		if (!rule->version) {
			*effect = (struct fs_effect){FS_INSERT, rule->desired};
			return exists ? FLAGSTORE_ECONFLICT : FLAGSTORE_OK;
		}
		if (!exists)
			return FLAGSTORE_ENOTFOUND;
		if (value != rule->expected || fs_word_version(word) != rule->version)
			return FLAGSTORE_ECONFLICT;
		*effect = (struct fs_effect){FS_REWRITE, rule->desired};
		return FLAGSTORE_OK;
	case FS_RULE_DELETE:
		if (!exists)
			return FLAGSTORE_ENOTFOUND;
		*effect = (struct fs_effect){FS_DELETE, false};
		return FLAGSTORE_OK;
	}
	return FLAGSTORE_EARGUMENT;
}

#endif

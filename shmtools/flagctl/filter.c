/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * filter.c: which keys a command is about. The prefix is a key's text and decoded as such; the pattern is matched
 * against a key's bytes, since the backslash has a meaning of its own in it. */
#include "filter.h"

#include <fnmatch.h>
#include <string.h>

#include "keytext.h"

const char *filter_prefix, *filter_glob;

static struct key prefix;

void filter_prepare(void)
{
	if (filter_prefix)
		prefix = keytext_operand(filter_prefix);
}

bool filter_matches(const char *key, size_t length)
{
	if (length < prefix.length || memcmp(key, prefix.bytes, prefix.length) != 0)
		return false;
	return !filter_glob || fnmatch(filter_glob, key, 0) == 0;
}

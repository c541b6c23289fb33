/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * filter.h: which keys a command is about: --prefix and --glob, both if both are given. */
#ifndef FILTER_H
#define FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

extern const char *filter_prefix, *filter_glob;

/* The rows for a command's options table. */
#define FILTER_OPTIONS                                                                                                 \
	CLI_TEXT('p', "prefix", "TEXT", &filter_prefix, "only keys that begin with TEXT"),                                 \
		CLI_TEXT('g', "glob", "PATTERN", &filter_glob, "only keys that match the shell pattern")

/* Prepares the filter from the options; bad usage ends the process. */
void filter_prepare(void);

bool filter_matches(const char *key, size_t length);

#endif

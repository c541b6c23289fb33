/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * options.h: what flagtop was asked for, parsed, and the ways of showing it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "table.h"

struct options {
	const char *segment; /* as the user named it */
	uint64_t interval_ms;
	uint64_t count;      /* frames; 0: until stopped */
	enum view view;
	size_t sort;         /* column of the view */
	bool reverse;
};

enum {
	INTERVAL_LEAST_MS = 50,
	INTERVAL_MOST_MS = 3600000,
};

/* Each shows the segment until it is stopped, and returns the exit status. */
int batch_run(const struct options *options, struct model *model);
int screen_run(const struct options *options, struct model *model);

/* The segment's memory went away, or the library failed: says so. For when the terminal is as it was before. */
int show_failure(const struct options *options, int error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * progress.c: the line on standard error that says how far a long thing has come. */
#include "progress.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define REDRAW_NS INT64_C(100000000)
#define WIPE_LINE "\r\033[K"

static struct {
	const char *what, *things;
	uint64_t total;
	int64_t drawn_ns;
	bool shown;
} line;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void progress_begin(const char *what, const char *things, uint64_t total)
{
	line.what = what;
	line.things = things;
	line.total = total;
	line.drawn_ns = 0;
	line.shown = !cli_json && total > 0 && isatty(STDERR_FILENO);
}

void progress_update(uint64_t done)
{
	int64_t now;

	if (!line.shown)
		return;
	now = now_ns();
	if (line.drawn_ns != 0 && now - line.drawn_ns < REDRAW_NS)
		return;
	line.drawn_ns = now;
	fprintf(stderr, WIPE_LINE "%s %" PRIu64 " of %" PRIu64 " %s (%.0f %%)", line.what, done, line.total, line.things,
	        100.0 * (double)done / (double)line.total);
}

void progress_end(void)
{
	if (line.shown)
		fputs(WIPE_LINE, stderr);
	line.shown = false;
}

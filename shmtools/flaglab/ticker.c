/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * ticker.c: the lines that are printed while a run goes on. */
#include "ticker.h"

#include <stdio.h>
#include <unistd.h>

#include "clock.h"

#define WIPE_LINE "\r\033[K"

static bool terminal, drawn;

static void wipe(void)
{
	if (drawn)
		fputs(WIPE_LINE, stdout);
	drawn = false;
}

void ticker_start(void)
{
	terminal = isatty(STDOUT_FILENO);
}

void ticker_begin_line(int64_t since_ns)
{
	wipe();
	printf("%6.1f s  ", (double)(clock_now() - since_ns) / (double)SECOND);
}

void ticker_end_line(bool stays)
{
	drawn = terminal && !stays;
	if (!drawn)
		putchar('\n');
	fflush(stdout);
}

void ticker_stop(void)
{
	if (drawn)
		wipe();
	else
		putchar('\n');
}

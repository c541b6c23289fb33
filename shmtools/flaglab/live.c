/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * live.c: what can be seen while a run goes on. Only reads the board. */
#include "live.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli.h"
#include "clock.h"
#include "figures.h"
#include "quantity.h"
#include "ticker.h"

static struct {
	int64_t at_ns;  /* the last line, */
	uint64_t reads; /* and the reads until then */
} view;

static uint64_t sum_of_reads(const struct lab *lab)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < lab->workers; i++)
		sum += board_all_reads(&lab->board->worker[i]);
	return sum;
}

static unsigned living_workers(const struct lab *lab)
{
	unsigned living = 0;

	for (uint32_t i = 0; i < lab->workers; i++)
		living += lab->members[i].state == CREW_WORKING;
	return living;
}

void live_begin(const struct lab *lab, uint64_t milliseconds)
{
	ticker_start();
	view.at_ns = lab->begun_ns;
	if (cli_json)
		return;
	printf("segment %s: %s flags, read by %" PRIu32 " workers for %.1f s; ", lab->name, count_text(lab->catalog.count).text,
	       lab->workers, (double)milliseconds / 1000);
	if (lab->rate)
		printf("%s of them flipped, %s flips a second\n\n", count_text(lab->catalog.flipped).text,
		       count_text(lab->rate).text);
	else
		printf("no flips\n\n");
	fflush(stdout);
}

void live_line(const struct lab *lab)
{
	uint64_t reads = sum_of_reads(lab), read_now = reads - view.reads;
	int64_t now = clock_now(), passed = now - view.at_ns;
	const struct histogram *delays = &lab->board->delays;

	view.reads = reads;
	view.at_ns = now;
	if (cli_json)
		return;
	ticker_begin_line(lab->begun_ns);
	printf("%u workers  %s reads/s  %s flips", living_workers(lab), rate_text(read_now, passed).text,
	       count_text(atomic_load(&lab->board->done)).text);
	if (histogram_count(delays))
		printf(", seen by all after %s (p50)", duration_text(histogram_quantile(delays, 0.5)).text);
	ticker_end_line(false);
}

void live_killed(const struct lab *lab, uint32_t worker)
{
	enum activity activity = (enum activity)atomic_load(&lab->board->worker[worker].activity);

	if (cli_json)
		return;
	ticker_begin_line(lab->begun_ns);
	printf("worker %" PRIu32 " (pid %d) killed by SIGKILL while %s%s", worker + 1, (int)lab->members[worker].pid,
	       activity_text(activity), activity_is_write(activity) ? " a flag" : "");
	ticker_end_line(true);
}

void live_end(void)
{
	if (!cli_json)
		ticker_stop();
}

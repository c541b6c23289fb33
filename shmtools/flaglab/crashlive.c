/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crashlive.c: what can be seen while writers are killed. */
#include "crashlive.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli.h"
#include "figures.h"
#include "quantity.h"
#include "ticker.h"

enum {
	READABLE_RATE = 10, /* kills a second */
};

static struct {
	int64_t at_ns;   /* the last line, */
	uint64_t writes; /* and the writes until then */
} view;

void crashlive_begin(const struct crash *crash, uint64_t milliseconds)
{
	const struct ledger *ledger = crash->ledger;

	ticker_start();
	view.at_ns = crash->begun_ns;
	if (cli_json)
		return;
	printf("segment %s: %s flags and %s more, changed by %" PRIu32 " writers for %.1f s; ", crash->name,
	       count_text(crash->catalog.count).text, count_text(ledger_keys(ledger)).text, ledger->posts,
	       (double)milliseconds / 1000);
	printf("%s killed a second\n\n", count_text(crash->rate).text);
	fflush(stdout);
}

void crashlive_killed(const struct crash *crash, uint32_t post, enum deed deed)
{
	if (cli_json || crash->rate > READABLE_RATE)
		return;
	ticker_begin_line(crash->begun_ns);
	printf("worker %" PRIu32 " (pid %d) killed by SIGKILL: %s", post + 1, (int)crash->members[post].pid, deed_text(deed));
	ticker_end_line(true);
}

static uint64_t longest_read(const struct ledger *ledger)
{
	uint64_t longest = 0;

	for (uint32_t i = 0; i < ledger->readers; i++) {
		for (enum window window = WINDOW_ALIVE; window < WINDOW_COUNT; window++) {
			uint64_t most = histogram_most(&ledger->reader[i].reads[window].whole);

			longest = most > longest ? most : longest;
		}
	}
	return longest;
}

static uint64_t recoveries(const struct crash *crash)
{
	struct flagstore_info info;

	return flagstore_info(crash->store, &info) == FLAGSTORE_OK ? info.recoveries - crash->recoveries_before : 0;
}

void crashlive_line(const struct crash *crash)
{
	struct ledger_total total = ledger_total(crash->ledger);
	uint64_t written = total.acknowledged - view.writes;
	int64_t now = clock_now(), passed = now - view.at_ns;

	view.writes = total.acknowledged;
	view.at_ns = now;
	if (cli_json)
		return;
	ticker_begin_line(crash->begun_ns);
	printf("%s kills  %s recoveries  %s writes/s  lost %s  longest read %s", count_text(crash_kills(crash)).text,
	       count_text(recoveries(crash)).text, rate_text(written, passed).text, count_text(total.lost).text,
	       duration_text(longest_read(crash->ledger)).text);
	ticker_end_line(false);
}

void crashlive_end(void)
{
	if (!cli_json)
		ticker_stop();
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crashreport.c: the closing tables. Only reads what the run has left. */
#include "crashreport.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "columns.h"
#include "failure.h"
#include "figures.h"
#include "output.h"
#include "quantity.h"

static const struct {
	const char *name;
	double share;
} quantiles[] = {{"p50", 0.50}, {"p99", 0.99}, {"p99.9", 0.999}};

enum {
	QUANTILES = sizeof quantiles / sizeof *quantiles,
};

/* Each line of the table of times. */
enum kind {
	KIND_READ,
	KIND_WRITE,
};

static const struct {
	const char *text, *name;
	enum kind kind;
	enum window window;
} lines[] = {
	{"reads, before all writes", "reads_quiet", KIND_READ, WINDOW_QUIET},
	{"reads, all writers alive", "reads_alive", KIND_READ, WINDOW_ALIVE},
	{"reads, a writer dead", "reads_dead", KIND_READ, WINDOW_DEAD},
	{"writes, all writers alive", "writes_alive", KIND_WRITE, WINDOW_ALIVE},
	{"writes, a writer dead", "writes_dead", KIND_WRITE, WINDOW_DEAD},
};

enum {
	LINES = sizeof lines / sizeof *lines,
};

static double seconds_of(const struct crash *crash)
{
	return (double)(crash->ended_ns - crash->begun_ns) / (double)SECOND;
}

static struct timing *timing_open(void)
{
	struct timing *timing = calloc(1, sizeof *timing);

	if (!timing)
		failure_memory();
	return timing;
}

/* Of all processes. To be freed. */
static struct timing *sum_of_times(const struct ledger *ledger, enum kind kind, enum window window)
{
	struct timing *sum = timing_open();

	for (uint32_t i = 0; kind == KIND_READ && i < ledger->readers; i++)
		timing_add_all(sum, &ledger->reader[i].reads[window]);
	for (uint32_t i = 0; kind == KIND_WRITE && i < ledger->posts; i++)
		timing_add_all(sum, &ledger->post[i].writes[window]);
	return sum;
}

/* The times from a kill to a successor at work. To be freed. */
static struct timing *sum_of_absences(const struct ledger *ledger)
{
	struct timing *sum = timing_open();

	for (uint32_t i = 0; i < ledger->posts; i++)
		histogram_add_all(&sum->whole, &ledger->post[i].away);
	return sum;
}

static int64_t clock_cost(const struct ledger *ledger)
{
	int64_t most = 0;

	for (uint32_t i = 0; i < ledger->readers; i++) {
		int64_t cost = atomic_load(&ledger->reader[i].clock_ns);

		most = cost > most ? cost : most;
	}
	return most;
}

static uint64_t busy_looks(const struct ledger *ledger)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ledger->readers; i++)
		sum += atomic_load(&ledger->reader[i].busy);
	return sum;
}

static uint64_t sum_of_posts(const struct ledger *ledger, size_t offset)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ledger->posts; i++)
		sum += atomic_load((const _Atomic uint64_t *)(const void *)((const char *)&ledger->post[i] + offset));
	return sum;
}

static uint64_t acknowledged(const struct ledger *ledger, enum deed deed)
{
	return sum_of_posts(ledger, offsetof(struct ledger_post, acknowledged) + deed * sizeof(_Atomic uint64_t));
}

static uint64_t made(const struct ledger *ledger, enum deed deed)
{
	return sum_of_posts(ledger, offsetof(struct ledger_post, made) + deed * sizeof(_Atomic uint64_t));
}

static uint64_t unmade(const struct ledger *ledger, enum deed deed)
{
	return sum_of_posts(ledger, offsetof(struct ledger_post, unmade) + deed * sizeof(_Atomic uint64_t));
}

/* Whether it can be known of a write under way if it was made. */
static bool is_own_write(enum deed deed)
{
	return deed_is_write(deed) && deed != DEED_SHARING;
}

/* ---------------------------------------------------------------------------------------------------- text */

static void print_deeds(const struct crash *crash)
{
	static const struct column layout[] = {
		{"WHILE", COLUMN_LEFT}, {"ACKNOWLEDGED", COLUMN_RIGHT}, {"KILLS", COLUMN_RIGHT},
		{"MADE", COLUMN_RIGHT}, {"NOT-MADE", COLUMN_RIGHT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);

	for (enum deed deed = 0; deed < DEED_COUNT; deed++)
		columns_row(table, deed_text(deed),
		            deed_is_write(deed) ? count_text(acknowledged(crash->ledger, deed)).text : "-",
		            count_text(crash->kills[deed]).text,
		            is_own_write(deed) ? count_text(made(crash->ledger, deed)).text : "-",
		            is_own_write(deed) ? count_text(unmade(crash->ledger, deed)).text : "-");
	columns_print(table, stdout);
	columns_close(table);
	printf("MADE, NOT-MADE: writes under way when the writer was killed\n\n");
}

static void add_line(struct columns *table, const struct ledger *ledger, size_t line)
{
	struct timing *timing = sum_of_times(ledger, lines[line].kind, lines[line].window);
	struct quantity times[QUANTILES];

	for (size_t i = 0; i < QUANTILES; i++)
		times[i] = duration_text(histogram_quantile(&timing->whole, quantiles[i].share));
	columns_row(table, lines[line].text, count_text(histogram_count(&timing->whole)).text, times[0].text, times[1].text,
	            times[2].text, duration_text(histogram_most(&timing->whole)).text, count_text(timing->interrupted).text,
	            duration_text(timing->interrupted_most).text);
	free(timing);
}

static void print_times(const struct crash *crash)
{
	static const struct column layout[] = {
		{"TIME", COLUMN_LEFT},   {"COUNT", COLUMN_RIGHT}, {"P50", COLUMN_RIGHT}, {"P99", COLUMN_RIGHT},
		{"P99.9", COLUMN_RIGHT}, {"MAX", COLUMN_RIGHT},   {"TAKEN", COLUMN_RIGHT}, {"MAX-TAKEN", COLUMN_RIGHT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);

	for (size_t i = 0; i < LINES; i++)
		add_line(table, crash->ledger, i);
	columns_print(table, stdout);
	columns_close(table);
	printf("TAKEN: calls in which the scheduler took the processor away; they are in no other column\n\n");
}

static void print_kills(const struct crash *crash, const struct crash_verdict *verdict)
{
	struct timing *absences = sum_of_absences(crash->ledger);

	figures_line("kills", "%s in %.1f s; %s times several at once, %s of a replacement at its start",
	             count_text(crash_kills(crash)).text, seconds_of(crash), count_text(crash->salvos).text,
	             count_text(crash->again).text);
	figures_line("recoveries", "%s, of shards that killed writers left locked", count_text(verdict->recoveries).text);
	if (histogram_count(&absences->whole))
		figures_line("replaced", "after p50 %s, p99 %s, max %s: attached, recovered, compared, at work",
		             duration_text(histogram_quantile(&absences->whole, 0.50)).text,
		             duration_text(histogram_quantile(&absences->whole, 0.99)).text,
		             duration_text(histogram_most(&absences->whole)).text);
	figures_line("growth", "%s buckets grown, rebuilt or split", count_text(verdict->growths).text);
	free(absences);
}

static void print_finds(const struct crash *crash, const struct crash_verdict *verdict)
{
	const struct ledger_total *total = &verdict->total;

	figures_line("acknowledged", "%s writes", count_text(total->acknowledged).text);
	if (total->refused)
		figures_line("refused", "%s writes, for lack of room or of a lock in time", count_text(total->refused).text);
	figures_line("compared", "%s flags with what they must be; %s times all of them, while nobody wrote",
	             count_text(total->audited).text, count_text(crash->pauses + 1).text);
	if (crash->missed_pauses)
		figures_line("not compared", "%s times, since a worker did not stand still",
		             count_text(crash->missed_pauses).text);
	figures_line("lost", "%s acknowledged writes", count_text(total->lost).text);
	figures_line("half batches", "%s", count_text(total->half).text);
	figures_line("wrong answers", "%s", count_text(total->wrong).text);
	figures_line("own flags", "%s damaged", count_text(verdict->damaged).text);
	if (verdict->disturbed)
		figures_line("disturbed", "%s flags, changed by somebody else", count_text(verdict->disturbed).text);
	if (crash->died)
		figures_line("died", "%zu processes that nobody had killed", crash->died);
	figures_line("check", "%s findings in the whole segment", count_text(verdict->findings).text);
}

/* Everything that is not as it must be, in one line. */
static void print_verdict(const struct crash *crash, const struct crash_verdict *verdict)
{
	const struct {
		uint64_t count;
		const char *what;
	} faults[] = {
		{verdict->total.lost, "acknowledged writes lost"}, {verdict->total.half, "half batches"},
		{verdict->total.wrong, "wrong answers"},           {verdict->damaged, "flags damaged"},
		{crash->died, "processes died"},                   {verdict->findings, "findings of the check"},
	};
	const char *separator = ": ";

	if (verdict->healthy) {
		printf("\nhealthy\n");
		return;
	}
	printf("\nNOT healthy");
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		if (faults[i].count == 0)
			continue;
		printf("%s%s %s", separator, count_text(faults[i].count).text, faults[i].what);
		separator = ", ";
	}
	putchar('\n');
}

static void print_text(const struct crash *crash, const struct crash_verdict *verdict)
{
	print_deeds(crash);
	print_times(crash);
	print_kills(crash, verdict);
	print_finds(crash, verdict);
	figures_line("clock", "%" PRId64 " ns for a look at it, taken off every time above", clock_cost(crash->ledger));
	print_verdict(crash, verdict);
}

/* ---------------------------------------------------------------------------------------------------- JSON */

static json_t *integer(uint64_t number)
{
	return json_integer((json_int_t)number);
}

static json_t *deeds_json(const struct crash *crash)
{
	json_t *list = json_array();

	for (enum deed deed = 0; deed < DEED_COUNT; deed++) {
		json_t *object = json_pack("{s:s, s:o}", "while", deed_text(deed), "kills", integer(crash->kills[deed]));

		if (deed_is_write(deed))
			json_object_set_new(object, "acknowledged", integer(acknowledged(crash->ledger, deed)));
		if (is_own_write(deed)) {
			json_object_set_new(object, "made", integer(made(crash->ledger, deed)));
			json_object_set_new(object, "not_made", integer(unmade(crash->ledger, deed)));
		}
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *histogram_json(const struct histogram *histogram)
{
	json_t *object = json_pack("{s:o}", "count", integer(histogram_count(histogram)));

	for (size_t i = 0; i < QUANTILES; i++)
		json_object_set_new(object, quantiles[i].name, integer(histogram_quantile(histogram, quantiles[i].share)));
	json_object_set_new(object, "max", integer(histogram_most(histogram)));
	return object;
}

static json_t *absences_json(const struct ledger *ledger)
{
	struct timing *absences = sum_of_absences(ledger);
	json_t *object = histogram_json(&absences->whole);

	free(absences);
	return object;
}

static json_t *times_json(const struct ledger *ledger)
{
	json_t *times = json_object();

	for (size_t i = 0; i < LINES; i++) {
		struct timing *timing = sum_of_times(ledger, lines[i].kind, lines[i].window);
		json_t *object = histogram_json(&timing->whole);

		json_object_set_new(object, "taken", integer(timing->interrupted));
		json_object_set_new(object, "max_taken", integer(timing->interrupted_most));
		json_object_set_new(times, lines[i].name, object);
		free(timing);
	}
	return times;
}

static void print_json(const struct crash *crash, const struct crash_verdict *verdict)
{
	const struct ledger *ledger = crash->ledger;
	const struct ledger_total *total = &verdict->total;
	json_t *document = json_pack("{s:s, s:f, s:I, s:I, s:I, s:I}", "segment", crash->name, "seconds", seconds_of(crash),
	                             "workers", (json_int_t)ledger->posts, "readers", (json_int_t)ledger->readers,
	                             "flags_per_worker", (json_int_t)ledger->flags, "flags", (json_int_t)crash->catalog.count);
	const struct {
		const char *name;
		uint64_t count;
	} counts[] = {
		{"kills", crash_kills(crash)},
		{"kills_of_several", crash->salvos},
		{"kills_of_replacements", crash->again},
		{"recoveries", verdict->recoveries},
		{"growths", verdict->growths},
		{"acknowledged", total->acknowledged},
		{"refused", total->refused},
		{"compared", total->audited},
		{"compared_all", crash->pauses + 1},
		{"not_compared", crash->missed_pauses},
		{"snapshots_busy", busy_looks(ledger)},
		{"lost", total->lost},
		{"half_batches", total->half},
		{"wrong_answers", total->wrong},
		{"damaged", verdict->damaged},
		{"changed_by_others", verdict->disturbed},
		{"died", crash->died},
		{"findings", verdict->findings},
		{"clock_ns", (uint64_t)clock_cost(ledger)},
	};

	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		json_object_set_new(document, counts[i].name, integer(counts[i].count));
	json_object_set_new(document, "deeds", deeds_json(crash));
	json_object_set_new(document, "times_ns", times_json(ledger));
	json_object_set_new(document, "replaced_ns", absences_json(ledger));
	json_object_set_new(document, "healthy", json_boolean(verdict->healthy));
	output_json(document);
}

void crashreport(const struct crash *crash, const struct crash_verdict *verdict)
{
	if (cli_json)
		print_json(crash, verdict);
	else
		print_text(crash, verdict);
}

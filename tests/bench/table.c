/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.c: the figures for people: a row for each workload and size, and which targets are met. */
#include <stdio.h>
#include <string.h>

#include "columns.h"
#include "quantity.h"
#include "results.h"

struct cell {
	char text[24];
};

/* Three digits. */
static struct cell number_cell(double number)
{
	struct cell cell;

	if (number < 10)
		snprintf(cell.text, sizeof cell.text, "%.2f", number);
	else if (number < 100)
		snprintf(cell.text, sizeof cell.text, "%.1f", number);
	else if (number < 1e6)
		snprintf(cell.text, sizeof cell.text, "%.0f", number);
	else
		snprintf(cell.text, sizeof cell.text, "%.3g", number);
	return cell;
}

static struct cell flags_cell(uint64_t flags)
{
	struct cell cell;

	if (flags >= 1000000 && flags % 1000000 == 0)
		snprintf(cell.text, sizeof cell.text, "%ju M", (uintmax_t)(flags / 1000000));
	else if (flags >= 1000 && flags % 1000 == 0)
		snprintf(cell.text, sizeof cell.text, "%ju k", (uintmax_t)(flags / 1000));
	else
		snprintf(cell.text, sizeof cell.text, "%ju", (uintmax_t)flags);
	return cell;
}

static bool was_measured(const struct results *results, enum peer_number peer)
{
	for (size_t size = 0; size < results->sizes; size++) {
		for (int work = 0; work < WORK_COUNT; work++) {
			if (results->series[size][work][peer].count)
				return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------------------------------------ the figures */

static const char *unit_of(enum work work)
{
	switch (work) {
	case WORK_MEMORY:
		return "bytes";
	case WORK_LONGEST:
	case WORK_PAUSE:
		return "ns";
	default:
		return "ns/op";
	}
}

static void add_row(struct columns *table, const struct results *results, size_t size, enum work work, const enum peer_number *shown,
                    size_t count)
{
	struct cell cells[PEER_COUNT] = {{""}};
	double own = results_median(results, size, work, PEER_FLAGSTORE);
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		double value = results_median(results, size, work, shown[i]);

		if (value <= 0)
			snprintf(cells[i].text, sizeof cells[i].text, "-");
		else if (shown[i] == PEER_FLAGSTORE || own <= 0)
			cells[i] = number_cell(value);
		else
			cells[i] = number_cell(value / own);
		any |= value > 0;
	}
	if (!any)
		return;
	columns_row(table, work_entries[work].title, flags_cell(results->flags[size]).text, unit_of(work), cells[0].text, cells[1].text,
	            cells[2].text, cells[3].text, cells[4].text, cells[5].text, cells[6].text, cells[7].text, cells[8].text,
	            cells[9].text, cells[10].text, cells[11].text, cells[12].text, cells[13].text);
}

static void print_figures(const struct results *results)
{
	struct column layout[3 + PEER_COUNT] = {{"WORK", COLUMN_LEFT}, {"FLAGS", COLUMN_RIGHT}, {"UNIT", COLUMN_LEFT}};
	enum peer_number shown[PEER_COUNT];
	struct columns *table;
	size_t count = 0;

	_Static_assert(PEER_COUNT == 14, "add_row() has a cell for each");
	for (int peer = 0; peer < PEER_COUNT; peer++) {
		if (!was_measured(results, (enum peer_number)peer))
			continue;
		shown[count] = (enum peer_number)peer;
		layout[3 + count++] = (struct column){peer_entries[peer].title, COLUMN_RIGHT};
	}
	table = columns_open(layout, 3 + count);
	for (int work = 0; work < WORK_COUNT; work++) {
		for (size_t size = 0; size < results->sizes; size++)
			add_row(table, results, size, (enum work)work, shown, count);
	}
	columns_print(table, stdout);
	columns_close(table);
	if (was_measured(results, PEER_FLAGSTORE))
		printf("FLAGSTORE in that unit; all others as multiples of it: 2 is twice as slow, or as large. Medians of %u rounds,\n"
		       "of half as many where a table is filled for it.\n",
		       results->rounds);
}

static void print_kinds(const struct results *results)
{
	static const char *const kinds[] = {"threads of one process, an advantage: ", "processes: "};

	for (int processes = 0; processes < 2; processes++) {
		const char *before = kinds[processes];

		for (int peer = 0; peer < PEER_COUNT; peer++) {
			json_t *introduction = results->driver[peer].introduction;

			if (!introduction || json_is_true(json_object_get(introduction, "processes")) != processes)
				continue;
			printf("%s%s %s", before, json_string_value(json_object_get(introduction, "title")),
			       json_string_value(json_object_get(introduction, "version")));
			before = ", ";
		}
		if (before != kinds[processes])
			putchar('\n');
	}
}

/* ------------------------------------------------------------------------------------------------ the targets */

static double own_median(const struct results *results, uint64_t flags, enum work work)
{
	size_t size;

	return results_size(results, flags, &size) ? results_median(results, size, work, PEER_FLAGSTORE) : 0;
}

/* flagstore's median divided by the peer's. */
static double against_peer(const struct results *results, uint64_t flags, enum work work, enum peer_number peer)
{
	size_t size;
	double other = results_size(results, flags, &size) ? results_median(results, size, work, peer) : 0;

	return other > 0 ? own_median(results, flags, work) / other : 0;
}

/* The fastest of those that several workers may use. */
static double against_best(const struct results *results, uint64_t flags, enum work work, char *name, size_t room)
{
	double best = 0;

	for (int peer = 0; peer < PEER_COUNT; peer++) {
		double ratio = against_peer(results, flags, work, (enum peer_number)peer);

		if (peer == PEER_FLAGSTORE || !peer_entries[peer].concurrent || ratio <= best)
			continue;
		best = ratio;
		snprintf(name, room, "%s", peer_entries[peer].name);
	}
	return best;
}

/* The worst of all sizes: 1 or less says that get_many is never slower than single gets. */
static double many_against_gets(const struct results *results)
{
	double worst = 0;

	for (size_t i = 0; i < results->sizes; i++) {
		for (enum work work = WORK_MANY16; work <= WORK_MANY32; work++) {
			double ratio = results_compared(results, i, work, PEER_FLAGSTORE);

			worst = ratio > worst ? ratio : worst;
		}
	}
	return worst;
}

/* How much dearer a get is in a large table than in a small one. */
static double growth_of(const struct results *results, enum peer_number peer)
{
	size_t small, large;

	if (!results_size(results, 1000, &small) || !results_size(results, 10000000, &large))
		return 0;
	small = results_median(results, small, WORK_GET, peer) > 0 ? small : 0;
	return results_median(results, small, WORK_GET, peer) > 0
	           ? results_median(results, large, WORK_GET, peer) / results_median(results, small, WORK_GET, peer)
	           : 0;
}

enum measure {
	OWN,        /* flagstore's own median */
	PEER,       /* divided by a peer's */
	BEST,       /* divided by that of the fastest concurrent peer */
	MANY,       /* many_against_gets() */
	OVER_GET,   /* what it takes longer than a get */
	GROWTH,     /* growth_of(), divided by absl's */
	UNDISTURBED, /* a share of the undisturbed throughput */
};

static const struct target {
	const char *name;
	enum measure measure;
	enum work work;
	uint64_t flags;
	enum peer_number peer;
	double limit;
} targets[] = {
	{"get hit", OWN, WORK_GET, 1000, PEER_FLAGSTORE, 12},
	{"get hit", PEER, WORK_GET, 1000, PEER_ABSL, 1},
	{"get hit", BEST, WORK_GET, 1000, PEER_FLAGSTORE, 0.6},
	{"get hit", PEER, WORK_GET, 100000, PEER_ABSL, 0.75},
	{"get hit", PEER, WORK_GET, 1000000, PEER_ABSL, 0.5},
	{"get miss", PEER, WORK_MISS, 1000000, PEER_ABSL, 0.9},
	{"get_many, 32 a call", OWN, WORK_MANY32, 1000000, PEER_FLAGSTORE, 40},
	{"get_many, any size", MANY, WORK_MANY32, 0, PEER_FLAGSTORE, 1},
	{"dependent get hit", PEER, WORK_DEPENDENT, 1000000, PEER_ABSL, 0.65},
	{"99 % get, 1 % flip", PEER, WORK_MIX, 1000000, PEER_GO_RWMUTEX, 0.3},
	{"handle read, one flag", OWN, WORK_HOT, 1000, PEER_FLAGSTORE, 0.6},
	{"flip", OWN, WORK_FLIP, 1000, PEER_FLAGSTORE, 18},
	{"flip", BEST, WORK_FLIP, 1000, PEER_FLAGSTORE, 1},
	{"set to the same value", OVER_GET, WORK_SAME, 1000, PEER_FLAGSTORE, 1},
	{"64 workers set and get", OWN, WORK_EXPERIMENT, 10000, PEER_FLAGSTORE, 12},
	{"insert, from empty", OWN, WORK_INSERT, 1000000, PEER_FLAGSTORE, 350},
	{"longest single insert", OWN, WORK_LONGEST, 1000000, PEER_FLAGSTORE, 200000},
	{"memory a flag", OWN, WORK_MEMORY, 1000000, PEER_FLAGSTORE, 100},
	{"growth of get, 1 k to 10 M", GROWTH, WORK_GET, 0, PEER_ABSL, 1},
	{"get while one is flipped", UNDISTURBED, WORK_DISTURBED, 1000, PEER_FLAGSTORE, 0.5},
	{"get of the flipped flag", UNDISTURBED, WORK_SAME_LINE, 1000, PEER_FLAGSTORE, 0.5},
};

size_t targets_count(void)
{
	return sizeof targets / sizeof *targets;
}

static double measure(const struct results *results, const struct target *target, struct target_outcome *outcome)
{
	double compared;
	size_t size;

	switch (target->measure) {
	case OWN:
		outcome->unit = unit_of(target->work);
		return own_median(results, target->flags, target->work);
	case PEER:
		snprintf(outcome->against, sizeof outcome->against, "%s", peer_entries[target->peer].name);
		return against_peer(results, target->flags, target->work, target->peer);
	case BEST:
		return against_best(results, target->flags, target->work, outcome->against, sizeof outcome->against);
	case MANY:
		snprintf(outcome->against, sizeof outcome->against, "single gets of such keys");
		return many_against_gets(results);
	case OVER_GET:
		outcome->unit = "ns";
		snprintf(outcome->against, sizeof outcome->against, "more than its own get");
		if (own_median(results, target->flags, target->work) <= 0 || own_median(results, target->flags, WORK_GET) <= 0)
			return 0;
		return own_median(results, target->flags, target->work) - own_median(results, target->flags, WORK_GET);
	case GROWTH:
		snprintf(outcome->against, sizeof outcome->against, "%s's growth", peer_entries[target->peer].name);
		return growth_of(results, target->peer) > 0 ? growth_of(results, PEER_FLAGSTORE) / growth_of(results, target->peer) : 0;
	case UNDISTURBED:
		outcome->at_least = true;
		snprintf(outcome->against, sizeof outcome->against, "its own undisturbed throughput");
		compared = results_size(results, target->flags, &size) ? results_compared(results, size, target->work, PEER_FLAGSTORE) : 0;
		return compared > 0 ? 1 / compared : 0;
	}
	return 0;
}

struct target_outcome target_look(const struct results *results, size_t number)
{
	const struct target *target = &targets[number];
	struct target_outcome outcome = {.name = target->name, .limit = target->limit, .unit = "times"};

	outcome.value = measure(results, target, &outcome);
	outcome.known = outcome.value != 0;
	outcome.met = outcome.known && (outcome.at_least ? outcome.value >= outcome.limit : outcome.value <= outcome.limit);
	return outcome;
}

static void print_targets(const struct results *results)
{
	static const struct column layout[] = {
		{"TARGET", COLUMN_LEFT}, {"FLAGS", COLUMN_RIGHT}, {"WANTED", COLUMN_RIGHT}, {"SEEN", COLUMN_RIGHT},
		{"", COLUMN_LEFT},       {"OF", COLUMN_LEFT},     {"", COLUMN_LEFT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);
	size_t known = 0, met = 0;

	for (size_t i = 0; i < targets_count(); i++) {
		struct target_outcome outcome = target_look(results, i);
		struct cell flags = flags_cell(targets[i].flags);
		char wanted[40];

		if (!outcome.known)
			continue;
		known++;
		met += outcome.met;
		snprintf(wanted, sizeof wanted, "%s %s", outcome.at_least ? ">=" : "<=", number_cell(outcome.limit).text);
		columns_row(table, outcome.name, targets[i].flags ? flags.text : "", wanted,
		            number_cell(outcome.value).text, outcome.unit, outcome.against, outcome.met ? "met" : "missed");
	}
	if (known) {
		putchar('\n');
		columns_print(table, stdout);
		printf("%zu of %zu targets met\n", met, known);
	}
	columns_close(table);
}

void table_print(const struct results *results)
{
	print_figures(results);
	print_kinds(results);
	print_targets(results);
}

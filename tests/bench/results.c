/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * results.c: figures, their medians, and all of it as JSON. */
#include "results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

const struct work_entry work_entries[WORK_COUNT] = {
#define WORK_ENTRY(name, word, title) [WORK_##name] = {word, title},
	WORKLOADS(WORK_ENTRY)
#undef WORK_ENTRY
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
	double sorted[ROUNDS_MAX];

	if (count == 0)
		return 0;
	memcpy(sorted, values, count * sizeof *values);
	qsort(sorted, count, sizeof *sorted, compare);
	return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

void results_add(struct results *results, size_t size, enum work work, enum peer_number peer, json_t *answer)
{
	struct series *series = &results->series[size][work][peer];
	bool possible = json_is_true(json_object_get(answer, "possible"));

	series->wrong += (uint64_t)json_integer_value(json_object_get(answer, "wrong"));
	if (possible && series->count < ROUNDS_MAX) {
		json_t *undisturbed = json_object_get(answer, "undisturbed"), *one_by_one = json_object_get(answer, "one_by_one");

		series->compared[series->count] = json_number_value(undisturbed ? undisturbed : one_by_one);
		series->values[series->count++] = json_number_value(json_object_get(answer, "value"));
	}
	json_decref(series->last);
	series->last = answer;
}

double results_median(const struct results *results, size_t size, enum work work, enum peer_number peer)
{
	const struct series *series = &results->series[size][work][peer];

	return median(series->values, series->count);
}

double results_compared(const struct results *results, size_t size, enum work work, enum peer_number peer)
{
	const struct series *series = &results->series[size][work][peer];
	double ratios[ROUNDS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < series->count; i++) {
		if (series->compared[i] > 0)
			ratios[count++] = series->values[i] / series->compared[i];
	}
	return median(ratios, count);
}

bool results_size(const struct results *results, uint64_t flags, size_t *size)
{
	for (*size = 0; *size < results->sizes; ++*size) {
		if (results->flags[*size] == flags)
			return true;
	}
	return false;
}

uint64_t results_wrong(const struct results *results)
{
	uint64_t wrong = 0;

	for (size_t size = 0; size < results->sizes; size++) {
		for (int work = 0; work < WORK_COUNT; work++) {
			for (int peer = 0; peer < PEER_COUNT; peer++)
				wrong += results->series[size][work][peer].wrong;
		}
	}
	return wrong;
}

/* ---------------------------------------------------------------------------------------------------- JSON */

static json_t *machine_json(void)
{
	struct utsname names;
	char line[256], processor[256] = "";
	FILE *file = fopen("/proc/cpuinfo", "re");

	while (file && !*processor && fgets(line, sizeof line, file))
		sscanf(line, "model name : %255[^\n]", processor);
	if (file)
		fclose(file);
	uname(&names);
	return json_pack("{s:s, s:I, s:s, s:s}", "processor", processor, "processors", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
	                 "kernel", names.release, "machine", names.machine);
}

static json_t *peers_json(const struct results *results)
{
	json_t *peers = json_array();

	for (int peer = 0; peer < PEER_COUNT; peer++) {
		json_t *introduction = results->driver[peer].introduction;

		json_array_append_new(peers, introduction ? json_incref(introduction)
		                                          : json_pack("{s:s, s:s, s:s}", "peer", peer_entries[peer].name, "missing",
		                                                      results->driver[peer].wanted ? "not built" : "not chosen",
		                                                      "packages", peer_entries[peer].packages));
	}
	return peers;
}

static json_t *series_json(const struct results *results, size_t size, enum work work, enum peer_number peer)
{
	const struct series *series = &results->series[size][work][peer];
	double value = results_median(results, size, work, peer), own = results_median(results, size, work, PEER_FLAGSTORE);
	double compared = results_compared(results, size, work, peer);
	json_t *object, *rounds = json_array();

	for (unsigned i = 0; i < series->count; i++)
		json_array_append_new(rounds, json_real(series->values[i]));
	object = json_pack("{s:s, s:I, s:s, s:f, s:o, s:I}", "workload", work_entries[work].name, "flags",
	                   (json_int_t)results->flags[size], "peer", peer_entries[peer].name, "median", value, "rounds", rounds,
	                   "wrong", (json_int_t)series->wrong);
	if (own > 0 && peer != PEER_FLAGSTORE)
		json_object_set_new(object, "ratio", json_real(value / own));
	if (compared > 0 && (work == WORK_DISTURBED || work == WORK_SAME_LINE))
		json_object_set_new(object, "of_undisturbed", json_real(1 / compared));
	else if (compared > 0)
		json_object_set_new(object, "of_one_by_one", json_real(compared));
	json_object_set(object, "last", series->last);
	return object;
}

static json_t *figures_json(const struct results *results)
{
	json_t *figures = json_array();

	for (size_t size = 0; size < results->sizes; size++) {
		for (int work = 0; work < WORK_COUNT; work++) {
			for (int peer = 0; peer < PEER_COUNT; peer++) {
				if (results->series[size][work][peer].count)
					json_array_append_new(figures, series_json(results, size, (enum work)work, (enum peer_number)peer));
			}
		}
	}
	return figures;
}

static json_t *targets_json(const struct results *results)
{
	json_t *targets = json_array();

	for (size_t i = 0; i < targets_count(); i++) {
		struct target_outcome outcome = target_look(results, i);

		if (outcome.known)
			json_array_append_new(targets, json_pack("{s:s, s:f, s:s, s:f, s:b}", "target", outcome.name, "value",
			                                         outcome.value, "unit", outcome.unit,
			                                         outcome.at_least ? "at_least" : "at_most", outcome.limit, "met",
			                                         (int)outcome.met));
	}
	return targets;
}

json_t *results_json(const struct results *results)
{
	return json_pack("{s:I, s:o, s:i, s:i, s:o, s:o, s:o}", "time", (json_int_t)time(NULL), "machine", machine_json(), "rounds",
	                 (int)results->rounds, "milliseconds", (int)results->milliseconds, "peers", peers_json(results), "figures",
	                 figures_json(results), "targets", targets_json(results));
}

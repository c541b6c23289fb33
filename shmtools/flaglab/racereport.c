/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * racereport.c: what broke, side by side. */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"
#include "columns.h"
#include "output.h"
#include "quantity.h"
#include "race.h"

static const struct {
	const char *word, *text;
} damages[] = {
#define RACE_DAMAGE_NAMES(name, word, text) {word, text},
	RACE_DAMAGES(RACE_DAMAGE_NAMES)
#undef RACE_DAMAGE_NAMES
};

static const char *const stages[RACE_STAGES] = {"before", "during", "after"};

uint64_t race_sum(const struct race_result *result, enum race_damage damage)
{
	uint64_t sum = 0;

	for (int stage = 0; stage < RACE_STAGES; stage++)
		sum += result->damage[stage][damage];
	return sum;
}

static uint64_t sum_of_stage(const struct race_result *result, int stage)
{
	uint64_t sum = 0;

	for (int damage = 0; damage < RACE_DAMAGES_COUNT; damage++)
		sum += result->damage[stage][damage];
	return sum;
}

/* ----------------------------------------------------------------------------------------------------- JSON */

static json_t *json_of_damage(const struct race_result *result, int damage)
{
	json_t *examples = json_array(), *by_stage = json_object();

	for (int i = 0; i < RACE_EXAMPLES; i++)
		if (*result->examples.example[damage][i])
			json_array_append_new(examples, output_text(result->examples.example[damage][i]));
	for (int stage = 0; stage < RACE_STAGES; stage++)
		json_object_set_new(by_stage, stages[stage], json_integer((json_int_t)result->damage[stage][damage]));
	return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)race_sum(result, (enum race_damage)damage), "growth", by_stage, "examples",
	                 examples);
}

static json_t *json_of_result(const struct race_result *result)
{
	json_t *broken = json_object();

	for (int damage = 0; damage < RACE_DAMAGES_COUNT; damage++)
		json_object_set_new(broken, damages[damage].word, json_of_damage(result, damage));
	return json_pack("{s:I, s:o}", "operations", (json_int_t)result->operations, "broken", broken);
}

static json_t *json_of_guard(const struct race_guard *guard)
{
	json_t *first = guard->seen ? json_pack("{s:f, s:I}", "ms", guard->ms, "operations", (json_int_t)guard->operations) : json_null();

	return json_pack("{s:s, s:o, s:I, s:I, s:I}", "guard", flagstore_guard_name(guard->mode), "first_conflict", first, "conflicts",
	                 (json_int_t)guard->conflicts, "aborted", (json_int_t)guard->aborted, "findings", (json_int_t)guard->damage);
}

static void print_json(const char *name, const struct race_result results[2], const struct race_guard *guards, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_of_guard(&guards[i]));
	output_json(json_pack("{s:o, s:o, s:o, s:o}", "segment", output_text(name), "without_locking", json_of_result(&results[0]),
	                      "with_locking", json_of_result(&results[1]), "guards", list));
}

/* -------------------------------------------------------------------------------------------------- tables */

static void print_broken(const struct race_result results[2])
{
	struct columns *columns = columns_open((const struct column[]){{"WHAT BROKE", COLUMN_LEFT},
	                                                               {"WITHOUT LOCKING", COLUMN_RIGHT},
	                                                               {"BEFORE GROWTH", COLUMN_RIGHT},
	                                                               {"DURING", COLUMN_RIGHT},
	                                                               {"AFTER", COLUMN_RIGHT},
	                                                               {"WITH LOCKING", COLUMN_RIGHT}},
	                                       6);

	for (int damage = 0; damage < RACE_DAMAGES_COUNT; damage++)
		columns_row(columns, damages[damage].text, count_text(race_sum(&results[0], (enum race_damage)damage)).text,
		            count_text(results[0].damage[RACE_BEFORE][damage]).text, count_text(results[0].damage[RACE_DURING][damage]).text,
		            count_text(results[0].damage[RACE_AFTER][damage]).text,
		            count_text(race_sum(&results[1], (enum race_damage)damage)).text);
	columns_row(columns, "all", count_text(sum_of_stage(&results[0], 0) + sum_of_stage(&results[0], 1) + sum_of_stage(&results[0], 2)).text,
	            count_text(sum_of_stage(&results[0], RACE_BEFORE)).text, count_text(sum_of_stage(&results[0], RACE_DURING)).text,
	            count_text(sum_of_stage(&results[0], RACE_AFTER)).text,
	            count_text(sum_of_stage(&results[1], 0) + sum_of_stage(&results[1], 1) + sum_of_stage(&results[1], 2)).text);
	columns_row(columns, "writes", count_text(results[0].operations).text, "", "", "", count_text(results[1].operations).text);
	columns_print(columns, stdout);
	columns_close(columns);
}

static void print_examples(const struct race_result *result)
{
	for (int damage = 0; damage < RACE_DAMAGES_COUNT; damage++)
		for (int i = 0; i < RACE_EXAMPLES; i++)
			if (*result->examples.example[damage][i])
				printf("%s: %s\n", damages[damage].text, result->examples.example[damage][i]);
}

static void print_guards(const struct race_guard *guards, size_t count)
{
	struct columns *columns = columns_open((const struct column[]){{"GUARD", COLUMN_LEFT},
	                                                               {"FIRST CONFLICT", COLUMN_RIGHT},
	                                                               {"WRITES UNTIL THEN", COLUMN_RIGHT},
	                                                               {"CONFLICTS", COLUMN_RIGHT},
	                                                               {"ABORTED", COLUMN_RIGHT},
	                                                               {"FINDINGS", COLUMN_RIGHT}},
	                                       6);

	for (size_t i = 0; i < count; i++) {
		const struct race_guard *guard = &guards[i];
		char after[40] = "none";

		if (guard->seen)
			snprintf(after, sizeof after, "%.2f ms", guard->ms);
		columns_row(columns, flagstore_guard_name(guard->mode), after, guard->seen ? count_text(guard->operations).text : "-",
		            count_text(guard->conflicts).text, count_text(guard->aborted).text, count_text(guard->damage).text);
	}
	columns_print(columns, stdout);
	columns_close(columns);
}

void race_report(const char *name, const struct race_result results[2], const struct race_guard *guards, size_t count)
{
	if (cli_json) {
		print_json(name, results, guards, count);
		return;
	}
	print_broken(results);
	printf("\n");
	print_examples(&results[0]);
	printf("\n");
	print_guards(guards, count);
}

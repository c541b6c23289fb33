/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * hash.c: whether the hash of keys is one: names that differ in little, or only in their end, must be spread as if by chance over
 * everything that the hash decides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "key.h"

enum { NAMES = 100000, SEED = 20 };

static uint64_t hash_of(uint64_t seed, const char *key)
{
	return fs_hash(seed, key, strlen(key));
}

/* Families of names as people give them; each differs in its number alone. */
static const char *const families[] = {
	"%u",
	"flag.%u",
	"feature.checkout.%u.enabled",
	"service-%u/kill-switch",
	"dedupe:order:%012u",
	"organisation.department.team.service.component.area.feature.%u",
	"%08u.a.name.that.begins.with.what.tells.it.from.the.others.and.goes.on.for.long",
};

enum { FAMILIES = sizeof families / sizeof *families };

static const char *name_of(char *place, unsigned family, unsigned i)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(place, FLAGSTORE_KEY_MAX + 1, families[family], i);
#pragma GCC diagnostic pop
	return place;
}

/* Pearson's chi-square over its degrees of freedom: near 1 if the names fall by chance, whose deviation is sqrt(2 / bins). */
static double uneven(unsigned family, unsigned bins, unsigned (*bin)(uint64_t hash))
{
	unsigned *counts = calloc(bins, sizeof *counts);
	double expected = (double)NAMES / bins, sum = 0;
	char name[FLAGSTORE_KEY_MAX + 1];

	require(counts);
	for (unsigned i = 0; i < NAMES; i++)
		counts[bin(hash_of(SEED, name_of(name, family, i)))]++;
	for (unsigned i = 0; i < bins; i++)
		sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	free(counts);
	return sum / (bins - 1);
}

static unsigned shard(uint64_t hash)
{
	return fs_hash_shard(hash, 6);
}

static unsigned slot(uint64_t hash)
{
	return fs_hash_slot(hash, 512);
}

static unsigned tag(uint64_t hash)
{
	return (unsigned)(hash >> 32) & 0xff;
}

static unsigned directory(uint64_t hash)
{
	return (unsigned)((hash & UINT32_MAX) >> 24);
}

static void names_are_spread_as_if_by_chance(void **state)
{
	const struct {
		const char *what;
		unsigned bins;
		unsigned (*bin)(uint64_t hash);
	} parts[] = {{"shards", 64, shard}, {"preferred slots", 512, slot}, {"tags", 256, tag}, {"directory", 256, directory}};

	(void)state;
	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
			double seen = uneven(family, parts[i].bins, parts[i].bin);

			note("%s over %s: %.3f", families[family], parts[i].what, seen);
			/* Six deviations of the smallest number of bins. */
			require(seen > 0.4 && seen < 2.1);
		}
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

/* 32 bits of the hash stand in a slot, to tell most keys apart without a look at them. */
static void half_of_the_hash_tells_names_apart(void **state)
{
	uint32_t *halves = malloc(NAMES * sizeof *halves);
	char name[FLAGSTORE_KEY_MAX + 1];

	(void)state;
	require(halves);
	for (unsigned family = 0; family < FAMILIES; family++) {
		unsigned same = 0;

		for (unsigned i = 0; i < NAMES; i++)
			halves[i] = (uint32_t)hash_of(SEED, name_of(name, family, i));
		qsort(halves, NAMES, sizeof *halves, compare);
		for (unsigned i = 1; i < NAMES; i++)
			same += halves[i] == halves[i - 1];
		note("%s: %u of %d names have another one's half", families[family], same, NAMES);
		/* By chance 1.2; 12 once in a billion times. */
		require(same < 12);
	}
	free(halves);
}

/* Each bit of a key, and of the seed, decides about half of the bits of the hash. */
static void each_bit_counts(void **state)
{
	const size_t lengths[] = {1, 3, 4, 7, 8, 9, 16, 23, 24, 39, 40, 48, 49, 64, 100, FLAGSTORE_KEY_MAX};
	uint64_t random = 1;
	char key[FLAGSTORE_KEY_MAX];

	(void)state;
	for (unsigned l = 0; l < sizeof lengths / sizeof *lengths; l++) {
		for (size_t bit = 0; bit < lengths[l] * 8 + 64; bit++) {
			unsigned changed = 0;

			for (int round = 0; round < 32; round++) {
				uint64_t seed = random_next(&random), before, after;

				for (size_t i = 0; i < lengths[l]; i++)
					key[i] = (char)random_next(&random);
				before = fs_hash(seed, key, lengths[l]);
				if (bit < 64)
					seed ^= UINT64_C(1) << bit;
				else
					key[bit / 8 - 8] = (char)(key[bit / 8 - 8] ^ 1 << bit % 8);
				after = fs_hash(seed, key, lengths[l]);
				changed += (unsigned)__builtin_popcountll(before ^ after);
			}
			note("%zu bytes, bit %zu: changes %.1f bits", lengths[l], bit, changed / 32.0);
			/* 32 by chance, with a deviation of 0.7. */
			require(changed > 26 * 32 && changed < 38 * 32);
		}
	}
}

static void the_usual_way_is_the_same(void **state)
{
	uint64_t random = 2;
	char key[FLAGSTORE_KEY_MAX];

	(void)state;
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++) {
		for (size_t i = 0; i < length; i++)
			key[i] = (char)random_next(&random);
		if (fs_key_usual(length))
			require(fs_hash_usual(SEED, key, length) == fs_hash(SEED, key, length));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_spread_as_if_by_chance),
		cmocka_unit_test(half_of_the_hash_tells_names_apart),
		cmocka_unit_test(each_bit_counts),
		cmocka_unit_test(the_usual_way_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

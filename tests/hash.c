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

enum { NAMES = 100000, SEED = 20, SEEDS = 6, ROUNDS = 32 };

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
	"service.billing.%04u.kill-switch.on.x",
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

static size_t number_in_family(char *place, unsigned i)
{
	return strlen(name_of(place, i / NAMES, i % NAMES));
}

/* All pairs of bits of 40 bytes, changed. */
static size_t two_bits(char *place, unsigned i)
{
	unsigned high = 1;

	for (; i >= high; high++)
		i -= high;
	memset(place, 'k', FS_SPAN_MAX);
	place[i / 8] = (char)(place[i / 8] ^ 1 << i % 8);
	place[high / 8] = (char)(place[high / 8] ^ 1 << high % 8);
	return FS_SPAN_MAX;
}

/* Each length, filled with each byte. */
static size_t filled(char *place, unsigned i)
{
	memset(place, (int)(i / FLAGSTORE_KEY_MAX + 1), FLAGSTORE_KEY_MAX);
	return i % FLAGSTORE_KEY_MAX + 1;
}

/* A number that stands in one of the 12 first pieces of 16 bytes: their order must count. */
static size_t piece(char *place, unsigned i)
{
	unsigned number = i / 12;

	memset(place, 'k', FLAGSTORE_KEY_MAX);
	memcpy(place + i % 12 * 16, &number, sizeof number);
	return FLAGSTORE_KEY_MAX;
}

/* A number that stands in one of the words that are hashed, and in no other. */
static size_t in_the_middle(char *place, unsigned i)
{
	memset(place, 'k', 39);
	for (unsigned digit = 0; digit < 4; digit++)
		place[16 + digit] = (char)(i >> 7 * digit & 127);
	return 39;
}

/* Other sets of keys than the families. */
static const struct set {
	const char *what;
	unsigned count;
	size_t (*make)(char *place, unsigned i);
} sets[] = {
	{"two bits of 40 bytes", 320 * 319 / 2, two_bits},
	{"a piece at different places", 12 * 8000, piece},
	{"a number in the middle", 100000, in_the_middle},
	{"each length of each byte", FLAGSTORE_KEY_MAX * 255, filled},
};

enum { SETS = sizeof sets / sizeof *sets };

static uint32_t shard(uint64_t hash)
{
	return fs_hash_shard(hash, 63);
}

static uint32_t slot(uint64_t hash)
{
	return fs_hash_slot(hash, 512);
}

static uint32_t tag(uint64_t hash)
{
	return (uint32_t)(fs_hash_tag(hash) - FS_TAG_FIRST);
}

static uint32_t directory(uint64_t hash)
{
	return fs_hash_index(hash, 8);
}

/* What a hash decides: by its bits from `shift` on, of which 65536 values lie evenly over `used` bins, or as the layout says. */
static const struct part {
	const char *what;
	uint32_t (*bin)(uint64_t hash);
	unsigned shift, used;
} parts[] = {
	{"shards", shard, 48, 64},
	{"preferred slots", slot, 0, 512},
	{"tags", tag, 32, 256 - FS_TAG_FIRST},
	/* The last quarter of the 256 stays empty. */
	{"directory", directory, 16, 192},
};

enum { PARTS = sizeof parts / sizeof *parts, BINS = 512, GRID = 65536 };

/* How many of the GRID belong to each bin. */
static void shares(const struct part *part, unsigned *share)
{
	memset(share, 0, BINS * sizeof *share);
	for (unsigned i = 0; i < GRID; i++) {
		uint32_t bin = part->bin((uint64_t)i << part->shift);

		require(bin < part->used);
		share[bin]++;
	}
}

static void parts_are_as_wide_as_they_should_be(void **state)
{
	unsigned share[BINS];

	(void)state;
	for (unsigned p = 0; p < PARTS; p++) {
		shares(&parts[p], share);
		for (unsigned i = 0; i < parts[p].used; i++) {
			note("%s: bin %u has %u of %d", parts[p].what, i, share[i], GRID);
			/* Tags: one or two of 256; directory: from 3/4 to 3/2 of the mean. */
			require(2 * share[i] * parts[p].used > GRID && share[i] * parts[p].used < 2 * GRID);
		}
	}
	/* The beginning twice as close as the end. */
	shares(&parts[3], share);
	require(share[0] > 19 * share[191] / 10 && share[0] < 21 * share[191] / 10);
}

static double root(double square)
{
	double root = square > 1 ? square : 1;

	for (int i = 0; i < 60; i++)
		root = (root + square / root) / 2;
	return root;
}

/* Pearson's chi-square, in deviations from what is expected by chance: within 6 in all but one of a hundred million. */
static void spread_by_chance(const char *what, unsigned count, const unsigned *counts, const struct part *part)
{
	unsigned share[BINS];
	double sum = 0, freedom = part->used - 1;

	shares(part, share);
	for (unsigned i = 0; i < part->used; i++) {
		double expected = (double)count * share[i] / GRID;

		sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	}
	note("%s over %s: %.1f deviations", what, part->what, (sum - freedom) / root(2 * freedom));
	require((sum - freedom) / root(2 * freedom) > -6 && (sum - freedom) / root(2 * freedom) < 6);
}

static void check_set(uint64_t seed, const char *what, unsigned first, unsigned count, size_t (*make)(char *place, unsigned i))
{
	unsigned counts[PARTS][BINS] = {{0}};
	char key[FLAGSTORE_KEY_MAX + 1];

	for (unsigned i = 0; i < count; i++) {
		size_t length = make(key, first + i);
		uint64_t hash = fs_hash(seed, key, length);

		for (unsigned p = 0; p < PARTS; p++)
			counts[p][parts[p].bin(hash)]++;
	}
	for (unsigned p = 0; p < PARTS; p++)
		spread_by_chance(what, count, counts[p], &parts[p]);
}

static void names_are_spread_as_if_by_chance(void **state)
{
	(void)state;
	for (uint64_t seed = SEED; seed < SEED + SEEDS; seed++) {
		for (unsigned family = 0; family < FAMILIES; family++)
			check_set(seed, families[family], family * NAMES, NAMES, number_in_family);
		for (unsigned i = 0; i < SETS; i++)
			check_set(seed, sets[i].what, 0, sets[i].count, sets[i].make);
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

/* The first 64 bits are the seed's. */
static uint64_t hash_with_change(uint64_t seed, char *key, size_t length, unsigned bit)
{
	uint64_t hash;

	if (bit < 64)
		return fs_hash(seed ^ UINT64_C(1) << bit, key, length);
	key[bit / 8 - 8] = (char)(key[bit / 8 - 8] ^ 1 << bit % 8);
	hash = fs_hash(seed, key, length);
	key[bit / 8 - 8] = (char)(key[bit / 8 - 8] ^ 1 << bit % 8);
	return hash;
}

/* Each bit of a key, and of the seed, decides about half of the bits of the hash, and each of those is decided by all. */
static void each_bit_counts(void **state)
{
	uint64_t random = 1;
	char key[FLAGSTORE_KEY_MAX];

	(void)state;
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++) {
		unsigned of_in[64 + FLAGSTORE_KEY_MAX * 8] = {0}, of_out[64] = {0}, bits = (unsigned)length * 8 + 64;

		for (unsigned round = 0; round < ROUNDS; round++) {
			uint64_t seed = random_next(&random), before;

			for (size_t i = 0; i < length; i++)
				key[i] = (char)random_next(&random);
			before = fs_hash(seed, key, length);
			for (unsigned bit = 0; bit < bits; bit++) {
				uint64_t change = before ^ hash_with_change(seed, key, length, bit);

				of_in[bit] += (unsigned)__builtin_popcountll(change);
				for (unsigned out = 0; out < 64; out++)
					of_out[out] += (unsigned)(change >> out & 1);
			}
		}
		for (unsigned bit = 0; bit < bits; bit++) {
			note("%zu bytes, bit %u: changes %.1f bits", length, bit, (double)of_in[bit] / ROUNDS);
			/* 32 by chance, with a deviation of 0.7. */
			require(of_in[bit] > 26 * ROUNDS && of_in[bit] < 38 * ROUNDS);
		}
		for (unsigned out = 0; out < 64; out++) {
			note("%zu bytes: bit %u of the hash changes in %u of %u", length, out, of_out[out], bits * ROUNDS);
			require(of_out[out] * 20 > bits * ROUNDS * 7 && of_out[out] * 20 < bits * ROUNDS * 13);
		}
	}
}

/* Keys that differ in one byte more, which a few others would make up for if it were told along with them. */
static void no_byte_makes_up_for_the_length(void **state)
{
	static const char *const pairs[][2] = {
		{"07418529630741852963074185296307418529", "074185296307418529630745185296317418529"},
		{"074185296777777729630741", "0741852967777777739630741"},
		{"aaaaaaaa", "aaaaaaaaa"},
		{"aaaaaaa", "aaaaaaaa"},
		{"aaaa", "aaaaa"},
		{"a", "aaa"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		for (uint64_t seed = 0; seed < 1000; seed++) {
			note("%s and %s, seed %u", pairs[i][0], pairs[i][1], (unsigned)seed);
			require(hash_of(seed * FS_PRIME_2, pairs[i][0]) != hash_of(seed * FS_PRIME_2, pairs[i][1]));
		}
}

static void the_usual_way_is_the_same(void **state)
{
	uint64_t random = 2;
	struct fs_salt salt = fs_salt(SEED);
	char key[FLAGSTORE_KEY_MAX];

	(void)state;
	for (size_t length = 1; length <= FLAGSTORE_KEY_MAX; length++) {
		for (size_t i = 0; i < length; i++)
			key[i] = (char)random_next(&random);
		if (fs_key_usual(length))
			require(fs_hash_usual(&salt, key, length) == fs_hash(SEED, key, length));
	}
}

/* By another program, from the words of flagstore(5): a segment outlives the library that made it. */
static void it_is_what_the_manual_says(void **state)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog, and after it every cat of the neighbourhood; no fence is too high "
	                           "for them, and no night too dark. The quick brown fox jumps over the lazy dog, and after it every cat of the "
	                           "neighbourhood; no fence is too high for them, and no night too dark. ";
	static const struct {
		size_t length;
		uint64_t hash;
	} known[] = {
		{1, UINT64_C(0x00431571909a711c)}, {2, UINT64_C(0xa2b5eb3751a9e279)}, {3, UINT64_C(0xebf5bd359531a0f7)},
		{4, UINT64_C(0xf4d0ba12ba39cdfe)}, {5, UINT64_C(0xd093dd7d1d7a53cc)}, {7, UINT64_C(0x875f121e7fb2e95b)},
		{8, UINT64_C(0x1ca86c1b84eba7a7)}, {9, UINT64_C(0xd0443da1c830583a)}, {16, UINT64_C(0x6ba737a0bb2503f7)},
		{24, UINT64_C(0x67a65d2739bd84b1)}, {39, UINT64_C(0xfb2959112ed64999)}, {40, UINT64_C(0x054bae59ea72750b)},
		{41, UINT64_C(0xbc341b2cf40ca070)}, {48, UINT64_C(0xc8be29659fe14cee)}, {56, UINT64_C(0x724331b26d93cbe4)},
		{57, UINT64_C(0x9fc710872bef05bb)}, {64, UINT64_C(0x14013b2989e7bdfb)}, {65, UINT64_C(0x713a43509c15a180)},
		{255, UINT64_C(0x7510b4d285255ac0)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		note("%zu bytes: %#llx", known[i].length, (unsigned long long)fs_hash(SEED, text, known[i].length));
		require(fs_hash(SEED, text, known[i].length) == known[i].hash);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_the_manual_says),
		cmocka_unit_test(no_byte_makes_up_for_the_length),
		cmocka_unit_test(parts_are_as_wide_as_they_should_be),
		cmocka_unit_test(names_are_spread_as_if_by_chance),
		cmocka_unit_test(half_of_the_hash_tells_names_apart),
		cmocka_unit_test(each_bit_counts),
		cmocka_unit_test(the_usual_way_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

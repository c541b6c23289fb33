/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * keypack.c: keys for measurements. All randomness comes from a fixed seed, so that every run has the same keys in the same order. */
#include "keypack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ACCESS_LEAST = 65536,
	ACCESS_MOST = 2097152,
	LENGTH_MOST = 255,
	SUFFIX = 6, /* a separator and five digits of base 36: what makes a key unlike all others */
	SUFFIX_NUMBERS = 60466176, /* 36 to the 5th */
	SUFFIX_STEP = 37380127,    /* has no divisor in common with it, so all numbers come up */
};

/* ---------------------------------------------------------------------------------------------- randomness */

/* splitmix64 (Steele, Lea, Flood, 2014). */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Below limit, which is less than 2^32. */
static size_t random_below(uint64_t *state, size_t limit)
{
	return (size_t)(((random_next(state) >> 32) * limit) >> 32);
}

static void shuffle(uint32_t *order, size_t count, uint64_t *state)
{
	for (size_t i = count; i > 1; i--) {
		size_t other = random_below(state, i);
		uint32_t held = order[i - 1];

		order[i - 1] = order[other];
		order[other] = held;
	}
}

/* --------------------------------------------------------------------------------------------------- keys */

static bool make_room(struct keypack_keys *keys, size_t length)
{
	if (keys->count == keys->slots) {
		size_t slots = keys->slots ? 2 * keys->slots : 1024;
		uint64_t *at = realloc(keys->at, slots * sizeof *at);
		unsigned char *bits;

		if (!at)
			return false;
		keys->at = at;
		bits = realloc(keys->bits, slots);
		if (!bits)
			return false;
		keys->bits = bits;
		keys->slots = slots;
	}
	if (keys->used + length + 1 > keys->room) {
		size_t room = 2 * keys->room + length + 65536;
		char *heap = realloc(keys->heap, room);

		if (!heap)
			return false;
		keys->heap = heap;
		keys->room = room;
	}
	return true;
}

bool keypack_add(struct keypack_keys *keys, const char *key, size_t length, bool value)
{
	if (!make_room(keys, length))
		return false;
	memcpy(keys->heap + keys->used, key, length);
	keys->heap[keys->used + length] = '\0';
	keys->at[keys->count] = keys->used;
	keys->bits[keys->count] = value ? KEYPACK_TRUE : 0;
	keys->used += length + 1;
	keys->count++;
	return true;
}

void keypack_free(struct keypack_keys *keys)
{
	free(keys->heap);
	free(keys->at);
	free(keys->bits);
	*keys = (struct keypack_keys){0};
}

static size_t invent_length(uint64_t *state)
{
	/* Share of names in thousandths, and the length that they don't exceed. */
	static const struct {
		size_t share, length;
	} quantiles[] = {{0, 7}, {100, 13}, {250, 17}, {500, 23}, {750, 31}, {900, 38}, {990, 56}, {999, 70}, {1000, 87}};
	size_t draw = random_below(state, 1000), i = 1;

	while (quantiles[i].share <= draw)
		i++;
	return quantiles[i - 1].length + (quantiles[i].length - quantiles[i - 1].length) * (draw - quantiles[i - 1].share) /
	                                     (quantiles[i].share - quantiles[i - 1].share);
}

static void invent_key(char *key, size_t length, size_t number, uint64_t *state)
{
	static const char *const words[] = {
		"checkout", "payment",  "search",  "new",     "enable", "beta",    "login",   "cache",   "ui",     "api",    "dark",
		"mode",     "grafana",  "alert",   "editor",  "panel",  "query",   "sync",    "fast",    "retry",  "user",   "team",
		"index",    "log",      "trace",   "export",  "import", "banner",  "rollout", "metrics", "legacy", "disable", "a11y",
		"recommend", "shipping", "inventory", "notification", "experimental", "v2", "on", "for", "all",
	};
	static const char separators[] = "._--";
	size_t used = 0;

	while (used < length - SUFFIX) {
		const char *word = words[random_below(state, sizeof words / sizeof *words)];

		if (used > 0)
			key[used++] = separators[random_below(state, sizeof separators - 1)];
		while (*word && used < length - SUFFIX)
			key[used++] = *word++;
	}
	key[used++] = '.';
	for (size_t rest = (size_t)((uint64_t)number * SUFFIX_STEP % SUFFIX_NUMBERS); used < length; rest /= 36)
		key[used++] = "0123456789abcdefghijklmnopqrstuvwxyz"[rest % 36];
}

bool keypack_invent(struct keypack_keys *keys, size_t present, size_t missing, size_t length)
{
	uint64_t state = 1;
	char key[LENGTH_MOST + 1];

	*keys = (struct keypack_keys){.present = present};
	if (present + missing > SUFFIX_NUMBERS)
		return false;
	for (size_t i = 0; i < present + missing; i++) {
		size_t wanted = length ? length : invent_length(&state);

		invent_key(key, wanted, i, &state);
		if (!keypack_add(keys, key, wanted, random_below(&state, 100) < 28)) {
			keypack_free(keys);
			return false;
		}
	}
	return true;
}

/* -------------------------------------------------------------------------------------------------- the file */

static void write_record(FILE *file, const struct keypack_keys *keys, uint32_t number)
{
	const char *key = keys->heap + keys->at[number];
	size_t length = strlen(key);

	putc_unlocked((int)length, file);
	putc_unlocked(keys->bits[number], file);
	fwrite(key, 1, length + 1, file);
}

/* Writes the keys that the order names, and says in *list where. */
static void write_list(FILE *file, const struct keypack_keys *keys, const uint32_t *order, size_t count, struct keypack_list *list)
{
	if (list->count == 0)
		list->offset = (uint64_t)ftello(file);
	for (size_t i = 0; i < count; i++)
		write_record(file, keys, order[i]);
	list->count += count;
}

/* One key in 50 is flipped by WORK_MIX, by one of its two workers: each of them flips one key in 100. */
static void choose_flipped(struct keypack_keys *keys, uint64_t *state)
{
	for (size_t i = 0; i < keys->present; i++) {
		size_t draw = random_below(state, 100);

		if (draw < 2)
			keys->bits[i] |= draw == 0 ? KEYPACK_FIRST : KEYPACK_SECOND;
	}
}

static void write_lists(FILE *file, struct keypack_keys *keys, struct keypack *pack, uint32_t *order)
{
	uint64_t state = 2;
	size_t present = keys->present, block = present < ACCESS_MOST ? present : ACCESS_MOST, blocks = 1;

	choose_flipped(keys, &state);
	for (size_t i = 0; i < keys->count; i++)
		order[i] = (uint32_t)i;
	shuffle(order, present, &state);
	write_list(file, keys, order, present, &pack->load);
	/* Works that flip all flags there and back use two blocks in turn: one block, or an even number. */
	if (block < ACCESS_LEAST)
		blocks = 2 * ((ACCESS_LEAST / block + 1) / 2);
	for (size_t i = 0; i < blocks; i++) {
		shuffle(order, present, &state);
		write_list(file, keys, order, block, &pack->access);
	}
	shuffle(order + present, keys->count - present, &state);
	write_list(file, keys, order + present, keys->count - present, &pack->missing);
	pack->block = block;
	pack->bytes = (uint64_t)ftello(file);
	pack->magic = KEYPACK_MAGIC;
}

bool keypack_write(const char *path, struct keypack_keys *keys)
{
	struct keypack pack = {0};
	uint32_t *order = malloc((keys->count + 1) * sizeof *order);
	FILE *file = order ? fopen(path, "we") : NULL;
	bool done = false;

	if (file) {
		fwrite(&pack, sizeof pack, 1, file);
		write_lists(file, keys, &pack, order);
		rewind(file);
		fwrite(&pack, sizeof pack, 1, file);
		done = !ferror(file);
		done = fclose(file) == 0 && done;
	}
	free(order);
	return done;
}

const struct keypack *keypack_map(const char *path)
{
	const struct keypack *pack = NULL;
	struct stat status;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		return NULL;
	if (fstat(descriptor, &status) == 0) {
		/* Populated: the first pass over it takes no page faults. */
		void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor, 0);

		pack = map == MAP_FAILED ? NULL : (const struct keypack *)map;
	}
	close(descriptor);
	if (pack && ((size_t)status.st_size < sizeof *pack || pack->magic != KEYPACK_MAGIC || pack->bytes != (uint64_t)status.st_size)) {
		munmap((void *)(uintptr_t)pack, (size_t)status.st_size);
		errno = 0;
		return NULL;
	}
	return pack;
}

void keypack_unmap(const struct keypack *pack)
{
	if (pack)
		munmap((void *)(uintptr_t)pack, pack->bytes);
}

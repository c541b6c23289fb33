/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * bits.c: each bit of a small segment flipped in turn. Whoever attaches gets in or gets an error, and nobody crashes; the checker finds
 * every flip that can be told from a right value. How many those are, field by field, stands in the table below, and so does why the
 * others can't be told. The segment is the same in every run: its seed, UUID and times are set by the test.
 * The file's lines behind the end of the heap hold nothing and are left out.
 *
 * HOSTILE=all attaches after each flip; otherwise only after those in the header's lines that are in use.
 *
 * Built with FLAGSTORE_INSPECT it is the inspector that looks: it opens the file anew after each flip, and must find the same. Opening
 * takes time, so without HOSTILE=all it looks at one bit in eight of those parts in which all are alike. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "layout.h"
#ifdef FLAGSTORE_INSPECT
#include "findings.h"
#endif

#define SEGMENT "bits"

/* ------------------------------------------------------------------------------------------------ the table
 *
 * name, bits, of them refused by attach, found by the checker, and why the rest is not. A bit that attach refuses is found as well. */
#define REGIONS(X)                                                                                                  \
	X(CONSTANTS, "header: constants", 1024, 1024, 1024, "")                                                              \
	X(STATE, "header: state", 32, 32, 32, "")                                                                         \
	X(ROOM, "header: room", 32, 30, ROOM_FOUND, ROOM_WHY)                                                             \
	X(HEAP, "header: end of the heap", 64, 0, 64, "")                                                                 \
	X(BOOT, "header: boot id", 256, 0, 168, "another digit is a boot id, too")                                        \
	X(NAMESPACE, "header: PID namespace", 64, 0, 32, "any number may be one")                                         \
	X(FUTEX, "header, shard: futex words", 64, 0, 0, "any number may be one")                                         \
	X(TAIL_ROOM, "header: room of what is behind the heap", 128, 126, TAIL_ROOM_FOUND, ROOM_WHY)                       \
	X(NEXT_WORKER, "header: next worker, next seat, standing", 96, 0, 0, "any number may be one")                     \
	X(GUARD, "header: guard and its counts", 320, 0, 45, "any mode, time and count that can be")                       \
	X(UNUSED, "unused bytes of header, shard, worker, gap", 60384, 0, 60384, "")                                      \
	X(DIRECTORY_WORD, "shard: directory word", 64, 0, 64, "")                                                         \
	X(WANTED, "shard: wishes", 32, 0, 30, "anybody may wish")                                                         \
	X(LOCK, "shard: lock, words that change", 256, 0, 0, "who holds it can't be told without holding it")             \
	X(LOCK_KIND, "shard: lock, words that don't", 64, 0, 64, "")                                                      \
	X(HOLDER, "shard: last holder, last writer", 128, 0, 69, "which thread of which entry")                           \
	X(MARK, "shard: writer mark", 64, 0, 64, "")                                                                      \
	X(SINCE, "shard: held since", 64, 0, 0, "any time may be one")                                                    \
	X(SEQUENCE, "shard: sequence", 64, 0, 1, "any even number may be one")                                            \
	X(COUNTERS, "shard: births, growths, waits, recoveries, epoch", 288, 0, 3, "they only grow")                             \
	X(SHARD_COUNTS, "shard: live, redo, batch, phase, claim", 224, 0, 224, "")                                        \
	X(NOTES, "shard: notes of what was done last", 224, 0, 0, "they count only while something is under way")         \
	X(FREE, "shard: free list heads", 1024, 0, 1024, "")                                                              \
	X(WORKER, "worker entry", 576, 0, 73, "its owner may be anybody")                                                 \
	X(DIRECTORY, "directory", 512, 0, 512, "")                                                                        \
	X(BUCKET, "bucket: header, tags, padding", 512, 0, 512, "")                                                       \
	X(STATE_BITS, "slot word: state", 30, 0, 30, "")                                                                  \
	X(VALUE_BIT, "slot word: value", 15, 0, 0, "both values are right")                                               \
	X(VERSION_BITS, "slot word: version", 420, 0, 0, "any number may be one")                                         \
	X(INCARNATION_BITS, "slot word: incarnation", 420, 0, 420, "")                                                    \
	X(RESERVED_BITS, "slot word: reserved", 75, 0, 75, "")                                                            \
	X(STAMP, "slot: stamp", 960, 0, 165, "a hint; any time and version may be one")                                   \
	X(IDENTITY, "slot: hash and check value", 960, 0, 960, "")                                                        \
	X(KEY, "slot: key", 4800, 0, 4800, "")                                                                            \
	X(EMPTY_SLOT, "slot, empty: word", 960, 0, 960, "")                                                               \
	X(EMPTY_REST, "slot, empty: the rest", 6720, 0, 0, "means nothing")                                               \
	X(DEAD_SLOT, "slot, dead: word", 128, 0, 14, "but for its state and what is reserved")                            \
	X(DEAD_REST, "slot, dead: the rest", 896, 0, 4, "means nothing, but for the length of a long key")                \
	X(CELL, "key cell: key", 1600, 0, 1600, "")                                                                       \
	X(CELL_REST, "key cell: behind the key", 448, 0, 0, "means nothing")                                              \
	X(REDO, "redo record: head", 512, 0, 473, "whether it was carried out, and the link of a free one, means nothing") \
	X(REDO_REST, "redo record: changes", 12288, 0, 0, "mean nothing once they were made")                             \
	X(FREE_LINK, "free block: link", 64, 0, 64, "")                                                                   \
	X(FREE_SLOT, "free bucket: slot words", 1024, 0, 212, "none lives, and more is not asked")                        \
	X(FREE_REST, "free block: the rest", 8640, 0, 0, "means nothing")

/* A store that is attached knows how much room there was; the file alone does not tell, since a copy has holes in its place. */
#ifdef FLAGSTORE_INSPECT
#define ROOM_FOUND 25
#define TAIL_ROOM_FOUND 125
#define ROOM_WHY "a file, which may be a copy, has holes there"
#else
#define ROOM_FOUND 32
#define TAIL_ROOM_FOUND 128
#define ROOM_WHY ""
#endif

enum region {
#define REGION_NAME(name, ...) name,
	REGIONS(REGION_NAME)
#undef REGION_NAME
	REGIONS_COUNT
};

struct counts {
	unsigned bits, refused, found;
};

static const struct {
	const char *name;
	struct counts expected;
	const char *why;
} regions[] = {
#define REGION_ROW(name, text, bits, refused, found, why) {text, {bits, refused, found}, why},
	REGIONS(REGION_ROW)
#undef REGION_ROW
};

/* ---------------------------------------------------------------------------------------------- the segment */

static char *bytes;     /* the file, mapped */
static char *image;     /* as it was before any flip */
static size_t used;     /* bytes up to the end of the heap */
static uint8_t *region; /* by bit */

static struct fs_header *header(void)
{
	return (struct fs_header *)(void *)bytes;
}

static struct fs_shard *shard(void)
{
	return (struct fs_shard *)(void *)(bytes + FS_PAGE);
}

static void map_file(void)
{
	int file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);

	require(file >= 0);
	bytes = mmap(NULL, FS_MIN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	require(bytes != MAP_FAILED);
	close(file);
}

/* What chance and the clock decide, decided once and for all. */
static void fix_constants(void)
{
	struct fs_constants *constants = &header()->constants;

	constants->hash_seed = 42;
	constants->created_ms = INT64_C(1700000000000);
	memset(constants->uuid, 7, sizeof constants->uuid);
	constants->check = XXH3_64bits(constants, offsetof(struct fs_constants, check));
}

static void fix_rest(void)
{
	struct fs_worker *worker = (void *)(shard() + 1);

	header()->pid_namespace = UINT64_C(4026531836);
	for (int i = 0; i < 4; i++)
		memcpy((char *)&header()->boot[i], "0123abcd", 8);
	shard()->since_ns = 1000;
	shard()->holder = shard()->left = (uint64_t)1 << FS_MARK_SEAT_SHIFT | UINT64_C(1000) << FS_MARK_WORKER_BITS | (shard()->holder & 0x1ffff);
	worker->pid = 1000;
	worker->uid = 1000;
	worker->start_ticks = 1000;
	worker->attached_ms = INT64_C(1700000000000);
	memset((char *)worker->command, 0, sizeof worker->command);
	memcpy((char *)worker->command, "bits", 4);
	for (size_t at = (size_t)FS_PAGE * 2; at < used; at += FS_LINE) {
		/* Stamps: where the second word of a line can be one. A second of age, and the version that it has. */
		if (region[at * 8 + 64] == STAMP)
			*(uint64_t *)(void *)(bytes + at + 8) = (*(uint64_t *)(void *)(bytes + at + 8) & 0xffffff) | UINT64_C(1000) << FS_STAMP_TIME_SHIFT;
	}
}

static const char *long_key(unsigned i)
{
	static char key[2][101];

	memset(key[i % 2], (int)('a' + i), 100);
	return key[i % 2];
}

static void fill(flagstore *store)
{
	flagstore_batch *batch;
	char key[KEY_ROOM];

	for (unsigned i = 0; i < 14; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 2));
	for (unsigned i = 0; i < 3; i++)
		require_ok(flagstore_set(store, long_key(i), true));
	require_ok(flagstore_batch_begin(store, &batch));
	for (unsigned i = 0; i < 4; i++)
		require_ok(flagstore_batch_toggle(batch, key_of(key, "flag", i)));
	require_ok(flagstore_batch_commit(batch, NULL));
	require_ok(flagstore_delete(store, key_of(key, "flag", 5)));
	require_ok(flagstore_delete(store, long_key(1)));
	require_healthy(store);
}

/* ------------------------------------------------------------------------------------------------ what is where */

static void paint(size_t from, size_t size, enum region what)
{
	memset(region + from * 8, (int)what, size * 8);
}

static size_t offset_of(const void *place)
{
	return (size_t)((const char *)place - bytes);
}

#define PAINT(place, what) paint(offset_of(&(place)), sizeof(place), what)

static void paint_header(void)
{
	paint(0, FS_PAGE * 2, UNUSED);
	PAINT(header()->constants, CONSTANTS);
	PAINT(header()->pid_namespace, NAMESPACE);
	PAINT(header()->boot, BOOT);
	PAINT(header()->state, STATE);
	PAINT(header()->heap, HEAP);
	PAINT(header()->room, ROOM);
	PAINT(header()->changed, FUTEX);
	PAINT(header()->seat_room, TAIL_ROOM);
	PAINT(header()->conflict_room, TAIL_ROOM);
	PAINT(header()->shadow_room, TAIL_ROOM);
	PAINT(header()->journal_room, TAIL_ROOM);
	PAINT(header()->next_worker, NEXT_WORKER);
	PAINT(header()->next_seat, NEXT_WORKER);
	PAINT(header()->standing, NEXT_WORKER);
	PAINT(header()->guard, GUARD);
	PAINT(header()->guard_since_ms, GUARD);
	PAINT(header()->guard_by, GUARD);
	PAINT(header()->next_conflict, GUARD);
	PAINT(header()->conflicts_seen, GUARD);
}

static void paint_shard(void)
{
	struct fs_shard *place = shard();

	PAINT(place->directory, DIRECTORY_WORD);
	PAINT(place->wanted, WANTED);
	PAINT(place->changed, FUTEX);
	PAINT(place->mutex, LOCK);
	PAINT(place->mutex.__data.__kind, LOCK_KIND);
	PAINT(place->mutex.__data.__spins, LOCK_KIND);
	PAINT(place->mutex.__data.__elision, LOCK_KIND);
	PAINT(place->holder, HOLDER);
	PAINT(place->left, HOLDER);
	PAINT(place->mark, MARK);
	PAINT(place->epoch, COUNTERS);
	PAINT(place->since_ns, SINCE);
	PAINT(place->sequence, SEQUENCE);
	PAINT(place->births, COUNTERS);
	PAINT(place->growths, COUNTERS);
	PAINT(place->waits, COUNTERS);
	PAINT(place->recoveries, COUNTERS);
	PAINT(place->redo, SHARD_COUNTS);
	PAINT(place->live, SHARD_COUNTS);
	PAINT(place->batch, SHARD_COUNTS);
	PAINT(place->phase, SHARD_COUNTS);
	PAINT(place->claim, SHARD_COUNTS);
	PAINT(place->where, NOTES);
	PAINT(place->outgoing, NOTES);
	PAINT(place->fresh, NOTES);
	PAINT(place->free, FREE);
	paint(offset_of(place + 1), offsetof(struct fs_worker, padding), WORKER);
}

static void paint_bits(size_t word, unsigned first, unsigned count, enum region what)
{
	memset(region + word * 8 + first, (int)what, count);
}

#define SLOTS_OF(slots) slots,
static const uint16_t class_slots[] = {FS_BUCKET_SLOTS(SLOTS_OF)};

static void paint_flag(size_t at)
{
	size_t length = (uint8_t)bytes[at + offsetof(struct fs_slot, key)];

	paint_bits(at, 0, 1, VALUE_BIT);
	paint_bits(at, 1, 2, STATE_BITS);
	paint_bits(at, 3, 1, RESERVED_BITS);
	paint_bits(at, FS_VERSION_SHIFT, FS_VERSION_BITS, VERSION_BITS);
	paint_bits(at, FS_INCARNATION_SHIFT, FS_INCARNATION_BITS, INCARNATION_BITS);
	paint_bits(at, 60, 4, RESERVED_BITS);
	paint(at + 8, 8, STAMP);
	paint(at + 16, 8, IDENTITY);
	paint(at + 24, 40, KEY);
	if (length > FS_KEY_INLINE) {
		size_t cell = *(uint64_t *)(void *)(bytes + at + 32) * FS_LINE, lines = (length + FS_LINE - 1) / FS_LINE;

		paint(cell, lines * FS_LINE, CELL_REST);
		paint(cell, length, CELL);
	}
}

static size_t paint_bucket(uint64_t line, size_t slots, bool in_use)
{
	size_t at = line * FS_LINE;
	size_t behind = (sizeof(struct fs_bucket) + slots + FS_LINE - 1) / FS_LINE * FS_LINE;

	paint(at + slots * FS_LINE, behind, in_use ? BUCKET : FREE_REST);
	for (size_t i = 0; i < slots; i++) {
		size_t slot = at + i * FS_LINE;
		unsigned state = (unsigned)(*(uint64_t *)(void *)(bytes + slot) & FS_STATE_MASK);

		paint(slot, FS_LINE, !in_use ? FREE_REST : state == FS_EMPTY ? EMPTY_REST : DEAD_REST);
		paint(slot, 8, !in_use ? FREE_SLOT : state == FS_EMPTY ? EMPTY_SLOT : DEAD_SLOT);
		if (in_use && state == FS_LIVE)
			paint_flag(slot);
	}
	return at;
}

/* All of the heap but what is marked below stays FREE_REST: there is one free bucket, and one free key cell. */
static void paint_heap(void)
{
	size_t directory = (shard()->directory >> FS_WORD_LINE_SHIFT) * FS_LINE, redo = (shard()->redo & UINT32_MAX) * FS_LINE;
	uint64_t word = *(uint64_t *)(void *)(bytes + directory);

	paint(FS_PAGE * 2, used - FS_PAGE * 2, FREE_REST);
	paint(directory, FS_LINE, DIRECTORY);
	(void)paint_bucket(word >> FS_WORD_LINE_SHIFT, (word & FS_WORD_SLOTS_MASK) >> FS_WORD_SLOTS_SHIFT, true);
	paint(redo, FS_LINE + 64 * sizeof(struct fs_redo_change), REDO_REST);
	paint(redo, FS_LINE, REDO);
	for (uint32_t kind = 0; kind < FS_KINDS; kind++) {
		if (!shard()->free[kind])
			continue;
		size_t link = (size_t)shard()->free[kind] * FS_LINE;

		if (kind < FS_KIND_CELL)
			link = paint_bucket(shard()->free[kind], class_slots[kind], false) + class_slots[kind] * sizeof(struct fs_slot);
		paint(link, 4, FREE_LINK);
	}
}

/* ----------------------------------------------------------------------------------------------------- flips */

/* Shared with the child that may crash. */
static struct {
	size_t bit;
	struct counts seen[REGIONS_COUNT];
} *shared;

static bool hostile; /* HOSTILE=all */

/* One bit in so many of the region is flipped. */
static unsigned sampled(enum region what)
{
#ifdef FLAGSTORE_INSPECT
	return !hostile && (what == UNUSED || what == EMPTY_REST || what == REDO_REST || what == FREE_REST) ? 8 : 1;
#else
	(void)what;
	return 1;
#endif
}

/* Whether it is the n-th bit's turn: each time another one of its byte. */
static bool turn(enum region what, unsigned n)
{
	return (n + n / 8) % sampled(what) == 0;
}

static bool refused(void)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;
	int result;

	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = 100;
	result = flagstore_attach(SEGMENT, &options, &store);
	require(result == FLAGSTORE_OK || *flagstore_detail());
	flagstore_close(store);
	return result != FLAGSTORE_OK;
}

#ifdef FLAGSTORE_INSPECT
static bool found(flagstore *store)
{
	struct findings findings;
	struct source source;

	(void)store;
	require_ok(source_try(path_of(SEGMENT), &source));
	require_ok(findings_of(&source, NULL, NULL, &findings));
	source_close(&source);
	return findings.count > 0 || findings.skipped > 0;
}
#else
static bool found(flagstore *store)
{
	uint64_t findings = 0;
	uint32_t skipped = 0;

	require_ok(flagstore_check(store, NULL, NULL, &findings, &skipped));
	return findings > 0 || skipped > 0;
}
#endif

static void flip_everything(void *argument)
{
	flagstore *store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	unsigned met[REGIONS_COUNT] = {0};

	(void)argument;
	for (size_t bit = 0; bit < used * 8; bit++) {
		struct counts *seen = &shared->seen[region[bit]];

		if (!turn(region[bit], met[region[bit]]++))
			continue;
		shared->bit = bit;
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
		seen->bits++;
		seen->found += found(store);
		if (hostile || (bit / 8 < FS_PAGE && region[bit] != UNUSED))
			seen->refused += refused();
		/* Who attaches may have repaired something. */
		memcpy(bytes, image, used);
	}
	flagstore_close(store);
}

static void each_flipped_bit_that_can_be_told_is_found(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct counts sum = {0, 0, 0};
	unsigned wrong = 0;
	flagstore *store;
	int status;

	(void)state;
	hostile = getenv("HOSTILE") && strcmp(getenv("HOSTILE"), "all") == 0;
	options.max_bytes = FS_MIN_BYTES;
	options.shards = options.workers = options.seats = 1;
	flagstore_close(fresh(SEGMENT, &options));
	map_file();
	fix_constants();
	store = attach(SEGMENT, 0);
	fill(store);
	flagstore_close(store);
	used = (header()->heap & UINT32_MAX) * FS_LINE;
	region = malloc(used * 8);
	image = malloc(used);
	shared = shared_memory(sizeof *shared);
	require(region && image);
	paint_header();
	paint_shard();
	paint_heap();
	fix_rest();
	memcpy(image, bytes, used);

	status = child_status(child(flip_everything, NULL), 240000);
	note("bit %zu of byte %zu, %s", shared->bit % 8, shared->bit / 8, regions[region[shared->bit]].name);
	require_int(0, status);
	for (size_t i = 0; i < REGIONS_COUNT; i++) {
		const struct counts *seen = &shared->seen[i], *expected = &regions[i].expected;
		unsigned one_in = sampled((enum region)i);
		bool same = seen->bits == expected->bits / one_in && seen->refused == expected->refused && seen->found == expected->found / one_in;

		printf("# %-44s %6u bits: %4u refused, %6u found, %6u not checkable%s%s%s\n", regions[i].name, seen->bits, seen->refused,
		       seen->found, seen->bits - seen->found, *regions[i].why ? " (" : "", regions[i].why, *regions[i].why ? ")" : "");
		if (!same)
			printf("#   expected: %u bits, %u refused, %u found\n", expected->bits / one_in, expected->refused, expected->found / one_in);
		wrong += !same;
		sum.bits += seen->bits;
		sum.refused += seen->refused;
		sum.found += seen->found;
	}
	printf("# %u bits flipped: %u refused by attach, %u found by check, %u not checkable\n", sum.bits, sum.refused, sum.found,
	       sum.bits - sum.found);
	require_int(0, wrong);
	munmap(bytes, FS_MIN_BYTES);
	free(region);
	free(image);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(each_flipped_bit_that_can_be_told_is_found),
	};

	return cmocka_run_group_tests(all, segments_setup, segments_teardown);
}

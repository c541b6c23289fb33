/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * linearize.c: the search for an order.
 *
 * Wing and Gong ("Testing and verifying concurrent objects", JPDC 17(1-2), 1993): of the operations that had begun
 * before the first of those left ended, one must have come first; try each, go on with the others, go back when none
 * fits. Begins and ends stand in one list, from which an operation that has its place is taken out, and into which it
 * is put back.
 *
 * Lowe ("Testing for linearizability", Concurrency and Computation: Practice and Experience 29(4), 2017): what comes
 * after depends on nothing but which operations have happened and the state that they led to; such a pair that was seen
 * before is not tried again. And an operation is fitted in when it has to be: the one that ends next is tried first,
 * and others before it only if it does not fit.
 *
 * Horn and Kroening ("Faster linearizability checking via P-compositionality", FORTE 2015): parts of a history that
 * have nothing to do with each other are searched apart. That is left to the caller, who knows the parts.
 */
#include "linearize.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 4 << 20, TABLE_START = 1 << 10 };

/* Where an operation begins, or ends, in the list. */
struct entry {
	struct entry *next, *previous;
	struct entry *end; /* of a begin: its end; NULL: pending */
	uint64_t time;
	size_t operation;
	bool is_end;
};

/* One operation has its place. */
struct level {
	struct entry *due;    /* the begin of the operation that ends next */
	struct entry *chosen; /* the begin of the one that was tried last; NULL: none yet */
};

struct linear_search {
	/* of the history */
	const struct linear_model *model;
	const struct linear_operation *operations;
	size_t count, left; /* left: operations that have ended and have no place yet */
	struct entry *entries, list;
	struct level *levels;
	unsigned char *states; /* by level: the state before its operation */
	uint64_t *happened;    /* one bit an operation */
	size_t words;          /* of happened */
	size_t *order, order_length, stuck;
	uint64_t stuck_at;
	size_t room; /* operations that the memory above is for */
	size_t state_room;
	/* pairs that were seen: happened, then the state */
	uint64_t *pairs;
	size_t pair_words, pairs_count;
	size_t pairs_room; /* in words */
	uint32_t *table;   /* number of a pair + 1; 0: none */
	size_t table_size;
};

static void *grown(void *memory, size_t bytes)
{
	memory = realloc(memory, bytes);
	if (!memory)
		abort();
	return memory;
}

/* ------------------------------------------------------------------------------------------ pairs seen before */

static uint64_t hash_of(const uint64_t *words, size_t count)
{
	uint64_t hash = count;

	for (size_t i = 0; i < count; i++) {
		hash = (hash ^ words[i]) * UINT64_C(0x9fb21c651e98df25);
		hash ^= hash >> 32;
	}
	return hash;
}

static uint32_t *place_of(struct linear_search *search, const uint64_t *pair)
{
	size_t mask = search->table_size - 1, at = hash_of(pair, search->pair_words) & mask;

	while (search->table[at] && memcmp(&search->pairs[(search->table[at] - 1) * search->pair_words], pair,
	                                   search->pair_words * sizeof *pair) != 0)
		at = (at + 1) & mask;
	return &search->table[at];
}

static void resize_table(struct linear_search *search, size_t size)
{
	free(search->table);
	search->table = calloc(size, sizeof *search->table);
	if (!search->table)
		abort();
	search->table_size = size;
	for (uint32_t i = 0; i < search->pairs_count; i++)
		*place_of(search, &search->pairs[i * search->pair_words]) = i + 1;
}

static size_t round_up(size_t count)
{
	size_t power = TABLE_START / 4;

	while (power < count)
		power *= 2;
	return power;
}

static void forget_pairs(struct linear_search *search)
{
	search->pair_words = search->words + search->model->state_size / sizeof(uint64_t);
	search->pairs_count = 0;
	/* Most histories need hardly more pairs than they have operations; one hard one must not make all later ones clear
	 * its table. */
	if (search->table_size < 2 * search->count || search->table_size > 8 * search->count + TABLE_START)
		resize_table(search, search->table_size < 2 * search->count ? 4 * round_up(search->count) : TABLE_START);
	else
		memset(search->table, 0, search->table_size * sizeof *search->table);
}

/* Notes what has happened, with the state that it led to; false when that was known already. */
static bool is_new(struct linear_search *search, const void *state)
{
	uint64_t *pair;
	uint32_t *place;

	if ((search->pairs_count + 1) * search->pair_words > search->pairs_room) {
		search->pairs_room = search->pairs_room ? search->pairs_room * 2 : 1 << 16;
		search->pairs = grown(search->pairs, search->pairs_room * sizeof *search->pairs);
	}
	if (search->pairs_count * 2 >= search->table_size)
		resize_table(search, search->table_size * 4);
	pair = &search->pairs[search->pairs_count * search->pair_words];
	memcpy(pair, search->happened, search->words * sizeof *pair);
	memcpy(pair + search->words, state, search->model->state_size);
	place = place_of(search, pair);
	if (*place)
		return false;
	*place = (uint32_t)++search->pairs_count;
	return true;
}

/* ------------------------------------------------------------------------------------------------- the list */

static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	/* Begins before ends: what can't be told apart in time has overlapped. */
	if (a->is_end != b->is_end)
		return a->is_end ? 1 : -1;
	return (a->operation > b->operation) - (a->operation < b->operation);
}

static void make_list(struct linear_search *search)
{
	struct entry *entries = search->entries, **begins = calloc(search->count + 1, sizeof(struct entry *));
	size_t used = 0;

	if (!begins)
		abort();
	search->left = 0;
	for (size_t i = 0; i < search->count; i++) {
		const struct linear_operation *operation = &search->operations[i];

		entries[used++] = (struct entry){.time = operation->began, .operation = i};
		if (operation->ended == LINEAR_NEVER)
			continue;
		entries[used++] = (struct entry){.time = operation->ended, .operation = i, .is_end = true};
		search->left++;
	}
	qsort(entries, used, sizeof *entries, compare_entries);
	search->list.next = NULL;
	for (size_t i = 0; i < used; i++) {
		entries[i].previous = i ? &entries[i - 1] : &search->list;
		entries[i].previous->next = &entries[i];
		if (entries[i].is_end)
			begins[entries[i].operation]->end = &entries[i];
		else
			begins[entries[i].operation] = &entries[i];
	}
	free(begins);
}

static void unlink_entry(struct entry *entry)
{
	entry->previous->next = entry->next;
	if (entry->next)
		entry->next->previous = entry->previous;
}

static void relink_entry(struct entry *entry)
{
	entry->previous->next = entry;
	if (entry->next)
		entry->next->previous = entry;
}

static void take_out(struct linear_search *search, struct entry *begin)
{
	search->happened[begin->operation / 64] |= UINT64_C(1) << begin->operation % 64;
	unlink_entry(begin);
	if (begin->end) {
		unlink_entry(begin->end);
		search->left--;
	}
}

/* In the opposite order, so that each finds its neighbours as it left them. */
static void put_back(struct linear_search *search, struct entry *begin)
{
	search->happened[begin->operation / 64] &= ~(UINT64_C(1) << begin->operation % 64);
	if (begin->end) {
		relink_entry(begin->end);
		search->left++;
	}
	relink_entry(begin);
}

/* ----------------------------------------------------------------------------------------------- the search */

static void prepare(struct linear_search *search, const struct linear_model *model,
                    const struct linear_operation *operations, size_t count)
{
	assert(model->state_size && model->state_size % sizeof(uint64_t) == 0);
	search->model = model;
	search->operations = operations;
	search->count = count;
	search->words = count / 64 + 1;
	if (count + 1 > search->room || model->state_size > search->state_room) {
		if (count + 1 > search->room)
			search->room = count + 1;
		if (model->state_size > search->state_room)
			search->state_room = model->state_size;
		search->entries = grown(search->entries, search->room * 2 * sizeof *search->entries);
		search->levels = grown(search->levels, search->room * sizeof *search->levels);
		search->states = grown(search->states, (search->room + 1) * search->state_room);
		search->happened = grown(search->happened, (search->room / 64 + 1) * sizeof *search->happened);
		search->order = grown(search->order, search->room * sizeof *search->order);
	}
	memset(search->happened, 0, search->words * sizeof *search->happened);
	search->order_length = search->stuck = 0;
	search->stuck_at = 0;
	forget_pairs(search);
	make_list(search);
}

static void *state_at(const struct linear_search *search, size_t depth)
{
	return search->states + depth * search->model->state_size;
}

/* Begins the choice of the operation that comes after depth others. */
static void open_level(struct linear_search *search, size_t depth)
{
	struct level *level = &search->levels[depth];
	struct entry *entry = search->list.next, *end;

	level->chosen = level->due = NULL;
	while (entry && !entry->is_end)
		entry = entry->next;
	if (!entry)
		return;
	/* Its begin stands before it in the list, at most as many entries away as operations overlap. */
	end = entry;
	do
		entry = entry->previous;
	while (entry->end != end);
	level->due = entry;
}

/* The next that may be tried: the one that is due, then all others that had begun before it ended. */
static struct entry *choose_next(const struct linear_search *search, const struct level *level)
{
	struct entry *entry;

	if (!level->chosen)
		return level->due;
	entry = level->chosen == level->due ? search->list.next : level->chosen->next;
	if (entry == level->due)
		entry = entry->next;
	return entry && !entry->is_end ? entry : NULL;
}

static void keep_order(struct linear_search *search, size_t depth)
{
	for (size_t i = 0; i < depth; i++)
		search->order[i] = search->levels[i].chosen->operation;
	search->order_length = depth;
}

/* Nothing fits after depth operations. The later the end at which that happens, the more of the history has been
 * explained. */
static void note_stuck(struct linear_search *search, size_t depth)
{
	const struct entry *due = search->levels[depth].due;

	if (due->end->time < search->stuck_at || (due->end->time == search->stuck_at && depth <= search->order_length))
		return;
	search->stuck_at = due->end->time;
	search->stuck = due->operation;
	keep_order(search, depth);
}

static enum linear_verdict search_order(struct linear_search *search)
{
	size_t depth = 0;

	open_level(search, depth);
	while (search->left) {
		struct level *level = &search->levels[depth];
		struct entry *begin = choose_next(search, level);
		void *state = state_at(search, depth + 1);

		if (!begin) {
			note_stuck(search, depth);
			if (!depth)
				return LINEAR_NO;
			put_back(search, search->levels[--depth].chosen);
			continue;
		}
		level->chosen = begin;
		memcpy(state, state_at(search, depth), search->model->state_size);
		if (!search->model->step(state, search->operations[begin->operation].what, !begin->end))
			continue;
		take_out(search, begin);
		if (!is_new(search, state)) {
			put_back(search, begin);
			continue;
		}
		if (search->pairs_count > PAIRS_MAX)
			return LINEAR_GIVEN_UP;
		open_level(search, ++depth);
	}
	keep_order(search, depth);
	return LINEAR_YES;
}

enum linear_verdict linear_check(struct linear_search *search, const struct linear_model *model, const void *start,
                                 const struct linear_operation *operations, size_t count)
{
	prepare(search, model, operations, count);
	memcpy(state_at(search, 0), start, model->state_size);
	return search_order(search);
}

size_t linear_order(const struct linear_search *search, const size_t **order, size_t *stuck)
{
	*order = search->order;
	*stuck = search->stuck;
	return search->order_length;
}

size_t linear_seen(const struct linear_search *search)
{
	return search->pairs_count;
}

struct linear_search *linear_search_new(void)
{
	struct linear_search *search = calloc(1, sizeof *search);

	if (!search)
		abort();
	return search;
}

void linear_search_free(struct linear_search *search)
{
	free(search->entries);
	free(search->levels);
	free(search->states);
	free(search->happened);
	free(search->order);
	free(search->pairs);
	free(search->table);
	free(search);
}

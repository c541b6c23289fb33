/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * auditor.c: the segment is compared with the ledger. */
#include "auditor.h"

static int32_t state_of(const struct flagstore_flag *flag)
{
	if (!flag->exists)
		return LEDGER_MISSING;
	return flag->value ? LEDGER_TRUE : LEDGER_FALSE;
}

static uint64_t life_of(const struct flagstore_flag *flag)
{
	return flag->version - flag->changes;
}

static int lookup(const flagstore *store, const char *key, struct flagstore_flag *flag)
{
	int error = flagstore_lookup(store, key, flag);

	return error == FLAGSTORE_ENOTFOUND ? FLAGSTORE_OK : error;
}

/* --------------------------------------------------------------------------------------- a write under way */

static int32_t *states_after(const struct ledger_plan *plan, int32_t *states)
{
	for (uint32_t i = 0; i < plan->count; i++)
		states[i] = plan->changes[i].after;
	return states;
}

static int32_t *states_before(const struct ledger *ledger, uint32_t post, int32_t *states)
{
	const struct ledger_plan *plan = &ledger->post[post].plan;

	for (uint32_t i = 0; i < plan->count; i++)
		states[i] = ledger_value(ledger, post, plan->changes[i].word);
	return states;
}

static uint32_t matches(const struct flagstore_flag *flags, const int32_t *states, uint32_t count)
{
	uint32_t same = 0;

	for (uint32_t i = 0; i < count; i++)
		same += state_of(&flags[i]) == states[i];
	return same;
}

/* The change of own flags is there, or it is not; nothing else may be. */
static int settle_own(struct ledger *ledger, uint32_t number, flagstore *store, struct ledger_finds *finds)
{
	struct ledger_post *post = &ledger->post[number];
	struct ledger_plan *plan = &post->plan;
	struct flagstore_flag flags[LEDGER_PLAN_MAX];
	const char *keys[LEDGER_PLAN_MAX];
	int32_t states[LEDGER_PLAN_MAX];
	int error;

	for (uint32_t i = 0; i < plan->count; i++)
		keys[i] = ledger_key(ledger, number, plan->changes[i].word);
	/* Only a snapshot sees a batch as one: the writer's death may have left it half made, which nobody has come across yet. */
	error = flagstore_snapshot(store, keys, NULL, plan->count, flags);
	if (error)
		return error;
	if (matches(flags, states_after(plan, states), plan->count) == plan->count) {
		atomic_store_explicit(&post->made[plan->deed], plan->made, memory_order_relaxed);
	} else if (matches(flags, states_before(ledger, number, states), plan->count) == plan->count) {
		atomic_store_explicit(&post->unmade[plan->deed], plan->unmade, memory_order_relaxed);
	} else {
		ledger_count(plan->count > 1 ? &finds->half : &finds->lost, 1);
	}
	for (uint32_t i = 0; i < plan->count; i++)
		ledger_store(ledger, number, plan->changes[i].word, state_of(&flags[i]));
	return FLAGSTORE_OK;
}

/* Others go on with shared flags, so nobody can say any more whether this change was made. */
static void settle_shared(struct ledger *ledger, uint32_t number)
{
	const struct ledger_plan *plan = &ledger->post[number].plan;

	for (uint32_t i = 0; i < plan->count; i++) {
		uint32_t word = plan->changes[i].word;
		struct ledger_sum *sum = &ledger->sums[word - ledger->flags];
		bool more = plan->changes[i].after > ledger_value(ledger, number, word);

		atomic_fetch_add_explicit(more ? &sum->perhaps_more : &sum->perhaps_less, 1, memory_order_relaxed);
	}
}

int auditor_settle(struct ledger *ledger, uint32_t number, flagstore *store, struct ledger_finds *finds)
{
	struct ledger_post *post = &ledger->post[number];
	int error = FLAGSTORE_OK;

	switch (atomic_load_explicit(&post->plan.stage, memory_order_relaxed)) {
	case LEDGER_MADE:
		ledger_carry_out(ledger, number);
		return FLAGSTORE_OK;
	case LEDGER_PLANNED:
		if (post->plan.deed == DEED_SHARING)
			settle_shared(ledger, number);
		else
			error = settle_own(ledger, number, store, finds);
		if (!error)
			ledger_forget(post);
		return error;
	default:
		return FLAGSTORE_OK;
	}
}

/* ------------------------------------------------------------------------------------------------ own flags */

static void compare_word(const struct ledger *ledger, uint32_t post, uint32_t word, const flagstore *store,
                         struct ledger_finds *finds)
{
	struct flagstore_flag flag;
	int32_t seen;

	lookup(store, ledger_key(ledger, post, word), &flag);
	seen = state_of(&flag);
	ledger_count(&finds->audited, 1);
	if (seen == ledger_value(ledger, post, word))
		return;
	ledger_count(&finds->lost, 1);
	ledger_store(ledger, post, word, seen);
}

void auditor_compare_recent(const struct ledger *ledger, uint32_t number, const flagstore *store,
                            struct ledger_finds *finds)
{
	const struct ledger_post *post = &ledger->post[number];

	for (uint32_t i = 0; i < LEDGER_RECENT && i < post->recent_count; i++) {
		if (post->recent[i] < ledger->flags)
			compare_word(ledger, number, post->recent[i], store, finds);
	}
}

void auditor_compare(const struct ledger *ledger, uint32_t post, const flagstore *store, struct ledger_finds *finds)
{
	for (uint32_t word = 0; word < ledger->flags; word++)
		compare_word(ledger, post, word, store, finds);
}

/* --------------------------------------------------------------------------------------------- shared flags */

static int64_t take_words(struct ledger *ledger, uint32_t word)
{
	int64_t sum = 0;

	for (uint32_t post = 0; post < ledger->posts; post++) {
		sum += ledger_value(ledger, post, word);
		ledger_store(ledger, post, word, 0);
	}
	return sum;
}

static void count_difference(struct ledger *ledger, struct ledger_sum *sum, int64_t seen, int64_t known)
{
	int64_t least = known - sum->perhaps_less, most = known + sum->perhaps_more;

	if (seen < least)
		ledger_count(&ledger->finds.lost, (uint64_t)(least - seen));
	else if (seen > most)
		ledger_count(&ledger->finds.wrong, (uint64_t)(seen - most));
	sum->perhaps_more = 0;
	sum->perhaps_less = 0;
}

/* A flag that is only turned over counts its changes itself. */
static void compare_common(struct ledger *ledger, uint32_t word, const struct flagstore_flag *flag)
{
	struct ledger_sum *sum = &ledger->sums[word - ledger->flags];
	int64_t known = sum->base + take_words(ledger, word);

	if (!flag->exists || life_of(flag) != sum->life)
		ledger_count(&ledger->finds.lost, 1);
	else
		count_difference(ledger, sum, flag->changes, known);
	sum->life = life_of(flag);
	sum->base = flag->changes;
}

static void compare_mark(struct ledger *ledger, uint32_t word, const struct flagstore_flag *flag)
{
	struct ledger_sum *sum = &ledger->sums[word - ledger->flags];

	count_difference(ledger, sum, flag->exists, sum->base + take_words(ledger, word));
	sum->base = flag->exists;
}

int auditor_compare_group(const struct ledger *ledger, uint32_t group, flagstore *store, struct ledger_finds *finds)
{
	struct flagstore_flag flags[LEDGER_GROUP];
	const char *keys[LEDGER_GROUP];
	int32_t states[LEDGER_GROUP];
	int error;

	for (uint32_t i = 0; i < LEDGER_GROUP; i++)
		keys[i] = ledger_group_key(ledger, group, i);
	error = flagstore_snapshot(store, keys, NULL, LEDGER_GROUP, flags);
	if (error)
		return error;
	for (uint32_t i = 0; i < LEDGER_GROUP; i++)
		states[i] = state_of(&flags[0]);
	if (matches(flags, states, LEDGER_GROUP) != LEDGER_GROUP)
		ledger_count(&finds->half, 1);
	ledger_count(&finds->audited, LEDGER_GROUP);
	return FLAGSTORE_OK;
}

static void compare_stay(struct ledger *ledger, const flagstore *store)
{
	for (uint32_t i = 0; i < LEDGER_STAY; i++) {
		struct flagstore_flag flag;

		lookup(store, ledger_stay_key(ledger, i), &flag);
		if (!flag.exists || flag.value != ledger_stay_value(i) || flag.changes != 1)
			ledger_count(&ledger->finds.lost, 1);
	}
}

int auditor_compare_shared(struct ledger *ledger, flagstore *store)
{
	int error = FLAGSTORE_OK;

	for (uint32_t word = ledger->flags; word < ledger_words(ledger); word++) {
		struct flagstore_flag flag;

		lookup(store, ledger_key(ledger, 0, word), &flag);
		if (word < ledger->flags + LEDGER_COMMON)
			compare_common(ledger, word, &flag);
		else
			compare_mark(ledger, word, &flag);
	}
	for (uint32_t i = 0; i < LEDGER_GROUPS && !error; i++)
		error = auditor_compare_group(ledger, i, store, &ledger->finds);
	compare_stay(ledger, store);
	ledger_count(&ledger->finds.audited, LEDGER_COMMON + LEDGER_MARKS + LEDGER_STAY);
	return error;
}

/* ------------------------------------------------------------------------------------------ before and after */

static int prepare_common(struct ledger *ledger, flagstore *store, uint32_t number)
{
	const char *key = ledger_key(ledger, 0, ledger->flags + number);
	struct flagstore_flag flag;
	int error = flagstore_set(store, key, false);

	if (!error)
		error = lookup(store, key, &flag);
	if (error)
		return error;
	ledger->sums[number].life = life_of(&flag);
	ledger->sums[number].base = flag.changes;
	return FLAGSTORE_OK;
}

int auditor_prepare(struct ledger *ledger, flagstore *store)
{
	int error = auditor_clean(ledger, store);

	for (uint32_t i = 0; i < LEDGER_COMMON && !error; i++)
		error = prepare_common(ledger, store, i);
	for (uint32_t i = 0; i < LEDGER_STAY && !error; i++)
		error = flagstore_set(store, ledger_stay_key(ledger, i), ledger_stay_value(i));
	return error;
}

int auditor_clean(const struct ledger *ledger, flagstore *store)
{
	size_t keys = ledger_keys(ledger);

	for (size_t i = 0; i < keys; i++) {
		int error = flagstore_delete(store, ledger->keys[i]);

		if (error && error != FLAGSTORE_ENOTFOUND)
			return error;
	}
	return FLAGSTORE_OK;
}

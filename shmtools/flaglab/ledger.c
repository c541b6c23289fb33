/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * ledger.c: what must be in the segment, whoever is killed. */
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catalog.h"
#include "shared.h"

const char *deed_text(enum deed deed)
{
	static const char *const texts[] = {
#define DEED_TEXT(name, text) [DEED_##name] = (text),
		DEEDS(DEED_TEXT)
#undef DEED_TEXT
	};

	return texts[deed];
}

/* ----------------------------------------------------------------------------------------------------- keys */

/* Own keys come first. */
enum {
	GROUPS_BEHIND = LEDGER_COMMON + LEDGER_MARKS,
	STAY_BEHIND = GROUPS_BEHIND + LEDGER_GROUPS * LEDGER_GROUP,
	KEYS_BEHIND = STAY_BEHIND + LEDGER_STAY,
};

static size_t common_at(const struct ledger *ledger)
{
	return (size_t)ledger->posts * ledger->flags;
}

static size_t groups_at(const struct ledger *ledger)
{
	return common_at(ledger) + GROUPS_BEHIND;
}

static size_t stay_at(const struct ledger *ledger)
{
	return common_at(ledger) + STAY_BEHIND;
}

size_t ledger_keys(const struct ledger *ledger)
{
	return common_at(ledger) + KEYS_BEHIND;
}

const char *ledger_key(const struct ledger *ledger, uint32_t post, uint32_t word)
{
	if (word < ledger->flags)
		return ledger->keys[(size_t)post * ledger->flags + word];
	return ledger->keys[common_at(ledger) + word - ledger->flags];
}

const char *ledger_group_key(const struct ledger *ledger, uint32_t group, uint32_t flag)
{
	return ledger->keys[groups_at(ledger) + group * LEDGER_GROUP + flag];
}

const char *ledger_stay_key(const struct ledger *ledger, uint32_t flag)
{
	return ledger->keys[stay_at(ledger) + flag];
}

/* Some are longer than what a slot has room for, and take a cell of their own. */
static void write_key(struct ledger *ledger, size_t at, const char *family, uint32_t number)
{
	snprintf(ledger->keys[at], sizeof *ledger->keys, CATALOG_OWN_PREFIX "%d.%s.%" PRIu32 "%s", (int)getpid(), family, number,
	         number % 8 == 0 ? ".longer-than-a-slot-holds" : "");
}

static void write_keys(struct ledger *ledger)
{
	size_t end = ledger_keys(ledger);

	for (size_t i = 0; i < common_at(ledger); i++)
		write_key(ledger, i, "own", (uint32_t)i);
	for (size_t i = common_at(ledger); i < groups_at(ledger); i++)
		write_key(ledger, i, "shared", (uint32_t)(i - common_at(ledger)));
	for (size_t i = groups_at(ledger); i < stay_at(ledger); i++)
		write_key(ledger, i, "group", (uint32_t)(i - groups_at(ledger)));
	for (size_t i = stay_at(ledger); i < end; i++)
		write_key(ledger, i, "stay", (uint32_t)(i - stay_at(ledger)));
}

/* --------------------------------------------------------------------------------------------------- memory */

struct ledger *ledger_open(uint32_t posts, uint32_t readers, uint32_t flags)
{
	struct ledger *ledger;
	size_t words = (size_t)posts * (flags + LEDGER_COMMON + LEDGER_MARKS), size = 0;
	size_t ledger_at = shared_part(&size, sizeof(struct ledger));
	size_t post_at = shared_part(&size, posts * sizeof(struct ledger_post));
	size_t reader_at = shared_part(&size, readers * sizeof(struct ledger_reader));
	size_t keys_at = shared_part(&size, ((size_t)posts * flags + KEYS_BEHIND) * sizeof *ledger->keys);
	size_t words_at = shared_part(&size, words * sizeof(_Atomic int32_t));
	char *memory = shared_memory(size);

	ledger = (void *)(memory + ledger_at);
	ledger->size = size;
	ledger->posts = posts;
	ledger->readers = readers;
	ledger->flags = flags;
	ledger->post = (void *)(memory + post_at);
	ledger->reader = (void *)(memory + reader_at);
	ledger->words = (void *)(memory + words_at);
	ledger->keys = (void *)(memory + keys_at);
	write_keys(ledger);
	return ledger;
}

void ledger_close(struct ledger *ledger)
{
	munmap(ledger, ledger->size);
}

uint32_t ledger_there(const struct ledger *ledger, uint32_t post)
{
	uint32_t there = 0;

	for (uint32_t word = 0; word < ledger->flags; word++)
		there += ledger_value(ledger, post, word) != LEDGER_MISSING;
	return there;
}

/* ---------------------------------------------------------------------------------------------------- plans */

void ledger_plan(struct ledger_post *post, enum deed deed)
{
	struct ledger_plan *plan = &post->plan;

	plan->deed = deed;
	plan->count = 0;
	plan->acknowledged = atomic_load_explicit(&post->acknowledged[deed], memory_order_relaxed) + 1;
	plan->made = atomic_load_explicit(&post->made[deed], memory_order_relaxed) + 1;
	plan->unmade = atomic_load_explicit(&post->unmade[deed], memory_order_relaxed) + 1;
}

void ledger_change(struct ledger_post *post, uint32_t word, int32_t after)
{
	post->plan.changes[post->plan.count++] = (struct ledger_change){word, after};
}

/* Between what stands before it in the program and what stands behind it. A process that is killed has made all stores up to some
 * instruction, and none behind that, so it is the compiler alone that must keep the order: whoever looks at them looks when it is dead. */
static void set_stage(struct ledger_plan *plan, enum ledger_stage stage)
{
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&plan->stage, (uint32_t)stage, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

void ledger_begin(struct ledger_post *post)
{
	set_stage(&post->plan, LEDGER_PLANNED);
}

void ledger_forget(struct ledger_post *post)
{
	set_stage(&post->plan, LEDGER_IDLE);
}

void ledger_carry_out(const struct ledger *ledger, uint32_t number)
{
	struct ledger_post *post = &ledger->post[number];
	struct ledger_plan *plan = &post->plan;

	for (uint32_t i = 0; i < plan->count; i++) {
		ledger_store(ledger, number, plan->changes[i].word, plan->changes[i].after);
		post->recent[post->recent_count++ % LEDGER_RECENT] = plan->changes[i].word;
	}
	atomic_store_explicit(&post->acknowledged[plan->deed], plan->acknowledged, memory_order_relaxed);
	set_stage(plan, LEDGER_IDLE);
}

void ledger_acknowledge(const struct ledger *ledger, uint32_t post)
{
	set_stage(&ledger->post[post].plan, LEDGER_MADE);
	ledger_carry_out(ledger, post);
}

/* ---------------------------------------------------------------------------------------------------- total */

static void add_finds(struct ledger_total *total, const struct ledger_finds *finds)
{
	total->lost += atomic_load_explicit(&finds->lost, memory_order_relaxed);
	total->half += atomic_load_explicit(&finds->half, memory_order_relaxed);
	total->wrong += atomic_load_explicit(&finds->wrong, memory_order_relaxed);
	total->audited += atomic_load_explicit(&finds->audited, memory_order_relaxed);
}

struct ledger_total ledger_total(const struct ledger *ledger)
{
	struct ledger_total total = {0};

	add_finds(&total, &ledger->finds);
	for (uint32_t i = 0; i < ledger->readers; i++)
		add_finds(&total, &ledger->reader[i].finds);
	for (uint32_t i = 0; i < ledger->posts; i++) {
		const struct ledger_post *post = &ledger->post[i];

		add_finds(&total, &post->finds);
		total.refused += atomic_load_explicit(&post->refused, memory_order_relaxed);
		for (enum deed deed = 0; deed < DEED_COUNT; deed++)
			total.acknowledged += atomic_load_explicit(&post->acknowledged[deed], memory_order_relaxed);
	}
	return total;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * racework.c: a worker of flaglab race. Writes for as long as it is told to, then compares its keys with what it knows of them. It must
 * outlive whatever the others do to the table. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "failure.h"
#include "race.h"

struct self {
	flagstore *store;
	struct race_board *board;
	struct race_worker *worker;
	uint32_t number;
	uint64_t chance;
};

void race_note(struct race_found *found, enum race_stage stage, enum race_damage damage, const char *format, ...)
{
	uint64_t before = 0;
	va_list arguments;

	for (int i = 0; i < RACE_STAGES; i++)
		before += atomic_load_explicit(&found->count[i][damage], memory_order_relaxed);
	atomic_fetch_add_explicit(&found->count[stage][damage], 1, memory_order_relaxed);
	if (before >= RACE_EXAMPLES)
		return;
	va_start(arguments, format);
	vsnprintf(found->example[damage][before], RACE_EXAMPLE_SIZE, format, arguments);
	va_end(arguments);
}

const char *race_key(char place[64], uint32_t worker, uint32_t key)
{
	snprintf(place, 64, "race.worker-%u.flag-%u", worker, key);
	return place;
}

const char *race_shared_key(char place[64], uint32_t key)
{
	snprintf(place, 64, "race.shared-%u", key);
	return place;
}

static uint32_t chance(struct self *self, uint32_t below)
{
	/* xorshift64 */
	self->chance ^= self->chance << 13;
	self->chance ^= self->chance >> 7;
	self->chance ^= self->chance << 17;
	return (uint32_t)(self->chance >> 32) % below;
}

static void refused(struct self *self, enum race_stage stage, int error)
{
	race_note(&self->worker->found, stage, RACE_REFUSED, "%s: %.120s", flagstore_error_name(error), flagstore_detail());
}

/* Writes one of the worker's own flags; it is known what it must be afterwards. */
static void write_own(struct self *self, enum race_stage stage, uint32_t key, uint8_t wanted)
{
	char name[64];
	int error;

	race_key(name, self->number, key);
	error = wanted ? flagstore_set(self->store, name, wanted == 2) : flagstore_delete(self->store, name);
	/* A flag that should be there and can't be deleted has been lost before: that is counted when all is compared. */
	if (error && error != FLAGSTORE_ENOTFOUND) {
		refused(self, stage, error);
		return;
	}
	self->worker->expected[key] = wanted;
	if (wanted) {
		struct flagstore_flag flag;

		if (flagstore_lookup(self->store, name, &flag) != FLAGSTORE_OK)
			race_note(&self->worker->found, stage, RACE_NOT_YET, "%s", name);
	}
}

static void toggle_shared(struct self *self, enum race_stage stage)
{
	uint32_t key = chance(self, RACE_SHARED);
	char name[64];
	int error = flagstore_toggle(self->store, race_shared_key(name, key), NULL);

	if (!error)
		atomic_fetch_add_explicit(&self->worker->toggles[key], 1, memory_order_relaxed);
	else if (error != FLAGSTORE_ENOTFOUND)
		refused(self, stage, error);
}

static void write_something(struct self *self, enum race_stage stage)
{
	struct race_worker *worker = self->worker;
	uint32_t what = chance(self, 8), key;

	if (what < 3) {
		toggle_shared(self, stage);
	} else if (stage == RACE_DURING && worker->keys < RACE_KEYS) {
		key = worker->keys++;
		write_own(self, stage, key, (uint8_t)(1 + chance(self, 2)));
	} else {
		key = chance(self, worker->keys);
		write_own(self, stage, key, worker->expected[key] && what == 3 ? 0 : (uint8_t)(1 + chance(self, 2)));
	}
	atomic_fetch_add_explicit(&worker->operations, 1, memory_order_relaxed);
}

static void compare_own(struct self *self, enum race_stage stage)
{
	struct race_worker *worker = self->worker;

	for (uint32_t i = 0; i < worker->keys; i++) {
		struct flagstore_flag flag = {.exists = false};
		char name[64];
		uint8_t now;

		(void)flagstore_lookup(self->store, race_key(name, self->number, i), &flag);
		now = flag.exists ? (uint8_t)(1 + flag.value) : 0;
		if (now == worker->expected[i])
			continue;
		race_note(&worker->found, stage, !now ? RACE_NOT_FOUND : !worker->expected[i] ? RACE_CAME_BACK : RACE_LOST_VALUES, "%s", name);
		/* What is broken now counts once. */
		worker->expected[i] = now;
	}
}

static void carry_out(struct self *self, uint32_t order)
{
	enum race_stage stage = (enum race_stage)((order - 1) / 2);

	if (order == RACE_ORDER_COMPARE(stage)) {
		compare_own(self, stage);
		return;
	}
	while (atomic_load_explicit(&self->board->order, memory_order_acquire) == order)
		for (int i = 0; i < 16; i++)
			write_something(self, stage);
}

int race_work(const char *name, uint32_t attach_flags, struct race_board *board, uint32_t number)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct self self = {NULL, board, &board->worker[number], number, UINT64_C(0x9e3779b97f4a7c15) * (number + 1)};
	uint32_t done = 0;
	int error;

	options.flags = attach_flags;
	options.lock_wait_ms = 1000;
	error = flagstore_attach(name, &options, &self.store);
	if (error)
		return failure_of_library(error);
	atomic_fetch_add_explicit(&board->ready, 1, memory_order_release);
	for (;;) {
		uint32_t order = atomic_load_explicit(&board->order, memory_order_acquire);

		if (order == RACE_ORDER_END)
			break;
		if (order == done) {
			usleep(200);
			continue;
		}
		carry_out(&self, order);
		done = order;
		atomic_store_explicit(&self.worker->done, done, memory_order_release);
	}
	flagstore_close(self.store);
	return STATUS_DONE;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * incidentwork.c: a worker of flaglab incident. It must outlive whatever others do to the table. From the moment at which it is told to
 * compare, nothing may break any more: a mark that is not as it was left counts as wrong. */
#include "incident.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "failure.h"

enum {
	MARKS = 512,   /* of all workers together, each its own */
	SHARED = 256,  /* marks of all those that write without the lock, so that two of them insert the same */
	TIDE = 1024,   /* writes for which marks become more, and then fewer */
	BURST = 128,   /* writes between two rests, as a worker has other things to do */
	REST_US = 100,
};

enum deed { TOGGLE, INSERT, DELETE };

static_assert(MARKS + SHARED == INCIDENT_MARKS, "as the story knows");

struct self {
	flagstore *store;
	const struct catalog *flags;
	struct incident_board *board;
	struct incident_worker *worker;
	uint32_t number, marks;
	uint64_t chance, turns;
	bool compares;
	bool left[MARKS]; /* whether the mark was there when it was last left */
};

static uint32_t chance(struct self *self, uint32_t below)
{
	/* xorshift64 */
	self->chance ^= self->chance << 13;
	self->chance ^= self->chance >> 7;
	self->chance ^= self->chance << 17;
	return (uint32_t)(self->chance >> 32) % below;
}

static const char *mark_key(char place[64], const struct self *self, uint32_t mark)
{
	snprintf(place, 64, "worker-%u.seen-order-%u", self->number, mark);
	return place;
}

static const char *shared_key(char place[64], uint32_t mark)
{
	snprintf(place, 64, "seen-order-%u", mark);
	return place;
}

/* ------------------------------------------------------------------------------------------------------ writes
 *
 * The places that the guard names. So each is a function of its own, that differs from the other, and does something behind the call. */

static int carry_out(flagstore *store, const char *key, enum deed deed)
	__attribute__((always_inline));

static inline int carry_out(flagstore *store, const char *key, enum deed deed)
{
	switch (deed) {
	case TOGGLE:
		return flagstore_toggle(store, key, NULL);
	case INSERT:
		return flagstore_set(store, key, true);
	default:
		return flagstore_delete(store, key);
	}
}

static int __attribute__((noinline)) write_with_lock(struct self *self, const char *key, enum deed deed)
{
	int error = carry_out(self->store, key, deed);

	atomic_fetch_add_explicit(&self->worker->writes, 1, memory_order_release);
	return error;
}

static int __attribute__((noinline)) write_without_lock(struct self *self, const char *key, enum deed deed)
{
	int error = carry_out(self->store, key, deed);

	atomic_fetch_add_explicit(&self->worker->hasty, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&self->worker->writes, 1, memory_order_release);
	return error;
}

static int write_flag(struct self *self, const char *key, enum deed deed)
{
	int error = incident_is_hasty(self->number) ? write_without_lock(self, key, deed) : write_with_lock(self, key, deed);

	/* What is not there has been lost, and that is counted elsewhere. */
	if (error && error != FLAGSTORE_ENOTFOUND)
		atomic_fetch_add_explicit(&self->worker->refused, 1, memory_order_relaxed);
	return error;
}

/* --------------------------------------------------------------------------------------------------- comparing */

static bool is_there(const struct self *self, uint32_t mark)
{
	struct flagstore_flag flag;
	char key[64];

	return flagstore_lookup(self->store, mark_key(key, self, mark), &flag) == FLAGSTORE_OK;
}

static void compare(struct self *self, uint32_t mark, const char *when)
{
	struct incident_worker *worker = self->worker;
	char key[64];

	atomic_fetch_add_explicit(&worker->compared, 1, memory_order_relaxed);
	if (is_there(self, mark) == self->left[mark])
		return;
	if (atomic_fetch_add_explicit(&worker->wrong, 1, memory_order_relaxed) == 0)
		snprintf(worker->example, sizeof worker->example, "%s was %s and is %s %s", mark_key(key, self, mark),
		         self->left[mark] ? "inserted" : "deleted", self->left[mark] ? "missing" : "there", when);
	self->left[mark] = !self->left[mark];
}

/* What the others had broken is taken as it is now. */
static void begin_to_compare(struct self *self)
{
	for (uint32_t i = 0; i < self->marks; i++)
		self->left[i] = is_there(self, i);
	self->compares = true;
}

static void compare_all(struct self *self)
{
	for (uint32_t i = 0; i < self->marks && self->compares; i++)
		compare(self, i, "at the end");
}

/* -------------------------------------------------------------------------------------------------------- work */

/* Marks become more, and then fewer. */
static bool is_to_insert(struct self *self)
{
	bool rising = self->turns / TIDE % 2 == 0;

	return chance(self, 4) ? rising : !rising;
}

static void write_shared_mark(struct self *self)
{
	char key[64];

	(void)write_flag(self, shared_key(key, chance(self, SHARED)), is_to_insert(self) ? INSERT : DELETE);
}

static void write_own_mark(struct self *self)
{
	bool insert = is_to_insert(self);
	uint32_t mark = chance(self, self->marks);
	char key[64];
	int error;

	if (self->compares)
		compare(self, mark, "before the next write");
	error = write_flag(self, mark_key(key, self, mark), insert ? INSERT : DELETE);
	if (error && error != FLAGSTORE_ENOTFOUND)
		return;
	self->left[mark] = insert;
	if (self->compares)
		compare(self, mark, "right after the write");
}

static void write_something(struct self *self)
{
	uint32_t what = chance(self, 4);

	self->turns++;
	if (what == 0)
		(void)write_flag(self, self->flags->keys[chance(self, (uint32_t)self->flags->count)], TOGGLE);
	else if (what == 1 && incident_is_hasty(self->number))
		write_shared_mark(self);
	else
		write_own_mark(self);
}

static int attach(struct self *self, const char *name)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	int error;

	options.flags = incident_is_hasty(self->number) ? FLAGSTORE_UNLOCKED : 0;
	error = flagstore_attach(name, &options, &self->store);
	return error ? failure_of_library(error) : STATUS_DONE;
}

int incident_work(const char *name, const struct catalog *flags, struct incident_board *board, uint32_t workers, uint32_t number)
{
	struct self self = {.flags = flags, .board = board, .worker = &board->worker[number], .number = number, .marks = MARKS / workers,
	                    .chance = UINT64_C(0x9e3779b97f4a7c15) * (number + 1)};
	uint32_t order;
	int status = attach(&self, name);

	if (status)
		return status;
	atomic_fetch_add_explicit(&board->ready, 1, memory_order_release);
	while ((order = atomic_load_explicit(&board->order, memory_order_acquire)) != INCIDENT_END) {
		if (order == INCIDENT_COMPARE && !self.compares)
			begin_to_compare(&self);
		for (int i = 0; i < BURST && order != INCIDENT_WAIT; i++)
			write_something(&self);
		usleep(REST_US);
	}
	compare_all(&self);
	flagstore_close(self.store);
	return STATUS_DONE;
}

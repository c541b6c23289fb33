/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reader.c: the process that measures each single read while writers are killed. The flags that it reads never change, but the
 * buckets that they lie in do all the time. */
#include "reader.h"

#include <flagstore.h>
#include <string.h>

#include "auditor.h"
#include "failure.h"

enum {
	NAP_US = 1000,    /* between two rounds: it is the writers that need the processors */
	LOCK_WAIT_MS = 5, /* how long a look at a group may take, when a dead writer is in the way */
};

struct reader {
	flagstore *store;
	struct ledger *ledger;
	struct ledger_reader *own;
	struct stopwatch watch;
	size_t lengths[LEDGER_STAY];
	uint32_t next_group;
};

static enum window window_now(const struct reader *reader, enum phase phase)
{
	if (phase == PHASE_QUIET)
		return WINDOW_QUIET;
	return atomic_load_explicit(&reader->ledger->away, memory_order_relaxed) ? WINDOW_DEAD : WINDOW_ALIVE;
}

static void read_flag(struct reader *reader, uint32_t flag, enum phase phase)
{
	enum window before = window_now(reader, phase), after;
	bool value = flagstore_get_n(reader->store, ledger_stay_key(reader->ledger, flag), reader->lengths[flag]);
	int64_t took;
	bool interrupted = stopwatch_lap(&reader->watch, &took);

	after = window_now(reader, phase);
	timing_add(&reader->own->reads[before == WINDOW_DEAD ? before : after], took, interrupted);
	if (value != ledger_stay_value(flag))
		ledger_count(&reader->own->finds.wrong, 1);
	/* The counting is not part of the next one. */
	stopwatch_lap(&reader->watch, &took);
}

static int look_at_group(struct reader *reader)
{
	int error = auditor_compare_group(reader->ledger, reader->next_group, reader->store, &reader->own->finds);

	reader->next_group = (reader->next_group + 1) % LEDGER_GROUPS;
	if (error != FLAGSTORE_EBUSY)
		return error;
	ledger_count(&reader->own->busy, 1);
	return FLAGSTORE_OK;
}

static int go_round(struct reader *reader)
{
	enum phase phase = muster_phase(&reader->ledger->muster);
	int64_t took;
	int error;

	clock_sleep_until(clock_now() + NAP_US * MILLISECOND / 1000);
	/* Some reads to begin with are not counted: after a sleep it is the processor that is slow, not the store. */
	for (uint32_t i = 0; i < 16; i++)
		flagstore_get_n(reader->store, ledger_stay_key(reader->ledger, i), reader->lengths[i]);
	stopwatch_lap(&reader->watch, &took);
	for (uint32_t i = 0; i < LEDGER_STAY; i++)
		read_flag(reader, i, phase);
	error = look_at_group(reader);
	ledger_count(&reader->own->finds.audited, LEDGER_STAY);
	return error;
}

int reader_work(const char *name, struct ledger *ledger, uint32_t number)
{
	struct reader reader = {.ledger = ledger, .own = &ledger->reader[number], .next_group = number % LEDGER_GROUPS};
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	int error;

	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = LOCK_WAIT_MS;
	error = flagstore_attach(name, &options, &reader.store);
	if (error)
		return failure_of_library(error);
	for (uint32_t i = 0; i < LEDGER_STAY; i++)
		reader.lengths[i] = strlen(ledger_stay_key(ledger, i));
	muster_join(&ledger->muster);
	stopwatch_start(&reader.watch);
	atomic_store_explicit(&reader.own->clock_ns, reader.watch.clock_ns, memory_order_relaxed);
	while (!error && muster_phase(&ledger->muster) != PHASE_STOP)
		error = go_round(&reader);
	flagstore_close(reader.store);
	return error ? failure_of_library(error) : STATUS_DONE;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * judge.c: what a run has shown.
 *
 * Others may go on using the segment, so an answer that does not fit may be right all the same. A flag's version tells: it
 * names the life of the flag and counts its changes (flagstore(5)). When these are exactly the ones that the flipper made, every
 * answer that did not fit was wrong. When there are more, or it is another life, somebody else was at the flag, and
 * nothing can be said. When there are fewer, a change has been lost. */
#include "judge.h"

#include "failure.h"
#include "inspect.h"
#include "worker.h"

enum fate {
	FATE_AS_EXPECTED,
	FATE_DISTURBED,
	FATE_LOST_CHANGE,
};

static uint64_t life_of(const struct flagstore_flag *flag)
{
	return flag->version - flag->changes;
}

static enum fate fate_of(const struct lab *lab, size_t index, const struct flagstore_flag *now)
{
	const struct flagstore_flag *before = &lab->catalog.flags[index];
	const struct board *board = lab->board;
	uint64_t announced = atomic_load(&board->announced), done = atomic_load(&board->done);
	/* A flipper that was killed may have made a flip and not have lived to count it. */
	bool one_more = announced > done && done % lab->catalog.flipped == index;
	uint32_t flips = index < lab->catalog.flipped ? atomic_load(&board->flips[index]) : 0;
	uint32_t changes = now->changes - before->changes;

	if (!now->exists || life_of(now) != life_of(before))
		return FATE_DISTURBED;
	if (changes == flips || (one_more && changes == flips + 1))
		return FATE_AS_EXPECTED;
	return changes < flips ? FATE_LOST_CHANGE : FATE_DISTURBED;
}

static int restore(const struct lab *lab, size_t index, const struct flagstore_flag *now, struct verdict *verdict)
{
	const struct catalog *catalog = &lab->catalog;
	bool value = catalog->flags[index].value;
	int error;

	if (now->value == value)
		return FLAGSTORE_OK;
	error = flagstore_compare_and_set_version_n(lab->store, catalog->keys[index], catalog->lengths[index], now, value);
	if (error != FLAGSTORE_ECONFLICT && error != FLAGSTORE_ENOTFOUND)
		return error;
	verdict->disturbed++;
	return FLAGSTORE_OK;
}

static int judge_flags(const struct lab *lab, bool keep, struct verdict *verdict)
{
	const struct catalog *catalog = &lab->catalog;
	int error = FLAGSTORE_OK;

	for (size_t i = 0; i < catalog->count && !error; i++) {
		struct flagstore_flag now;
		enum fate fate;

		flagstore_lookup_n(lab->store, catalog->keys[i], catalog->lengths[i], &now);
		fate = fate_of(lab, i, &now);
		if (fate == FATE_DISTURBED) {
			verdict->disturbed++;
			continue;
		}
		verdict->wrong += atomic_load(&lab->board->suspects[i]) + (fate == FATE_LOST_CHANGE);
		if (i < catalog->flipped && !keep)
			error = restore(lab, i, &now, verdict);
	}
	verdict->restored = !keep && !error;
	return error;
}

static int delete_own_flags(const struct lab *lab, pid_t pid)
{
	for (int i = 0; i < WORKER_OWN_FLAGS; i++) {
		int error = flagstore_delete(lab->store, worker_own_key(pid, i).text);

		if (error && error != FLAGSTORE_ENOTFOUND)
			return error;
	}
	return FLAGSTORE_OK;
}

static int judge_workers(const struct lab *lab, struct verdict *verdict)
{
	int error = FLAGSTORE_OK;

	for (uint32_t i = 0; i < lab->workers && !error; i++) {
		verdict->wrong += atomic_load(&lab->board->worker[i].faults);
		verdict->refused += atomic_load(&lab->board->worker[i].refused);
		if (lab->members[i].state != CREW_ABSENT)
			error = delete_own_flags(lab, lab->members[i].pid);
	}
	for (uint32_t i = 0; i <= lab->workers; i++)
		verdict->died += lab->members[i].state == CREW_DIED;
	return error;
}

/* Of those that ended in order; nobody knows how much longer the others would have needed. */
static void judge_flips(const struct lab *lab, struct verdict *verdict)
{
	uint64_t done = atomic_load(&lab->board->done);

	for (size_t i = 0; i < lab->catalog.flipped; i++)
		verdict->flips += atomic_load(&lab->board->flips[i]);
	for (uint32_t i = 0; i < lab->workers; i++) {
		uint64_t seen = atomic_load(&lab->board->worker[i].seen);

		if (lab->members[i].state == CREW_ENDED && done > seen && done - seen > verdict->unseen)
			verdict->unseen = done - seen;
	}
}

/* The check comes before the look at the count of recoveries. */
static int check_segment(const struct lab *lab, struct verdict *verdict)
{
	struct flagstore_info info;
	int error = inspect_segment(lab->store, lab->name, &verdict->findings);

	if (!error)
		error = flagstore_info(lab->store, &info);
	if (error)
		return error;
	verdict->recoveries = info.recoveries - lab->recoveries_before;
	return FLAGSTORE_OK;
}

int judge(const struct lab *lab, bool keep, struct verdict *verdict)
{
	int error;

	*verdict = (struct verdict){0};
	judge_flips(lab, verdict);
	error = judge_flags(lab, keep, verdict);
	if (!error)
		error = judge_workers(lab, verdict);
	if (!error)
		error = check_segment(lab, verdict);
	if (error)
		return failure_of_library(error);
	verdict->healthy = verdict->wrong == 0 && verdict->unseen == 0 && verdict->died == 0 && verdict->findings == 0;
	return STATUS_DONE;
}

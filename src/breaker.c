/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * breaker.c: the circuit breaker. closed -> open when a limit is passed; open -> half-open when the pause is over, by whoever has the flush
 * lock then, who alone tries; half-open -> closed when a commit has been made and LMDB has all that the table has, or -> open, with a
 * longer pause. The pause doubles from PAUSE_MIN_MS to PAUSE_MAX_MS. A process that dies while it tries leaves half-open, in which the
 * next one that gets the flush lock tries. */
#include "breaker.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "event.h"
#include "journal.h"
#include "persist.h"
#include "probe.h"

#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 30000

void fs_breaker_init(struct fs_journal *journal)
{
	atomic_store_explicit(&journal->limit_failures, 50, memory_order_relaxed);
	atomic_store_explicit(&journal->limit_opens, 30, memory_order_relaxed);
	atomic_store_explicit(&journal->limit_ms, 1200, memory_order_relaxed);
	atomic_store_explicit(&journal->limit_samples, 5, memory_order_relaxed);
}

/* --------------------------------------------------------------------------------------------------- states */

static enum flagstore_breaker_state state_of(uint64_t word)
{
	return (word & 0xff) <= FLAGSTORE_BREAKER_HALF_OPEN ? (enum flagstore_breaker_state)(word & 0xff) : FLAGSTORE_BREAKER_OPEN;
}

/* False when somebody else was faster. */
static bool turn(flagstore *store, enum flagstore_breaker_state from, enum flagstore_breaker_state to)
{
	struct fs_journal *journal = store->journal;
	uint64_t word = atomic_load_explicit(&journal->breaker, memory_order_relaxed);

	if (state_of(word) != from ||
	    !atomic_compare_exchange_strong_explicit(&journal->breaker, &word, (uint64_t)fs_now_ms() << 8 | (uint64_t)to, memory_order_acq_rel,
	                                             memory_order_relaxed))
		return false;
	fs_event_breaker(store, from, to);
	FS_PROBE3(breaker, store->path, (int)from, (int)to);
	return true;
}

static void open_it(flagstore *store)
{
	struct fs_journal *journal = store->journal;
	enum flagstore_breaker_state from = fs_breaker_state(store);
	uint64_t pause = atomic_load_explicit(&journal->retry_pause_ms, memory_order_relaxed);

	/* Somebody else was faster: the pause is his. */
	if (from == FLAGSTORE_BREAKER_OPEN)
		return;
	pause = from == FLAGSTORE_BREAKER_HALF_OPEN ? pause * 2 : PAUSE_MIN_MS;
	pause = pause < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause;
	atomic_store_explicit(&journal->retry_pause_ms, pause, memory_order_relaxed);
	/* Before the state: who sees it open sees when to try. */
	atomic_store_explicit(&journal->retry_ns, fs_monotonic_ns() + pause * 1000000, memory_order_relaxed);
	if (turn(store, from, FLAGSTORE_BREAKER_OPEN) && from == FLAGSTORE_BREAKER_CLOSED)
		atomic_fetch_add_explicit(&journal->trips, 1, memory_order_relaxed);
	/* Those who wait for a commit look at the state. */
	fs_flushes_move(store);
}

bool fs_breaker_allows(flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	uint64_t now, retry;

	switch (fs_breaker_state(store)) {
	case FLAGSTORE_BREAKER_CLOSED:
		return true;
	case FLAGSTORE_BREAKER_HALF_OPEN:
		/* We have the flush lock: whoever tried before is gone, or has let us come. */
		return true;
	default:
		now = fs_monotonic_ns();
		retry = atomic_load_explicit(&journal->retry_ns, memory_order_relaxed);
		/* One that lies further ahead than any pause is damage. */
		if (atomic_load_explicit(&journal->forced, memory_order_relaxed) || (now < retry && retry - now <= PAUSE_MAX_MS * UINT64_C(1000000)))
			return false;
		return turn(store, FLAGSTORE_BREAKER_OPEN, FLAGSTORE_BREAKER_HALF_OPEN);
	}
}

static void clear(struct fs_breaker_slice *slice, uint32_t number)
{
	atomic_store_explicit(&slice->commits, 0, memory_order_relaxed);
	atomic_store_explicit(&slice->failures, 0, memory_order_relaxed);
	atomic_store_explicit(&slice->slow, 0, memory_order_relaxed);
	atomic_store_explicit(&slice->opens, 0, memory_order_relaxed);
	atomic_store_explicit(&slice->open_failures, 0, memory_order_relaxed);
	atomic_store_explicit(&slice->number, number, memory_order_relaxed);
}

void fs_breaker_caught_up(flagstore *store)
{
	if (fs_breaker_state(store) != FLAGSTORE_BREAKER_HALF_OPEN)
		return;
	/* What failed before it opened would open it again with the next commit. */
	for (int i = 0; i < FS_BREAKER_SLICES; i++)
		clear(&store->journal->slices[i], 0);
	(void)turn(store, FLAGSTORE_BREAKER_HALF_OPEN, FLAGSTORE_BREAKER_CLOSED);
}

/* -------------------------------------------------------------------------------------------------- counting */

static uint32_t slice_now(void)
{
	return (uint32_t)(fs_monotonic_ns() / 1000000000u / FS_BREAKER_SLICE_S);
}

/* By who has the flush lock, so there is one writer. After a death a slice may be counted a little short. */
static struct fs_breaker_slice *slice_of_now(flagstore *store)
{
	uint32_t now = slice_now();
	struct fs_breaker_slice *slice = &store->journal->slices[now % FS_BREAKER_SLICES];

	if (atomic_load_explicit(&slice->number, memory_order_relaxed) != now)
		clear(slice, now);
	return slice;
}

static void add(_Atomic uint32_t *count, bool one)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + one, memory_order_relaxed);
}

void fs_breaker_minute(const flagstore *store, struct flagstore_persistence *persistence)
{
	const struct fs_journal *journal = fs_journal(store);
	uint32_t now = slice_now();

	for (int i = 0; i < FS_BREAKER_SLICES; i++) {
		const struct fs_breaker_slice *slice = &journal->slices[i];

		if (now - atomic_load_explicit(&slice->number, memory_order_relaxed) >= FS_BREAKER_SLICES)
			continue;
		persistence->minute_commits += atomic_load_explicit(&slice->commits, memory_order_relaxed);
		persistence->minute_failures += atomic_load_explicit(&slice->failures, memory_order_relaxed);
		persistence->minute_slow += atomic_load_explicit(&slice->slow, memory_order_relaxed);
		persistence->minute_opens += atomic_load_explicit(&slice->opens, memory_order_relaxed);
		persistence->minute_open_failures += atomic_load_explicit(&slice->open_failures, memory_order_relaxed);
	}
}

static bool is_more(uint64_t count, uint64_t all, uint32_t permille, uint32_t samples)
{
	return all >= samples && count * 1000 > all * permille;
}

static bool passes_a_limit(const flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	uint32_t samples = atomic_load_explicit(&journal->limit_samples, memory_order_relaxed);
	struct flagstore_persistence minute = {.minute_commits = 0};

	fs_breaker_minute(store, &minute);
	return is_more(minute.minute_failures, minute.minute_commits, atomic_load_explicit(&journal->limit_failures, memory_order_relaxed), samples) ||
	       is_more(minute.minute_slow, minute.minute_commits, 10, samples) ||
	       is_more(minute.minute_open_failures, minute.minute_opens, atomic_load_explicit(&journal->limit_opens, memory_order_relaxed), samples);
}

/* A try that fails opens at once. */
static bool is_to_open(const flagstore *store, bool success)
{
	enum flagstore_breaker_state state = fs_breaker_state(store);

	return state == FLAGSTORE_BREAKER_HALF_OPEN ? !success : state == FLAGSTORE_BREAKER_CLOSED && passes_a_limit(store);
}

void fs_breaker_note_failure(flagstore *store, const char *sentence)
{
	struct fs_journal *journal = store->journal;
	uint64_t words[FS_FAILURE_TEXT / 8] = {0};

	snprintf((char *)words, sizeof words, "%s", sentence);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		atomic_store_explicit(&journal->failure[i], words[i], memory_order_relaxed);
	atomic_store_explicit(&journal->failed_ms, fs_now_ms(), memory_order_relaxed);
}

/* LMDB says nothing of what takes too long. */
static void note_slowness(flagstore *store, const char *what, uint64_t ms)
{
	const char *directory = store->persistence.directory;
	size_t length = strlen(directory);
	char sentence[FS_FAILURE_TEXT];

	/* Of a long path the end, which tells more. */
	snprintf(sentence, sizeof sentence, "%.40s %llu ms, and the limit is %u ms: %.80s", what, (unsigned long long)ms,
	         atomic_load_explicit(&store->journal->limit_ms, memory_order_relaxed), length > 80 ? directory + length - 80 : directory);
	fs_breaker_note_failure(store, sentence);
}

void fs_breaker_committed(flagstore *store, bool success, uint64_t took_ns)
{
	struct fs_journal *journal = store->journal;
	struct fs_breaker_slice *slice = slice_of_now(store);
	bool slow = took_ns / 1000000 > atomic_load_explicit(&journal->limit_ms, memory_order_relaxed);

	add(&slice->commits, true);
	add(&slice->failures, !success);
	add(&slice->slow, slow);
	fs_count(&journal->commits, success);
	fs_count(&journal->commit_failures, !success);
	if (success) {
		atomic_store_explicit(&journal->last_commit_ms, fs_now_ms(), memory_order_relaxed);
		atomic_store_explicit(&journal->last_commit_ns, took_ns, memory_order_relaxed);
		if (took_ns > atomic_load_explicit(&journal->longest_commit_ns, memory_order_relaxed))
			atomic_store_explicit(&journal->longest_commit_ns, took_ns, memory_order_relaxed);
	}
	/* Before the state, with which a refused change says it. */
	if (success && slow)
		note_slowness(store, "a commit took", took_ns / 1000000);
	/* A try that is slow has not shown that the disk is well. */
	if (is_to_open(store, success && !slow))
		open_it(store);
}

void fs_breaker_opened(flagstore *store, bool success)
{
	struct fs_breaker_slice *slice = slice_of_now(store);

	add(&slice->opens, true);
	add(&slice->open_failures, !success);
	if (is_to_open(store, success))
		open_it(store);
}

bool fs_breaker_watch(flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	uint64_t since = atomic_load_explicit(&journal->flush_since_ns, memory_order_relaxed), now = fs_monotonic_ns();
	uint64_t stands_ms = since && now > since ? (now - since) / 1000000 : 0;

	if (stands_ms > atomic_load_explicit(&journal->limit_ms, memory_order_relaxed) && fs_breaker_state(store) != FLAGSTORE_BREAKER_OPEN) {
		note_slowness(store, "whoever writes there has not gone on for", stands_ms);
		open_it(store);
	}
	return fs_breaker_state(store) == FLAGSTORE_BREAKER_OPEN;
}

/* -------------------------------------------------------------------------------------------------- for people */

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_breaker_name(int state)
{
	switch (state) {
		FLAGSTORE_BREAKERS(NAME_OF)
	default:
		return "unknown";
	}
}

void fs_breaker_failure(const struct fs_journal *journal, char text[FS_FAILURE_TEXT])
{
	uint64_t words[FS_FAILURE_TEXT / 8];

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		words[i] = atomic_load_explicit(&journal->failure[i], memory_order_relaxed);
	memcpy(text, words, FS_FAILURE_TEXT);
	text[FS_FAILURE_TEXT - 1] = 0;
}

int fs_breaker_refused(const flagstore *store)
{
	char text[FS_FAILURE_TEXT];

	fs_breaker_failure(store->journal, text);
	return fs_fail(FLAGSTORE_EREFUSED, "segment %s refuses changes, since they can't be made durable%s%s; see `flagctl breaker'", store->path,
	               *text ? ": " : "", text);
}

static int can_be_set(const flagstore *store)
{
	if (!store->persistence.durability)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s is volatile, so it has no circuit breaker", store->path);
	if (!store->journal)
		return fs_fail(FLAGSTORE_EREADONLY, "the circuit breaker of segment %s can't be set: it is attached read-only by this process", store->path);
	return FLAGSTORE_OK;
}

static void set(_Atomic uint32_t *limit, uint32_t value)
{
	if (value)
		atomic_store_explicit(limit, value, memory_order_relaxed);
}

int flagstore_set_breaker(flagstore *store, const struct flagstore_breaker_limits *limits)
{
	int error = can_be_set(store);

	if (error)
		return error;
	if (limits->failures_permille > 1000 || limits->opens_permille > 1000)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s: a limit of more than 1000 per mille can't be passed", store->path);
	set(&store->journal->limit_failures, limits->failures_permille);
	set(&store->journal->limit_opens, limits->opens_permille);
	set(&store->journal->limit_ms, limits->commit_ms);
	set(&store->journal->limit_samples, limits->samples);
	return FLAGSTORE_OK;
}

int flagstore_force_breaker(flagstore *store, bool open)
{
	int error = can_be_set(store);

	if (error)
		return error;
	atomic_store_explicit(&store->journal->forced, open, memory_order_relaxed);
	if (open) {
		open_it(store);
		return FLAGSTORE_OK;
	}
	atomic_store_explicit(&store->journal->retry_ns, 0, memory_order_relaxed);
	fs_persist_try(store);
	return FLAGSTORE_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * conflict.c: the guard's records. A ring; a record is taken with a compare-and-swap of its stamp, filled, and finished by its stamp.
 * Where rules are broken they are broken thousands of times a second; so each thread remembers the records that it wrote last, and adds to
 * the count of one when the same meets it again. It writes no more than a few new ones in a second: the others are counted in the header
 * alone, and the first of them stay in the ring for long enough to be looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "event.h"
#include "guard.h"
#include "place.h"
#include "probe.h"
#include "slot.h"

#define WORDS (sizeof(struct fs_conflict_body) / 8)

/* A record that this thread wrote, by what is the same when it happens again. */
struct remembered {
	uint64_t life;
	uint64_t number;
	uint64_t other;
	const void *site;
	uint64_t other_site;
	enum flagstore_conflict_kind kind;
};

#define REMEMBERED_BITS 8
#define NEW_IN_A_SECOND 8

struct memory {
	uint64_t second;  /* of the last new record */
	uint32_t written; /* new records in it */
	struct remembered records[1u << REMEMBERED_BITS];
};

static _Thread_local struct memory *memory; /* NULL: nothing has happened to this thread, or there is no memory */

void fs_conflict_forget(void)
{
	free(memory);
	memory = NULL;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------- writing */

static struct fs_conflict *record_at(flagstore *store, uint64_t number)
{
	return fs_writable(store, fs_conflicts(store) + number % store->constants.conflicts);
}

static void store_word(struct fs_conflict *record, size_t offset, uint64_t value)
{
	atomic_store_explicit(&record->body[offset / 8], value, memory_order_relaxed);
}

static struct remembered *remember(const struct fs_meeting *meeting)
{
	uint64_t mixed = meeting->other ^ (uintptr_t)fs_thread.site ^ meeting->other_site * 31 ^ (uint64_t)meeting->kind << 60;

	return &memory->records[mixed * UINT64_C(0x9e3779b97f4a7c15) >> (64 - REMEMBERED_BITS)];
}

static bool may_write_new(void)
{
	uint64_t second = fs_monotonic_ns() / 1000000000;

	if (memory->second != second) {
		memory->second = second;
		memory->written = 0;
	}
	return memory->written++ < NEW_IN_A_SECOND;
}

static bool is_same(const struct remembered *known, const struct fs_meeting *meeting)
{
	return known->life == fs_thread.life && known->other == meeting->other && known->site == fs_thread.site &&
	       known->other_site == meeting->other_site && known->kind == meeting->kind;
}

/* Adds to the record's count, if it has not been used again. It is the thread's own, so nobody else writes its words. */
static bool count_again(flagstore *store, uint64_t number)
{
	struct fs_conflict *record = record_at(store, number);

	if (atomic_load_explicit(&record->stamp, memory_order_relaxed) != number * 2 + 2)
		return false;
	fs_count(&record->body[offsetof(struct fs_conflict_body, count) / 8], 1);
	store_word(record, offsetof(struct fs_conflict_body, last_ns), (uint64_t)now_ns());
	return true;
}

static void describe_party(const flagstore *store, uint64_t who, bool unlocked, uint32_t operation, struct fs_party *party)
{
	struct flagstore_worker worker;

	party->who = who & ~FS_MARK_LOCKED;
	party->unlocked = unlocked;
	party->operation = operation;
	if (flagstore_worker(store, fs_mark_worker(who), &worker) != FLAGSTORE_OK)
		return;
	party->pid = (uint32_t)worker.pid;
	memcpy(party->command, worker.command, sizeof party->command);
}

static void describe_key(const flagstore *store, fs_line line, struct fs_conflict_body *body)
{
	const struct fs_slot *slot = line ? fs_at(store, line, 1) : NULL;

	if (fs_thread.key) {
		body->key_length = (uint8_t)fs_thread.key->length;
		memcpy(body->key, fs_thread.key->bytes, body->key_length);
	} else if (slot) {
		body->key_length = (uint8_t)fs_slot_copy_key(store, slot, body->key);
	}
}

static void describe(const flagstore *store, const struct fs_meeting *meeting, struct fs_conflict_body *body)
{
	*body = (struct fs_conflict_body){
		.count = 1,
		.first_ns = now_ns(),
		.epoch = atomic_load_explicit(&store->shards[meeting->shard].epoch, memory_order_relaxed),
		.kind = meeting->kind,
		.shard = meeting->shard,
		.slot = meeting->slot,
		.guard = fs_guard_mode(fs_guard_word(store)),
	};
	body->last_ns = body->first_ns;
	describe_party(store, fs_own_mark(store), meeting->unlocked, meeting->operation, &body->parties[0]);
	describe_party(store, meeting->other, !(meeting->other & FS_MARK_LOCKED), meeting->other_operation, &body->parties[1]);
	describe_key(store, meeting->slot, body);
	body->parties[0].site = fs_place_here(body, (uintptr_t)fs_thread.site);
	body->parties[1].site = fs_place_there(body, (pid_t)body->parties[1].pid, meeting->other_site);
	fs_place_stack(body);
}

/* Nothing is written when another thread, which has come all the way round the ring, is writing to the same record. */
static bool write_record(flagstore *store, uint64_t number, const struct fs_conflict_body *body)
{
	struct fs_conflict *record = record_at(store, number);
	uint64_t stamp = atomic_load_explicit(&record->stamp, memory_order_relaxed), words[WORDS];

	/* One that a dead thread left odd is used again. */
	if (stamp > number * 2 || !atomic_compare_exchange_strong_explicit(&record->stamp, &stamp, number * 2 + 1, memory_order_acquire,
	                                                                   memory_order_relaxed))
		return false;
	/* As in event.h. */
	fs_release_fence();
	memcpy(words, body, sizeof words);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&record->body[i], words[i], memory_order_relaxed);
	atomic_store_explicit(&record->stamp, number * 2 + 2, memory_order_release);
	return true;
}

/* --------------------------------------------------------------------------------------------------- abort */

static void __attribute__((noreturn)) end_this_process(const flagstore *store, const struct fs_conflict_body *body)
{
	const char *directory = getenv("FLAGSTORE_DUMP_DIR"), *name = strrchr(store->path, '/');
	char key[FS_PRINTABLE_SIZE], mine[FS_PRINTABLE_SIZE], theirs[FS_PRINTABLE_SIZE], path[PATH_MAX * 2], line[PATH_MAX * 3 + 1024];
	int error, length;

	snprintf(path, sizeof path, "%s/%s.%d.dump", directory && *directory ? directory : "/tmp", name ? name + 1 : store->path, (int)getpid());
	error = flagstore_dump(store, path);
	length = snprintf(line, sizeof line,
	                  "fatal: concurrent flag table writes: segment %s, shard %u, flag \"%s\": pid %u, thread %d (%s, %s) and pid %u, thread %d "
	                  "(%s, %s); %s%s\n",
	                  store->path, body->shard, fs_printable(body->key, body->key_length, key), body->parties[0].pid,
	                  fs_mark_thread(body->parties[0].who), fs_printable(body->parties[0].command, strnlen(body->parties[0].command, 32), mine),
	                  flagstore_operation_name((int)body->parties[0].operation), body->parties[1].pid, fs_mark_thread(body->parties[1].who),
	                  fs_printable(body->parties[1].command, strnlen(body->parties[1].command, 32), theirs),
	                  flagstore_operation_name((int)body->parties[1].operation), error ? "no dump: " : "dumped to ",
	                  error ? flagstore_detail() : path);
	/* One write: what others say at the same time does not come in between. */
	if (length > 0 && write(STDERR_FILENO, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1) < 0)
		abort();
	abort();
}

/* -------------------------------------------------------------------------------------------------- record */

void fs_conflict_record(flagstore *store, const struct fs_meeting *meeting)
{
	struct fs_header *header = fs_header_writable(store);
	struct fs_conflict_body body;
	struct remembered *known;
	uint64_t number;

	atomic_fetch_add_explicit(&header->conflicts_seen, 1, memory_order_relaxed);
	FS_PROBE4(conflict, store->path, meeting->shard, fs_mark_worker(meeting->other), (int)meeting->kind);
	if (!memory)
		memory = calloc(1, sizeof *memory);
	if (!memory || !fs_conflicts(store))
		return;
	known = remember(meeting);
	if ((is_same(known, meeting) && count_again(store, known->number)) || !may_write_new())
		return;
	describe(store, meeting, &body);
	number = atomic_fetch_add_explicit(&header->next_conflict, 1, memory_order_relaxed);
	if (write_record(store, number, &body))
		*known = (struct remembered){fs_thread.life, number, meeting->other, fs_thread.site, meeting->other_site, meeting->kind};
	fs_event_conflict(store, meeting->shard, meeting->other & ~FS_MARK_LOCKED, meeting->slot);
	/* Who looks at a broken segment must live. */
	if (fs_guard_mode(fs_guard_word(store)) == FLAGSTORE_GUARD_ABORT && meeting->operation != FLAGSTORE_MAINTENANCE)
		end_this_process(store, &body);
}

/* ------------------------------------------------------------------------------------------------- reading */

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_conflict_name(int kind)
{
	switch (kind) {
		FLAGSTORE_CONFLICTS(NAME_OF)
	default:
		return "unknown";
	}
}

static bool read_record(const struct fs_conflict *record, uint64_t number, struct fs_conflict_body *body)
{
	uint64_t words[WORDS];

	if (atomic_load_explicit(&record->stamp, memory_order_acquire) != number * 2 + 2)
		return false;
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&record->body[i], memory_order_relaxed);
	fs_acquire_fence();
	memcpy(body, words, sizeof *body);
	return atomic_load_explicit(&record->stamp, memory_order_relaxed) == number * 2 + 2;
}

static struct flagstore_place place_of(uint64_t site, uint32_t modules)
{
	uint64_t module = site >> FS_SITE_MODULE_SHIFT;

	if (!module || module > modules)
		return (struct flagstore_place){UINT32_MAX, 0};
	return (struct flagstore_place){(uint32_t)module - 1, site & ((UINT64_C(1) << FS_SITE_MODULE_SHIFT) - 1)};
}

static void copy_party(const struct fs_party *party, uint32_t modules, struct flagstore_party *to)
{
	*to = (struct flagstore_party){
		.worker = fs_mark_worker(party->who),
		.seat = (uint32_t)(party->who >> FS_MARK_SEAT_SHIFT & ((1u << FS_MARK_SEAT_BITS) - 1)) - 1,
		.pid = (pid_t)party->pid,
		.thread = fs_mark_thread(party->who),
		.operation = (int)party->operation,
		.unlocked = party->unlocked,
		.site = place_of(party->site, modules),
	};
	memcpy(to->command, party->command, sizeof to->command);
	to->command[sizeof to->command - 1] = 0;
}

static void copy_conflict(const struct fs_conflict_body *body, uint64_t number, struct flagstore_conflict *to)
{
	uint32_t frames = body->frames < FS_STACK_FRAMES ? body->frames : FS_STACK_FRAMES;
	uint32_t modules = body->modules < FS_STACK_MODULES ? body->modules : FS_STACK_MODULES;

	*to = (struct flagstore_conflict){
		.number = number,
		.count = body->count,
		.first_ns = body->first_ns,
		.last_ns = body->last_ns,
		.kind = (int)body->kind,
		.guard = (int)body->guard,
		.shard = body->shard,
		.epoch = body->epoch,
		.offset = (uint64_t)body->slot * FS_LINE,
		.key_length = body->key_length,
		.frames = frames,
		.modules = modules,
	};
	memcpy(to->key, body->key, body->key_length);
	copy_party(&body->parties[0], modules, &to->noticed);
	copy_party(&body->parties[1], modules, &to->other);
	for (uint32_t i = 0; i < frames; i++)
		to->stack[i] = place_of(body->stack[i], modules);
	for (uint32_t i = 0; i < modules; i++) {
		const struct fs_module *module = &body->module[i];

		to->module[i].build_id_length = module->build_id_length < FS_BUILD_ID_BYTES ? module->build_id_length : FS_BUILD_ID_BYTES;
		memcpy(to->module[i].build_id, module->build_id, FS_BUILD_ID_BYTES);
		memcpy(to->module[i].path, module->path, sizeof module->path);
		to->module[i].path[sizeof to->module[i].path - 1] = 0;
	}
}

size_t flagstore_conflicts(const flagstore *store, struct flagstore_conflict *conflicts, size_t room)
{
	uint64_t end = atomic_load_explicit(&fs_header(store)->next_conflict, memory_order_acquire);
	const struct fs_conflict *records = fs_conflicts(store);
	struct fs_conflict_body body;
	size_t count = 0;

	for (uint64_t i = 1; records && i <= end && i <= store->constants.conflicts; i++) {
		if (!read_record(&records[(end - i) % store->constants.conflicts], end - i, &body))
			continue;
		if (count < room)
			copy_conflict(&body, end - i, &conflicts[count]);
		count++;
	}
	return count;
}

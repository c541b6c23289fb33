/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * persistence.c: what a segment says of where its flags are kept, and how a new one gets those that are there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "breaker.h"
#include "error.h"
#include "grow.h"
#include "persist.h"
#include "point.h"
#include "sigbus.h"

#define TRIES_MAX 64

#define NAME_OF(name, code, word)                                                                                      \
	case code:                                                                                                         \
		return word;

const char *flagstore_durability_name(int durability)
{
	switch (durability) {
		FLAGSTORE_DURABILITIES(NAME_OF)
	default:
		return "unknown";
	}
}

static uint64_t check_of(const struct fs_persistence *persistence)
{
	return XXH3_64bits(persistence, offsetof(struct fs_persistence, check));
}

/* -------------------------------------------------------------------------------------------------- attaching */

bool fs_persistence_sound(const struct fs_persistence *persistence)
{
	return persistence->check == check_of(persistence) &&
	       (persistence->durability == FLAGSTORE_ASYNC || persistence->durability == FLAGSTORE_SYNC) && persistence->on_failure <= FLAGSTORE_REFUSE &&
	       persistence->flush_interval_ms && persistence->directory[0] == '/' && memchr(persistence->directory, 0, sizeof persistence->directory);
}

int fs_persist_attach(flagstore *store, bool writable)
{
	const struct fs_persistence *said = &fs_header(store)->persistence;
	struct fs_persistence *persistence = &store->persistence;

	if (!(store->constants.feature_incompatible & FS_FEATURE_JOURNAL))
		return FLAGSTORE_OK;
	*persistence = *said;
	if (!fs_persistence_sound(persistence) || !fs_journal(store)) {
		memset(persistence, 0, sizeof *persistence);
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s has a damaged header: it does not say where its flags are kept, or has no journal",
		               store->path);
	}
	if (writable)
		store->journal = fs_writable(store, fs_journal(store));
	return FLAGSTORE_OK;
}

/* --------------------------------------------------------------------------------------------------- creating */

/* Whether the segment that wrote there last is still in use. */
static bool is_alive(const struct fs_disk_meta *meta)
{
	struct fs_header header;
	int fd = open(meta->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool alive;

	if (fd < 0)
		return false;
	alive = pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
	        memcmp(header.constants.uuid, meta->uuid, sizeof meta->uuid) == 0;
	close(fd);
	return alive;
}

static int load(flagstore *store, struct fs_disk_use *use)
{
	const char *key;
	size_t length;
	struct fs_saved saved;
	bool exists;
	int error;

	/* For speed. Where that much is not to be had, less may be enough. */
	(void)fs_reserve(store, fs_disk_count(use));
	error = fs_disk_next(use, &exists, &key, &length, &saved);
	while (!error && exists) {
		error = flagstore_set_n(store, key, length, saved.value);
		if (!error)
			error = fs_disk_next(use, &exists, &key, &length, &saved);
	}
	return error;
}

/* Makes the directory this segment's, whose journal begins at 0, and fills the table. One transaction: of two segments that are created
 * at once the second finds the first there, and who is still attached to an unlinked one writes before it, or no more. */
static int take_over(flagstore *store, struct fs_disk *disk)
{
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	int error = fs_disk_begin(disk, true, &use);

	if (error)
		return error;
	error = fs_disk_read_meta(&use, &meta);
	if (!error && meta.exists && is_alive(&meta))
		error = fs_fail(FLAGSTORE_EEXISTS, "segment %s can't persist in %s: segment %s does, and exists; unlink that one first", store->path,
		                store->persistence.directory, meta.path);
	if (!error) {
		meta = (struct fs_disk_meta){.time_ms = fs_now_ms()};
		memcpy(meta.uuid, store->constants.uuid, sizeof meta.uuid);
		snprintf(meta.path, sizeof meta.path, "%s", store->path);
		error = fs_disk_write_meta(&use, &meta);
	}
	if (!error)
		error = load(store, &use);
	if (!error)
		return fs_disk_commit(&use);
	fs_disk_abort(&use);
	return error;
}

/* A full environment is enlarged: then all is done again. */
static int claim(flagstore *store, struct fs_disk *disk)
{
	int error, tries = 0;

	do
		error = take_over(store, disk);
	while (error == FS_DISK_AGAIN && ++tries < TRIES_MAX);
	return error == FS_DISK_AGAIN ? fs_fail(FLAGSTORE_EPERSIST, "%s can't be enlarged", store->persistence.directory) : error;
}

/* Those who may write the segment may write there, whatever the umask. Only what is ours can be changed; what can't stays as it is. */
static void share(const flagstore *store, mode_t mode, gid_t group)
{
	static const char *const names[] = {"", "/data.mdb", "/lock.mdb"};
	char path[FS_DIRECTORY_PATH + 16];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s%s", store->persistence.directory, names[i]);
		if (chown(path, (uid_t)-1, group) == 0)
			(void)chmod(path, i ? mode : mode | (mode & 0440) >> 2);
	}
}

int fs_persist_create(flagstore *store)
{
	struct fs_header *header = fs_header_writable(store);
	struct fs_persistence *persistence = &store->persistence;
	struct fs_disk *disk;
	struct fs_journal *journal;
	struct stat file = {.st_mode = 0600}, directory;
	bool made;
	int error = fs_room_take_journal(store);

	if (error)
		return error;
	journal = fs_writable(store, fs_journal(store));
	if (fs_lock_init(&journal->mutex))
		return fs_fail(FLAGSTORE_ESYSTEM, "segment %s: this system has no robust process-shared mutexes", store->path);
	fs_breaker_init(journal);
	persistence->check = check_of(persistence);
	header->persistence = *persistence;
	FS_POINT("persistence noted");
	made = stat(persistence->directory, &directory) != 0;
	(void)fstat(store->fd, &file);
	error = fs_disk_open(persistence->directory, FS_DISK_DIRECTORY, true, file.st_mode & 0660, &disk);
	if (error)
		return error;
	if (made)
		share(store, file.st_mode & 0660, file.st_gid);
	/* The table is filled without the journal: what comes from LMDB need not go there. */
	error = claim(store, disk);
	fs_disk_close(disk);
	if (!error)
		store->journal = journal;
	return error;
}

/* ------------------------------------------------------------------------------------------------- for people */

static void read_progress(const flagstore *store, const struct fs_journal *journal, struct flagstore_persistence *persistence)
{
	uint64_t since = atomic_load_explicit(&journal->flush_since_ns, memory_order_relaxed), now = fs_monotonic_ns(), pending;

	/* The beginning first: it never passes the end. */
	persistence->durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
	pending = atomic_load_explicit(&journal->tail, memory_order_acquire);
	persistence->written = atomic_load_explicit(&journal->head, memory_order_acquire);
	persistence->journal_bytes = (uint64_t)store->ring_words * 8;
	pending = persistence->written - pending;
	persistence->pending_bytes = pending < persistence->journal_bytes ? pending : persistence->journal_bytes;
	persistence->oldest_ms = fs_journal_age_ms(store);
	persistence->under_way_ns = since && since < now ? now - since : 0;
	persistence->waiting = atomic_load_explicit(&journal->waiters, memory_order_relaxed);
	persistence->reconcile = atomic_load_explicit(&journal->reconcile, memory_order_relaxed) != 0;
	persistence->given_up = atomic_load_explicit(&journal->given_up, memory_order_relaxed);
	persistence->reconciles = atomic_load_explicit(&journal->reconciles, memory_order_relaxed);
	persistence->commits = atomic_load_explicit(&journal->commits, memory_order_relaxed);
	persistence->commit_failures = atomic_load_explicit(&journal->commit_failures, memory_order_relaxed);
	persistence->records = atomic_load_explicit(&journal->records, memory_order_relaxed);
	persistence->mismatches = atomic_load_explicit(&journal->mismatches, memory_order_relaxed);
	persistence->last_commit_ms = atomic_load_explicit(&journal->last_commit_ms, memory_order_relaxed);
	persistence->last_commit_ns = atomic_load_explicit(&journal->last_commit_ns, memory_order_relaxed);
	persistence->longest_commit_ns = atomic_load_explicit(&journal->longest_commit_ns, memory_order_relaxed);
	persistence->failed_ms = atomic_load_explicit(&journal->failed_ms, memory_order_relaxed);
	fs_breaker_failure(journal, persistence->failure);
}

static void read_breaker(const flagstore *store, const struct fs_journal *journal, struct flagstore_persistence *persistence)
{
	uint64_t word = atomic_load_explicit(&journal->breaker, memory_order_relaxed);

	persistence->breaker = (word & 0xff) <= FLAGSTORE_BREAKER_HALF_OPEN ? (int)(word & 0xff) : FLAGSTORE_BREAKER_OPEN;
	persistence->breaker_since_ms = (int64_t)(word >> 8);
	persistence->forced = atomic_load_explicit(&journal->forced, memory_order_relaxed) != 0;
	persistence->trips = atomic_load_explicit(&journal->trips, memory_order_relaxed);
	persistence->limits = (struct flagstore_breaker_limits){
		.failures_permille = atomic_load_explicit(&journal->limit_failures, memory_order_relaxed),
		.opens_permille = atomic_load_explicit(&journal->limit_opens, memory_order_relaxed),
		.commit_ms = atomic_load_explicit(&journal->limit_ms, memory_order_relaxed),
		.samples = atomic_load_explicit(&journal->limit_samples, memory_order_relaxed),
	};
	fs_breaker_minute(store, persistence);
}

int flagstore_persistence(const flagstore *store, struct flagstore_persistence *persistence)
{
	const struct fs_journal *journal = fs_journal(store);

	memset(persistence, 0, sizeof *persistence);
	if (!store->persistence.durability || !journal)
		return FLAGSTORE_OK;
	persistence->durability = (int)store->persistence.durability;
	persistence->on_failure = (int)store->persistence.on_failure;
	persistence->flush_interval_ms = store->persistence.flush_interval_ms;
	persistence->directory = store->persistence.directory;
	read_progress(store, journal, persistence);
	read_breaker(store, journal, persistence);
	return FLAGSTORE_OK;
}

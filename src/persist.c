/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * persist.c: who writes the journal to LMDB, and when (persist.h). */
#include "persist.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "breaker.h"
#include "error.h"
#include "event.h"
#include "futex.h"
#include "point.h"
#include "sigbus.h"
#include "slot.h"
#include "worker.h"

#define CHUNK_BYTES (UINT64_C(4) << 20) /* of journal in one transaction */
#define TRIES_MAX 64                    /* each enlarges the environment */
#define ELECTION_MS 500                 /* how often a thread that is not the flusher looks whether it can be */
#define IDLE_MS 1000
#define PATIENCE_MS 20                  /* a look at the breaker, while somebody else writes */

/* ---------------------------------------------------------------------------------------------- the persister */

/* Of this process. A forked child must close the descriptors: they share the locks of its parent, which would outlive it. */
static struct fs_persister *persisters;
static pthread_mutex_t persisters_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t persisters_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
	pthread_mutex_lock(&persisters_mutex);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&persisters_mutex);
}

static void after_fork_in_child(void)
{
	for (struct fs_persister *persister = persisters; persister; persister = persister->next)
		close(persister->fd);
	/* What they point to is the parent's: threads that do not exist here, mutexes that they may hold. */
	persisters = NULL;
	pthread_mutex_unlock(&persisters_mutex);
}

static void see_to_forks(void)
{
	(void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void *flusher(void *argument);

static void start_thread(struct fs_persister *persister)
{
	sigset_t all, had;

	/* Signals are the program's own threads' business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &had);
	persister->threaded = pthread_create(&persister->thread, NULL, flusher, persister) == 0;
	pthread_sigmask(SIG_SETMASK, &had, NULL);
}

static struct fs_persister *make_persister(flagstore *store)
{
	struct fs_persister *made = calloc(1, sizeof *made);

	if (!made)
		return NULL;
	made->store = store->writing;
	made->fd = fs_reopen(store);
	if (made->fd < 0) {
		free(made);
		return NULL;
	}
	pthread_mutex_init(&made->mutex, NULL);
	fs_touch(store->journal, sizeof *store->journal + (size_t)store->ring_words * 8);
	return made;
}

/* This process's; made when it is first needed. */
static struct fs_persister *persister_of(flagstore *store)
{
	struct fs_persister *persister = atomic_load_explicit(&store->entered->persister, memory_order_acquire);

	if (persister)
		return persister;
	pthread_once(&persisters_once, see_to_forks);
	pthread_mutex_lock(&persisters_mutex);
	persister = atomic_load_explicit(&store->entered->persister, memory_order_relaxed);
	if (!persister && (persister = make_persister(store))) {
		persister->next = persisters;
		persisters = persister;
		if (!store->no_flusher)
			start_thread(persister);
		/* release: pairs with the acquire load above */
		atomic_store_explicit(&store->entered->persister, persister, memory_order_release);
	}
	pthread_mutex_unlock(&persisters_mutex);
	return persister;
}

static void forget(struct fs_persister *persister)
{
	struct fs_persister **link = &persisters;

	pthread_mutex_lock(&persisters_mutex);
	while (*link != persister)
		link = &(*link)->next;
	*link = persister->next;
	pthread_mutex_unlock(&persisters_mutex);
}

/* -------------------------------------------------------------------------------------------- the flush lock */

/* False: somebody else has it. */
static bool try_lock(struct fs_persister *persister)
{
	if (pthread_mutex_trylock(&persister->mutex) != 0)
		return false;
	if (fs_file_lock(persister->fd, F_WRLCK, FS_LOCK_FLUSH)) {
		atomic_store_explicit(&persister->store->journal->flusher, fs_own_mark(persister->store), memory_order_relaxed);
		/* Whoever was here before may have died. From here on it is seen when we stand still: for LMDB's lock, in a commit, or stopped. */
		atomic_store_explicit(&persister->store->journal->flush_since_ns, fs_monotonic_ns(), memory_order_relaxed);
		return true;
	}
	pthread_mutex_unlock(&persister->mutex);
	return false;
}

static void unlock(struct fs_persister *persister)
{
	atomic_store_explicit(&persister->store->journal->flush_since_ns, 0, memory_order_relaxed);
	fs_file_lock(persister->fd, F_UNLCK, FS_LOCK_FLUSH);
	pthread_mutex_unlock(&persister->mutex);
}

/* ----------------------------------------------------------------------------------------------- the directory */

static mode_t mode_of(const flagstore *store)
{
	struct stat file;

	return fstat(store->fd, &file) == 0 ? file.st_mode & 0660 : 0600;
}

/* Whether what is open is still what the directory holds. */
static bool is_there(const struct fs_persister *persister)
{
	return fs_disk_is_there(persister->disk);
}

static int open_disk(struct fs_persister *persister)
{
	flagstore *store = persister->store;
	int error;

	if (persister->disk && is_there(persister))
		return FLAGSTORE_OK;
	fs_disk_close(persister->disk);
	persister->disk = NULL;
	error = fs_disk_open(store->persistence.directory, FS_DISK_DIRECTORY, false, mode_of(store), &persister->disk);
	if (error)
		fs_breaker_note_failure(store, flagstore_detail());
	fs_breaker_opened(store, !error);
	return error;
}

static bool is_ours(const flagstore *store, const struct fs_disk_meta *meta)
{
	return memcmp(meta->uuid, store->constants.uuid, sizeof meta->uuid) == 0;
}

int fs_flush_transaction(struct fs_persister *persister, struct fs_disk_use *use, struct fs_disk_meta *meta)
{
	flagstore *store = persister->store;
	int error = fs_disk_begin(persister->disk, true, use);

	if (error)
		return error;
	error = fs_disk_read_meta(use, meta);
	if (!error && meta->exists && !is_ours(store, meta))
		error = fs_fail(FLAGSTORE_EPERSIST, "%s is written by another segment by now, %s; segment %s can't persist in it any more",
		                store->persistence.directory, meta->path, store->path);
	/* Emptied, or made anew, under our feet. */
	if (!error && !meta->exists && atomic_load_explicit(&fs_header(store)->state, memory_order_relaxed) == FS_RETIRED)
		error = fs_fail(FLAGSTORE_EPERSIST, "%s is empty by now, and segment %s, which persisted in it, has been unlinked", store->persistence.directory,
		                store->path);
	if (!error && !meta->exists)
		fs_journal_distrust(store);
	if (error)
		fs_disk_abort(use);
	return error;
}

int fs_flush_commit(struct fs_persister *persister, struct fs_disk_use *use, struct fs_disk_meta *meta, uint64_t position)
{
	flagstore *store = persister->store;
	struct fs_journal *journal = store->journal;
	uint64_t began = fs_monotonic_ns();
	int error;

	*meta = (struct fs_disk_meta){.position = position, .time_ms = fs_now_ms()};
	memcpy(meta->uuid, store->constants.uuid, sizeof meta->uuid);
	snprintf(meta->path, sizeof meta->path, "%s", store->path);
	error = fs_disk_write_meta(use, meta);
	/* With its memory gone, the journal says nothing. */
	if (!error)
		error = fs_unless_lost(store, FLAGSTORE_OK);
	if (error) {
		fs_disk_abort(use);
		return error;
	}
	FS_POINT("flush commits");
	atomic_store_explicit(&journal->flush_since_ns, began, memory_order_relaxed);
	error = fs_disk_commit(use);
	atomic_store_explicit(&journal->flush_since_ns, fs_monotonic_ns(), memory_order_relaxed);
	FS_POINT("flush committed");
	if (error == FS_DISK_AGAIN)
		return error;
	if (error)
		fs_breaker_note_failure(store, flagstore_detail());
	fs_breaker_committed(store, !error, fs_monotonic_ns() - began);
	return error;
}

static int apply(struct fs_disk_use *use, const struct fs_record *record)
{
	if (record->deleted)
		return fs_disk_delete(use, record->key, record->length);
	return fs_disk_put(use, record->key, record->length, &(struct fs_saved){
		.value = fs_word_value(record->word),
		.changes = fs_word_changes(record->word),
		.changed_ms = record->time_ms,
	});
}

static int not_there(const flagstore *store)
{
	return fs_fail(FLAGSTORE_EBUSY, "segment %s: records of the journal are not there any more", store->path);
}

static int apply_pending(const flagstore *store, struct fs_disk_use *use, struct fs_pending *pending)
{
	struct fs_record record;

	if (!fs_journal_read(store, pending->position, pending->end, &record))
		return not_there(store);
	pending->end = 0;
	return apply(use, &record);
}

/* A key's record waits, since within one transaction the key's next one makes it needless: a flag that is flipped all the time is written
 * once. It goes when another key needs its place, or in the end; the order of one key's records stays. */
static int take(struct fs_persister *persister, struct fs_disk_use *use, const struct fs_record *record)
{
	flagstore *store = persister->store;
	uint64_t hash = fs_hash(store->seed, record->key, record->length);
	struct fs_pending *pending = &persister->pending[hash % FS_PENDING];
	int error = FLAGSTORE_OK;

	if (pending->end && !(pending->hash == hash && fs_journal_has_key(store, pending->position, record)))
		error = apply_pending(store, use, pending);
	*pending = (struct fs_pending){hash, record->position, record->end};
	return error;
}

int fs_flush_records(struct fs_persister *persister, struct fs_disk_use *use, uint64_t position, uint64_t end, uint64_t most,
                     uint64_t *reached)
{
	flagstore *store = persister->store;
	uint64_t begin = position, steps = 0;
	bool more = false;
	int error = FLAGSTORE_OK;

	memset(persister->pending, 0, sizeof persister->pending);
	while (!error && position < end && (more || position - begin < most)) {
		struct fs_record record;

		fs_flush_goes_on(store, &steps);
		if (!fs_journal_read(store, position, end, &record))
			return not_there(store);
		error = take(persister, use, &record);
		more = record.more;
		position = record.end;
		/* Not those that a backup is brought up to date with. */
		if (use->disk == persister->disk)
			fs_count(&store->journal->records, 1);
	}
	for (size_t i = 0; i < FS_PENDING && !error; i++) {
		fs_flush_goes_on(store, &steps);
		if (persister->pending[i].end)
			error = apply_pending(store, use, &persister->pending[i]);
	}
	*reached = position;
	return error;
}

/* --------------------------------------------------------------------------------------------------- flushing */

/* One transaction. */
static int flush_chunk(struct fs_persister *persister, uint64_t end)
{
	flagstore *store = persister->store;
	struct fs_journal *journal = store->journal;
	/* acquire: who sees records given up sees below that LMDB is not to be believed */
	uint64_t position = atomic_load_explicit(&journal->tail, memory_order_acquire), reached;
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	int error = fs_flush_transaction(persister, &use, &meta);

	if (error)
		return error;
	if (atomic_load_explicit(&journal->reconcile, memory_order_relaxed)) {
		fs_disk_abort(&use);
		return FLAGSTORE_OK;
	}
	/* An older or a newer copy of the file has been put there: it does not have what lies before the beginning, or has what never was. */
	if (meta.position < position || meta.position > end) {
		fs_disk_abort(&use);
		fs_journal_distrust(store);
		return FLAGSTORE_OK;
	}
	/* Further than the beginning: the last flusher died between its commit and saying so. */
	position = meta.position;
	error = fs_flush_records(persister, &use, position, end, CHUNK_BYTES, &reached);
	if (error == FLAGSTORE_EBUSY) {
		/* Given up meanwhile; or damaged. */
		fs_disk_abort(&use);
		fs_journal_distrust(store);
		return FLAGSTORE_OK;
	}
	if (error) {
		fs_disk_abort(&use);
		return error;
	}
	error = fs_flush_commit(persister, &use, &meta, reached);
	if (!error)
		fs_journal_durable(store, reached);
	return error;
}

/* Half-open, and there is nothing to write: what is said of the records is written once more. Closing needs a commit that shows that the disk
 * is well, and with changes refused there is no other. */
static int try_disk(struct fs_persister *persister)
{
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	int error = fs_flush_transaction(persister, &use, &meta);

	if (error)
		return error;
	if (!atomic_load_explicit(&persister->store->journal->reconcile, memory_order_relaxed))
		return fs_flush_commit(persister, &use, &meta, meta.position);
	fs_disk_abort(&use);
	return FLAGSTORE_OK;
}

/* Errors of LMDB outside of a commit are failures, too. */
static int noted(flagstore *store, int error)
{
	if (error == FLAGSTORE_EPERSIST)
		fs_breaker_note_failure(store, flagstore_detail());
	return error;
}

/* All that there was when it was called: what others go on writing is theirs to wait for. */
static int write_all(struct fs_persister *persister)
{
	flagstore *store = persister->store;
	struct fs_journal *journal = store->journal;
	uint64_t goal = fs_journal_end(store), commits = atomic_load_explicit(&journal->commits, memory_order_relaxed);
	int tries = 0;

	for (;;) {
		int error = fs_journal_mend(store);
		uint64_t end = fs_journal_end(store), tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);

		if (error)
			return error;
		if (atomic_load_explicit(&journal->reconcile, memory_order_acquire)) {
			error = fs_reconcile(persister);
			tries++;
		} else if (tail != end && (tail < goal || tail > end)) {
			error = flush_chunk(persister, end);
		} else if (fs_breaker_state(store) == FLAGSTORE_BREAKER_HALF_OPEN &&
		           atomic_load_explicit(&journal->commits, memory_order_relaxed) == commits) {
			error = try_disk(persister);
		} else {
			return FLAGSTORE_OK;
		}
		tries += error == FS_DISK_AGAIN;
		if (error && error != FS_DISK_AGAIN)
			return error;
		if (tries >= TRIES_MAX)
			return error ? fs_fail(FLAGSTORE_EPERSIST, "%s can't be enlarged", store->persistence.directory)
			             : fs_fail(FLAGSTORE_EBUSY, "segment %s: its journal is damaged as fast as it is mended", store->path);
	}
}

int fs_flush(struct fs_persister *persister)
{
	flagstore *store = persister->store;
	uint64_t failures = atomic_load_explicit(&store->journal->commit_failures, memory_order_relaxed);
	int error;

	if (!fs_breaker_allows(store))
		return fs_fail(FLAGSTORE_ENOTDURABLE, "segment %s: the circuit breaker is open, so nothing is written to %s", store->path,
		               store->persistence.directory);
	fs_seat_does(fs_own_seat(store), FLAGSTORE_FLUSHING, UINT32_MAX, fs_monotonic_ns());
	error = open_disk(persister);
	if (!error) {
		error = noted(store, write_all(persister));
		/* What did not come to a commit counts as one that failed. */
		if (error == FLAGSTORE_EPERSIST && atomic_load_explicit(&store->journal->commit_failures, memory_order_relaxed) == failures)
			fs_breaker_committed(store, false, 0);
	}
	if (!error)
		fs_breaker_caught_up(store);
	fs_seat_rests(store);
	return error;
}

/* Tries to flush; FS_JOURNAL_FULL stands for "somebody else does". */
static int flush_if_free(struct fs_persister *persister)
{
	int error;

	if (!try_lock(persister))
		return FS_JOURNAL_FULL;
	error = fs_flush(persister);
	unlock(persister);
	return error;
}

int fs_flush_begin(flagstore *store, int timeout_ms, struct fs_persister **persister)
{
	uint64_t end = fs_monotonic_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000;

	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process", store->path);
	*persister = persister_of(store);
	if (!*persister)
		return fs_fail(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory, or no descriptor, to write to LMDB", store->path);
	while (!try_lock(*persister)) {
		if (fs_breaker_watch(store) || (timeout_ms >= 0 && fs_monotonic_ns() > end))
			return fs_fail(FLAGSTORE_ENOTDURABLE, "segment %s: another process has been writing to %s for too long", store->path,
			               store->persistence.directory);
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	return FLAGSTORE_OK;
}

void fs_flush_end(struct fs_persister *persister)
{
	unlock(persister);
}

/* -------------------------------------------------------------------------------------------------- the thread */

static void sleep_ms(struct fs_persister *persister, int64_t ms)
{
	struct timespec limit = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	if (ms > 0 && !atomic_load_explicit(&persister->stop, memory_order_acquire))
		fs_futex_wait(&persister->stop, 0, &limit);
}

static uint64_t pending_bytes(const flagstore *store)
{
	const struct fs_journal *journal = store->journal;
	/* The beginning first: it never passes the end. seq_cst: as in fs_wake() */
	uint64_t tail = atomic_load_explicit(&journal->tail, memory_order_acquire);

	return atomic_load_explicit(&journal->head, memory_order_seq_cst) - tail;
}

static bool is_late(const flagstore *store)
{
	return atomic_load_explicit(&store->journal->reconcile, memory_order_relaxed) || fs_breaker_state(store) != FLAGSTORE_BREAKER_CLOSED ||
	       pending_bytes(store) >= fs_journal_busy_bytes(store);
}

/* For how long there is nothing to do, unless the journal's wake says otherwise. */
static int64_t rest_ms(const flagstore *store)
{
	if (is_late(store))
		return 0;
	return pending_bytes(store) ? store->persistence.flush_interval_ms - fs_journal_age_ms(store) : IDLE_MS;
}

static void do_duty(struct fs_persister *persister)
{
	flagstore *store = persister->store;
	uint32_t seen = atomic_load_explicit(&store->journal->wake, memory_order_seq_cst);
	int64_t rest = rest_ms(store);

	/* What is there after all that time is written, whatever its age: that is by the wall clock, which may have been set back. */
	if (rest > 0 && (atomic_load_explicit(&persister->stop, memory_order_acquire) ||
	                 fs_futex_wait(&store->journal->wake, seen, &(struct timespec){rest / 1000, rest % 1000 * 1000000}) == 0 ||
	                 errno != ETIMEDOUT || !pending_bytes(store)))
		return;
	if (flush_if_free(persister) != FLAGSTORE_OK) {
		(void)fs_breaker_watch(store);
		sleep_ms(persister, PATIENCE_MS);
	}
}

static void *flusher(void *argument)
{
	struct fs_persister *persister = argument;
	flagstore *store = persister->store;
	bool elected = false;

	(void)prctl(PR_SET_NAME, "flagstore-flush");
	(void)fs_entered(store);
	while (!atomic_load_explicit(&persister->stop, memory_order_acquire) && !fs_lost(store)) {
		if (!elected && !(elected = fs_file_lock(persister->fd, F_WRLCK, FS_LOCK_FLUSHER)))
			sleep_ms(persister, ELECTION_MS);
		else
			do_duty(persister);
	}
	return NULL;
}

void fs_persist_leave(flagstore *store)
{
	struct fs_persister *persister = store->journal ? atomic_load_explicit(&store->entered->persister, memory_order_acquire) : NULL;

	if (!persister)
		return;
	atomic_store_explicit(&persister->stop, 1, memory_order_release);
	fs_futex_wake(&persister->stop);
	atomic_fetch_add_explicit(&store->journal->wake, 1, memory_order_seq_cst);
	fs_futex_wake(&store->journal->wake);
	if (persister->threaded)
		pthread_join(persister->thread, NULL);
	/* Perhaps nobody else is there who would. */
	if ((is_late(store) || pending_bytes(store)) && !fs_lost(store))
		(void)flush_if_free(persister);
	atomic_store_explicit(&store->entered->persister, NULL, memory_order_relaxed);
	forget(persister);
	fs_disk_close(persister->disk);
	close(persister->fd);
	pthread_mutex_destroy(&persister->mutex);
	free(persister);
}

/* ---------------------------------------------------------------------------------------------------- waiting */

static bool is_durable(const flagstore *store, uint64_t position)
{
	const struct fs_journal *journal = store->journal;
	/* acquire: pairs with fs_journal_durable() */
	uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire), head;

	if (durable >= position)
		return true;
	/* What was announced and never made, by somebody who died, does not come. */
	head = atomic_load_explicit(&journal->head, memory_order_acquire);
	return durable == head && atomic_load_explicit(&journal->next, memory_order_acquire) == head;
}

static int too_late(const flagstore *store)
{
	return fs_fail(FLAGSTORE_ENOTDURABLE, "segment %s: the change has been made, but could not be written to %s in time; see `flagctl breaker'",
	               store->path, store->persistence.directory);
}

/* Until all changes before position are durable. Errors: ENOTDURABLE. */
static int await_durable(struct fs_persister *persister, uint64_t position, int timeout_ms)
{
	flagstore *store = persister->store;
	struct fs_journal *journal = store->journal;
	uint64_t now = fs_monotonic_ns(), end = now + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000;
	/* A change may have been announced by one who is stopped before he makes it. He has the journal's lock. */
	uint64_t patience = now + (uint64_t)store->lock_wait_ms * 1000000;
	int error = FLAGSTORE_OK;

	/* seq_cst: as in fs_flushes_move() */
	atomic_fetch_add_explicit(&journal->waiters, 1, memory_order_seq_cst);
	while (!error && !is_durable(store, position)) {
		uint32_t seen = atomic_load_explicit(&journal->flushes, memory_order_seq_cst);
		int result;

		if (is_durable(store, position))
			break;
		result = flush_if_free(persister);
		if (result == FLAGSTORE_OK && is_durable(store, position))
			break;
		now = fs_monotonic_ns();
		if (fs_breaker_watch(store) || fs_lost(store) || (timeout_ms >= 0 && now > end) || (result == FLAGSTORE_OK && now > patience))
			error = too_late(store);
		else if (result == FS_JOURNAL_FULL)
			fs_futex_wait(&journal->flushes, seen, &(struct timespec){0, PATIENCE_MS * 1000000});
		else if (result == FLAGSTORE_OK)
			nanosleep(&(struct timespec){0, 50000}, NULL);
		else
			nanosleep(&(struct timespec){0, PATIENCE_MS * 1000000}, NULL);
	}
	atomic_fetch_sub_explicit(&journal->waiters, 1, memory_order_relaxed);
	fs_seat_rests(store);
	return error;
}

/* The end of all changes that the caller can have seen: next is moved before a change is made (journal.c). */
static uint64_t seen_end(const flagstore *store)
{
	return atomic_load_explicit(&store->journal->next, memory_order_acquire);
}

int fs_persist_rest(flagstore *store)
{
	struct fs_persister *persister = persister_of(store);
	int error;

	if (!persister || store->persistence.durability != FLAGSTORE_SYNC || is_durable(store, seen_end(store)))
		return FLAGSTORE_OK;
	fs_seat_does(fs_own_seat(store), FLAGSTORE_SYNCING, UINT32_MAX, fs_monotonic_ns());
	/* Trying a disk that was sick may take long. It is for the lent threads, if there are any. */
	if (persister->threaded && fs_breaker_state(store) != FLAGSTORE_BREAKER_CLOSED)
		error = too_late(store);
	else
		error = await_durable(persister, seen_end(store), -1);
	fs_seat_rests(store);
	return error && store->persistence.on_failure == FLAGSTORE_DEGRADE ? FLAGSTORE_OK : error;
}

int flagstore_sync(flagstore *store, int timeout_ms)
{
	struct fs_persister *persister;

	if (!store->persistence.durability)
		return FLAGSTORE_OK;
	if (!fs_entered(store))
		return fs_fail(FLAGSTORE_EREADONLY, "segment %s is attached read-only by this process, which can't make changes durable", store->path);
	persister = persister_of(store);
	if (!persister)
		return fs_fail(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory, or no descriptor, to write to LMDB", store->path);
	return await_durable(persister, seen_end(store), timeout_ms);
}

void fs_persist_try(flagstore *store)
{
	struct fs_persister *persister = fs_entered(store) ? persister_of(store) : NULL;

	if (persister)
		(void)flush_if_free(persister);
}

int fs_persist_make_room(flagstore *store)
{
	struct fs_persister *persister = persister_of(store);
	struct fs_journal *journal = store->journal;
	uint64_t end = fs_monotonic_ns() + (uint64_t)store->lock_wait_ms * 1000000;

	while (persister) {
		uint32_t seen = atomic_load_explicit(&journal->flushes, memory_order_seq_cst);
		int result;

		if (pending_bytes(store) <= (uint64_t)store->ring_words * 4)
			return FLAGSTORE_OK;
		result = flush_if_free(persister);
		/* With an open breaker the journal does not stay full (fs_journal_lock()), or the change is refused. */
		if (result && fs_breaker_watch(store))
			return FLAGSTORE_OK;
		if (fs_monotonic_ns() > end)
			break;
		if (result)
			fs_futex_wait(&journal->flushes, seen, &(struct timespec){0, PATIENCE_MS * 1000000});
	}
	return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: the journal is full, and could not be written to %s within %u ms; nothing has been changed",
	               store->path, store->persistence.directory, store->lock_wait_ms);
}

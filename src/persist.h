/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * persist.h: getting the journal to LMDB.
 *
 * Whoever writes to LMDB has the flush lock, an open-file-description lock on a byte of the segment's file, which the kernel gives back
 * whatever kills him. Nobody has a lock of the table or the journal meanwhile. It is tried for by:
 * - the flusher: of the threads that the library lends, one in each process that has written, the one that has the flusher's lock; it
 *   writes what is older than the flush interval, and tries again after failures
 * - threads that wait for their change to be durable: who gets the lock writes all that there is, for all of them
 * - writers that find the journal full */
#ifndef FS_PERSIST_H
#define FS_PERSIST_H

#include "disk.h"
#include "journal.h"

/* A record that is to be written, unless its key has another one before the transaction ends. */
struct fs_pending {
	uint64_t hash; /* of the key */
	uint64_t position, end; /* of the record; end 0: none */
};

#define FS_PENDING 8192

/* What one process has for writing to LMDB. */
struct fs_persister {
	struct fs_persister *next;
	flagstore *store;
	pthread_mutex_t mutex;  /* held with the flush lock, which the threads of a process would share */
	int fd;                 /* an open file description for the flush lock and the flusher's */
	struct fs_disk *disk;   /* NULL: not open. Under the mutex */
	pthread_t thread;
	bool threaded;
	_Atomic uint32_t stop;  /* futex word */
	struct fs_pending pending[FS_PENDING]; /* by hash. Under the flush lock */
};

/* Gives a new segment its journal, fills its table with what the directory has, and makes the directory this segment's.
 * Errors: EPERSIST, EEXISTS (another segment persists in it), ENOSPACE, EFULL, ENOMEMORY. */
int fs_persist_create(flagstore *store);

/* What an attached segment says of it, checked. Errors: ECORRUPT. */
int fs_persist_attach(flagstore *store, bool writable);

/* Whether a header says where the flags are kept. */
bool fs_persistence_sound(const struct fs_persistence *persistence);

/* Before the store is closed: ends the thread, and writes what there is, if that can be done. */
void fs_persist_leave(flagstore *store);

/* The rest of a write, with no lock held: see fs_persisted(). */
int fs_persist_rest(flagstore *store);

/* Writes what there is, unless somebody else is just writing; failures are the breaker's. */
void fs_persist_try(flagstore *store);

/* Makes room in the journal, which was found full. Errors: ETIMEDOUT, EREFUSED. */
int fs_persist_make_room(flagstore *store);

/* The flush lock, for longer work; the disk is open then. Waits at most so long. Errors: ENOTDURABLE, EPERSIST, ENOMEMORY. */
int fs_flush_begin(flagstore *store, int timeout_ms, struct fs_persister **persister);
void fs_flush_end(struct fs_persister *persister);

/* With the flush lock: writes all that is in the journal. Errors: ENOTDURABLE (the breaker is open), EPERSIST, ENOMEMORY. */
int fs_flush(struct fs_persister *persister);

/* With the flush lock: begins a transaction that writes, in an environment that is ours. *meta is what it says.
 * Errors: EPERSIST, FS_DISK_AGAIN. */
int fs_flush_transaction(struct fs_persister *persister, struct fs_disk_use *use, struct fs_disk_meta *meta);

/* Whoever has the flush lock says now and then that he goes on: who stands still for too long opens the breaker. *steps is his. */
static inline void fs_flush_goes_on(flagstore *store, uint64_t *steps)
{
	if (!(++*steps & 255))
		atomic_store_explicit(&store->journal->flush_since_ns, fs_monotonic_ns(), memory_order_relaxed);
}

/* Commits it, with the position up to which it has all changes. Errors: EPERSIST, FS_DISK_AGAIN, ETRUNCATED. */
int fs_flush_commit(struct fs_persister *persister, struct fs_disk_use *use, struct fs_disk_meta *meta, uint64_t position);

/* Applies the records from position on to the transaction, until end, or, after most bytes, where no batch is cut. *reached is where that
 * ended. Errors: EPERSIST, FS_DISK_AGAIN; EBUSY (records are no longer there). */
int fs_flush_records(struct fs_persister *persister, struct fs_disk_use *use, uint64_t position, uint64_t end, uint64_t most,
                     uint64_t *reached);

/* With the flush lock: compares LMDB with the whole table and makes it the same (reconcile.c). Errors as of fs_flush(). */
int fs_reconcile(struct fs_persister *persister);

/* The result of a write that was made: the same, when it is as durable as it is to be. */
static inline int fs_persisted(flagstore *store, int error)
{
	return __builtin_expect(store->journal != NULL, 0) && !error ? fs_persist_rest(store) : error;
}

#endif

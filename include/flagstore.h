/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagstore.h: one table of named boolean flags, shared by every worker process on a host.
 *
 * A segment is a mapped file that holds one table. A process attaches to it by name, reads flags with a few
 * loads (no lock, no system call) and changes them safely against any other writer, also against one that is
 * killed in the middle. A flag is a key of 1 to 255 bytes (any but NUL) with a boolean value; a missing flag
 * reads as false and can be told from a false one.
 *
 * Results      Functions that return int return FLAGSTORE_OK (0) or one of the negative FLAGSTORE_E codes below;
 *              flagstore_strerror() has a sentence for each and flagstore_detail() the particulars of the
 *              calling thread's last failure. When a call fails, nothing has been changed and no out argument
 *              has been written, unless the function says otherwise.
 * Keys         Each function that takes a key comes in two forms: NAME takes a NUL-terminated string, NAME_n takes
 *              bytes and their count. A key of a wrong length or with a NUL byte in it is FLAGSTORE_EKEY.
 * Threads      Every function may be called from any thread at the same time on one store, except where it says
 *              "one thread at a time"; flagstore_close() needs that nobody else uses the store any more.
 * Fork         A child goes on with its parent's store and handles. At its first write it enters the segment as a
 *              worker of its own. Batches, cursors and watches belong to the process that made them.
 * Signals      Functions marked "async-signal-safe" may be called in a signal handler, also in one that
 *              interrupted a write of the same thread. No other function may.
 * Cancellation A thread must not be cancelled asynchronously inside a function of this library; deferred
 *              cancellation (the default) is safe.
 */
#ifndef FLAGSTORE_H
#define FLAGSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLAGSTORE_KEY_MAX 255       /* bytes in the longest key */
#define FLAGSTORE_BATCH_MAX 4096    /* changes in the largest batch */
#define FLAGSTORE_SHARDS_MAX 1024   /* shards, a power of two */
#define FLAGSTORE_WORKERS_MAX 4095  /* worker entries */
#define FLAGSTORE_SEATS_MAX 8190    /* seats */

/* ------------------------------------------------------------------------------------------------ errors */

/* Every error: name, code, sentence. The codes never change their meaning; new ones may be added. */
#define FLAGSTORE_ERRORS(X)                                                                                     \
	X(EARGUMENT, -1, "an argument is not valid")                                                                \
	X(EKEY, -2, "a key must have 1 to 255 bytes, none of them NUL")                                             \
	X(ENAME, -3, "the segment's name is not valid")                                                             \
	X(ENOSEGMENT, -4, "there is no such segment")                                                               \
	X(EEXISTS, -5, "a segment of that name exists already")                                                     \
	X(EPERMISSION, -6, "permission to use the segment is denied")                                               \
	X(ENOTSEGMENT, -7, "the file is not a flagstore segment")                                                   \
	X(ELAYOUT, -8, "the segment has a layout that this version of flagstore can't use")                         \
	X(EFEATURE, -9, "the segment uses a feature that this version of flagstore does not know")                  \
	X(ETRUNCATED, -10, "the segment's file is shorter than its header says")                                    \
	X(ECORRUPT, -11, "the segment is damaged")                                                                  \
	X(ENOTREADY, -12, "the segment's creation was never finished")                                              \
	X(ENAMESPACE, -13, "writers of the segment must be in its PID namespace")                                   \
	X(EREADONLY, -14, "the segment is attached read-only")                                                      \
	X(ENOSPACE, -15, "the file system that holds the segment is full")                                          \
	X(EFULL, -16, "the segment has reached its maximum size")                                                   \
	X(ENOTFOUND, -17, "there is no such flag")                                                                  \
	X(ECONFLICT, -18, "the flag is not in the expected state")                                                  \
	X(ETIMEDOUT, -19, "the time limit passed")                                                                  \
	X(EBUSY, -20, "the segment is changing too fast for a read of one moment")                                  \
	X(ETOOBIG, -21, "the batch holds too many changes")                                                         \
	X(ENOMEMORY, -22, "the process is out of memory")                                                           \
	X(ESYSTEM, -23, "the operating system refused an operation")                                                \
	X(ENOTLABORATORY, -24, "only a laboratory segment may be written without locking")                          \
	X(EREFUSED, -25, "changes are refused, since they could not be made durable")                               \
	X(ENOTDURABLE, -26, "the change has been made, and is not durable yet")                                     \
	X(EPERSIST, -27, "the directory that makes the flags durable can't be used")

enum flagstore_error {
	FLAGSTORE_OK = 0,
#define FLAGSTORE_ERROR_CODE(name, code, sentence) FLAGSTORE_##name = (code),
	FLAGSTORE_ERRORS(FLAGSTORE_ERROR_CODE)
#undef FLAGSTORE_ERROR_CODE
};

/* A sentence for a result code, without particulars; never NULL, the caller must not free it.
 * Async-signal-safe. */
const char *flagstore_strerror(int error);

/* The name of a result code ("ENOSPACE"; "OK" for 0; "EUNKNOWN" for a number that is no code). Async-signal-safe. */
const char *flagstore_error_name(int error);

/* What exactly failed in the calling thread's last failing call of this library, as one sentence: what was tried,
 * on which segment, why it failed, who holds the lock, what the limit was. An empty string when nothing has failed
 * yet. Owned by the library, valid until the thread's next failing call. Point reads leave it alone. */
const char *flagstore_detail(void);

/* The version of the library that runs, "MAJOR.MINOR.PATCH". Async-signal-safe. */
const char *flagstore_version(void);

/* ---------------------------------------------------------------------------------------------- segments */

/* An attached segment. Opaque; made by flagstore_create() or flagstore_attach(), freed by flagstore_close(). */
typedef struct flagstore flagstore;

enum flagstore_attach_flags {
	FLAGSTORE_READ_ONLY = 1, /* open the file read-only: reads work, every write is FLAGSTORE_EREADONLY */
	FLAGSTORE_UNLOCKED = 2,  /* write without locking, which breaks the table; a laboratory segment alone allows it */
	FLAGSTORE_CREATE = 4,    /* create the segment, with the options for that, if there is none */
	FLAGSTORE_NO_FLUSHER = 8, /* of a segment that persists: this process lends no thread that writes to disk */
};

/* When a change is on disk too (flagstore_persistence()). */
#define FLAGSTORE_DURABILITIES(X)                                                                               \
	X(VOLATILE, 0, "volatile") /* never: the flags are in the segment alone */                                  \
	X(ASYNC, 1, "async")       /* soon after the call has returned: within the flush interval */                \
	X(SYNC, 2, "sync")         /* before the call returns */

enum flagstore_durability {
#define FLAGSTORE_DURABILITY_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_DURABILITIES(FLAGSTORE_DURABILITY_CODE)
#undef FLAGSTORE_DURABILITY_CODE
};

/* What changes do while they can't be made durable. */
enum flagstore_on_failure {
	FLAGSTORE_DEGRADE = 0, /* they are made in the table alone, and written later */
	FLAGSTORE_REFUSE = 1,  /* they are not made: EREFUSED */
};

/* Set to FLAGSTORE_OPTIONS_INIT, then change what should differ; a field of 0 means its default. */
struct flagstore_options {
	size_t size;           /* sizeof(struct flagstore_options): lets later versions add fields */
	uint32_t flags;        /* attach: enum flagstore_attach_flags */
	uint32_t lock_wait_ms; /* how long a write waits for a lock; create: the segment's default (5000),
	                        * attach: this process's own limit (default: the segment's) */
	/* the following are for flagstore_create(), and for an attach with FLAGSTORE_CREATE that creates */
	uint64_t max_bytes;    /* the file's largest size, 1 MiB to 64 GiB (1 GiB); room is taken only as flags come */
	uint32_t shards;       /* writer locks, a power of two from 1 to FLAGSTORE_SHARDS_MAX (64) */
	uint32_t workers;      /* worker entries, 1 to FLAGSTORE_WORKERS_MAX (256) */
	uint32_t seats;        /* threads that are listed and whose events are kept, 1 to FLAGSTORE_SEATS_MAX (1024, fewer in a
	                        * small segment); each takes 4 KiB once it is used */
	uint32_t mode;         /* permission bits within 0660, whatever the umask (0600) */
	gid_t group;           /* the file's group; (gid_t)-1 leaves it alone */
	bool laboratory;       /* a segment for experiments that break the rules on purpose */
	const char *persist;   /* directory of an LMDB environment in which the flags are kept too; made if it does not exist, and
	                        * the flags that it has are the new segment's first. NULL: none */
	uint32_t durability;   /* with persist: FLAGSTORE_ASYNC (default) or FLAGSTORE_SYNC */
	uint32_t on_failure;   /* with persist: enum flagstore_on_failure (FLAGSTORE_DEGRADE) */
	uint32_t flush_interval_ms; /* with persist: async changes wait no longer than that, 1 to 60000 (50) */
	uint64_t reserve;      /* flags for which room is made at once (flagstore_reserve()); without it there is no segment (0) */
};

#define FLAGSTORE_OPTIONS_INIT {sizeof(struct flagstore_options), 0, 0, 0, 0, 0, 0, 0, (gid_t)-1, false, NULL, 0, 0, 0, 0}

/* Creates segment NAME and attaches to it read-write. A NAME without a slash is the file "flagstore.NAME" in the
 * segment directory ($FLAGSTORE_DIR, /dev/shm when unset); a NAME with a slash is a path. options may be NULL.
 * Of several creators exactly one succeeds; what a creator that died halfway left is taken over.
 * *store is the caller's, to be closed by flagstore_close().
 * Errors: EARGUMENT, ENAME, ENOSEGMENT (the directory does not exist), EEXISTS, EPERMISSION, ENOSPACE, ENOTSEGMENT (a foreign
 * file stands there), ETIMEDOUT (another creator is alive and does not finish), ENOMEMORY, ESYSTEM. */
int flagstore_create(const char *name, const struct flagstore_options *options, flagstore **store);

/* Attaches to segment NAME. options may be NULL. A store that was attached read-write counts as a worker for as long
 * as the process lives. What a writer left in the middle of a write because it was killed is put right first, also for
 * one that attaches read-only, if it has the permission to write. *store is the caller's, to be closed by
 * flagstore_close().
 * Errors: EARGUMENT, ENAME, ENOSEGMENT, EPERMISSION, ENOTSEGMENT, ELAYOUT, EFEATURE, ETRUNCATED, ECORRUPT, ENOTREADY,
 * ENAMESPACE (read-write from another PID namespace: attach read-only instead), ENOTLABORATORY, ETIMEDOUT, ENOMEMORY,
 * ESYSTEM. */
int flagstore_attach(const char *name, const struct flagstore_options *options, flagstore **store);

/* Detaches and frees the store; NULL is allowed. All handles, batches, cursors and watches of it must be closed before;
 * no other thread may use it any more. The segment and its flags stay. */
void flagstore_close(flagstore *store);

/* Removes segment NAME's file after checking that it is one. Processes that are attached go on with what they have mapped;
 * flagstore_info() tells them that the segment is retired.
 * Errors: ENAME, ENOSEGMENT, ENOTSEGMENT, EPERMISSION, ESYSTEM. */
int flagstore_unlink(const char *name);

/* Writes the path of segment NAME's file into path, NUL-terminated. path has room for size bytes.
 * Errors: ENAME, EARGUMENT (size is too small). */
int flagstore_path(const char *name, char *path, size_t size);

/* Makes the process survive that the memory behind a segment goes away while it is in use: another process that may write to
 * the file cuts it short, or the file system fails. The kernel answers an access to such a page with SIGBUS, which ends the
 * process unless it is caught.
 * Installs a handler for SIGBUS, for the whole process and for good; so it is never done unless asked for. An access to a
 * store's mapping then goes on with pages of zeros: the flags are missing and read as false, a write comes to nothing. From
 * that moment on the store is lost: flagstore_lookup(), all writes, snapshots, waits, watches, checks, and cursors at their
 * end give ETRUNCATED, flagstore_info() says truncated, and the store can only be closed. Every other SIGBUS goes to the
 * handler that was there before, or ends the process.
 * Not caught is a SIGBUS in a thread that blocks it; nor any more once the program installs a handler of its own, unless that
 * one calls ours for what is not its own. May be called at any time, also before any attach, and again.
 * Errors: ESYSTEM. */
int flagstore_catch_sigbus(void);

/* --------------------------------------------------------------------------------------------- point reads */

/* A flag as it was at one moment. */
struct flagstore_flag {
	bool value;
	bool exists;        /* false: missing; all other fields are 0 then */
	uint64_t version;   /* differs after every change of the flag, also after delete and insert; never 0 for a flag that exists */
	uint32_t changes;   /* changes since the flag was inserted (modulo 2^28); the insert itself is change 1 */
	int64_t changed_ms; /* when it was last changed, in milliseconds since 1970 (UTC, as coarse as the kernel's tick);
	                     * 0: not known (the writer has not noted it yet, or died before it could) */
	uint32_t writer;    /* who changed it last, for flagstore_worker(); 0: not known */
};

/* The flag's value; false when it is missing (or when the key is not valid). Never fails, never waits, writes nothing.
 * Linearizable. Async-signal-safe. Works in a read-only attached store. */
bool flagstore_get(const flagstore *store, const char *key);
bool flagstore_get_n(const flagstore *store, const char *key, size_t length);

/* All about one flag into *flag. Async-signal-safe.
 * Errors: EKEY, ENOTFOUND, ETRUNCATED (after flagstore_catch_sigbus()); with both *flag says: exists false. */
int flagstore_lookup(const flagstore *store, const char *key, struct flagstore_flag *flag);
int flagstore_lookup_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag);

/* -------------------------------------------------------------------------------------------- point writes
 *
 * A change of an existing flag is one compare-and-swap and takes no lock, unless growth is just moving the flag or it is
 * part of a batch under way. Such a change, and every insert and delete, locks the flag's shard and waits for it no longer
 * than the lock wait limit. A change is visible to every process when the call returns.
 * Errors of all: EKEY, EREADONLY, ETIMEDOUT (flagstore_detail() names the lock's holder), ECORRUPT, ETRUNCATED (after
 * flagstore_catch_sigbus()), and those named with each. */

/* Sets the flag, inserting it when it is missing. A set to the value that it has already writes nothing.
 * Errors: ENOSPACE, EFULL (only an insert needs room; the others go on). */
int flagstore_set(flagstore *store, const char *key, bool value);
int flagstore_set_n(flagstore *store, const char *key, size_t length, bool value);

/* Inserts the flag if it is missing: the dedupe mark. Of any number of callers exactly one sees *inserted true. An existing
 * flag is left as it is. Errors: ENOSPACE, EFULL. */
int flagstore_set_if_absent(flagstore *store, const char *key, bool value, bool *inserted);
int flagstore_set_if_absent_n(flagstore *store, const char *key, size_t length, bool value, bool *inserted);

/* Turns the flag over and stores its new value in *value (which may be NULL). Errors: ENOTFOUND. */
int flagstore_toggle(flagstore *store, const char *key, bool *value);
int flagstore_toggle_n(flagstore *store, const char *key, size_t length, bool *value);

/* Sets the flag to desired if its value is expected. Errors: ENOTFOUND, ECONFLICT (it has another value). */
int flagstore_compare_and_set(flagstore *store, const char *key, bool expected, bool desired);
int flagstore_compare_and_set_n(flagstore *store, const char *key, size_t length, bool expected, bool desired);

/* Sets the flag to desired if it is exactly as expected, in value and version, as an earlier flagstore_lookup() gave it
 * (its other fields are not looked at). With expected->exists false: inserts it if it is missing.
 * Sets it to the value that it has already: a change of its own, with a new version.
 * Errors: ENOTFOUND, ECONFLICT, ENOSPACE, EFULL. */
int flagstore_compare_and_set_version(flagstore *store, const char *key, const struct flagstore_flag *expected, bool desired);
int flagstore_compare_and_set_version_n(flagstore *store, const char *key, size_t length,
                                        const struct flagstore_flag *expected, bool desired);

/* Deletes the flag; its slot is used again. Errors: ENOTFOUND. */
int flagstore_delete(flagstore *store, const char *key);
int flagstore_delete_n(flagstore *store, const char *key, size_t length);

/* Makes room for so many flags, of which those that exist are part, so that inserts up to that number hardly ever wait for growth or for
 * the file system. No flag changes, and more flags than that are as welcome. Others read and write meanwhile; it takes about as long as the
 * file system needs to give 110 bytes a flag. For fewer flags than there are shards nothing is done.
 * EFULL (the segment's largest size is not enough) comes before anything has been done, unless others use up the room meanwhile; what was
 * made ready before another error stays so, for flags of any shard that need it.
 * Safe in threads, and after fork; not in signal handlers. Errors: EREADONLY, EFULL, ENOSPACE, ETIMEDOUT, ECORRUPT, ETRUNCATED (after
 * flagstore_catch_sigbus()), ESYSTEM. */
int flagstore_reserve(flagstore *store, uint64_t flags);

/* -------------------------------------------------------------------------------------------------- handles
 *
 * A handle is a flag resolved once by a process. Reading it is one load from the segment and one compare; a flag that was
 * missing, deleted, inserted again or moved by growth is found again by itself. */

/* The first two fields are public only for flagstore_handle_get(); don't touch them. */
typedef struct flagstore_handle {
	const uint64_t *word; /* the slot word, or a word of the process's own that never matches */
	uint64_t expect;      /* state and incarnation that the slot word must show */
} flagstore_handle;

/* The bits of a slot word that flagstore_handle_get() looks at (flagstore(5)); part of the ABI. */
#define FLAGSTORE_HANDLE_MASK UINT64_C(0x0fffffff00000006)
#define FLAGSTORE_HANDLE_VALUE UINT64_C(1)

/* Makes a handle for the key, whether the flag exists now or not. *handle is the caller's, to be closed by
 * flagstore_handle_close() before the store is. A handle may be shared by threads and goes on after fork.
 * Errors: EKEY, ENOMEMORY. */
int flagstore_handle_open(const flagstore *store, const char *key, flagstore_handle **handle);
int flagstore_handle_open_n(const flagstore *store, const char *key, size_t length, flagstore_handle **handle);

/* Frees the handle; NULL is allowed. */
void flagstore_handle_close(flagstore_handle *handle);

/* The slow path of flagstore_handle_get(): finds the flag again. Async-signal-safe. */
bool flagstore_handle_resolve(flagstore_handle *handle);

/* The flag's value; false when it is missing. Linearizable. Async-signal-safe. */
static inline bool flagstore_handle_get(flagstore_handle *handle)
{
	/* Any mixture of an old and a new (word, expect) pair is safe: an incarnation belongs to one life of one key, so a slot
	 * that shows it holds this flag. Acquire pairs with the release store of the slot word by its last writer. */
	const uint64_t *word = __atomic_load_n(&handle->word, __ATOMIC_RELAXED);
	uint64_t expect = __atomic_load_n(&handle->expect, __ATOMIC_RELAXED);
	uint64_t differ = __atomic_load_n(word, __ATOMIC_ACQUIRE) ^ expect;

	/* What is expected has no value, so that is the word's. */
	if (__builtin_expect(!(differ & FLAGSTORE_HANDLE_MASK), 1))
		return (differ & FLAGSTORE_HANDLE_VALUE) != 0;
	return flagstore_handle_resolve(handle);
}

/* ------------------------------------------------------------------------------------ reads of several flags */

/* Reads count flags, each as flagstore_get_n() does, into values[count]; faster than single reads on a large table. The
 * flags are not read as of one moment. lengths may be NULL when all keys are NUL-terminated. Async-signal-safe. */
void flagstore_get_many(const flagstore *store, const char *const *keys, const size_t *lengths, size_t count, bool *values);

/* Reads count flags as of one moment into flags[count] (a missing one has exists false): no batch is seen in part, and no
 * flip between two others. lengths may be NULL when all keys are NUL-terminated.
 * Errors: EKEY, ENOMEMORY; EBUSY (read-only attached and the flags never stood still within the lock wait limit; a store
 * that may write holds the writers off instead), ETIMEDOUT. */
int flagstore_snapshot(flagstore *store, const char *const *keys, const size_t *lengths, size_t count,
                       struct flagstore_flag *flags);

/* A walk over all flags, in no particular order, while others go on changing them: a flag that exists throughout is seen
 * exactly once; one that comes or goes meanwhile, once or not at all. One thread at a time. */
typedef struct flagstore_cursor flagstore_cursor;

struct flagstore_entry {
	const char *key; /* length bytes and a NUL; the cursor's, valid until its next call */
	size_t length;
	struct flagstore_flag flag;
};

/* *cursor is the caller's, to be closed before the store is. Errors: ENOMEMORY. */
int flagstore_cursor_open(const flagstore *store, flagstore_cursor **cursor);

/* The next flag into *entry. Errors: ENOTFOUND (there are no more), ENOMEMORY, ECORRUPT (part of the table can't be
 * walked; the next call goes on behind it), ETRUNCATED (once, before ENOTFOUND; after flagstore_catch_sigbus()). */
int flagstore_cursor_next(flagstore_cursor *cursor, struct flagstore_entry *entry);

void flagstore_cursor_close(flagstore_cursor *cursor);

/* -------------------------------------------------------------------------------------------------- batches
 *
 * Several changes as one: all of them or, whoever dies wherever, none. A batch is one for flagstore_snapshot() and under
 * death; single point reads may see its flags change one after the other. One thread at a time. */
typedef struct flagstore_batch flagstore_batch;

/* *batch is the caller's until flagstore_batch_commit() succeeds or flagstore_batch_abort(). Errors: EREADONLY, ENOMEMORY. */
int flagstore_batch_begin(flagstore *store, flagstore_batch **batch);

/* Add a change; nothing happens before the commit. Changes of one key take effect in the order they were added; toggle and
 * delete need a flag that exists by then. Errors: EKEY, ETOOBIG (more than FLAGSTORE_BATCH_MAX), ENOMEMORY. */
int flagstore_batch_set(flagstore_batch *batch, const char *key, bool value);
int flagstore_batch_set_n(flagstore_batch *batch, const char *key, size_t length, bool value);
int flagstore_batch_toggle(flagstore_batch *batch, const char *key);
int flagstore_batch_toggle_n(flagstore_batch *batch, const char *key, size_t length);
int flagstore_batch_delete(flagstore_batch *batch, const char *key);
int flagstore_batch_delete_n(flagstore_batch *batch, const char *key, size_t length);

/* Applies all changes and frees the batch. *changed (may be NULL) is the number of flags that were really changed: a set to
 * the value that a flag has already changes nothing. On an error nothing has been changed and the batch stays: commit it
 * again or abort it. Errors: ENOTFOUND (a toggle or delete of a missing flag), ETIMEDOUT, ENOSPACE, EFULL, ENOMEMORY. */
int flagstore_batch_commit(flagstore_batch *batch, size_t *changed);

/* Frees the batch, with nothing changed; NULL is allowed. */
void flagstore_batch_abort(flagstore_batch *batch);

/* ------------------------------------------------------------------------------------------ waiting for changes */

/* Sleeps until the flag is no longer as *flag says (existence or version), then stores what it is now in *flag. So
 * flagstore_lookup() followed by flagstore_wait() misses no change. timeout_ms below 0 waits for ever.
 * A read-only attached store can't ask writers to wake it and looks again every few milliseconds.
 * Errors: EKEY, ETIMEDOUT. EINTR of the system call is not an error: the wait goes on. */
int flagstore_wait(const flagstore *store, const char *key, struct flagstore_flag *flag, int timeout_ms);
int flagstore_wait_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag, int timeout_ms);

/* Changes of all flags, one after the other. One thread at a time. */
typedef struct flagstore_watch flagstore_watch;

/* A flag that is not now what it was when this watch last looked. Several changes of one flag in quick succession may be
 * shown as one. */
struct flagstore_change {
	const char *key; /* length bytes and a NUL; the watch's, valid until its next call */
	size_t length;
	struct flagstore_flag before; /* exists false: it has been inserted */
	struct flagstore_flag after;  /* exists false: it has been deleted */
};

/* Remembers all flags as they are now. *watch is the caller's, to be closed before the store is. Errors: ENOMEMORY. */
int flagstore_watch_open(const flagstore *store, flagstore_watch **watch);

/* The next change into *change; sleeps until there is one. timeout_ms below 0 waits for ever.
 * Errors: ETIMEDOUT, ENOMEMORY. A signal handler that was run ends the sleep with ETIMEDOUT. */
int flagstore_watch_next(flagstore_watch *watch, struct flagstore_change *change, int timeout_ms);

void flagstore_watch_close(flagstore_watch *watch);

/* --------------------------------------------------------------------------------------------- looking inside */

/* A worker: one attached process. */
struct flagstore_worker {
	uint32_t id;           /* as in struct flagstore_flag */
	bool alive;            /* holds its entry */
	bool self;             /* is the caller */
	pid_t pid;             /* as seen in the segment's PID namespace */
	uid_t uid;
	uint64_t start_ticks;  /* when the process started, as field 22 of /proc/PID/stat */
	int64_t attached_ms;   /* when it attached, milliseconds since 1970 */
	char command[32];      /* its command name, NUL-terminated; untrusted bytes */
};

/* Who is (or was) writer id. Entries are used again, the oldest first: ENOTFOUND when it belongs to somebody else by now.
 * Errors: ENOTFOUND. */
int flagstore_worker(const flagstore *store, uint32_t id, struct flagstore_worker *worker);

/* All worker entries in use, by the living and the dead, into workers[room]; returns how many there are, which may be
 * more than room. */
size_t flagstore_workers(const flagstore *store, struct flagstore_worker *workers, size_t room);

/* ----------------------------------------------------------------------------------------------------- guard
 *
 * The guard sees writers that do not wait for each other. It is switched for all attached processes at once, while they work,
 * and obeyed by each with its next write. Reads cost nothing in any mode. */
#define FLAGSTORE_GUARDS(X)                                                                                     \
	X(GUARD_OFF, 0, "off")                                                                                      \
	X(GUARD_DETECT, 1, "detect")   /* two threads in one shard's write sections: the conflict is recorded */    \
	X(GUARD_AUDIT, 2, "audit")     /* and two that changed one flag within a window of time, one of them without the lock */ \
	X(GUARD_ABORT, 3, "abort")     /* as detect; who notices writes the segment into a file and aborts */       \
	X(GUARD_ENFORCE, 4, "enforce") /* as detect; who attached without locking has to lock all the same */

enum flagstore_guard {
#define FLAGSTORE_GUARD_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_GUARDS(FLAGSTORE_GUARD_CODE)
#undef FLAGSTORE_GUARD_CODE
};

/* The word for a mode ("unknown" for a number that is none). Async-signal-safe. */
const char *flagstore_guard_name(int mode);

/* The mode that is set, and how long the audit's window is (may be NULL). */
enum flagstore_guard flagstore_guard(const flagstore *store, uint32_t *window_ms);

/* Sets the mode. window_ms 0 leaves the audit's window as it is (15 at first); 1 to 60000 set it.
 * Errors: EARGUMENT, EREADONLY, ENOSPACE (there is no room for what would be recorded), ESYSTEM. */
int flagstore_set_guard(flagstore *store, enum flagstore_guard mode, uint32_t window_ms);

#define FLAGSTORE_CONFLICTS(X)                                                                                  \
	X(ENTRY, 1, "entry") /* a writer found another one in the shard that it entered */                          \
	X(EXIT, 2, "exit")   /* a writer that left the shard found that another one had been there */               \
	X(SLOT, 3, "slot")   /* audit: both changed one flag, and no lock went from one to the other */

enum flagstore_conflict_kind {
#define FLAGSTORE_CONFLICT_CODE(name, code, word) FLAGSTORE_CONFLICT_##name = (code),
	FLAGSTORE_CONFLICTS(FLAGSTORE_CONFLICT_CODE)
#undef FLAGSTORE_CONFLICT_CODE
};

const char *flagstore_conflict_name(int kind);

#define FLAGSTORE_STACK_MAX 24
#define FLAGSTORE_MODULES_MAX 6

/* A place in a program. */
struct flagstore_place {
	uint32_t module; /* index in modules[]; UINT32_MAX: unknown */
	uint64_t offset; /* address in the module as its file says (its ELF virtual address) */
};

struct flagstore_module {
	char path[164];       /* NUL-terminated; of a longer one the end, behind "..." */
	uint8_t build_id[20]; /* the first bytes of it */
	uint32_t build_id_length;
};

struct flagstore_party {
	uint32_t worker;      /* 0: unknown */
	uint32_t seat;        /* UINT32_MAX: none */
	pid_t pid;            /* 0: unknown */
	pid_t thread;
	char command[32];
	int operation;        /* enum flagstore_operation; 0: unknown */
	bool unlocked;        /* it wrote without the lock */
	struct flagstore_place site; /* where it called the library */
};

/* Two writers at once. Untrusted bytes. */
struct flagstore_conflict {
	uint64_t number;      /* one more for each record since creation */
	uint64_t count;       /* times that these two were seen to meet like this; all but the first and last are not recorded */
	int64_t first_ns;     /* since 1970 */
	int64_t last_ns;
	int kind;             /* enum flagstore_conflict_kind */
	int guard;            /* the mode then */
	uint32_t shard;
	uint64_t epoch;       /* times that the shard's lock had been taken */
	uint64_t offset;      /* of the slot, bytes; 0: unknown */
	size_t key_length;    /* 0: unknown */
	char key[256];        /* and a NUL */
	struct flagstore_party noticed; /* who noticed */
	struct flagstore_party other;
	uint32_t frames;
	struct flagstore_place stack[FLAGSTORE_STACK_MAX]; /* of who noticed, innermost first */
	uint32_t modules;
	struct flagstore_module module[FLAGSTORE_MODULES_MAX];
};

/* The latest conflicts, newest first, into conflicts[room]; returns how many there are, which may be more than room. */
size_t flagstore_conflicts(const flagstore *store, struct flagstore_conflict *conflicts, size_t room);

/* Writes the segment as it is now, without stopping anybody, into a new file that can be looked at later as a segment: header,
 * shards, workers, seats with their rings, conflicts and the table. It is no backup: flags may have changed meanwhile.
 * Errors: EEXISTS, EPERMISSION, ENOSPACE, ESYSTEM. */
int flagstore_dump(const flagstore *store, const char *path);

/* ----------------------------------------------------------------------------------------------- persistence
 *
 * A segment that was created with a directory to persist in keeps its flags in an LMDB environment too. What is there is always
 * the table as it was at some moment: a prefix of the changes, in the order in which they were made. One process at a time writes
 * it: a thread that the library lends, in each process that has written, or, with FLAGSTORE_SYNC, the threads that wait.
 * A circuit breaker takes the directory out of the way while it fails or is too slow. */
#define FLAGSTORE_BREAKERS(X)                                                                                   \
	X(BREAKER_CLOSED, 0, "closed")       /* changes are written */                                              \
	X(BREAKER_OPEN, 1, "open")           /* they are not: flagstore_options.on_failure says what happens */     \
	X(BREAKER_HALF_OPEN, 2, "half-open") /* one process tries whether they can be written again */

enum flagstore_breaker_state {
#define FLAGSTORE_BREAKER_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_BREAKERS(FLAGSTORE_BREAKER_CODE)
#undef FLAGSTORE_BREAKER_CODE
};

/* The words for these ("unknown" for a number that is none). Async-signal-safe. */
const char *flagstore_breaker_name(int state);
const char *flagstore_durability_name(int durability);

/* When the breaker opens. */
struct flagstore_breaker_limits {
	uint32_t failures_permille; /* more commits than that fail within a minute (50) */
	uint32_t opens_permille;    /* more attempts than that to open the directory, or to read from it, fail (30) */
	uint32_t commit_ms;         /* one commit in a hundred takes longer, or one is under way for longer (1200) */
	uint32_t samples;           /* with fewer commits (or attempts to open) in the minute, their share tells nothing (5) */
};

struct flagstore_persistence {
	int durability;             /* enum flagstore_durability; FLAGSTORE_VOLATILE: all the following is 0 */
	int on_failure;             /* enum flagstore_on_failure */
	uint32_t flush_interval_ms;
	const char *directory;      /* the store's, valid until it is closed */
	uint64_t written;           /* bytes of journal since creation: position of the last change */
	uint64_t durable;           /* up to here LMDB has it */
	uint64_t journal_bytes;     /* room for what LMDB does not have yet */
	uint64_t pending_bytes;     /* of it in use */
	int64_t oldest_ms;          /* age of the oldest change that LMDB does not have; 0: it has all */
	bool reconcile;             /* changes were given up: LMDB will be compared with the whole table */
	uint64_t given_up;          /* times that this happened */
	uint64_t reconciles;        /* comparisons of that kind that were completed */
	uint64_t commits;
	uint64_t commit_failures;
	uint64_t records;           /* changes written */
	uint64_t mismatches;        /* flags that flagstore_verify() found different, all together */
	int64_t last_commit_ms;     /* since 1970; 0: never */
	uint64_t last_commit_ns;    /* how long it took */
	uint64_t longest_commit_ns;
	uint64_t under_way_ns;      /* whoever writes has made no progress for so long; 0: nobody does */
	uint32_t waiting;           /* threads that wait for their change to be durable */
	int64_t failed_ms;          /* when writing failed last, or was slower than the limit, since 1970; 0: never */
	char failure[192];          /* how, NUL-terminated; untrusted bytes */
	int breaker;                /* enum flagstore_breaker_state */
	bool forced;                /* kept open by flagstore_force_breaker() */
	int64_t breaker_since_ms;   /* since 1970; 0: since creation */
	uint64_t trips;             /* times that it opened */
	struct flagstore_breaker_limits limits;
	uint64_t minute_commits, minute_failures, minute_slow, minute_opens, minute_open_failures; /* what the limits are compared with */
};

/* All about it. A volatile segment is no error. Errors: none. */
int flagstore_persistence(const flagstore *store, struct flagstore_persistence *persistence);

/* Returns when all that had been changed by anybody when it was called is durable; writes it itself, if nobody else does.
 * Also with FLAGSTORE_ASYNC; in a volatile segment there is nothing to do. timeout_ms below 0 waits for ever.
 * Errors: EREADONLY, ENOTDURABLE (the breaker is open, or the time is over), EPERSIST. */
int flagstore_sync(flagstore *store, int timeout_ms);

/* Sets the breaker's limits; those that are 0 stay as they are. Errors: EARGUMENT, EREADONLY. */
int flagstore_set_breaker(flagstore *store, const struct flagstore_breaker_limits *limits);

/* Opens the breaker, which stays open until it is called with false: then it is tried at once whether it can be closed.
 * Errors: EARGUMENT (a volatile segment), EREADONLY. */
int flagstore_force_breaker(flagstore *store, bool open);

/* A flag that is not in LMDB as it is in the table. */
struct flagstore_difference {
	const char *key; /* length bytes and a NUL; valid during the call */
	size_t length;
	bool in_table, table_value;
	bool in_lmdb, lmdb_value;
};

typedef void flagstore_differs(const struct flagstore_difference *difference, void *argument);

enum flagstore_verify {
	FLAGSTORE_VERIFY = 0,
	FLAGSTORE_REPAIR_LMDB = 1,  /* then write what the table has to LMDB */
	FLAGSTORE_REPAIR_TABLE = 2, /* then set, insert and delete flags of the table until it has what LMDB had */
};

struct flagstore_verification {
	uint64_t compared;    /* flags, of the table or LMDB */
	uint64_t missing;     /* in LMDB */
	uint64_t surplus;     /* in LMDB alone */
	uint64_t different;   /* of another value */
	uint64_t moving;      /* flags changed meanwhile, which are not compared */
	uint64_t repaired;
};

/* Compares the table with LMDB as both were at one moment, while others go on writing, and calls differs (may be NULL) for each
 * difference, which must not call this library on the same store. Errors: EARGUMENT (a volatile segment), EREADONLY,
 * ENOTDURABLE (the breaker is open, or what is in the journal can't be written), EBUSY (so many changes came meanwhile that the journal went
 * round), EPERSIST, ENOMEMORY. */
int flagstore_verify(flagstore *store, enum flagstore_verify what, flagstore_differs *differs, void *argument,
                     struct flagstore_verification *verification);

/* Writes all flags as of one moment, while others go on writing, into a new file, which is an LMDB environment of its own (of one file, no
 * directory) in the form of flagstore(5). Of a volatile segment too. *flags (may be NULL) is their number.
 * Errors: EEXISTS, EPERSIST (the file can't be written), EBUSY, ETIMEDOUT, ENOMEMORY. */
int flagstore_backup(flagstore *store, const char *path, uint64_t *flags);

/* Calls flag for each flag of an LMDB environment: a backup's file, or a directory that a segment persists in; no segment is needed. It goes
 * on until flag returns another value than 0, which is returned. Errors: EPERSIST, ENOMEMORY. */
typedef int flagstore_saved(const char *key, size_t length, bool value, void *argument);
int flagstore_read_saved(const char *path, flagstore_saved *flag, void *argument);

/* ----------------------------------------------------------------------------------------------------- seats */

/* What a thread does. */
#define FLAGSTORE_ACTIVITIES(X)                                                                                 \
	X(IDLE, 0, "idle")             /* nothing that holds or needs a lock */                                     \
	X(WAITING, 1, "waiting")       /* for a shard's lock */                                                     \
	X(HOLDING, 2, "holding")       /* a shard's lock */                                                         \
	X(GROWING, 3, "growing")       /* the same, while a bucket grows or splits */                               \
	X(RECOVERING, 4, "recovering") /* the same, after the death of the shard's writer */                        \
	X(FLUSHING, 5, "flushing")     /* writes changes to LMDB; holds no lock */                                  \
	X(SYNCING, 6, "syncing")       /* waits until its change is durable; holds no lock */

enum flagstore_activity {
#define FLAGSTORE_ACTIVITY_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_ACTIVITIES(FLAGSTORE_ACTIVITY_CODE)
#undef FLAGSTORE_ACTIVITY_CODE
};

/* The word for an activity ("unknown" for a number that is none). Async-signal-safe. */
const char *flagstore_activity_name(int activity);

/* A seat: one thread of a worker, which takes it with its first write and gives it back when it ends. A seat whose thread was
 * killed stays as it was until all others are in use. */
struct flagstore_seat {
	uint32_t seat;         /* its number */
	uint32_t worker;       /* as in struct flagstore_worker */
	bool alive;            /* its worker holds its entry; of the caller's own process, the thread exists */
	bool self;             /* is the calling thread's */
	pid_t pid;             /* of the worker, 0 when it is not known any more */
	pid_t thread;          /* thread id */
	char name[16];         /* of the thread, NUL-terminated; untrusted bytes */
	int64_t taken_ms;      /* since when it has the seat, milliseconds since 1970 */
	enum flagstore_activity activity;
	uint32_t shard;        /* whose lock it waits for, or holds; UINT32_MAX when idle */
	int64_t since_ns;      /* for how long it has been so, as coarse as the kernel's tick; 0 when idle */
	uint32_t behind_worker; /* waiting: who held the lock when the wait began; 0: unknown */
	pid_t behind_thread;
	uint64_t locks;        /* times that it took a shard's lock */
	uint64_t waits;        /* of them, those for which it had to wait */
	uint64_t waited_ns;    /* for so long, all together */
	uint64_t events;       /* events that were written to this seat's ring, whosever the seat was */
};

/* All seats that belong to somebody, dead or alive, into seats[room]; returns how many there are, which may be more than
 * room. */
size_t flagstore_seats(const flagstore *store, struct flagstore_seat *seats, size_t room);

/* ---------------------------------------------------------------------------------------------------- events
 *
 * Each seat has a ring of the last 62 things that happened to its thread: changes of flags, and what is out of the ordinary. */

#define FLAGSTORE_EVENTS(X)                                                                                     \
	X(CHANGE, 1, "change")         /* of a flag: operation, batch, unlocked, offset, before, after */           \
	X(WAIT, 2, "wait")             /* for a lock, longer than 0.1 ms: duration_ns, other (who held it) */       \
	X(CONFLICT, 3, "conflict")     /* two writers at once (flagstore_conflicts()): offset, other */             \
	X(DEATH, 4, "death")           /* a shard's writer was found dead: other (who it was) */                    \
	X(RECOVERY, 5, "recovery")     /* the shard has been put right: duration_ns, other (after whom) */          \
	X(GROWTH, 6, "growth")         /* a bucket was replaced by one of another size: duration_ns, offset */      \
	X(SPLIT, 7, "split")           /* a bucket was split in two: duration_ns, offset */                         \
	X(DOUBLING, 8, "doubling")     /* a shard's directory was doubled: duration_ns, offset */                   \
	X(GUARD, 9, "guard")           /* the guard's mode was changed: from, to */                                 \
	X(ATTACH, 10, "attach")        /* a process attached read-write */                                          \
	X(DETACH, 11, "detach")        /* a process closed the segment */                                           \
	X(BREAKER, 12, "breaker")      /* the circuit breaker changed its state: from, to */                        \
	X(MISMATCH, 13, "mismatch")    /* LMDB did not have what the table has: offset (how many flags) */          \
	X(RECONCILIATION, 14, "reconciliation") /* LMDB has been compared with the whole table: duration_ns, offset (flags changed) */

enum flagstore_event_kind {
#define FLAGSTORE_EVENT_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_EVENTS(FLAGSTORE_EVENT_CODE)
#undef FLAGSTORE_EVENT_CODE
};

#define FLAGSTORE_OPERATIONS(X)                                                                                 \
	X(INSERT, 1, "insert")                                                                                      \
	X(FLIP, 2, "flip")             /* a change of an existing flag, also to the value that it has */            \
	X(DELETE, 3, "delete")                                                                                      \
	X(MAINTENANCE, 4, "maintenance") /* a write section that changed no flag: growth, a check, a recovery */

enum flagstore_operation {
#define FLAGSTORE_OPERATION_CODE(name, code, word) FLAGSTORE_##name = (code),
	FLAGSTORE_OPERATIONS(FLAGSTORE_OPERATION_CODE)
#undef FLAGSTORE_OPERATION_CODE
};

/* The words for these ("unknown" for a number that is none). Async-signal-safe. */
const char *flagstore_event_name(int kind);
const char *flagstore_operation_name(int operation);

/* Untrusted, as all that is read from a segment: nothing but the ranges of the fields is sure. */
struct flagstore_event {
	int kind;              /* enum flagstore_event_kind */
	int64_t time_ns;       /* since 1970; of a change, as coarse as the kernel's tick */
	uint32_t seat;
	uint64_t number;       /* in the seat's ring: one more each time */
	uint32_t writer;       /* worker id, as in struct flagstore_flag */
	pid_t thread;
	uint32_t shard;        /* UINT32_MAX: none */
	/* those of the following that the kind names; the others are 0 */
	int operation;         /* enum flagstore_operation */
	bool batch;            /* part of a batch */
	bool unlocked;         /* by a writer without the lock (FLAGSTORE_UNLOCKED) */
	uint64_t offset;       /* in the file, bytes: of the slot, or of what was replaced */
	struct flagstore_flag before; /* the flag; writer and changed_ms are 0 */
	struct flagstore_flag after;
	uint64_t duration_ns;
	uint32_t other_writer;
	pid_t other_thread;
	int from, to;          /* enum flagstore_guard, or enum flagstore_breaker_state */
};

/* A reader of all rings, in the order of time. One thread at a time. */
typedef struct flagstore_events flagstore_events;

/* Begins with the oldest events that the rings still have. *events is the caller's, to be closed before the store is.
 * Errors: ENOMEMORY. */
int flagstore_events_open(const flagstore *store, flagstore_events **events);

/* The next event into *event; waits for one. timeout_ms below 0 waits for ever. Events that are written later come later,
 * also when their time, which is coarse, lies before. Nobody is woken: it looks again every few milliseconds.
 * Errors: ETIMEDOUT (there are no more), ENOMEMORY, ETRUNCATED (after flagstore_catch_sigbus()). */
int flagstore_events_next(flagstore_events *events, struct flagstore_event *event, int timeout_ms);

/* Events that were overwritten before this reader came to them. */
uint64_t flagstore_events_lost(const flagstore_events *events);

void flagstore_events_close(flagstore_events *events);

/* The changes of one key that the rings still have, in the order in which they happened, into events[room], also of earlier
 * lives of a flag that was deleted; *count is how many there are, which may be more than room (then the oldest are left out).
 * Errors: EKEY, ENOMEMORY. */
int flagstore_history(const flagstore *store, const char *key, struct flagstore_event *events, size_t room, size_t *count);
int flagstore_history_n(const flagstore *store, const char *key, size_t length, struct flagstore_event *events, size_t room,
                        size_t *count);

struct flagstore_info {
	const char *path;         /* the store's, valid until it is closed */
	char uuid[37];
	uint32_t layout;          /* version of the bytes, flagstore(5) */
	bool read_only;           /* this store is attached read-only */
	bool laboratory;
	bool retired;             /* the file has been unlinked by flagstore_unlink() */
	bool truncated;           /* the file was cut short, or its memory went away (flagstore_catch_sigbus()) */
	uint32_t mode;            /* permission bits of the file */
	uid_t owner;
	gid_t group;
	int64_t created_ms;       /* milliseconds since 1970 */
	uint64_t pid_namespace;   /* inode number of the writers' PID namespace */
	uint64_t max_bytes;
	uint64_t file_bytes;      /* room really taken in the file system, as counted in blocks */
	uint64_t used_bytes;      /* of it handed out to headers, directories, buckets and keys */
	uint32_t shards;
	uint32_t lock_wait_ms;
	uint64_t flags;           /* flags that exist */
	uint64_t true_flags;      /* of them true */
	uint64_t slots;           /* places for flags in all buckets in use */
	uint64_t buckets;         /* buckets in use */
	uint64_t growths;         /* buckets grown, rebuilt or split since creation */
	uint64_t recoveries;      /* shards restored after the death of a writer since creation */
	uint32_t workers;         /* living workers that have an entry */
	uint32_t workers_max;     /* worker entries; processes beyond them work too, but are not listed */
	uint32_t seats;           /* seats that threads have now */
	uint32_t seats_max;
	uint32_t standing;        /* threads that found no seat since creation: they work too, but their events are not kept */
	int guard;                /* enum flagstore_guard */
	uint64_t conflicts;       /* that the guard saw since creation */
	int durability;           /* enum flagstore_durability */
};

/* All about the segment. Counts are added up while others go on, so they are exact only when nobody writes.
 * Errors: ESYSTEM. */
int flagstore_info(const flagstore *store, struct flagstore_info *info);

/* One thing that is wrong. */
struct flagstore_finding {
	const char *kind;     /* a fixed word: "header", "journal", "directory", "bucket", "tag", "slot", "check-value", "duplicate", "unreachable",
	                       * "count", "room", "free-list", "frozen", "lock", "worker", "seat", "guard" */
	uint32_t shard;       /* UINT32_MAX: not in a shard */
	uint64_t offset;      /* in the file, bytes */
	const char *text;     /* a sentence */
	const char *cause;    /* what most likely led to it */
	uint32_t slot;        /* index of the slot in its bucket; UINT32_MAX: not about a slot */
	const char *key;      /* length bytes and a NUL, whatever stands in the slot; NULL: not about a slot, or no key can be made out */
	size_t length;
	uint32_t writer;      /* who changed the slot last, as in struct flagstore_flag; 0: unknown */
};

/* Checks every invariant of the segment and calls found (may be NULL) for each violation, which must not call this
 * library on the same store. A store that may write locks one shard at a time, so a live segment gives no false alarm; a
 * read-only one looks without locks, and a shard that never stands still is skipped and counted in *skipped (may be NULL).
 * *findings is the number of violations. Errors: ETIMEDOUT, ENOMEMORY. */
typedef void flagstore_found(const struct flagstore_finding *finding, void *argument);
int flagstore_check(flagstore *store, flagstore_found *found, void *argument, uint64_t *findings, uint32_t *skipped);

#ifdef __cplusplus
}
#endif

#endif

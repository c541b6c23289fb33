/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * attach.c: a segment's life: create, attach, close, unlink.
 *
 * Whoever creates, resets or attaches read-write holds the file's setup lock meanwhile. A creator makes the file with O_EXCL, locks it,
 * fills it, and says READY last. Who finds a file that is not READY, and gets the setup lock, knows that its creator is dead: it
 * may take the file over.
 * A segment that outlived a reboot has locks and workers of processes that are gone. It is reset by the first that attaches
 * read-write; everybody else who does that holds a shared lock, so that this one can know that he is the first. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "error.h"
#include "fence.h"
#include "key.h"
#include "lock.h"
#include "point.h"
#include "recover.h"
#include "seat.h"
#include "section.h"
#include "sigbus.h"
#include "worker.h"

#define LOCK_WAIT_DEFAULT_MS 5000
#define MAX_BYTES_DEFAULT (UINT64_C(1) << 30)
#define SHARDS_DEFAULT 64
#define WORKERS_DEFAULT 256
#define SEATS_DEFAULT 1024
#define CONFLICTS_MAX 128u
#define SHADOWS_MAX (1u << 16)
#define MODE_DEFAULT 0600
#define MODE_MAX 0660

/* Far in the future, and far from where the sum with the time in a slot's stamp would overflow. */
#define CREATED_MAX_MS (INT64_C(1) << 60)

/* ------------------------------------------------------------------------------------------ the surroundings */

static bool read_boot_id(uint64_t boot[4])
{
	char text[64] = "", digits[32];
	size_t count = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof text - 1) < 0)
		text[0] = 0;
	close(fd);
	for (char *c = text; *c && count < sizeof digits; c++)
		if (*c != '-' && *c != '\n')
			digits[count++] = *c;
	memcpy(boot, digits, sizeof digits);
	return count == sizeof digits;
}

static bool read_pid_namespace(uint64_t *inode)
{
	struct stat namespace;

	if (stat("/proc/self/ns/pid", &namespace) != 0)
		return false;
	*inode = namespace.st_ino;
	return true;
}

static int no_proc(const flagstore *store)
{
	return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be written: this process's boot id or PID namespace can't be read from /proc; "
	                     "mount /proc, or attach read-only", store->path);
}

/* ------------------------------------------------------------------------------------------------ the store */

static int new_store(const char *name, flagstore **store)
{
	flagstore *made = calloc(1, sizeof *made);
	int error;

	if (!made)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to attach to segment \"%.100s\"", name);
	made->fd = -1;
	error = flagstore_path(name, made->path, sizeof made->path);
	if (error) {
		free(made);
		return error;
	}
	*store = made;
	return FLAGSTORE_OK;
}

static void free_store(flagstore *store)
{
	size_t size = store->constants.max_bytes, kept = 0;

	/* A thread that was in a write section when its memory went away may still have the lock on its list of held ones, which the
	 * C library writes to when that thread takes another robust lock. */
	if (store->write_map && store->mapping && fs_lost(store))
		kept = (size_t)store->heap_start * FS_LINE;
	fs_mapping_remove(store->mapping);
	if (store->map && store->map != store->write_map)
		munmap((char *)(uintptr_t)store->map, size);
	if (store->write_map)
		munmap(store->write_map + kept, size - kept);
	if (store->entered)
		munmap(store->entered, FS_PAGE);
	if (store->fd >= 0)
		close(store->fd);
	free(store);
}

/* A mapping keeps its open file description for as long as it exists, in a forked child too. So it has one of its own, and that
 * of store->fd, with the locks by which this process is known to live, goes with this process. */
static void *map_file(const flagstore *store, int protection)
{
	int fd = fs_reopen(store);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, store->constants.max_bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return NULL;
	/* The table is the segment's, not this process's: keep it out of core dumps, which delay the news of an owner's death. */
	madvise(map, store->constants.max_bytes, MADV_DONTDUMP);
	return map;
}

static int map_store(flagstore *store, bool writable)
{
	struct statfs system;

	store->write_map = writable ? map_file(store, PROT_READ | PROT_WRITE) : NULL;
#ifdef FS_THREAD_SANITIZER
	/* It tells accesses by their addresses, so that it must see reads and writes at the same ones. */
	store->map = writable ? store->write_map : map_file(store, PROT_READ);
#else
	store->map = map_file(store, PROT_READ);
#endif
	if (!store->map || (writable && !store->write_map))
		return fs_fail_errno(FLAGSTORE_ENOMEMORY, "segment %s can't be mapped at its maximum size of %llu bytes", store->path,
		                     (unsigned long long)store->constants.max_bytes);
	if (writable) {
		void *page = mmap(NULL, FS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED || madvise(page, FS_PAGE, MADV_WIPEONFORK) != 0)
			return fs_fail_errno(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory that fork wipes", store->path);
		store->entered = page;
	}
	store->mapping = fs_mapping_add(store->map, store->write_map, store->constants.max_bytes, store->entered);
	if (!store->mapping)
		return fs_fail(FLAGSTORE_ENOMEMORY, "segment %s: there is no memory to attach to it", store->path);
	store->shards = (const void *)(store->map + FS_PAGE);
	store->seed = store->constants.hash_seed;
	store->shard_bits = (uint32_t)__builtin_ctz(store->constants.shards);
	store->heap_start = fs_heap_start(&store->constants);
	store->tail = fs_tail(&store->constants);
	store->max_lines = (uint32_t)(store->tail.seats / FS_LINE);
	store->created_ms = store->constants.created_ms;
	store->tmpfs = fstatfs(store->fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
	return FLAGSTORE_OK;
}

/* Waits for a lock on one byte of the file for as long as for any lock. */
static int wait_for_file_lock(const flagstore *store, int type, int64_t byte, uint32_t limit_ms)
{
	uint64_t end = fs_monotonic_ns() + (uint64_t)limit_ms * 1000000;

	while (!fs_file_lock(store->fd, type, byte)) {
		if (errno != EAGAIN && errno != EACCES)
			return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be locked", store->path);
		if (fs_monotonic_ns() > end)
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: another process has been creating or attaching to it for more than %u ms; "
			               "see whether it is stopped", store->path, limit_ms);
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	return FLAGSTORE_OK;
}

static int open_error(const flagstore *store, const char *tried)
{
	switch (errno) {
	case ENOENT:
		return fs_fail(FLAGSTORE_ENOSEGMENT, "segment %s does not exist", store->path);
	case EACCES:
	case EPERM:
	case EROFS:
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "segment %s can't be %s", store->path, tried);
	case ELOOP:
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is a symbolic link, which is not followed; name the segment's own file", store->path);
	case EISDIR:
	case ENXIO:
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	case ENOSPC:
	case EDQUOT:
		return fs_fail_errno(FLAGSTORE_ENOSPACE, "segment %s can't be %s", store->path, tried);
	default:
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be %s", store->path, tried);
	}
}

/* ------------------------------------------------------------------------------------------------ constants */

uint64_t fs_constants_check(const struct fs_constants *constants)
{
	return XXH3_64bits(constants, offsetof(struct fs_constants, check));
}

/* Whole pages, and room for the heap before them. */
bool fs_has_sound_tail(const struct fs_constants *constants)
{
	return constants->seats && constants->seats <= FLAGSTORE_SEATS_MAX && constants->conflicts &&
	       constants->conflicts <= CONFLICTS_MAX && constants->conflicts % 2 == 0 && constants->shadows &&
	       constants->shadows <= SHADOWS_MAX && constants->shadows % (FS_PAGE / sizeof(struct fs_shadow)) == 0 &&
	       fs_heap_start(constants) < fs_tail(constants).seats / FS_LINE && fs_tail(constants).seats < constants->max_bytes;
}

/* Everything that later code relies on without looking again. */
static int check_constants(const flagstore *store, const struct fs_constants *constants, bool writable)
{
	uint32_t shards = constants->shards;

	if (constants->byte_order != FS_BYTE_ORDER)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s was made by a machine of another byte order", store->path);
	if (constants->layout != FS_LAYOUT_VERSION)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has layout version %u, and flagstore %s knows version %d; "
		               "export its flags with the version that made it", store->path, constants->layout, flagstore_version(), FS_LAYOUT_VERSION);
	if (constants->feature_incompatible)
		return fs_fail(FLAGSTORE_EFEATURE, "segment %s uses features (bits 0x%x) that flagstore %s does not know; use a newer version",
		               store->path, constants->feature_incompatible, flagstore_version());
	if (constants->feature_read_only && writable)
		return fs_fail(FLAGSTORE_EFEATURE, "segment %s uses features (bits 0x%x) with which flagstore %s can only read it; "
		               "attach read-only, or use a newer version", store->path, constants->feature_read_only, flagstore_version());
	if (constants->header_size != sizeof(struct fs_header) || constants->shard_size != sizeof(struct fs_shard) ||
	    constants->worker_size != sizeof(struct fs_worker) || constants->slot_size != sizeof(struct fs_slot) ||
	    constants->seat_size != sizeof(struct fs_seat) || constants->conflict_size != sizeof(struct fs_conflict))
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has records of other sizes than flagstore %s; it was made by another build", store->path,
		               flagstore_version());
	if (constants->check != fs_constants_check(constants) || !shards || shards > FLAGSTORE_SHARDS_MAX || shards & (shards - 1) ||
	    !constants->workers || constants->workers > FLAGSTORE_WORKERS_MAX || constants->max_bytes < FS_MIN_BYTES ||
	    constants->max_bytes > FS_MAX_BYTES || constants->max_bytes % FS_PAGE || !fs_has_sound_tail(constants) || constants->created_ms < 0 ||
	    constants->created_ms > CREATED_MAX_MS)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s has a damaged header", store->path);
	return FLAGSTORE_OK;
}

/* Reads the header, and takes over its constants when they are sound. */
static int read_header(flagstore *store, bool writable)
{
	struct fs_header header = {.state = FS_CREATING};
	struct stat file;
	ssize_t got;
	long long size;
	int error;

	if (fstat(store->fd, &file) == 0 && !S_ISREG(file.st_mode))
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	got = pread(store->fd, &header, sizeof header, 0);
	if (got < 0)
		return open_error(store, "read");
	size = file.st_size;
	if (got && memcmp(header.constants.magic, FS_MAGIC, sizeof header.constants.magic) != 0)
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a flagstore segment: it does not begin with \"%s\"", store->path, FS_MAGIC);
	/* What a creator leaves, step by step: an empty file, the magic alone, the whole size without READY. */
	if (size <= (long long)sizeof header.constants.magic || (got == sizeof header && atomic_load(&header.state) == FS_CREATING))
		return fs_fail(FLAGSTORE_ENOTREADY, "segment %s was never finished by its creator; create it again, which takes it over", store->path);
	if (got < (ssize_t)sizeof header)
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s ends in its header, after %lld bytes", store->path, size);
	error = check_constants(store, &header.constants, writable);
	if (error)
		return error;
	if (atomic_load(&header.state) > FS_RETIRED)
		return fs_fail(FLAGSTORE_ECORRUPT, "segment %s has a damaged header: its state is none", store->path);
	if ((uint64_t)size < header.constants.max_bytes)
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s has %lld bytes, and should have %llu; copy it whole", store->path, size,
		               (unsigned long long)header.constants.max_bytes);
	store->constants = header.constants;
	return FLAGSTORE_OK;
}

/* ---------------------------------------------------------------------------------------------------- reset */

static int make_locks(flagstore *store)
{
	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_init(&fs_shard_writable(store, i)->mutex))
			return fs_fail(FLAGSTORE_ESYSTEM, "segment %s: this system has no robust process-shared mutexes", store->path);
	FS_POINT("locks made");
	return FLAGSTORE_OK;
}

/* Says whose the locks are: this boot's, and this PID namespace's. The boot id last: a death before it leaves all to the next. */
static int sign(flagstore *store)
{
	struct fs_header *header = fs_header_writable(store);
	uint64_t namespace, boot[4];

	if (!read_pid_namespace(&namespace) || !read_boot_id(boot))
		return no_proc(store);
	FS_NOTE(&header->pid_namespace, namespace);
	for (int i = 0; i < 4; i++)
		FS_NOTE(&header->boot[i], boot[i]);
	FS_POINT("signed");
	return FLAGSTORE_OK;
}

/* Makes locks and workers new, with everything that a dead writer may have left repaired. Expects the setup lock, and nobody else
 * attached read-write. */
static int reset(flagstore *store)
{
	int error = make_locks(store);

	for (uint32_t i = 0; !error && i < store->constants.shards; i++) {
		struct fs_shard *shard = fs_shard_writable(store, i);

		fs_recover(store, i);
		atomic_store_explicit(&shard->mark, 0, memory_order_relaxed);
		atomic_store_explicit(&shard->sequence, (atomic_load_explicit(&shard->sequence, memory_order_relaxed) | 1) + 1, memory_order_release);
	}
	for (uint32_t i = 0; !error && i < store->constants.workers; i++) {
		struct fs_worker *entry = fs_writable(store, fs_worker_entry(store, i));

		atomic_store_explicit(&entry->generation, 0, memory_order_relaxed);
	}
	if (!error)
		fs_seats_clear(store);
	return error ? error : sign(store);
}

static bool same_boot(const struct fs_header *header, const uint64_t boot[4])
{
	for (int i = 0; i < 4; i++)
		if (atomic_load_explicit(&header->boot[i], memory_order_relaxed) != boot[i])
			return false;
	return true;
}

/* Makes sure that this process may write. Expects the setup lock. */
static int admit(flagstore *store)
{
	const struct fs_header *header = fs_header(store);
	uint64_t namespace, there = atomic_load_explicit(&header->pid_namespace, memory_order_relaxed), boot[4];

	if (!read_pid_namespace(&namespace) || !read_boot_id(boot))
		return no_proc(store);
	if (!same_boot(header, boot)) {
		/* Exclusive: nobody is attached read-write. Containers can show different boot ids on one host at the same time. */
		if (!fs_file_lock(store->fd, F_WRLCK, FS_LOCK_PRESENT))
			return fs_fail(FLAGSTORE_ENAMESPACE, "segment %s is in use by workers that show another boot id, so they are in another container; "
			               "attach read-only, or write from theirs", store->path);
		return reset(store);
	}
	if (namespace != there)
		return fs_fail(FLAGSTORE_ENAMESPACE, "segment %s may be written from PID namespace %llu, and this process is in %llu, where the death of a "
		               "writer would not be noticed; attach read-only, or run in the same PID namespace", store->path,
		               (unsigned long long)there, (unsigned long long)namespace);
	return FLAGSTORE_OK;
}

/* ------------------------------------------------------------------------------------------------ the dead */

static bool has_orphans(const flagstore *store)
{
	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_orphaned(&store->shards[i]))
			return true;
	return false;
}

/* Restores the shards whose writer died, so that who attaches now does not see a batch in part. Best effort: the next writer of such a
 * shard does it in any case. */
static void recover_orphans(flagstore *store)
{
	struct fs_deadline deadline = {.set = false};

	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_orphaned(&store->shards[i]) && fs_enter_locked(store, i, &deadline) == FLAGSTORE_OK)
			fs_leave(store, i);
}

/* -------------------------------------------------------------------------------------------------- attach */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static int attach_open_file(flagstore *store, const struct flagstore_options *options, bool writable)
{
	int error = read_header(store, writable);

	if (error)
		return error;
	if (options->flags & FLAGSTORE_UNLOCKED && !store->constants.laboratory)
		return fs_fail(FLAGSTORE_ENOTLABORATORY, "segment %s can't be written without locking, since it was not created as a laboratory segment; "
		               "attach without FLAGSTORE_UNLOCKED, or create one for experiments (flagctl create --lab)", store->path);
	store->unlocked = options->flags & FLAGSTORE_UNLOCKED;
	error = map_store(store, writable);
	if (error)
		return error;
	store->lock_wait_ms = or_default(options->lock_wait_ms, store->constants.lock_wait_ms);
	if (!fs_room_reaches(store, store->heap_start))
		return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s has less room in its file system than its header says; was it copied to a full disk?",
		               store->path);
	if (!writable)
		return fs_unless_lost(store, FLAGSTORE_OK);
	error = admit(store);
	if (error)
		return error;
	if (!fs_file_lock(store->fd, F_RDLCK, FS_LOCK_PRESENT))
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s can't be locked", store->path);
	fs_worker_enter(store);
	fs_entered(store);
	recover_orphans(store);
	return fs_unless_lost(store, FLAGSTORE_OK);
}

/* A reader can't restore anything, but may be allowed to come as a writer for a moment. Only when there is something to do: it takes
 * a worker entry. */
static void recover_for_reader(const char *name, const flagstore *store)
{
	flagstore *writer;

	if (has_orphans(store) && flagstore_attach(name, NULL, &writer) == FLAGSTORE_OK)
		flagstore_close(writer);
}

int flagstore_attach(const char *name, const struct flagstore_options *options, flagstore **store)
{
	const struct flagstore_options none = FLAGSTORE_OPTIONS_INIT;
	flagstore *made = NULL;
	bool writable;
	int error;

	options = options ? options : &none;
	if (options->size != sizeof *options || options->flags & ~(uint32_t)(FLAGSTORE_READ_ONLY | FLAGSTORE_UNLOCKED) ||
	    options->flags == (FLAGSTORE_READ_ONLY | FLAGSTORE_UNLOCKED))
		return fs_fail(FLAGSTORE_EARGUMENT, "the options to attach to segment \"%.100s\" are not set up by FLAGSTORE_OPTIONS_INIT", name);
	error = new_store(name, &made);
	if (error)
		return error;
	writable = !(options->flags & FLAGSTORE_READ_ONLY);
	/* O_NONBLOCK: a FIFO that stands there must not make us wait. */
	made->fd = open(made->path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (made->fd < 0)
		error = open_error(made, writable ? "opened for writing" : "opened");
	if (!error)
		error = wait_for_file_lock(made, writable ? F_WRLCK : F_RDLCK, FS_LOCK_SETUP, or_default(options->lock_wait_ms, LOCK_WAIT_DEFAULT_MS));
	if (!error)
		error = attach_open_file(made, options, writable);
	if (error) {
		free_store(made);
		return error;
	}
	fs_file_lock(made->fd, F_UNLCK, FS_LOCK_SETUP);
	if (!writable)
		recover_for_reader(name, made);
	*store = made;
	return FLAGSTORE_OK;
}

void flagstore_close(flagstore *store)
{
	if (!store)
		return;
	if (store->write_map) {
		fs_seats_leave(store);
		fs_worker_leave(store);
	}
	free_store(store);
}

/* -------------------------------------------------------------------------------------------------- create */

static int check_options(const char *name, const struct flagstore_options *options)
{
	uint32_t shards = options->shards;
	struct rlimit limit;

	if (options->size != sizeof *options || options->flags)
		return fs_fail(FLAGSTORE_EARGUMENT, "the options to create segment \"%.100s\" are not set up by FLAGSTORE_OPTIONS_INIT", name);
	if (options->max_bytes && (options->max_bytes < FS_MIN_BYTES || options->max_bytes > FS_MAX_BYTES))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": a maximum size of %llu bytes is not between %llu and %llu", name,
		               (unsigned long long)options->max_bytes, (unsigned long long)FS_MIN_BYTES, (unsigned long long)FS_MAX_BYTES);
	if (shards > FLAGSTORE_SHARDS_MAX || shards & (shards - 1))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u shards are not a power of two from 1 to %d", name, shards,
		               FLAGSTORE_SHARDS_MAX);
	if (options->workers > FLAGSTORE_WORKERS_MAX)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u workers are more than %d", name, options->workers, FLAGSTORE_WORKERS_MAX);
	if (options->seats > FLAGSTORE_SEATS_MAX)
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": %u seats are more than %d", name, options->seats, FLAGSTORE_SEATS_MAX);
	if (options->mode & ~(uint32_t)MODE_MAX || (options->mode && (options->mode & 0600) != 0600))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment \"%.100s\": mode %04o is not within %04o, or keeps the owner out", name, options->mode, MODE_MAX);
	/* Beyond the limit the kernel would kill us by SIGXFSZ instead of an error. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    (options->max_bytes ? options->max_bytes : MAX_BYTES_DEFAULT) > limit.rlim_cur)
		return fs_fail(FLAGSTORE_ENOSPACE, "segment \"%.100s\" can't be created: its maximum size is beyond this process's file size limit of %llu bytes "
		               "(ulimit -f); create it smaller", name, (unsigned long long)limit.rlim_cur);
	return FLAGSTORE_OK;
}

static uint32_t at_most(uint64_t number, uint32_t most)
{
	return number < most ? (uint32_t)number : most;
}

static void make_constants(const struct flagstore_options *options, struct fs_constants *constants)
{
	uint64_t max_bytes = options->max_bytes ? options->max_bytes : MAX_BYTES_DEFAULT;

	/* In a small segment what stands behind the heap shall not take more than an eighth: a sixteenth are seats, and as much are conflicts
	 * and shadows together. */
	uint32_t seats = at_most(max_bytes / 16 / sizeof(struct fs_seat), SEATS_DEFAULT);

	*constants = (struct fs_constants){
		.byte_order = FS_BYTE_ORDER,
		.layout = FS_LAYOUT_VERSION,
		.header_size = sizeof(struct fs_header),
		.shard_size = sizeof(struct fs_shard),
		.worker_size = sizeof(struct fs_worker),
		.slot_size = sizeof(struct fs_slot),
		.seat_size = sizeof(struct fs_seat),
		.conflict_size = sizeof(struct fs_conflict),
		.seats = or_default(options->seats, seats),
		.conflicts = at_most(max_bytes / 32 / sizeof(struct fs_conflict) / 2 * 2, CONFLICTS_MAX),
		.shadows = at_most(max_bytes / 32 / FS_PAGE * FS_PAGE / sizeof(struct fs_shadow), SHADOWS_MAX),
		.shards = or_default(options->shards, SHARDS_DEFAULT),
		.workers = or_default(options->workers, WORKERS_DEFAULT),
		.lock_wait_ms = or_default(options->lock_wait_ms, LOCK_WAIT_DEFAULT_MS),
		.laboratory = options->laboratory,
		.max_bytes = max_bytes / FS_PAGE * FS_PAGE,
		.created_ms = fs_now_ms(),
	};
	memcpy(constants->magic, FS_MAGIC, sizeof constants->magic);
}

static int make_random(const flagstore *store, struct fs_constants *constants)
{
	uint8_t bytes[sizeof constants->hash_seed + sizeof constants->uuid];

	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "segment %s: there are no random bytes", store->path);
	memcpy(&constants->hash_seed, bytes, sizeof constants->hash_seed);
	memcpy(constants->uuid, bytes + sizeof constants->hash_seed, sizeof constants->uuid);
	/* A random UUID, RFC 4122 version 4. */
	constants->uuid[6] = (uint8_t)((constants->uuid[6] & 0x0f) | 0x40);
	constants->uuid[8] = (uint8_t)((constants->uuid[8] & 0x3f) | 0x80);
	return FLAGSTORE_OK;
}

static int set_access(const flagstore *store, const struct flagstore_options *options)
{
	if (options->group != (gid_t)-1 && fchown(store->fd, (uid_t)-1, options->group) != 0)
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "segment %s can't be given to group %u", store->path, (unsigned)options->group);
	if (fchmod(store->fd, or_default(options->mode, MODE_DEFAULT)) != 0)
		return fs_fail_errno(FLAGSTORE_EPERMISSION, "the mode of segment %s can't be set", store->path);
	return FLAGSTORE_OK;
}

/* Fills the file, which is empty or what a dead creator left of his. Expects the setup lock. */
static int fill_file(flagstore *store, const struct flagstore_options *options)
{
	struct fs_constants *constants = &store->constants;
	struct fs_header *header;
	uint64_t first_bytes;
	int error;

	make_constants(options, constants);
	error = make_random(store, constants);
	if (error)
		return error;
	first_bytes = (uint64_t)fs_heap_start(constants) * FS_LINE;
	if (!fs_has_sound_tail(constants))
		return fs_fail(FLAGSTORE_EARGUMENT, "segment %s: %u shards, %u workers and %u seats do not leave room for flags in a maximum size of "
		               "%llu bytes", store->path, constants->shards, constants->workers, constants->seats,
		               (unsigned long long)constants->max_bytes);
	/* To nothing first: what a dead creator left becomes zeros. Then the magic, so that what we leave can be told from a file of
	 * somebody else. */
	if (ftruncate(store->fd, 0) != 0 || pwrite(store->fd, FS_MAGIC, sizeof constants->magic, 0) != (ssize_t)sizeof constants->magic)
		return open_error(store, "written");
	FS_POINT("magic written");
	if (ftruncate(store->fd, (off_t)constants->max_bytes) != 0)
		return open_error(store, "given its size");
	FS_POINT("file sized");
	error = fs_room_allocate(store, 0, first_bytes);
	if (!error)
		error = map_store(store, true);
	if (error)
		return error;
	header = fs_header_writable(store);
	constants->check = fs_constants_check(constants);
	header->constants = *constants;
	atomic_store_explicit(&header->heap, store->heap_start, memory_order_relaxed);
	atomic_store_explicit(&header->room, store->heap_start, memory_order_relaxed);
	FS_POINT("header written");
	if (!fs_room_reaches(store, store->heap_start))
		return fs_fail(FLAGSTORE_ESYSTEM, "segment %s: its file system does not keep the room that it gave", store->path);
	error = make_locks(store);
	if (!error)
		error = sign(store);
	if (!error)
		error = set_access(store, options);
	if (error)
		return error;
	/* release: whoever sees READY sees the rest. A death before this store leaves a file that is taken over. */
	atomic_store_explicit(&header->state, FS_READY, memory_order_release);
	FS_POINT("ready");
	store->lock_wait_ms = constants->lock_wait_ms;
	fs_file_lock(store->fd, F_RDLCK, FS_LOCK_PRESENT);
	fs_worker_enter(store);
	fs_entered(store);
	return FLAGSTORE_OK;
}

/* Is what stands in the file, whose setup lock we hold, nothing yet, or what a dead creator left? */
static int may_take_over(const flagstore *store)
{
	struct fs_header header = {.state = FS_CREATING};
	struct stat file;

	if (fstat(store->fd, &file) != 0)
		return open_error(store, "read");
	if (!S_ISREG(file.st_mode))
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file; choose another name for the segment", store->path);
	if (pread(store->fd, &header, sizeof header, 0) < 0)
		return open_error(store, "read");
	if (file.st_size && memcmp(header.constants.magic, FS_MAGIC, sizeof header.constants.magic) != 0)
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is a file of something else; choose another name for the segment", store->path);
	if (atomic_load(&header.state) != FS_CREATING)
		return fs_fail(FLAGSTORE_EEXISTS, "segment %s exists already; unlink it first, or attach to it", store->path);
	/* Nobody attaches to what a creator did not finish. With workers in it, it is a segment whose state was damaged, and to take it over
	 * would cut it under their feet. */
	if (!fs_file_lock(store->fd, F_WRLCK, FS_LOCK_PRESENT))
		return fs_fail(FLAGSTORE_EEXISTS, "segment %s exists already, in use by workers, and its header is damaged; unlink it first", store->path);
	return FLAGSTORE_OK;
}

/* Somebody may have unlinked the file between our opening and our locking it. */
static bool still_there(const flagstore *store)
{
	struct stat file, there;

	return fstat(store->fd, &file) == 0 && lstat(store->path, &there) == 0 && file.st_ino == there.st_ino && file.st_dev == there.st_dev;
}

/* Opens the file, made by us or found, and gets its setup lock. */
static int open_to_create(flagstore *store, uint32_t limit_ms)
{
	int error;

	for (;;) {
		/* 0600 until the mode is set: nobody else gets in before the segment is ready. */
		store->fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		FS_POINT("file created");
		if (store->fd < 0 && errno == ENOENT)
			return fs_fail(FLAGSTORE_ENOSEGMENT, "segment %s can't be created: its directory does not exist", store->path);
		if (store->fd < 0 && errno == EEXIST) {
			store->fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
			/* It has been unlinked meanwhile. */
			if (store->fd < 0 && errno == ENOENT)
				continue;
		}
		if (store->fd < 0)
			return open_error(store, "created");
		error = wait_for_file_lock(store, F_WRLCK, FS_LOCK_SETUP, limit_ms);
		if (error || still_there(store))
			return error;
		close(store->fd);
	}
}

static int create_file(flagstore *store, const struct flagstore_options *options)
{
	int error = open_to_create(store, or_default(options->lock_wait_ms, LOCK_WAIT_DEFAULT_MS));

	if (error)
		return error;
	error = may_take_over(store);
	if (error)
		return error;
	error = fill_file(store, options);
	if (error) {
		/* Nobody has seen it READY: while we hold the setup lock it is ours to remove. */
		unlink(store->path);
		return error;
	}
	return FLAGSTORE_OK;
}

int flagstore_create(const char *name, const struct flagstore_options *options, flagstore **store)
{
	const struct flagstore_options none = FLAGSTORE_OPTIONS_INIT;
	flagstore *made = NULL;
	int error;

	options = options ? options : &none;
	error = check_options(name, options);
	if (!error)
		error = new_store(name, &made);
	if (error)
		return error;
	error = create_file(made, options);
	if (error) {
		free_store(made);
		return error;
	}
	fs_file_lock(made->fd, F_UNLCK, FS_LOCK_SETUP);
	*store = made;
	return FLAGSTORE_OK;
}

/* -------------------------------------------------------------------------------------------------- unlink */

int flagstore_unlink(const char *name)
{
	char magic[sizeof FS_MAGIC - 1] = "";
	flagstore *store;
	uint32_t retired = FS_RETIRED;
	struct stat file;
	int error = new_store(name, &store);

	if (error)
		return error;
	store->fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (store->fd < 0)
		error = open_error(store, "unlinked");
	else if (fstat(store->fd, &file) != 0 || !S_ISREG(file.st_mode) || pread(store->fd, magic, sizeof magic, 0) < 0)
		error = fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", store->path);
	else if (memcmp(magic, FS_MAGIC, sizeof magic) != 0)
		error = fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a flagstore segment, so it is left alone", store->path);
	else if (unlink(store->path) != 0)
		error = open_error(store, "unlinked");
	/* For those that stay attached. It is news, no more: a write that fails changes nothing for them. */
	if (!error && file.st_size >= (off_t)sizeof(struct fs_header) &&
	    pwrite(store->fd, &retired, sizeof retired, offsetof(struct fs_header, state)) < 0)
		errno = 0;
	free_store(store);
	return error;
}

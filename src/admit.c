/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * admit.c: whose a segment's locks are. A segment that outlived a reboot has locks and workers of processes that are gone. It is reset by
 * the first that attaches read-write; everybody else who does that holds a shared lock, so that this one can know that he is the first. */
#include "admit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "lock.h"
#include "point.h"
#include "recover.h"
#include "seat.h"
#include "section.h"
#include "worker.h"

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

/* ---------------------------------------------------------------------------------------------------- reset */

int fs_make_locks(flagstore *store)
{
	for (uint32_t i = 0; i < store->constants.shards; i++)
		if (fs_lock_init(&fs_shard_writable(store, i)->mutex))
			return fs_fail(FLAGSTORE_ESYSTEM, "segment %s: this system has no robust process-shared mutexes", store->path);
	FS_POINT("locks made");
	return FLAGSTORE_OK;
}

/* The boot id last: a death before it leaves all to the next. */
int fs_sign(flagstore *store)
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
	int error;

	/* What LMDB has may be newer than a segment whose memory was written back to a disk, or not, when the machine went down. */
	if (store->journal)
		return fs_fail(FLAGSTORE_ENOTREADY, "segment %s is left from before a reboot, and its flags are kept in %s too, which counts; unlink the "
		               "segment and create it anew, which fills it from there", store->path, store->persistence.directory);
	error = fs_make_locks(store);
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
	return error ? error : fs_sign(store);
}

static bool same_boot(const struct fs_header *header, const uint64_t boot[4])
{
	for (int i = 0; i < 4; i++)
		if (atomic_load_explicit(&header->boot[i], memory_order_relaxed) != boot[i])
			return false;
	return true;
}

int fs_admit(flagstore *store)
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

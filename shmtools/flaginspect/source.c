/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * source.c: opens what attach refuses. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "failure.h"
#include "sigbus.h"

enum {
	EXTENTS_MAX = 4096, /* a process may have 65530 mappings */
	FAMILIAR = 3,       /* so many of a header's fixed fields make it one of ours */
	FAMILIAR_ALL = 9,
};

/* Far in the future, as for the library. */
#define CREATED_MAX_MS (INT64_C(1) << 60)

/* ----------------------------------------------------------------------------------------------------- header */

/* What all that is read later relies on. */
static bool plausible(const struct fs_constants *constants)
{
	uint32_t shards = constants->shards;

	return shards && shards <= FLAGSTORE_SHARDS_MAX && !(shards & (shards - 1)) && constants->workers &&
	       constants->workers <= FLAGSTORE_WORKERS_MAX && constants->max_bytes >= FS_MIN_BYTES && constants->max_bytes <= FS_MAX_BYTES &&
	       constants->max_bytes % FS_PAGE == 0 && fs_has_sound_tail(constants) && constants->created_ms >= 0 &&
	       constants->created_ms <= CREATED_MAX_MS;
}

/* What is the same in every segment of this layout; returns how many of these were right. */
static int set_familiar(struct fs_constants *constants)
{
	const struct {
		uint32_t *field, right;
	} fields[] = {
		{&constants->byte_order, FS_BYTE_ORDER},
		{&constants->layout, FS_LAYOUT_VERSION},
		{&constants->header_size, sizeof(struct fs_header)},
		{&constants->shard_size, sizeof(struct fs_shard)},
		{&constants->worker_size, sizeof(struct fs_worker)},
		{&constants->slot_size, sizeof(struct fs_slot)},
		{&constants->seat_size, sizeof(struct fs_seat)},
		{&constants->conflict_size, sizeof(struct fs_conflict)},
	};
	int right = memcmp(constants->magic, FS_MAGIC, sizeof constants->magic) == 0;

	memcpy(constants->magic, FS_MAGIC, sizeof constants->magic);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		right += *fields[i].field == fields[i].right;
		*fields[i].field = fields[i].right;
	}
	return right;
}

static bool sound(const struct fs_constants *constants)
{
	struct fs_constants familiar = *constants;

	return constants->check == fs_constants_check(constants) && set_familiar(&familiar) == FAMILIAR_ALL && plausible(constants);
}

/* One flipped bit is found by trying all: the check value says which. */
static bool flip_back(struct fs_constants *constants, size_t *bit)
{
	unsigned char *bytes = (unsigned char *)constants;

	for (*bit = 0; *bit < sizeof *constants * 8; ++*bit) {
		bytes[*bit / 8] = (unsigned char)(bytes[*bit / 8] ^ 1 << *bit % 8);
		if (sound(constants))
			return true;
		bytes[*bit / 8] = (unsigned char)(bytes[*bit / 8] ^ 1 << *bit % 8);
	}
	return false;
}

static int not_a_segment(const flagstore *store)
{
	return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a flagstore segment: nothing in it looks like the header of one", store->path);
}

/* One of another version, that is sound as far as one can see. */
static int check_version(const flagstore *store, const struct fs_constants *constants)
{
	struct fs_constants familiar = *constants;

	if (constants->check != fs_constants_check(constants) || memcmp(constants->magic, FS_MAGIC, sizeof constants->magic) != 0)
		return FLAGSTORE_OK;
	if (constants->layout != FS_LAYOUT_VERSION || constants->byte_order != FS_BYTE_ORDER)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has layout version %u, and flagstore %s knows version %d; inspect it with the version "
		               "that made it", store->path, constants->layout, flagstore_version(), FS_LAYOUT_VERSION);
	/* The check value vouches for the sizes: they are those of another build, and no damage. */
	if (set_familiar(&familiar) != FAMILIAR_ALL)
		return fs_fail(FLAGSTORE_ELAYOUT, "segment %s has records of other sizes than those of flagstore %s; inspect it with the build that made it",
		               store->path, flagstore_version());
	return FLAGSTORE_OK;
}

/* Finds out where everything is, from a header that may be damaged. */
static int settle_constants(struct source *source, const struct fs_constants *found)
{
	struct fs_constants *constants = &source->store->constants;
	int error = check_version(source->store, found);
	size_t bit;

	if (error)
		return error;
	*constants = *found;
	if (sound(constants)) {
		source->table = true;
		return FLAGSTORE_OK;
	}
	if (flip_back(constants, &bit)) {
		source->table = source->mended = true;
		snprintf(source->damage, sizeof source->damage, "bit %zu of byte %zu of the header was flipped; it is taken as it was", bit % 8, bit / 8);
		return FLAGSTORE_OK;
	}
	if (set_familiar(constants) < FAMILIAR && memcmp(found->magic, FS_MAGIC, sizeof found->magic) != 0)
		return not_a_segment(source->store);
	if (source->file_bytes % FS_PAGE == 0 && (constants->max_bytes < FS_MIN_BYTES || constants->max_bytes > FS_MAX_BYTES ||
	                                          constants->max_bytes % FS_PAGE))
		constants->max_bytes = source->file_bytes;
	if (constants->created_ms < 0 || constants->created_ms > CREATED_MAX_MS)
		constants->created_ms = 0;
	source->table = plausible(constants);
	snprintf(source->damage, sizeof source->damage, "%s", source->table ?
	         "the constants in the header do not belong together; they are taken as they are" :
	         "the constants in the header can't be: where anything else is can't be told");
	return FLAGSTORE_OK;
}

static int read_constants(struct source *source)
{
	struct fs_constants found = {.magic = ""};
	size_t got = 0;
	ssize_t count;

	do {
		count = pread(source->store->fd, (char *)&found + got, sizeof found - got, (off_t)got);
		got += count > 0 ? (size_t)count : 0;
	} while (count > 0 && got < sizeof found);
	if (count < 0)
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "%s can't be read", source->store->path);
	/* What a creator leaves, step by step: an empty file, the magic alone, the whole size without READY. */
	if (got < sizeof found || (memcmp(found.magic, FS_MAGIC, sizeof found.magic) == 0 && !found.shards && !found.check)) {
		if (memcmp(found.magic, FS_MAGIC, got < sizeof found.magic ? got : sizeof found.magic) != 0)
			return not_a_segment(source->store);
		snprintf(source->damage, sizeof source->damage, got < sizeof found && got > sizeof found.magic ?
		         "the file ends in its header" : "its creator has not come far, or died: there is nothing but its beginning");
		return FLAGSTORE_OK;
	}
	return settle_constants(source, &found);
}

/* ---------------------------------------------------------------------------------------------------- mapping */

static bool map_over(const struct source *source, char *map, uint64_t from, uint64_t to, uint64_t size, bool private)
{
	int protection = private ? PROT_READ | PROT_WRITE : PROT_READ, flags = private ? MAP_PRIVATE : MAP_SHARED;

	from = from / FS_PAGE * FS_PAGE;
	to = (to + FS_PAGE - 1) / FS_PAGE * FS_PAGE;
	to = to < size ? to : size;
	return from >= to || mmap(map + from, to - from, protection, flags | MAP_FIXED | MAP_NORESERVE, source->store->fd, (off_t)from) != MAP_FAILED;
}

/* What the file holds. A hole of a tmpfs file would take a page when it is read, and none may be left. */
static bool map_extents(const struct source *source, char *map, uint64_t size, bool private)
{
	off_t end = 0;

	for (int extents = 0; (uint64_t)end < size; extents++) {
		off_t from = lseek(source->store->fd, end, SEEK_DATA);

		if (from < 0)
			return errno == ENXIO || map_over(source, map, (uint64_t)end, source->file_bytes, size, private);
		end = extents < EXTENTS_MAX ? lseek(source->store->fd, from, SEEK_HOLE) : (off_t)source->file_bytes;
		if (end < 0 || !map_over(source, map, (uint64_t)from, (uint64_t)end, size, private))
			return false;
	}
	return true;
}

static bool map_file(const struct source *source, char *map, uint64_t size, bool private)
{
	return source->kind == SOURCE_LIVE ? map_over(source, map, 0, source->file_bytes, size, private) : map_extents(source, map, size, private);
}

static int map_source(struct source *source)
{
	flagstore *store = source->store;
	uint64_t size = source->table ? store->constants.max_bytes : FS_PAGE;
	char *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct statfs system;

	if (map == MAP_FAILED)
		return fs_fail_errno(FLAGSTORE_ENOMEMORY, "%s can't be mapped", store->path);
	store->map = map;
	store->constants.max_bytes = size;
	if (!map_file(source, map, size, false))
		return fs_fail_errno(FLAGSTORE_ENOMEMORY, "%s can't be mapped", store->path);
	store->mapping = fs_mapping_add(map, NULL, size, NULL);
	if (!store->mapping)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to open %s", store->path);
	/* In a copy the holes that cp(1) makes are as good as room. */
	store->tmpfs = source->kind == SOURCE_LIVE && fstatfs(store->fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
	return FLAGSTORE_OK;
}

/* How far the heap may be looked at. The header's word for it, unless the file says that it can't be. */
static void settle_room(struct source *source)
{
	flagstore *store = source->store;
	uint32_t said = atomic_load_explicit(&fs_header(store)->room, memory_order_relaxed);
	uint64_t there = source->file_bytes / FS_LINE;
	struct stat file;

	if (store->tmpfs && fstat(store->fd, &file) == 0 && (uint64_t)file.st_blocks * 512 < source->file_bytes)
		there = (uint64_t)file.st_blocks * 512 / FS_LINE;
	if (said < store->heap_start || said > store->max_lines || said > there)
		said = (uint32_t)(there < store->max_lines ? there : store->max_lines);
	atomic_store_explicit(&store->backed, (uint64_t)said * FS_LINE, memory_order_relaxed);
}

static void settle_store(struct source *source)
{
	flagstore *store = source->store;

	if (!source->table)
		store->constants = (struct fs_constants){.max_bytes = FS_PAGE, .created_ms = 0};
	store->shards = (const void *)(store->map + FS_PAGE);
	store->seed = store->constants.hash_seed;
	store->salt = fs_salt(store->seed);
	store->shard_mask = store->constants.shards ? store->constants.shards - 1 : 0;
	store->heap_start = fs_heap_start(&store->constants);
	store->tail = source->table ? fs_tail(&store->constants) : (struct fs_tail){FS_PAGE, FS_PAGE, FS_PAGE, FS_PAGE, FS_PAGE};
	store->max_lines = (uint32_t)(store->tail.journal / FS_LINE);
	store->ring_words = store->tail.journal < store->tail.seats ? (uint32_t)(fs_ring_bytes(&store->constants) / 8) : 0;
	store->created_ms = store->constants.created_ms;
	store->lock_wait_ms = store->constants.lock_wait_ms;
	settle_room(source);
	if (source->table && source->file_bytes < store->constants.max_bytes && !*source->damage)
		snprintf(source->damage, sizeof source->damage, "the file was cut short: it has %llu bytes of %llu",
		         (unsigned long long)source->file_bytes, (unsigned long long)store->constants.max_bytes);
}

/* -------------------------------------------------------------------------------------------------------- open */

/* Whether anybody but us holds a lock on the byte: a question, allowed for files that are opened to read. */
static bool locked_by_anybody(int fd, int64_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool source_is_live(const struct source *source)
{
	return locked_by_anybody(source->store->fd, FS_LOCK_PRESENT);
}

static int open_file(const char *name, flagstore *store)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, error = flagstore_path(name, store->path, sizeof store->path);

	if (error)
		return error;
	store->fd = open(store->path, flags);
	if (store->fd < 0 && errno == ENOENT && !strchr(name, '/')) {
		store->fd = open(name, flags);
		if (store->fd < 0 && errno == ENOENT)
			return fs_fail(FLAGSTORE_ENOSEGMENT, "segment %s does not exist, and there is no file %s here", store->path, name);
		strlcpy(store->path, name, sizeof store->path);
	}
	if (store->fd >= 0)
		return FLAGSTORE_OK;
	if (errno == ENOENT)
		return fs_fail(FLAGSTORE_ENOSEGMENT, "%s does not exist", store->path);
	return fs_fail_errno(errno == EACCES || errno == EPERM ? FLAGSTORE_EPERMISSION : FLAGSTORE_ESYSTEM, "%s can't be opened", store->path);
}

static int open_source(const char *name, struct source *source)
{
	struct stat file;
	int error = open_file(name, source->store);

	if (error)
		return error;
	if (fstat(source->store->fd, &file) != 0)
		return fs_fail_errno(FLAGSTORE_ESYSTEM, "%s can't be asked about its size", source->store->path);
	if (!S_ISREG(file.st_mode))
		return fs_fail(FLAGSTORE_ENOTSEGMENT, "%s is not a regular file, so it is no segment", source->store->path);
	source->file_bytes = (uint64_t)file.st_size;
	source->device = file.st_dev;
	source->inode = file.st_ino;
	source->kind = source_is_live(source) ? SOURCE_LIVE : SOURCE_FILE;
	error = read_constants(source);
	if (!error)
		error = map_source(source);
	if (!error)
		settle_store(source);
	return error;
}

int source_try(const char *name, struct source *source)
{
	int error;

	*source = (struct source){.store = calloc(1, sizeof *source->store)};
	if (!source->store)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to open %.100s", name);
	source->store->fd = -1;
	source->store->writing = source->store;
	error = open_source(name, source);
	if (error)
		source_close(source);
	return error;
}

int source_open(const char *name, struct source *source)
{
	int error = source_try(name, source);

	return error ? failure_of_library(error) : STATUS_DONE;
}

int source_make_private(struct source *source)
{
	flagstore *store = source->store;
	uint64_t size = store->constants.max_bytes;
	char *map = mmap((void *)(uintptr_t)store->map, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (map == MAP_FAILED || !map_file(source, map, size, true))
		return fs_fail_errno(FLAGSTORE_ENOMEMORY, "there is no memory for a copy of %s", store->path);
	if (source->mended)
		((struct fs_header *)(void *)map)->constants = store->constants;
	store->write_map = map;
	return FLAGSTORE_OK;
}

const char *source_text(const struct source *source)
{
	return source->kind == SOURCE_LIVE ? "live segment" : "file";
}

void source_close(struct source *source)
{
	flagstore *store = source->store;

	if (!store)
		return;
	fs_mapping_remove(store->mapping);
	if (store->map)
		munmap((char *)(uintptr_t)store->map, store->constants.max_bytes);
	if (store->fd >= 0)
		close(store->fd);
	free(store);
	source->store = NULL;
}

int source_show(const char *name, int (*show)(const struct source *source))
{
	struct source source;
	int status = source_open(name, &source);

	if (status)
		return status;
	status = show(&source);
	source_close(&source);
	return status;
}

int source_needs_table(const struct source *source)
{
	return source->table ? STATUS_DONE : failure(STATUS_UNUSABLE, "%s: %s", source->store->path, source->damage);
}

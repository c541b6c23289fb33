/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * disk.c: flags in an LMDB environment.
 *
 * All flags are in the unnamed database, key by key, and so is what is said of them all, under a key that no flag can have. Numbers have
 * their highest byte first, on every machine.
 *
 * Two things about LMDB are seen to here. Closing any descriptor of an environment's lock file loses the process's locks on it, so the
 * process opens an environment once. And versions 0.9.26 to 0.9.31 destroy the mutexes that other processes use when an environment is
 * closed; with those it stays open. */
#include "disk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#define MAP_BYTES_MIN (UINT64_C(64) << 20)
#define READERS_MAX 1024

struct fs_disk {
	struct fs_disk *next;
	pid_t pid;     /* who opened it */
	enum fs_disk_form form;
	dev_t device;  /* of the file with the data */
	ino_t inode;
	unsigned users;
	MDB_env *env;
	MDB_dbi flags;
	pthread_mutex_t mutex; /* held during each transaction */
	char path[PATH_MAX];
};

static struct fs_disk *disks;
static pthread_mutex_t disks_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t disks_once = PTHREAD_ONCE_INIT;

static void lock_disks(void)
{
	pthread_mutex_lock(&disks_mutex);
}

static void unlock_disks(void)
{
	pthread_mutex_unlock(&disks_mutex);
}

/* So that a child finds the list unlocked, and whole. */
static void see_to_forks(void)
{
	(void)pthread_atfork(lock_disks, unlock_disks, unlock_disks);
}

static bool must_stay_open(void)
{
	int major, minor, patch;

	(void)mdb_version(&major, &minor, &patch);
	return major == 0 && minor == 9 && patch >= 26 && patch <= 31;
}

static int failed(const struct fs_disk *disk, const char *tried, int error)
{
	if (error == MDB_MAP_FULL || error == MDB_MAP_RESIZED)
		return FS_DISK_AGAIN;
	if (error == ENOSPC || error == EDQUOT)
		return fs_fail(FLAGSTORE_EPERSIST, "%s can't be %s: %s; free room in its file system", disk->path, tried, mdb_strerror(error));
	return fs_fail(FLAGSTORE_EPERSIST, "%s can't be %s: %s", disk->path, tried, mdb_strerror(error));
}

/* --------------------------------------------------------------------------------------------------- opening */

static int stat_data(const char *path, enum fs_disk_form form, struct stat *file)
{
	char data[PATH_MAX + 16];

	snprintf(data, sizeof data, "%s%s", path, form == FS_DISK_FILE ? "" : "/data.mdb");
	return stat(data, file);
}

bool fs_disk_is_there(const struct fs_disk *disk)
{
	struct stat file;

	return stat_data(disk->path, disk->form, &file) == 0 && file.st_dev == disk->device && file.st_ino == disk->inode;
}

static uint64_t map_bytes(uint64_t least)
{
	uint64_t bytes = MAP_BYTES_MIN;

	while (bytes < least)
		bytes *= 2;
	return bytes;
}

/* Expects that the process has no transaction in it. */
static int enlarge(struct fs_disk *disk)
{
	MDB_envinfo info;
	int error = mdb_env_info(disk->env, &info);

	if (!error)
		error = mdb_env_set_mapsize(disk->env, map_bytes(info.me_mapsize + 1));
	return error ? failed(disk, "enlarged", error) : FLAGSTORE_OK;
}

static int open_environment(struct fs_disk *disk, mode_t mode)
{
	unsigned flags = MDB_NOTLS | (disk->form == FS_DISK_FILE ? MDB_NOSUBDIR : 0);
	struct stat file;
	int error = mdb_env_create(&disk->env), dead;
	uint64_t size;

	if (error)
		return failed(disk, "opened", error);
	size = stat_data(disk->path, disk->form, &file) == 0 ? (uint64_t)file.st_size : 0;
	/* Twice what is there: growing is possible, and costs a transaction that has to be done again. */
	error = mdb_env_set_mapsize(disk->env, map_bytes(size * 2));
	if (!error)
		error = mdb_env_set_maxreaders(disk->env, READERS_MAX);
	if (!error)
		error = mdb_env_open(disk->env, disk->path, flags, mode);
	if (!error)
		error = mdb_reader_check(disk->env, &dead);
	return error ? failed(disk, "opened as an LMDB environment", error) : FLAGSTORE_OK;
}

static int open_flags(struct fs_disk *disk)
{
	MDB_txn *transaction;
	int error = mdb_txn_begin(disk->env, NULL, MDB_RDONLY, &transaction);

	/* Another process has enlarged it since its size was asked for. */
	if (error == MDB_MAP_RESIZED) {
		error = mdb_env_set_mapsize(disk->env, 0);
		if (!error)
			error = mdb_txn_begin(disk->env, NULL, MDB_RDONLY, &transaction);
	}
	if (error)
		return failed(disk, "read", error);
	error = mdb_dbi_open(transaction, NULL, 0, &disk->flags);
	if (error) {
		mdb_txn_abort(transaction);
		return failed(disk, "read", error);
	}
	error = mdb_txn_commit(transaction);
	return error ? failed(disk, "read", error) : FLAGSTORE_OK;
}

static struct fs_disk *find_open(const struct stat *place)
{
	for (struct fs_disk *disk = disks; disk; disk = disk->next)
		if (disk->pid == getpid() && disk->device == place->st_dev && disk->inode == place->st_ino)
			return disk;
	return NULL;
}

/* LMDB waits for what it writes to a file, and not for the file's name: without that a power failure may leave a directory without it. */
static int sync_names(struct fs_disk *disk)
{
	char path[PATH_MAX + 8], *last;

	snprintf(path, sizeof path, "%s%s", disk->path, disk->form == FS_DISK_FILE ? "" : "/.");
	for (int level = 0; level < (disk->form == FS_DISK_FILE ? 1 : 2) && (last = strrchr(path, '/')); level++) {
		int fd, error;

		*last = 0;
		fd = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* One that may be entered and not be read; and file systems that know no such thing. */
		error = fd >= 0 && fsync(fd) != 0 && errno != EINVAL ? errno : 0;
		if (fd >= 0)
			close(fd);
		if (error)
			return failed(disk, "written", error);
	}
	return FLAGSTORE_OK;
}

static int open_new(const char *path, enum fs_disk_form form, mode_t mode, struct fs_disk **opened)
{
	struct fs_disk *disk = calloc(1, sizeof *disk);
	struct stat place;
	bool existed = stat_data(path, form, &place) == 0;
	int error;

	if (!disk)
		return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to open %s", path);
	snprintf(disk->path, sizeof disk->path, "%s", path);
	disk->pid = getpid();
	disk->form = form;
	pthread_mutex_init(&disk->mutex, NULL);
	error = open_environment(disk, mode);
	if (!error)
		error = open_flags(disk);
	if (!error && !existed)
		error = sync_names(disk);
	if (!error && stat_data(path, form, &place) != 0)
		error = failed(disk, "opened", errno);
	if (error) {
		mdb_env_close(disk->env);
		pthread_mutex_destroy(&disk->mutex);
		free(disk);
		return error;
	}
	disk->device = place.st_dev;
	disk->inode = place.st_ino;
	disk->next = disks;
	disks = disk;
	*opened = disk;
	return FLAGSTORE_OK;
}

static int cant(const char *path)
{
	return fs_fail_errno(FLAGSTORE_EPERSIST, "%s can't be opened as an LMDB environment", path);
}

int fs_disk_open(const char *path, enum fs_disk_form form, bool create, mode_t mode, struct fs_disk **disk)
{
	struct fs_disk *found = NULL;
	struct stat place;
	int error = FLAGSTORE_OK;

	pthread_once(&disks_once, see_to_forks);
	if (create && form == FS_DISK_DIRECTORY && mkdir(path, mode | (mode & 0440) >> 2) != 0 && errno != EEXIST)
		return cant(path);
	/* LMDB makes the file where there is none. */
	if (!create && stat(path, &place) != 0)
		return cant(path);
	lock_disks();
	if (stat_data(path, form, &place) == 0)
		found = find_open(&place);
	if (!found)
		error = open_new(path, form, mode, &found);
	if (!error) {
		found->users++;
		*disk = found;
	}
	unlock_disks();
	return error;
}

static void forget(struct fs_disk *disk)
{
	struct fs_disk **link = &disks;

	while (*link != disk)
		link = &(*link)->next;
	*link = disk->next;
}

void fs_disk_close(struct fs_disk *disk)
{
	/* A child's copy of its parent's: LMDB must not be called for it, not even to close it. */
	if (!disk || disk->pid != getpid())
		return;
	lock_disks();
	if (--disk->users == 0 && !must_stay_open()) {
		forget(disk);
		if (disk->env)
			mdb_env_close(disk->env);
		pthread_mutex_destroy(&disk->mutex);
		free(disk);
	}
	unlock_disks();
}

/* ---------------------------------------------------------------------------------------------- transactions */

/* After a commit that failed half-way LMDB does nothing with an environment any more, in this process. So it is closed and opened: for all
 * who use it here, none of whom has a transaction now. */
static int open_again(struct fs_disk *disk)
{
	struct stat place;
	int error;

	if (disk->env && !must_stay_open())
		mdb_env_close(disk->env);
	disk->env = NULL;
	error = open_environment(disk, 0600);
	if (!error)
		error = open_flags(disk);
	if (!error && stat_data(disk->path, disk->form, &place) == 0) {
		disk->device = place.st_dev;
		disk->inode = place.st_ino;
	}
	if (error && disk->env) {
		mdb_env_close(disk->env);
		disk->env = NULL;
	}
	return error;
}

static int begin(struct fs_disk *disk, bool writes, MDB_txn **transaction)
{
	int error = disk->env ? mdb_txn_begin(disk->env, NULL, writes ? 0 : MDB_RDONLY, transaction) : MDB_PANIC;

	if (error != MDB_MAP_RESIZED)
		return error;
	/* Another process has enlarged it: the same size here. */
	error = mdb_env_set_mapsize(disk->env, 0);
	return error ? error : mdb_txn_begin(disk->env, NULL, writes ? 0 : MDB_RDONLY, transaction);
}

int fs_disk_begin(struct fs_disk *disk, bool writes, struct fs_disk_use *use)
{
	MDB_txn *transaction;
	int error, dead;

	pthread_mutex_lock(&disk->mutex);
	error = begin(disk, writes, &transaction);
	if (error == MDB_PANIC) {
		int opened = open_again(disk);

		if (opened) {
			pthread_mutex_unlock(&disk->mutex);
			return opened == FS_DISK_AGAIN ? failed(disk, "opened", MDB_PANIC) : opened;
		}
		error = begin(disk, writes, &transaction);
	}
	if (error == MDB_READERS_FULL) {
		/* Of readers that were killed. */
		(void)mdb_reader_check(disk->env, &dead);
		error = begin(disk, writes, &transaction);
	}
	if (error) {
		pthread_mutex_unlock(&disk->mutex);
		return failed(disk, writes ? "written" : "read", error);
	}
	*use = (struct fs_disk_use){.disk = disk, .transaction = transaction, .writes = writes};
	return FLAGSTORE_OK;
}

static void end(struct fs_disk_use *use)
{
	pthread_mutex_unlock(&use->disk->mutex);
	use->transaction = use->cursor = NULL;
}

static void close_cursor(struct fs_disk_use *use)
{
	if (use->cursor)
		mdb_cursor_close(use->cursor);
	use->cursor = NULL;
}

int fs_disk_commit(struct fs_disk_use *use)
{
	struct fs_disk *disk = use->disk;
	int error;

	close_cursor(use);
	error = mdb_txn_commit(use->transaction);
	if (error == MDB_MAP_FULL) {
		int enlarged = enlarge(disk);

		end(use);
		return enlarged ? enlarged : FS_DISK_AGAIN;
	}
	end(use);
	return error ? failed(disk, "written", error) : FLAGSTORE_OK;
}

void fs_disk_abort(struct fs_disk_use *use)
{
	if (!use->transaction)
		return;
	close_cursor(use);
	mdb_txn_abort(use->transaction);
	end(use);
}

/* After a failure within a transaction that the environment was too small for. */
static int too_small(struct fs_disk_use *use)
{
	struct fs_disk *disk = use->disk;
	int error;

	close_cursor(use);
	mdb_txn_abort(use->transaction);
	error = enlarge(disk);
	end(use);
	return error ? error : FS_DISK_AGAIN;
}

static int written(struct fs_disk_use *use, int error)
{
	if (error == MDB_MAP_FULL)
		return too_small(use);
	return error ? failed(use->disk, "written", error) : FLAGSTORE_OK;
}

/* ---------------------------------------------------------------------------------------------------- records */

#define RECORD_VERSION 1

struct record {
	uint8_t version;
	uint8_t value;
	uint8_t reserved[2];
	uint8_t changes[4];
	uint8_t changed_ms[8];
};

struct meta_record {
	char magic[8];
	uint8_t version;
	uint8_t reserved[7];
	uint8_t uuid[16];
	uint8_t position[8];
	uint8_t time_ms[8];
	char path[]; /* not terminated */
};

#define META_MAGIC "FLAGSTOR"

static char meta_name[] = "\0flagstore"; /* its NUL makes it no flag's */

static void put_32(uint8_t bytes[4], uint32_t number)
{
	number = htobe32(number);
	memcpy(bytes, &number, sizeof number);
}

static void put_64(uint8_t bytes[8], uint64_t number)
{
	number = htobe64(number);
	memcpy(bytes, &number, sizeof number);
}

static uint32_t get_32(const uint8_t bytes[4])
{
	uint32_t number;

	memcpy(&number, bytes, sizeof number);
	return be32toh(number);
}

static uint64_t get_64(const uint8_t bytes[8])
{
	uint64_t number;

	memcpy(&number, bytes, sizeof number);
	return be64toh(number);
}

static MDB_val key_value_of(const char *key, size_t length)
{
	return (MDB_val){length, (void *)(uintptr_t)key};
}

static int no_record(const struct fs_disk_use *use, const char *key, size_t length)
{
	char text[FS_PRINTABLE_SIZE];

	return fs_fail(FLAGSTORE_EPERSIST, "%s: the record of \"%s\" is none that flagstore %s knows; was it written by a newer version, or by something "
	               "else?", use->disk->path, fs_printable(key, length, text), flagstore_version());
}

static bool decode(const MDB_val *value, struct fs_saved *saved)
{
	const struct record *record = value->mv_data;

	if (value->mv_size < sizeof *record || record->version != RECORD_VERSION || record->value > 1)
		return false;
	*saved = (struct fs_saved){
		.value = record->value,
		.changes = get_32(record->changes),
		.changed_ms = (int64_t)get_64(record->changed_ms),
	};
	return true;
}

int fs_disk_put(struct fs_disk_use *use, const char *key, size_t length, const struct fs_saved *saved)
{
	struct record record = {.version = RECORD_VERSION, .value = saved->value};
	MDB_val name = key_value_of(key, length), value = {sizeof record, &record};

	put_32(record.changes, saved->changes);
	put_64(record.changed_ms, (uint64_t)saved->changed_ms);
	return written(use, mdb_put(use->transaction, use->disk->flags, &name, &value, 0));
}

int fs_disk_delete(struct fs_disk_use *use, const char *key, size_t length)
{
	MDB_val name = key_value_of(key, length);
	int error = mdb_del(use->transaction, use->disk->flags, &name, NULL);

	return written(use, error == MDB_NOTFOUND ? 0 : error);
}

int fs_disk_get(struct fs_disk_use *use, const char *key, size_t length, bool *exists, struct fs_saved *saved)
{
	MDB_val name = key_value_of(key, length), value;
	int error = mdb_get(use->transaction, use->disk->flags, &name, &value);

	*exists = !error;
	if (error && error != MDB_NOTFOUND)
		return failed(use->disk, "read", error);
	return error || decode(&value, saved) ? FLAGSTORE_OK : no_record(use, key, length);
}

int fs_disk_read_meta(struct fs_disk_use *use, struct fs_disk_meta *meta)
{
	MDB_val name = {sizeof meta_name - 1, meta_name}, value;
	int error = mdb_get(use->transaction, use->disk->flags, &name, &value);
	const struct meta_record *record = value.mv_data;
	size_t length;

	memset(meta, 0, sizeof *meta);
	if (error == MDB_NOTFOUND)
		return FLAGSTORE_OK;
	if (error)
		return failed(use->disk, "read", error);
	if (value.mv_size < sizeof *record || memcmp(record->magic, META_MAGIC, sizeof record->magic) != 0 || record->version != RECORD_VERSION)
		return fs_fail(FLAGSTORE_EPERSIST, "%s is of a form that flagstore %s does not know; use a newer version", use->disk->path,
		               flagstore_version());
	meta->exists = true;
	memcpy(meta->uuid, record->uuid, sizeof meta->uuid);
	meta->position = get_64(record->position);
	meta->time_ms = (int64_t)get_64(record->time_ms);
	length = value.mv_size - sizeof *record;
	memcpy(meta->path, record->path, length < sizeof meta->path ? length : sizeof meta->path - 1);
	return FLAGSTORE_OK;
}

int fs_disk_write_meta(struct fs_disk_use *use, const struct fs_disk_meta *meta)
{
	char bytes[sizeof(struct meta_record) + PATH_MAX] = {0};
	struct meta_record *record = (struct meta_record *)(void *)bytes;
	size_t length = strlen(meta->path);
	MDB_val name = {sizeof meta_name - 1, meta_name}, value = {sizeof *record + length, bytes};

	memcpy(record->magic, META_MAGIC, sizeof record->magic);
	record->version = RECORD_VERSION;
	memcpy(record->uuid, meta->uuid, sizeof record->uuid);
	put_64(record->position, meta->position);
	put_64(record->time_ms, (uint64_t)meta->time_ms);
	memcpy(record->path, meta->path, length);
	return written(use, mdb_put(use->transaction, use->disk->flags, &name, &value, 0));
}

int fs_disk_next(struct fs_disk_use *use, bool *exists, const char **key, size_t *length, struct fs_saved *saved)
{
	MDB_cursor *cursor = use->cursor;
	MDB_val name, value;
	int error;

	if (!cursor) {
		error = mdb_cursor_open(use->transaction, use->disk->flags, &cursor);
		if (error)
			return failed(use->disk, "read", error);
		use->cursor = cursor;
	}
	do
		error = mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
	while (!error && name.mv_size == sizeof meta_name - 1 && memcmp(name.mv_data, meta_name, sizeof meta_name - 1) == 0);
	*exists = !error;
	if (error)
		return error == MDB_NOTFOUND ? FLAGSTORE_OK : failed(use->disk, "read", error);
	*key = name.mv_data;
	*length = name.mv_size;
	if (name.mv_size < 1 || name.mv_size > FLAGSTORE_KEY_MAX || memchr(name.mv_data, 0, name.mv_size) || !decode(&value, saved))
		return no_record(use, name.mv_data, name.mv_size < FLAGSTORE_KEY_MAX ? name.mv_size : FLAGSTORE_KEY_MAX);
	return FLAGSTORE_OK;
}

uint64_t fs_disk_count(const struct fs_disk_use *use)
{
	MDB_val name = {sizeof meta_name - 1, meta_name}, value;
	MDB_stat stat;

	if (mdb_stat(use->transaction, use->disk->flags, &stat) != 0)
		return 0;
	return stat.ms_entries - (mdb_get(use->transaction, use->disk->flags, &name, &value) == 0);
}

int fs_disk_delete_here(struct fs_disk_use *use)
{
	return written(use, mdb_cursor_del(use->cursor, 0));
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * backup.c: all flags as of one moment, in an LMDB environment of their own; and reading one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cursor.h"
#include "error.h"
#include "persist.h"
#include "section.h"
#include "sigbus.h"

#define TRIES_MAX 64

static void describe(const flagstore *store, uint64_t position, struct fs_disk_meta *meta)
{
	*meta = (struct fs_disk_meta){.position = position, .time_ms = fs_now_ms()};
	memcpy(meta->uuid, store->constants.uuid, sizeof meta->uuid);
	snprintf(meta->path, sizeof meta->path, "%s", store->path);
}

/* ------------------------------------------------------------------------------------------- with a journal */

struct writing {
	flagstore *store;
	struct fs_disk_use *use;
	uint64_t flags, steps;
};

static int put_flag(void *argument, const struct flagstore_entry *entry)
{
	struct writing *writing = argument;

	fs_flush_goes_on(writing->store, &writing->steps);
	writing->flags++;
	return fs_disk_put(writing->use, entry->key, entry->length,
	                   &(struct fs_saved){entry->flag.value, entry->flag.changes, entry->flag.changed_ms});
}

/* As in reconcile.c: the table as it is read, and the records of the time that this took. */
static int write_journaled(struct fs_persister *persister, struct fs_disk *disk, uint64_t *flags)
{
	flagstore *store = persister->store;
	uint64_t start = fs_journal_end(store), reached;
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	struct writing writing = {.store = store, .use = &use};
	int error = fs_batches_settle(store);

	if (!error)
		error = fs_disk_begin(disk, true, &use);
	if (error)
		return error;
	error = fs_visit_all(store, put_flag, &writing);
	*flags = writing.flags;
	if (!error)
		error = fs_flush_records(persister, &use, start, fs_journal_end(store), UINT64_MAX, &reached);
	if (!error) {
		describe(store, reached, &meta);
		error = fs_disk_write_meta(&use, &meta);
	}
	if (!error)
		error = fs_unless_lost(store, FLAGSTORE_OK);
	if (!error)
		return fs_disk_commit(&use);
	fs_disk_abort(&use);
	return error;
}

static int save_journaled(flagstore *store, struct fs_disk *disk, uint64_t *flags)
{
	struct fs_persister *persister;
	int error = fs_flush_begin(store, -1, &persister);

	if (error)
		return error;
	error = write_journaled(persister, disk, flags);
	fs_flush_end(persister);
	return error;
}

/* ---------------------------------------------------------------------------------------- without a journal */

/* All keys, one behind the other. */
struct keys {
	const flagstore *store;
	char *text;
	const char **key;
	size_t *length;
	struct flagstore_flag *flag;
	size_t count, room, text_length, text_room;
};

static void free_keys(struct keys *keys)
{
	free(keys->text);
	free(keys->key);
	free(keys->length);
	free(keys->flag);
	*keys = (struct keys){.store = keys->store};
}

static bool make_place(struct keys *keys, size_t length)
{
	if (keys->count == keys->room) {
		size_t room = keys->room ? keys->room * 2 : 1024;
		size_t *lengths = reallocarray(keys->length, room, sizeof *lengths);

		if (!lengths)
			return false;
		keys->length = lengths;
		keys->room = room;
	}
	if (keys->text_length + length > keys->text_room) {
		size_t room = (keys->text_room + length) * 2;
		char *text = realloc(keys->text, room);

		if (!text)
			return false;
		keys->text = text;
		keys->text_room = room;
	}
	return true;
}

static int no_memory(const flagstore *store)
{
	return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to save segment %s", store->path);
}

static int collect_key(void *argument, const struct flagstore_entry *entry)
{
	struct keys *keys = argument;

	if (!make_place(keys, entry->length))
		return no_memory(keys->store);
	memcpy(keys->text + keys->text_length, entry->key, entry->length);
	keys->text_length += entry->length;
	keys->length[keys->count++] = entry->length;
	return FLAGSTORE_OK;
}

static int collect_keys(struct keys *keys)
{
	char *at;
	int error = fs_visit_all(keys->store, collect_key, keys);

	if (error)
		return error;
	keys->key = calloc(keys->count + 1, sizeof *keys->key);
	keys->flag = calloc(keys->count + 1, sizeof *keys->flag);
	if (!keys->key || !keys->flag)
		return no_memory(keys->store);
	at = keys->text;
	for (size_t i = 0; i < keys->count; at += keys->length[i++])
		keys->key[i] = at;
	return FLAGSTORE_OK;
}

/* All the shards' counts of births: while it stays, no flag has come. */
static uint64_t births_of(const flagstore *store)
{
	uint64_t births = 0;

	for (uint32_t i = 0; i < store->constants.shards; i++)
		births += atomic_load_explicit(&store->shards[i].births, memory_order_acquire);
	return births;
}

/* The flags that there are, as of one moment, and no other was inserted from before they were collected until after that moment. */
static int take_snapshot(flagstore *store, struct keys *keys)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		uint64_t births = births_of(store);
		int error = collect_keys(keys);

		if (!error)
			error = flagstore_snapshot(store, keys->key, keys->length, keys->count, keys->flag);
		if (error || births_of(store) == births)
			return error;
		free_keys(keys);
	}
	return fs_fail(FLAGSTORE_EBUSY, "segment %s: flags are inserted all the time, so that no moment can be saved; try again when less is going on",
	               store->path);
}

static int write_snapshot(const flagstore *store, const struct keys *keys, struct fs_disk *disk, uint64_t *flags)
{
	struct fs_disk_meta meta;
	struct fs_disk_use use;
	int error = fs_disk_begin(disk, true, &use);

	if (error)
		return error;
	*flags = 0;
	for (size_t i = 0; i < keys->count && !error; i++) {
		const struct flagstore_flag *flag = &keys->flag[i];

		if (!flag->exists)
			continue;
		error = fs_disk_put(&use, keys->key[i], keys->length[i], &(struct fs_saved){flag->value, flag->changes, flag->changed_ms});
		++*flags;
	}
	describe(store, 0, &meta);
	if (!error)
		error = fs_disk_write_meta(&use, &meta);
	if (!error)
		return fs_disk_commit(&use);
	fs_disk_abort(&use);
	return error;
}

/* ---------------------------------------------------------------------------------------------------- public */

static int save(flagstore *store, struct fs_disk *disk, uint64_t *flags)
{
	struct keys keys = {.store = store};
	int error = store->journal ? FLAGSTORE_OK : take_snapshot(store, &keys);

	for (int tries = 0; !error && tries < TRIES_MAX; tries++) {
		int written = store->journal ? save_journaled(store, disk, flags) : write_snapshot(store, &keys, disk, flags);

		if (written != FS_DISK_AGAIN) {
			error = written;
			break;
		}
	}
	free_keys(&keys);
	return error;
}

static void remove_lock_file(const char *path)
{
	char lock[PATH_MAX + 8];

	snprintf(lock, sizeof lock, "%s-lock", path);
	(void)unlink(lock);
}

int flagstore_backup(flagstore *store, const char *path, uint64_t *flags)
{
	struct fs_disk *disk;
	struct stat file;
	uint64_t count;
	int error;

	if (lstat(path, &file) == 0)
		return fs_fail(FLAGSTORE_EEXISTS, "%s exists already; segment %s is not saved over it", path, store->path);
	error = fs_disk_open(path, FS_DISK_FILE, true, 0600, &disk);
	if (error)
		return error;
	error = save(store, disk, &count);
	fs_disk_close(disk);
	remove_lock_file(path);
	if (error)
		(void)unlink(path);
	else if (flags)
		*flags = count;
	return error;
}

int flagstore_read_saved(const char *path, flagstore_saved *flag, void *argument)
{
	enum fs_disk_form form = FS_DISK_FILE;
	struct fs_disk_use use;
	struct fs_saved saved;
	struct fs_disk *disk;
	struct stat file;
	const char *key;
	size_t length;
	bool exists;
	int error;

	if (stat(path, &file) != 0)
		return fs_fail_errno(FLAGSTORE_EPERSIST, "%s can't be read", path);
	if (S_ISDIR(file.st_mode))
		form = FS_DISK_DIRECTORY;
	error = fs_disk_open(path, form, false, 0600, &disk);
	if (error)
		return error;
	error = fs_disk_begin(disk, false, &use);
	while (!error && !(error = fs_disk_next(&use, &exists, &key, &length, &saved)) && exists)
		error = flag(key, length, saved.value, argument);
	fs_disk_abort(&use);
	fs_disk_close(disk);
	if (form == FS_DISK_FILE)
		remove_lock_file(path);
	return error;
}

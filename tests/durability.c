/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * durability.c: directories to persist in.
 */
#include "durability.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char disk_folder[PATH_ROOM / 2];

int durable_setup(void **state)
{
	const char *parent = getenv("TMPDIR");

	snprintf(disk_folder, sizeof disk_folder, "%s/flagstore-test.XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(disk_folder)) {
		perror(disk_folder);
		return -1;
	}
	/* Other users must be able to go through it. */
	return chmod(disk_folder, 0711) || segments_setup(state);
}

int durable_move(const char *folder)
{
	snprintf(disk_folder, sizeof disk_folder, "%s", folder);
	return access(folder, W_OK | X_OK) || segments_own();
}

int durable_teardown(void **state)
{
	remove_tree(disk_folder);
	remove_tree(getenv("FLAGSTORE_DIR"));
	(void)state;
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

void remove_tree(const char *path)
{
	struct stat status;

	if (lstat(path, &status) == 0)
		require(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static const char *place_for(const char *folder, const char *name)
{
	static char places[8][PATH_ROOM];
	static unsigned next;
	char *place = places[next++ % 8];

	snprintf(place, PATH_ROOM, "%s/%s", folder, name);
	remove_tree(place);
	return place;
}

const char *on_disk(const char *name)
{
	return place_for(disk_folder, name);
}

const char *in_memory(const char *name)
{
	return place_for(getenv("FLAGSTORE_DIR"), name);
}

struct flagstore_options persisting(const char *directory, uint32_t durability)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	options.max_bytes = 64 << 20;
	options.persist = directory;
	options.durability = durability;
	return options;
}

flagstore *fresh_durable(const char *name, const char *directory, uint32_t durability, uint32_t flags)
{
	struct flagstore_options options = persisting(directory, durability);

	options.flags = flags;
	return fresh(name, &options);
}

struct flagstore_persistence persistence(const flagstore *store)
{
	struct flagstore_persistence all;

	require_ok(flagstore_persistence(store, &all));
	return all;
}

/* ---------------------------------------------------------------------------------------------- what LMDB has */

struct sought {
	const char *key;
	int value;
	uint64_t flags;
};

static int look(const char *key, size_t length, bool value, void *argument)
{
	struct sought *sought = argument;

	sought->flags++;
	if (sought->key && strlen(sought->key) == length && memcmp(sought->key, key, length) == 0)
		sought->value = value;
	return 0;
}

int saved(const char *directory, const char *key)
{
	struct sought sought = {.key = key, .value = -1};

	require_ok(flagstore_read_saved(directory, look, &sought));
	return sought.value;
}

struct sought_all {
	unsigned count;
	const char *const *keys;
	int *values;
};

static int look_for_all(const char *key, size_t length, bool value, void *argument)
{
	struct sought_all *sought = argument;

	for (unsigned i = 0; i < sought->count; i++)
		if (strlen(sought->keys[i]) == length && memcmp(sought->keys[i], key, length) == 0)
			sought->values[i] = value;
	return 0;
}

void saved_all(const char *directory, unsigned count, const char *const *keys, int *values)
{
	struct sought_all sought = {count, keys, values};

	for (unsigned i = 0; i < count; i++)
		values[i] = -1;
	require_ok(flagstore_read_saved(directory, look_for_all, &sought));
}

uint64_t saved_flags(const char *directory)
{
	struct sought sought = {.key = NULL};

	require_ok(flagstore_read_saved(directory, look, &sought));
	return sought.flags;
}

void await_saved(const char *directory, const char *key, int value)
{
	int64_t end = now_ms() + 20000;

	while (saved(directory, key) != value) {
		require(now_ms() < end);
		pause_us(5000);
	}
}

void copy_saved(const char *from, const char *to)
{
	char path[PATH_ROOM + 16], bytes[65536];
	int file, copy;
	ssize_t got;

	remove_tree(to);
	require(mkdir(to, 0700) == 0);
	snprintf(path, sizeof path, "%s/data.mdb", from);
	file = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/data.mdb", to);
	copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	require(file >= 0 && copy >= 0);
	while ((got = read(file, bytes, sizeof bytes)) > 0)
		require(write(copy, bytes, (size_t)got) == got);
	require(got == 0);
	close(file);
	close(copy);
}

void await_breaker(const flagstore *store, int state, int limit_ms)
{
	int64_t end = now_ms() + limit_ms;

	while (persistence(store).breaker != state) {
		if (now_ms() >= end)
			note("the breaker is %s, not %s; the last failure was: %s", flagstore_breaker_name(persistence(store).breaker),
			     flagstore_breaker_name(state), persistence(store).failure);
		require(now_ms() < end);
		pause_us(2000);
	}
}

/* ------------------------------------------------------------------------------------------------ what must hold */

static void print_difference(const struct flagstore_difference *difference, void *argument)
{
	(void)argument;
	fprintf(stderr, "# \"%s\": table %s, LMDB %s\n", difference->key,
	        difference->in_table ? difference->table_value ? "true" : "false" : "nothing",
	        difference->in_lmdb ? difference->lmdb_value ? "true" : "false" : "nothing");
}

void require_in_step(flagstore *store)
{
	struct flagstore_verification found;

	require_ok(flagstore_sync(store, 20000));
	require_ok(flagstore_verify(store, FLAGSTORE_VERIFY, print_difference, NULL, &found));
	require_int(0, found.missing + found.surplus + found.different);
	require_healthy(store);
}

struct flagstore_verification verify(flagstore *store, enum flagstore_verify what)
{
	struct flagstore_verification found;

	require_ok(flagstore_verify(store, what, NULL, NULL, &found));
	return found;
}

/* ----------------------------------------------------------------------------------------------------- others */

MDB_env *foreign_open(const char *directory)
{
	MDB_env *env;

	require_int(0, mdb_env_create(&env));
	require_int(0, mdb_env_set_mapsize(env, 256 << 20));
	require_int(0, mdb_env_set_maxreaders(env, 1024));
	require_int(0, mdb_env_open(env, directory, MDB_NOTLS, 0600));
	return env;
}

MDB_txn *foreign_begin(MDB_env *env, unsigned flags, MDB_dbi *flags_of)
{
	MDB_txn *transaction;

	require_int(0, mdb_txn_begin(env, NULL, flags, &transaction));
	require_int(0, mdb_dbi_open(transaction, NULL, 0, flags_of));
	return transaction;
}

void choose_tests(void)
{
	if (getenv("ONLY"))
		cmocka_set_test_filter(getenv("ONLY"));
}

int soak_ms(int otherwise)
{
	const char *text = getenv("SOAK");

	return text && atoi(text) > 0 ? atoi(text) * 1000 : otherwise;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * segments.c: what may happen to a segment's file: names, modes, races of creators, creators that died, files that are
 * something else, removal. Writes into segment files behind the library's back, at the places that layout.h names.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "layout.h"

#define SEGMENT "segment"
#define OTHER_USER 65534

static int try_attach(const char *name, uint32_t flags)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;
	int result;

	options.flags = flags;
	result = flagstore_attach(name, &options, &store);
	require((result == FLAGSTORE_OK) == (store != NULL));
	if (result)
		require(strlen(flagstore_detail()) > 20);
	flagstore_close(store);
	return result;
}

static int try_create(const char *name, const struct flagstore_options *options)
{
	flagstore *store = NULL;
	int result = flagstore_create(name, options, &store);

	require((result == FLAGSTORE_OK) == (store != NULL));
	if (result)
		require(strlen(flagstore_detail()) > 20);
	flagstore_close(store);
	return result;
}

static void close_fresh(const char *name, const struct flagstore_options *options)
{
	flagstore *store = fresh(name, options);

	require_ok(flagstore_set(store, "a", true));
	flagstore_close(store);
}

static mode_t mode_of(const char *name)
{
	struct stat status;

	require(stat(path_of(name), &status) == 0);
	return status.st_mode & 07777;
}

static void write_file(const char *path, const void *bytes, size_t count)
{
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	require(file >= 0 && write(file, bytes, count) == (ssize_t)count);
	close(file);
}

/* Overwrites bytes of a segment's file. */
static void poke(const char *name, size_t offset, const void *bytes, size_t count)
{
	int file = open(path_of(name), O_RDWR | O_CLOEXEC);

	require(file >= 0 && pwrite(file, bytes, count, (off_t)offset) == (ssize_t)count);
	close(file);
}

static void poke32(const char *name, size_t offset, uint32_t number)
{
	poke(name, offset, &number, sizeof number);
}

/* Makes the header's check value right again after a poke. */
static void poke_check(const char *name)
{
	struct fs_constants constants;
	int file = open(path_of(name), O_RDONLY | O_CLOEXEC);

	require(file >= 0 && pread(file, &constants, sizeof constants, 0) == sizeof constants);
	close(file);
	constants.check = XXH3_64bits(&constants, offsetof(struct fs_constants, check));
	poke(name, offsetof(struct fs_constants, check), &constants.check, sizeof constants.check);
}

#define CONSTANT(field) offsetof(struct fs_header, constants.field)

/* ------------------------------------------------------------------------------------------------- names */

static void a_name_is_a_file_in_the_segment_directory(void **state)
{
	char expected[512], path[512];
	const char *own = strdup(getenv("FLAGSTORE_DIR"));

	(void)state;
	snprintf(expected, sizeof expected, "%s/flagstore.%s", own, SEGMENT);
	require(strcmp(path_of(SEGMENT), expected) == 0);
	close_fresh(SEGMENT, NULL);
	require(access(expected, F_OK) == 0);
	require(unsetenv("FLAGSTORE_DIR") == 0);
	require_ok(flagstore_path(SEGMENT, path, sizeof path));
	require(setenv("FLAGSTORE_DIR", own, 1) == 0);
	require(strcmp(path, "/dev/shm/flagstore." SEGMENT) == 0);
	free((void *)(uintptr_t)own);
}

static void a_name_with_a_slash_is_a_path(void **state)
{
	char path[512], seen[512];
	flagstore *store = NULL;

	(void)state;
	snprintf(path, sizeof path, "%s/by-path", getenv("FLAGSTORE_DIR"));
	require_ok(flagstore_path(path, seen, sizeof seen));
	require(strcmp(path, seen) == 0);
	require_ok(flagstore_create(path, NULL, &store));
	require(access(path, F_OK) == 0);
	require(strcmp(info(store).path, path) == 0);
	require_ok(flagstore_set(store, "a", true));
	flagstore_close(store);
	require_int(FLAGSTORE_OK, try_attach(path, 0));
	require_ok(flagstore_unlink(path));
	require(access(path, F_OK) != 0);
}

static void names_that_are_none_are_refused(void **state)
{
	char longest[4096 + 300], path[512];

	(void)state;
	memset(longest, 'n', sizeof longest);
	longest[300] = 0;
	require_error_says(FLAGSTORE_ENAME, "name", flagstore_path("", path, sizeof path));
	require_error(FLAGSTORE_ENAME, flagstore_path(longest, path, sizeof path));
	require_int(FLAGSTORE_ENAME, try_create("", NULL));
	require_int(FLAGSTORE_ENAME, try_create(longest, NULL));
	require_int(FLAGSTORE_ENAME, try_attach(longest, 0));
	require_error(FLAGSTORE_ENAME, flagstore_unlink(longest));
	longest[300] = 'n';
	longest[0] = '/';
	longest[sizeof longest - 1] = 0;
	require_int(FLAGSTORE_ENAME, try_create(longest, NULL));
	require_error(FLAGSTORE_EARGUMENT, flagstore_path(SEGMENT, path, 5));
	require_error(FLAGSTORE_EARGUMENT, flagstore_path(SEGMENT, path, strlen(path_of(SEGMENT))));
	require_ok(flagstore_path(SEGMENT, path, strlen(path_of(SEGMENT)) + 1));
}

static void a_segment_that_is_not_there_is_said_so(void **state)
{
	flagstore *store = NULL;

	(void)state;
	require_error_says(FLAGSTORE_ENOSEGMENT, path_of("nowhere"), flagstore_attach("nowhere", NULL, &store));
	require_error_says(FLAGSTORE_ENOSEGMENT, path_of("nowhere"), flagstore_unlink("nowhere"));
	require(!store);
	require(access(path_of("nowhere"), F_OK) != 0);
}

static void options_out_of_their_limits_are_refused(void **state)
{
	static const struct flagstore_options wrong[] = {
		{.max_bytes = (1 << 20) - 1},
		{.max_bytes = (UINT64_C(64) << 30) + 1},
		{.shards = 3},
		{.shards = 2 * FLAGSTORE_SHARDS_MAX},
		{.workers = FLAGSTORE_WORKERS_MAX + 1},
		{.mode = 0666},
		{.mode = 0700},
		{.mode = 02660},
		{.flags = 0x100},
		{.flags = FLAGSTORE_READ_ONLY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct flagstore_options options = wrong[i];

		options.size = sizeof options;
		options.group = (gid_t)-1;
		require_int(FLAGSTORE_EARGUMENT, try_create("refused", &options));
		require(access(path_of("refused"), F_OK) != 0);
	}
}

static void options_at_their_limits_work(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_info all;
	flagstore *store;

	(void)state;
	options.max_bytes = 1 << 20;
	options.shards = 1;
	options.workers = 1;
	store = fresh(SEGMENT, &options);
	all = info(store);
	require(all.max_bytes == 1 << 20 && all.shards == 1 && all.workers_max == 1);
	require_ok(flagstore_set(store, "a", true));
	require_healthy(store);
	flagstore_close(store);

	options.max_bytes = UINT64_C(64) << 30;
	options.shards = FLAGSTORE_SHARDS_MAX;
	options.workers = FLAGSTORE_WORKERS_MAX;
	options.lock_wait_ms = 77;
	options.laboratory = true;
	store = fresh(SEGMENT, &options);
	all = info(store);
	require(all.max_bytes == UINT64_C(64) << 30 && all.shards == FLAGSTORE_SHARDS_MAX);
	require(all.workers_max == FLAGSTORE_WORKERS_MAX && all.lock_wait_ms == 77 && all.laboratory);
	require_ok(flagstore_set(store, "a", true));
	require_healthy(store);
	flagstore_close(store);
}

/* -------------------------------------------------------------------------------------------------- mode */

static void the_mode_does_not_depend_on_the_umask(void **state)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		mode_t old = umask(masks[i]);

		options.mode = 0;
		close_fresh(SEGMENT, &options);
		require_int(0600, mode_of(SEGMENT));
		options.mode = 0660;
		close_fresh(SEGMENT, &options);
		require_int(0660, mode_of(SEGMENT));
		options.mode = 0640;
		close_fresh(SEGMENT, &options);
		require_int(0640, mode_of(SEGMENT));
		umask(old);
	}
}

static void the_file_gets_the_group_that_was_asked_for(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct stat status;
	flagstore *store;

	(void)state;
	if (geteuid() != 0)
		skip_because("only root may choose any group");
	options.group = 4242;
	options.mode = 0660;
	store = fresh(SEGMENT, &options);
	require(stat(path_of(SEGMENT), &status) == 0);
	require_int(4242, status.st_gid);
	require_int(4242, info(store).group);
	require_int(0660, status.st_mode & 07777);
	flagstore_close(store);
}

static void become(uid_t user, gid_t group)
{
	require(setgroups(0, NULL) == 0 && setgid(group) == 0 && setuid(user) == 0);
}

static void try_as_a_stranger(void *argument)
{
	(void)argument;
	become(OTHER_USER, OTHER_USER);
	require_int(FLAGSTORE_EPERMISSION, try_attach(SEGMENT, 0));
	require_int(FLAGSTORE_EPERMISSION, try_attach(SEGMENT, FLAGSTORE_READ_ONLY));
	require(strstr(flagstore_detail(), path_of(SEGMENT)) != NULL);
	require_error(FLAGSTORE_EPERMISSION, flagstore_unlink(SEGMENT));
	require(try_create(SEGMENT, NULL) != FLAGSTORE_OK);
}

static void try_in_the_group(void *argument)
{
	flagstore *store;

	(void)argument;
	become(OTHER_USER, 4242);
	require_int(FLAGSTORE_EPERMISSION, try_attach(SEGMENT, 0));
	store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require(flagstore_get(store, "a"));
	require_error(FLAGSTORE_EREADONLY, flagstore_set(store, "a", false));
	flagstore_close(store);
}

static void strangers_are_refused(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	(void)state;
	if (geteuid() != 0)
		skip_because("only root may become another user");
	options.mode = 0660;
	close_fresh(SEGMENT, &options);
	in_child(try_as_a_stranger, NULL);
	options.mode = 0640;
	options.group = 4242;
	close_fresh(SEGMENT, &options);
	in_child(try_in_the_group, NULL);
}

/* ---------------------------------------------------------------------------------------------- creation */

static void a_second_create_is_refused(void **state)
{
	flagstore *store = NULL;

	(void)state;
	close_fresh(SEGMENT, NULL);
	require_error_says(FLAGSTORE_EEXISTS, path_of(SEGMENT), flagstore_create(SEGMENT, NULL, &store));
	require(!store);
	require_int(FLAGSTORE_OK, try_attach(SEGMENT, 0));
}

struct creator_race {
	uint32_t ready;
	uint32_t won;
	uint32_t lost;
};

enum { CREATORS = 32 };

static void create_in_a_race(void *argument)
{
	struct creator_race *race = argument;
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = NULL;
	char key[KEY_ROOM];
	uint32_t self = __atomic_fetch_add(&race->ready, 1, __ATOMIC_SEQ_CST);
	int result;

	options.max_bytes = 16 << 20;
	while (__atomic_load_n(&race->ready, __ATOMIC_SEQ_CST) < CREATORS)
		sched_yield();
	result = flagstore_create("race", &options, &store);
	if (result == FLAGSTORE_OK) {
		__atomic_fetch_add(&race->won, 1, __ATOMIC_SEQ_CST);
	} else {
		require_int(FLAGSTORE_EEXISTS, result);
		__atomic_fetch_add(&race->lost, 1, __ATOMIC_SEQ_CST);
		store = attach("race", 0);
	}
	require_ok(flagstore_set(store, key_of(key, "creator", self), true));
	flagstore_close(store);
}

static void of_32_creators_exactly_one_wins_and_all_can_attach(void **state)
{
	struct creator_race *race = shared_memory(sizeof *race);

	(void)state;
	for (int round = 0; round < 20; round++) {
		pid_t pids[CREATORS];
		flagstore *store;

		memset(race, 0, sizeof *race);
		for (int i = 0; i < CREATORS; i++)
			pids[i] = child(create_in_a_race, race);
		for (int i = 0; i < CREATORS; i++)
			child_succeeds(pids[i]);
		require_int(1, race->won);
		require_int(CREATORS - 1, race->lost);
		store = attach("race", 0);
		require_int(CREATORS, info(store).flags);
		require_healthy(store);
		flagstore_close(store);
		require_ok(flagstore_unlink("race"));
	}
}

/* What is not ready can't be attached to, but can be created. */
static void require_taken_over(const char *name)
{
	int result = try_attach(name, 0);

	require(result == FLAGSTORE_ENOTREADY || result == FLAGSTORE_ENOTSEGMENT || result == FLAGSTORE_ETRUNCATED);
	require_int(result, try_attach(name, FLAGSTORE_READ_ONLY));
	require_int(FLAGSTORE_OK, try_create(name, NULL));
	require_int(FLAGSTORE_OK, try_attach(name, 0));
	require_int(0600, mode_of(name));
	require_ok(flagstore_unlink(name));
}

static void a_half_created_file_is_taken_over(void **state)
{
	(void)state;
	write_file(path_of("half"), "", 0);
	require_taken_over("half");

	/* Its magic, and then its size. */
	write_file(path_of("half"), FS_MAGIC, strlen(FS_MAGIC));
	require_taken_over("half");
	write_file(path_of("half"), FS_MAGIC, strlen(FS_MAGIC));
	require(truncate(path_of("half"), 1 << 20) == 0);
	require_taken_over("half");

	/* Everything but the last store. */
	close_fresh("half", NULL);
	poke32("half", offsetof(struct fs_header, state), FS_CREATING);
	require_taken_over("half");

	/* A header alone. */
	close_fresh("half", NULL);
	poke32("half", offsetof(struct fs_header, state), FS_CREATING);
	require(truncate(path_of("half"), FS_PAGE) == 0);
	require_taken_over("half");
}

static void create_and_unlink_for_ever(void *argument)
{
	(void)argument;
	for (;;) {
		require_int(FLAGSTORE_OK, try_create("killed", NULL));
		require_ok(flagstore_unlink("killed"));
	}
}

static void creators_killed_at_any_moment_leave_nothing_in_the_way(void **state)
{
	unsigned half = 0, ready = 0, none = 0;
	uint64_t random = 5;

	(void)state;
	for (int round = 0; round < 400; round++) {
		pid_t pid = child(create_and_unlink_for_ever, NULL);
		flagstore *store = NULL;
		int result;

		pause_us((long)(200 + random_next(&random) % 3000));
		require(child_kill(pid));
		result = flagstore_attach("killed", NULL, &store);
		ready += result == FLAGSTORE_OK;
		none += result == FLAGSTORE_ENOSEGMENT;
		half += result == FLAGSTORE_ENOTREADY || result == FLAGSTORE_ENOTSEGMENT;
		require_int(round + 1, ready + none + half);
		if (result == FLAGSTORE_OK)
			require_int(FLAGSTORE_EEXISTS, try_create("killed", NULL));
		else
			require_ok(flagstore_create("killed", NULL, &store));
		require_ok(flagstore_set(store, "a", true));
		require_healthy(store);
		flagstore_close(store);
		require_ok(flagstore_unlink("killed"));
	}
	printf("# 400 creators killed: %u left a half-created file, %u a whole one, %u none\n", half, ready, none);
}

/* ----------------------------------------------------------------------------------------- foreign files */

/* A file that is no segment is neither used nor changed nor removed. */
static void require_left_alone(const char *name)
{
	uint64_t before = digest_of(path_of(name));

	require_int(FLAGSTORE_ENOTSEGMENT, try_attach(name, 0));
	require(strstr(flagstore_detail(), path_of(name)) != NULL);
	require_int(FLAGSTORE_ENOTSEGMENT, try_attach(name, FLAGSTORE_READ_ONLY));
	require_int(FLAGSTORE_ENOTSEGMENT, try_create(name, NULL));
	require_error_says(FLAGSTORE_ENOTSEGMENT, path_of(name), flagstore_unlink(name));
	require(before == digest_of(path_of(name)));
	require(unlink(path_of(name)) == 0);
}

static void a_foreign_file_is_left_alone(void **state)
{
	static char text[1 << 20];
	uint64_t random = 9;

	(void)state;
	write_file(path_of("foreign"), "hi\n", 3);
	require_left_alone("foreign");
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)random_next(&random);
	write_file(path_of("foreign"), text, sizeof text);
	require_left_alone("foreign");
	write_file(path_of("foreign"), text, FS_PAGE);
	require_left_alone("foreign");
	/* Zeros first, something behind: a disk image, perhaps; and one of nothing but zeros. */
	memset(text, 0, FS_PAGE);
	write_file(path_of("foreign"), text, sizeof text);
	require_left_alone("foreign");
	memset(text, 0, sizeof text);
	write_file(path_of("foreign"), text, sizeof text);
	require_left_alone("foreign");
}

static void what_is_no_regular_file_is_refused(void **state)
{
	(void)state;
	require(mkdir(path_of("folder"), 0700) == 0);
	require(try_attach("folder", 0) != FLAGSTORE_OK);
	require(try_create("folder", NULL) != FLAGSTORE_OK);
	require(flagstore_unlink("folder") != FLAGSTORE_OK);
	require(rmdir(path_of("folder")) == 0);

	/* Nor does an open of a pipe wait for somebody at its other end. */
	require(mkfifo(path_of("pipe"), 0600) == 0);
	require_int(FLAGSTORE_ENOTSEGMENT, try_attach("pipe", 0));
	require_int(FLAGSTORE_ENOTSEGMENT, try_attach("pipe", FLAGSTORE_READ_ONLY));
	require(try_create("pipe", NULL) != FLAGSTORE_OK);
	require(flagstore_unlink("pipe") != FLAGSTORE_OK);
	require(unlink(path_of("pipe")) == 0);
}

static void symbolic_links_are_refused(void **state)
{
	(void)state;
	close_fresh(SEGMENT, NULL);
	require(symlink(path_of(SEGMENT), path_of("link")) == 0);
	require(try_attach("link", 0) != FLAGSTORE_OK);
	require(try_attach("link", FLAGSTORE_READ_ONLY) != FLAGSTORE_OK);
	require(try_create("link", NULL) != FLAGSTORE_OK);
	require(flagstore_unlink("link") != FLAGSTORE_OK);
	require(access(path_of("link"), F_OK) == 0);
	require(unlink(path_of("link")) == 0);

	require(symlink(path_of("nowhere"), path_of("link")) == 0);
	require(try_create("link", NULL) != FLAGSTORE_OK);
	require(access(path_of("nowhere"), F_OK) != 0);
	require(unlink(path_of("link")) == 0);
}

static void another_layout_is_refused(void **state)
{
	flagstore *store = NULL;

	(void)state;
	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(layout), FS_LAYOUT_VERSION + 1);
	poke_check(SEGMENT);
	require_error_says(FLAGSTORE_ELAYOUT, "layout", flagstore_attach(SEGMENT, NULL, &store));
	require_int(FLAGSTORE_ELAYOUT, try_attach(SEGMENT, FLAGSTORE_READ_ONLY));
	/* Another version may have another header: its check value is nobody's business. */
	poke32(SEGMENT, CONSTANT(layout), FS_LAYOUT_VERSION + 2);
	require_int(FLAGSTORE_ELAYOUT, try_attach(SEGMENT, 0));

	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(byte_order), 0x04030201);
	poke_check(SEGMENT);
	require_int(FLAGSTORE_ELAYOUT, try_attach(SEGMENT, 0));

	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(slot_size), 128);
	poke_check(SEGMENT);
	require_int(FLAGSTORE_ELAYOUT, try_attach(SEGMENT, 0));
}

static void unknown_features_are_treated_by_their_class(void **state)
{
	flagstore *store = NULL;

	(void)state;
	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(feature_incompatible), 1u << 31);
	poke_check(SEGMENT);
	require_error_says(FLAGSTORE_EFEATURE, "feature", flagstore_attach(SEGMENT, NULL, &store));
	require_int(FLAGSTORE_EFEATURE, try_attach(SEGMENT, FLAGSTORE_READ_ONLY));

	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(feature_read_only), 1u << 31);
	poke_check(SEGMENT);
	require_error_says(FLAGSTORE_EFEATURE, "read-only", flagstore_attach(SEGMENT, NULL, &store));
	store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require(flagstore_get(store, "a"));
	flagstore_close(store);

	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(feature_compatible), 1u << 31);
	poke_check(SEGMENT);
	store = attach(SEGMENT, 0);
	require_ok(flagstore_toggle(store, "a", NULL));
	flagstore_close(store);
}

static void a_damaged_header_is_refused(void **state)
{
	(void)state;
	for (size_t offset = 0; offset < sizeof(struct fs_constants); offset++) {
		uint8_t byte;
		int file, result;

		close_fresh(SEGMENT, NULL);
		file = open(path_of(SEGMENT), O_RDWR | O_CLOEXEC);
		require(pread(file, &byte, 1, (off_t)offset) == 1);
		byte ^= 0x10;
		require(pwrite(file, &byte, 1, (off_t)offset) == 1);
		close(file);
		result = try_attach(SEGMENT, 0);
		require(result == FLAGSTORE_ECORRUPT || result == FLAGSTORE_ENOTSEGMENT || result == FLAGSTORE_ELAYOUT ||
		        result == FLAGSTORE_EFEATURE);
		require(try_attach(SEGMENT, FLAGSTORE_READ_ONLY) != FLAGSTORE_OK);
		require(unlink(path_of(SEGMENT)) == 0);
	}
}

static void a_truncated_file_is_refused(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = fresh(SEGMENT, &options);
	char key[KEY_ROOM];
	off_t room;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
	room = (off_t)info(store).file_bytes;
	flagstore_close(store);
	require(truncate(path_of(SEGMENT), room - 65536) == 0);
	require_int(FLAGSTORE_ETRUNCATED, try_attach(SEGMENT, 0));
	require(strstr(flagstore_detail(), path_of(SEGMENT)) != NULL);
	require_int(FLAGSTORE_ETRUNCATED, try_attach(SEGMENT, FLAGSTORE_READ_ONLY));
	require(truncate(path_of(SEGMENT), FS_PAGE) == 0);
	require_int(FLAGSTORE_ETRUNCATED, try_attach(SEGMENT, 0));
	/* Then there is not even a header to believe. */
	for (off_t size = FS_PAGE - 1; size > 0; size /= 2) {
		int result;

		require(truncate(path_of(SEGMENT), size) == 0);
		result = try_attach(SEGMENT, 0);
		require(result == FLAGSTORE_ETRUNCATED || result == FLAGSTORE_ENOTSEGMENT);
	}
	require(unlink(path_of(SEGMENT)) == 0);
}

static void a_segment_from_before_a_reboot_is_used_with_new_locks(void **state)
{
	uint8_t lost[sizeof(pthread_mutex_t)];
	uint64_t boot[4] = {0};
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;
	struct fs_header header;
	int file;

	(void)state;
	options.shards = 4;
	close_fresh(SEGMENT, &options);
	file = open(path_of(SEGMENT), O_RDONLY | O_CLOEXEC);
	require(file >= 0 && pread(file, &header, sizeof header, 0) == sizeof header);
	close(file);
	memset(boot, '0', sizeof boot);
	poke(SEGMENT, offsetof(struct fs_header, boot), boot, sizeof boot);
	/* Locks that nobody will ever give back, and another PID namespace of that time. */
	memset(lost, 0x55, sizeof lost);
	for (size_t shard = 0; shard < 4; shard++)
		poke(SEGMENT, header.constants.header_size + shard * sizeof(struct fs_shard) + offsetof(struct fs_shard, mutex),
		     lost, sizeof lost);
	poke(SEGMENT, offsetof(struct fs_header, pid_namespace), boot, 8);

	store = attach(SEGMENT, 0);
	require(flagstore_get(store, "a"));
	require_ok(flagstore_set(store, "b", true));
	require_ok(flagstore_set(store, "c", true));
	require_ok(flagstore_set(store, "d", true));
	require_ok(flagstore_delete(store, "a"));
	require_int(1, info(store).workers);
	require_healthy(store);
	flagstore_close(store);
}

/* -------------------------------------------------------------------------------------------- namespaces */

static void use_from_another_namespace(void *argument)
{
	flagstore *store;

	(void)argument;
	require_int(FLAGSTORE_ENAMESPACE, try_attach(SEGMENT, 0));
	require(strstr(flagstore_detail(), "namespace") != NULL && strstr(flagstore_detail(), "read-only") != NULL);
	store = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	require(flagstore_get(store, "a"));
	require_error(FLAGSTORE_EREADONLY, flagstore_toggle(store, "a", NULL));
	flagstore_close(store);
}

static void enter_another_namespace(void *argument)
{
	(void)argument;
	if (unshare(CLONE_NEWPID) != 0)
		_exit(77);
	in_child(use_from_another_namespace, NULL);
}

static void a_writer_from_another_pid_namespace_is_refused(void **state)
{
	int status;

	(void)state;
	close_fresh(SEGMENT, NULL);
	status = child_status(child(enter_another_namespace, NULL), 20000);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("a new PID namespace is not allowed here");
	require_int(0, status);
}

/* ----------------------------------------------------------------------------------------------- removal */

static void those_attached_go_on_after_unlink(void **state)
{
	flagstore *store = fresh(SEGMENT, NULL), *reader = attach(SEGMENT, FLAGSTORE_READ_ONLY), *second;
	char first[37];
	char key[KEY_ROOM];

	(void)state;
	require(!info(store).retired);
	strcpy(first, info(store).uuid);
	require_ok(flagstore_unlink(SEGMENT));
	require(access(path_of(SEGMENT), F_OK) != 0);
	require(info(store).retired && info(reader).retired);
	for (unsigned i = 0; i < 2000; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), true));
	require(flagstore_get(reader, "flag.1999"));
	require_healthy(store);

	/* The next one of that name is another one. */
	require_int(FLAGSTORE_ENOSEGMENT, try_attach(SEGMENT, 0));
	second = fresh(SEGMENT, NULL);
	require(strcmp(first, info(second).uuid) != 0);
	require(!info(second).retired && info(second).flags == 0);
	flagstore_close(second);
	flagstore_close(reader);
	flagstore_close(store);
}

static void what_is_damaged_can_still_be_removed(void **state)
{
	(void)state;
	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, offsetof(struct fs_header, state), FS_CREATING);
	require_ok(flagstore_unlink(SEGMENT));
	close_fresh(SEGMENT, NULL);
	poke32(SEGMENT, CONSTANT(layout), FS_LAYOUT_VERSION + 1);
	require_ok(flagstore_unlink(SEGMENT));
	require(access(path_of(SEGMENT), F_OK) != 0);
}

static void info_says_what_was_chosen(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_info all;
	struct stat status;
	flagstore *store, *reader;
	char key[KEY_ROOM];

	(void)state;
	options.max_bytes = 32 << 20;
	options.shards = 8;
	options.workers = 17;
	options.lock_wait_ms = 1234;
	options.mode = 0640;
	store = fresh(SEGMENT, &options);
	for (unsigned i = 0; i < 1000; i++)
		require_ok(flagstore_set(store, key_of(key, "flag", i), i % 4 == 0));
	all = info(store);
	require(strcmp(all.path, path_of(SEGMENT)) == 0);
	require_int(36, strlen(all.uuid));
	require_int(FS_LAYOUT_VERSION, all.layout);
	require(!all.read_only && !all.laboratory && !all.retired);
	require_int(0640, all.mode);
	require_int(getuid(), all.owner);
	require(all.max_bytes == 32 << 20 && all.shards == 8 && all.workers_max == 17 && all.lock_wait_ms == 1234);
	require(all.flags == 1000 && all.true_flags == 250);
	require(all.slots >= 1000 && all.buckets >= 8 && all.growths > 8 && all.recoveries == 0 && all.workers == 1);
	require(stat("/proc/self/ns/pid", &status) == 0);
	require(all.pid_namespace == status.st_ino);
	require(stat(path_of(SEGMENT), &status) == 0);
	require_int(status.st_blocks * 512, all.file_bytes);
	require(all.used_bytes <= all.file_bytes && all.used_bytes > 1000 * 64);

	reader = attach(SEGMENT, FLAGSTORE_READ_ONLY);
	all = info(reader);
	require(all.read_only && all.flags == 1000 && all.true_flags == 250 && all.workers == 1);
	flagstore_close(reader);
	flagstore_close(store);
}

struct crowd {
	uint32_t attached;
	uint32_t leave;
};

static void stay_attached(void *argument)
{
	struct crowd *crowd = argument;
	flagstore *store = attach(SEGMENT, 0);
	char key[KEY_ROOM];

	require_ok(flagstore_set(store, key_of(key, "flag", (unsigned)getpid()), true));
	__atomic_fetch_add(&crowd->attached, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&crowd->leave, __ATOMIC_SEQ_CST))
		pause_us(1000);
	flagstore_close(store);
}

static void processes_beyond_the_worker_entries_work_too(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_worker workers[16];
	struct crowd *crowd = shared_memory(sizeof *crowd);
	flagstore *store;
	pid_t pids[6];

	(void)state;
	options.workers = 4;
	store = fresh(SEGMENT, &options);
	for (int i = 0; i < 6; i++)
		pids[i] = child(stay_attached, crowd);
	while (__atomic_load_n(&crowd->attached, __ATOMIC_SEQ_CST) < 6)
		pause_us(1000);
	require_int(6, info(store).flags);
	require_int(4, info(store).workers);
	require_int(4, flagstore_workers(store, workers, 16));
	require_int(4, flagstore_workers(store, workers, 2));
	__atomic_store_n(&crowd->leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 6; i++)
		child_succeeds(pids[i]);
	require_int(1, info(store).workers);
	flagstore_close(store);
}

static void a_killed_worker_is_listed_as_dead_and_its_entry_used_again(void **state)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	struct flagstore_worker workers[4];
	struct crowd *crowd = shared_memory(sizeof *crowd);
	flagstore *store;

	(void)state;
	options.workers = 4;
	store = fresh(SEGMENT, &options);
	require_ok(flagstore_set(store, "a", true));
	for (uint32_t round = 1; round <= 20; round++) {
		pid_t pid = child(stay_attached, crowd);
		unsigned found = 0;
		size_t count;

		while (__atomic_load_n(&crowd->attached, __ATOMIC_SEQ_CST) < round)
			pause_us(100);
		require_int(2, info(store).workers);
		require(child_kill(pid));
		require_int(1, info(store).workers);
		count = flagstore_workers(store, workers, 4);
		require(count >= 1 && count <= 4);
		for (size_t i = 0; i < count; i++)
			if (workers[i].pid == pid) {
				found++;
				require(!workers[i].alive && !workers[i].self);
			}
		require_int(1, found);
	}
	require_healthy(store);
	flagstore_close(store);
}

int main(void)
{
	const struct CMUnitTest segments[] = {
		cmocka_unit_test(a_name_is_a_file_in_the_segment_directory),
		cmocka_unit_test(a_name_with_a_slash_is_a_path),
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(a_segment_that_is_not_there_is_said_so),
		cmocka_unit_test(options_out_of_their_limits_are_refused),
		cmocka_unit_test(options_at_their_limits_work),
		cmocka_unit_test(the_mode_does_not_depend_on_the_umask),
		cmocka_unit_test(the_file_gets_the_group_that_was_asked_for),
		cmocka_unit_test(strangers_are_refused),
		cmocka_unit_test(a_second_create_is_refused),
		cmocka_unit_test(of_32_creators_exactly_one_wins_and_all_can_attach),
		cmocka_unit_test(a_half_created_file_is_taken_over),
		cmocka_unit_test(creators_killed_at_any_moment_leave_nothing_in_the_way),
		cmocka_unit_test(a_foreign_file_is_left_alone),
		cmocka_unit_test(what_is_no_regular_file_is_refused),
		cmocka_unit_test(symbolic_links_are_refused),
		cmocka_unit_test(another_layout_is_refused),
		cmocka_unit_test(unknown_features_are_treated_by_their_class),
		cmocka_unit_test(a_damaged_header_is_refused),
		cmocka_unit_test(a_truncated_file_is_refused),
		cmocka_unit_test(a_segment_from_before_a_reboot_is_used_with_new_locks),
		cmocka_unit_test(a_writer_from_another_pid_namespace_is_refused),
		cmocka_unit_test(those_attached_go_on_after_unlink),
		cmocka_unit_test(what_is_damaged_can_still_be_removed),
		cmocka_unit_test(info_says_what_was_chosen),
		cmocka_unit_test(processes_beyond_the_worker_entries_work_too),
		cmocka_unit_test(a_killed_worker_is_listed_as_dead_and_its_entry_used_again),
	};

	return cmocka_run_group_tests(segments, segments_setup, segments_teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * culprit.c: does what no worker should, for the tests of the inspector. Not a test.
 *
 *     culprit hold NAME SHARD          locks the shard, begins a change, says "held", and never goes on
 *     culprit swell NAME SHARD         the same, with so much memory that a core dump takes a while
 *     culprit scribble NAME OFFSET     maps the file and changes the byte at OFFSET again and again, past the library; says "scribbling"
 *     culprit read NAME                attaches read-only, says "reading", and stays
 *     culprit offset FIELD             says where the field is in a segment's file */
#include <err.h>
#include <fcntl.h>
#include <flagstore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "section.h"

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static void hold(const char *name, uint32_t shard)
{
	struct fs_deadline deadline = {.set = false};
	flagstore *store;

	if (flagstore_attach(name, NULL, &store) || fs_enter(store, shard, &deadline))
		errx(1, "%s", flagstore_detail());
	say("held");
	for (;;)
		pause();
}

static void swell(const char *name, uint32_t shard)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_CORE, &unlimited) != 0 ||
	    mmap(NULL, 512u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		err(1, "memory for a core dump");
	hold(name, shard);
}

static void scribble(const char *name, size_t offset)
{
	char path[PATH_MAX];
	struct stat status;
	char *bytes;
	int file;

	if (flagstore_path(name, path, sizeof path))
		errx(1, "%s", flagstore_detail());
	file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0 || fstat(file, &status) != 0)
		err(1, "%s", path);
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (bytes == MAP_FAILED || offset >= (size_t)status.st_size)
		err(1, "%s", path);
	say("scribbling");
	for (;;) {
		bytes[offset] = (char)(bytes[offset] ^ 1);
		usleep(2000);
	}
}

static void stay(const char *name)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store;

	options.flags = FLAGSTORE_READ_ONLY;
	if (flagstore_attach(name, &options, &store))
		errx(1, "%s", flagstore_detail());
	say("reading");
	for (;;)
		pause();
}

/* Fields whose damage is of interest; those of shards in shard 0. */
static int print_offset(const char *field)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		{"layout", offsetof(struct fs_constants, layout)},
		{"shards", offsetof(struct fs_constants, shards)},
		{"hash_seed", offsetof(struct fs_constants, hash_seed)},
		{"boot", offsetof(struct fs_header, boot)},
		{"state", offsetof(struct fs_header, state)},
		{"live", FS_PAGE + offsetof(struct fs_shard, live)},
		{"births", FS_PAGE + offsetof(struct fs_shard, births)},
	};

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (strcmp(field, fields[i].name) == 0) {
			printf("%zu\n", fields[i].offset);
			return 0;
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		hold(argv[2], (uint32_t)strtoul(argv[3], NULL, 0));
	if (argc == 4 && strcmp(argv[1], "swell") == 0)
		swell(argv[2], (uint32_t)strtoul(argv[3], NULL, 0));
	if (argc == 4 && strcmp(argv[1], "scribble") == 0)
		scribble(argv[2], strtoul(argv[3], NULL, 0));
	if (argc == 3 && strcmp(argv[1], "read") == 0)
		stay(argv[2]);
	if (argc == 3 && strcmp(argv[1], "offset") == 0)
		return print_offset(argv[2]);
	fprintf(stderr, "usage: culprit hold NAME SHARD | swell NAME SHARD | scribble NAME OFFSET | read NAME | offset FIELD\n");
	return 2;
}

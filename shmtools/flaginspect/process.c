/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * process.c: processes as /proc shows them. A file is known by device and inode; some file systems (overlayfs, btrfs) show another device
 * in /proc/PID/maps than stat(2) does: there the inode and the path decide. */
#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "failure.h"
#include "keytext.h"

/* ------------------------------------------------------------------------------------------------------- state */

/* A small file of /proc whole; false when it can't be read. */
static bool read_proc(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	return length > 0;
}

static enum process_state state_of_letter(char letter)
{
	switch (letter) {
	case 'R':
		return PROCESS_RUNNING;
	case 'S':
	case 'D':
	case 'I':
		return PROCESS_SLEEPING;
	case 'T':
		return PROCESS_STOPPED;
	case 't':
		return PROCESS_TRACED;
	case 'Z':
		return PROCESS_ZOMBIE;
	case 'X':
	case 'x':
		return PROCESS_GONE;
	default:
		return PROCESS_UNKNOWN;
	}
}

static bool in_frozen_group(pid_t pid)
{
	char path[512], text[1024], *group;

	snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
	if (!read_proc(path, text, sizeof text))
		return false;
	group = strstr(text, "0::/");
	if (!group)
		return false;
	group[strcspn(group, "\n")] = 0;
	if (snprintf(path, sizeof path, "/sys/fs/cgroup%s/cgroup.events", group + 3) >= (int)sizeof path)
		return false;
	return read_proc(path, text, sizeof text) && strstr(text, "frozen 1");
}

enum process_state process_state_of(pid_t pid)
{
	char path[64], text[8192];
	const char *state, *dumping;
	enum process_state result;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (!read_proc(path, text, sizeof text))
		return errno == ENOENT || errno == ESRCH ? PROCESS_GONE : PROCESS_UNKNOWN;
	dumping = strstr(text, "\nCoreDumping:");
	if (dumping && strtol(dumping + strlen("\nCoreDumping:"), NULL, 10) == 1)
		return PROCESS_DUMPING;
	state = strstr(text, "\nState:");
	if (!state)
		return PROCESS_UNKNOWN;
	state += strlen("\nState:");
	result = state_of_letter(state[strspn(state, " \t")]);
	return result == PROCESS_SLEEPING && in_frozen_group(pid) ? PROCESS_FROZEN : result;
}

const char *process_state_text(enum process_state state)
{
	static const char *const texts[] = {"running", "sleeping", "stopped", "traced", "frozen", "dumping core", "zombie", "gone", "unknown"};

	return texts[state];
}

uint64_t process_start(pid_t pid)
{
	char path[64], text[1024], *field;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (!read_proc(path, text, sizeof text))
		return 0;
	/* Fields are counted from behind the command name, which may hold anything. */
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field + 1, NULL, 10) : 0;
}

pid_t process_of_thread(pid_t thread)
{
	char path[64], text[8192];
	const char *group;

	snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
	if (!read_proc(path, text, sizeof text))
		return 0;
	group = strstr(text, "\nTgid:");
	return group ? (pid_t)strtol(group + strlen("\nTgid:"), NULL, 10) : 0;
}

struct process_name process_name_of(pid_t pid)
{
	struct process_name name = {"?"};
	char path[64], text[64];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	if (read_proc(path, text, sizeof text)) {
		text[strcspn(text, "\n")] = 0;
		snprintf(name.text, sizeof name.text, "%.128s", keytext_encode(text, strlen(text)).text);
	}
	return name;
}

bool process_numbers_are_ours(const struct source *source)
{
	const struct fs_header *header = (const void *)source->store->map;
	char boot[64], said[33], ours[33] = "";
	struct stat namespace;
	size_t count = 0;

	if (stat("/proc/self/ns/pid", &namespace) != 0 || !read_proc("/proc/sys/kernel/random/boot_id", boot, sizeof boot))
		return false;
	for (const char *c = boot; *c && count < 32; c++)
		if (isxdigit((unsigned char)*c))
			ours[count++] = *c;
	for (int i = 0; i < 4; i++) {
		uint64_t word = atomic_load_explicit(&header->boot[i], memory_order_relaxed);

		memcpy(said + 8 * i, &word, 8);
	}
	return memcmp(ours, said, 32) == 0 && atomic_load_explicit(&header->pid_namespace, memory_order_relaxed) == namespace.st_ino;
}

/* ----------------------------------------------------------------------------------------------------- mappers */

/* A line of /proc/PID/maps. */
struct map_line {
	uint64_t from, to, offset;
	bool writable;
};

static bool is_of_source(const struct source *source, const char *line, struct map_line *found)
{
	char permissions[5] = "";
	unsigned major_number, minor_number;
	uint64_t inode;
	int path = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &found->from, &found->to, permissions, &found->offset,
	           &major_number, &minor_number, &inode, &path) < 7 || inode != source->inode)
		return false;
	found->writable = permissions[1] == 'w' && permissions[3] == 's';
	if (makedev(major_number, minor_number) == source->device)
		return true;
	return path && strcmp(line + path, source->store->path) == 0;
}

/* Calls each for the mappings of the file in the process; false when they can't be read. */
static bool for_each_mapping(const struct source *source, pid_t pid, void (*each)(const struct map_line *line, void *argument), void *argument)
{
	char path[64], *line = NULL;
	size_t room = 0;
	ssize_t length;
	FILE *maps;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return errno == ENOENT || errno == ESRCH;
	while ((length = getline(&line, &room, maps)) > 0) {
		struct map_line found;

		line[strcspn(line, "\n")] = 0;
		if (is_of_source(source, line, &found))
			each(&found, argument);
	}
	free(line);
	fclose(maps);
	return true;
}

struct search {
	bool found, writable;
};

static void note_mapping(const struct map_line *line, void *argument)
{
	struct search *search = argument;

	search->found = true;
	search->writable |= line->writable;
}

static void look_into(const struct source *source, pid_t pid, struct mappers *mappers)
{
	struct search search = {false, false};

	if (!for_each_mapping(source, pid, note_mapping, &search)) {
		mappers->hidden++;
		return;
	}
	if (!search.found)
		return;
	mappers->all = reallocarray(mappers->all, mappers->count + 1, sizeof *mappers->all);
	if (!mappers->all)
		failure_memory();
	mappers->all[mappers->count++] = (struct mapper){pid, search.writable};
}

void mappers_find(const struct source *source, struct mappers *mappers)
{
	DIR *directory = opendir("/proc");
	const struct dirent *entry;

	*mappers = (struct mappers){.count = 0};
	while (directory && (entry = readdir(directory))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (isdigit((unsigned char)*entry->d_name) && pid != getpid())
			look_into(source, pid, mappers);
	}
	if (directory)
		closedir(directory);
}

void mappers_free(struct mappers *mappers)
{
	free(mappers->all);
	*mappers = (struct mappers){.count = 0};
}

/* ---------------------------------------------------------------------------------------------------- sleepers */

struct place {
	uint64_t address;
	bool found;
	uint64_t offset;
};

static void locate(const struct map_line *line, void *argument)
{
	struct place *place = argument;

	if (place->address < line->from || place->address >= line->to)
		return;
	place->found = true;
	place->offset = place->address - line->from + line->offset;
}

/* What the thread's system call is, if it is in one: its number and its first argument. */
static bool in_futex(pid_t pid, pid_t thread, uint64_t *address)
{
	char path[64], text[256];
	long number;

	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)thread);
	return read_proc(path, text, sizeof text) && sscanf(text, "%ld %" SCNx64, &number, address) == 2 && number == SYS_futex;
}

void mapper_sleepers(const struct source *source, const struct mapper *mapper, mapper_sleeping *sleeping, void *argument)
{
	char path[64];
	const struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof path, "/proc/%d/task", (int)mapper->pid);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
		struct place place = {0, false, 0};

		if (!isdigit((unsigned char)*entry->d_name) || !in_futex(mapper->pid, thread, &place.address))
			continue;
		(void)for_each_mapping(source, mapper->pid, locate, &place);
		if (place.found)
			sleeping(thread, place.offset, argument);
	}
	if (directory)
		closedir(directory);
}

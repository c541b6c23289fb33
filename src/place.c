/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * place.c: addresses as places in files. In this process the dynamic linker knows what is loaded where; of another one, /proc/PID/maps
 * says which file is mapped there, and the file itself which of its addresses that is. Called when something is wrong already, so what
 * can't be found out is left unknown. */
#include "place.h"

#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------- modules */

static void set_path(struct fs_module *module, const char *path)
{
	size_t length = strlen(path), room = sizeof module->path - 1;

	if (length <= room)
		memcpy(module->path, path, length);
	else
		snprintf(module->path, sizeof module->path, "...%s", path + length - (room - 3));
}

/* The module's number + 1; 0 when there are too many. */
static uint64_t module_of(struct fs_conflict_body *body, const char *path, const uint8_t *build_id, size_t length)
{
	struct fs_module made = {0};

	set_path(&made, path);
	for (uint32_t i = 0; i < body->modules; i++)
		if (strcmp(body->module[i].path, made.path) == 0)
			return i + 1;
	if (body->modules == FS_STACK_MODULES)
		return 0;
	made.build_id_length = (uint8_t)(length < FS_BUILD_ID_BYTES ? length : FS_BUILD_ID_BYTES);
	memcpy(made.build_id, build_id, made.build_id_length);
	body->module[body->modules++] = made;
	return body->modules;
}

static uint64_t place_in(uint64_t module, uint64_t offset)
{
	return module ? module << FS_SITE_MODULE_SHIFT | (offset & ((UINT64_C(1) << FS_SITE_MODULE_SHIFT) - 1)) : 0;
}

/* The build id among the notes; NULL when there is none. */
static const uint8_t *find_build_id(const uint8_t *notes, size_t size, size_t *length)
{
	while (size >= sizeof(ElfW(Nhdr))) {
		ElfW(Nhdr) note;
		size_t name, description;

		memcpy(&note, notes, sizeof note);
		name = (note.n_namesz + 3u) & ~3u;
		description = (note.n_descsz + 3u) & ~3u;
		if (size - sizeof note < name || size - sizeof note - name < description)
			break;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + sizeof note, "GNU", 4) == 0) {
			*length = note.n_descsz;
			return notes + sizeof note + name;
		}
		notes += sizeof note + name + description;
		size -= sizeof note + name + description;
	}
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- here */

struct search {
	struct fs_conflict_body *body;
	uintptr_t address;
	uint64_t place;
};

static bool holds(const struct dl_phdr_info *info, uintptr_t address)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
			return true;
	}
	return false;
}

static int look_into(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct search *search = argument;
	const uint8_t *build_id = NULL;
	char path[PATH_MAX] = "";
	size_t length = 0;

	(void)size;
	if (!holds(info, search->address))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && !build_id; i++)
		if (info->dlpi_phdr[i].p_type == PT_NOTE)
			build_id = find_build_id((const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr), info->dlpi_phdr[i].p_memsz, &length);
	/* The program itself has no name here. */
	if (!*info->dlpi_name) {
		ssize_t got = readlink("/proc/self/exe", path, sizeof path - 1);

		path[got < 0 ? 0 : got] = 0;
	}
	search->place = place_in(module_of(search->body, *path ? path : info->dlpi_name, build_id, length), search->address - info->dlpi_addr);
	return 1;
}

uint64_t fs_place_here(struct fs_conflict_body *body, uintptr_t address)
{
	struct search search = {body, address, 0};

	if (address)
		dl_iterate_phdr(look_into, &search);
	return search.place;
}

void fs_place_stack(struct fs_conflict_body *body)
{
	void *addresses[FS_STACK_FRAMES];
	int count = backtrace(addresses, FS_STACK_FRAMES);

	for (int i = 0; i < count; i++)
		body->stack[i] = fs_place_here(body, (uintptr_t)addresses[i]);
	body->frames = (uint32_t)(count < 0 ? 0 : count);
}

/* --------------------------------------------------------------------------------------------------- there */

/* The address in the file's image of what stands at that place in the file; and its build id. */
static uint64_t address_in(const char *path, uint64_t place, uint8_t build_id[FS_BUILD_ID_BYTES], size_t *length)
{
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint64_t address = place;
	ElfW(Ehdr) header;

	*length = 0;
	if (file < 0)
		return address;
	if (pread(file, &header, sizeof header, 0) == sizeof header && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0) {
		for (int i = 0; i < header.e_phnum; i++) {
			ElfW(Phdr) part;
			uint8_t notes[1024];
			const uint8_t *found;
			ssize_t got;

			if (pread(file, &part, sizeof part, (off_t)(header.e_phoff + (size_t)i * sizeof part)) != sizeof part)
				break;
			if (part.p_type == PT_LOAD && place - part.p_offset < part.p_filesz)
				address = place - part.p_offset + part.p_vaddr;
			if (part.p_type != PT_NOTE || *length)
				continue;
			got = pread(file, notes, part.p_filesz < sizeof notes ? part.p_filesz : sizeof notes, (off_t)part.p_offset);
			found = got > 0 ? find_build_id(notes, (size_t)got, length) : NULL;
			if (found)
				memcpy(build_id, found, *length < FS_BUILD_ID_BYTES ? *length : FS_BUILD_ID_BYTES);
		}
	}
	close(file);
	return address;
}

uint64_t fs_place_there(struct fs_conflict_body *body, pid_t pid, uintptr_t address)
{
	uint8_t build_id[FS_BUILD_ID_BYTES] = {0};
	char name[32], line[PATH_MAX + 128];
	uint64_t place = 0;
	size_t length;
	FILE *maps;

	if (!address || pid <= 0)
		return 0;
	if (pid == getpid())
		return fs_place_here(body, address);
	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	maps = fopen(name, "re");
	while (maps && !place && fgets(line, sizeof line, maps)) {
		uint64_t from, to, offset;
		int at = 0;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %*s %n", &from, &to, &offset, &at) != 3 || !at)
			continue;
		if (address < from || address >= to)
			continue;
		line[strcspn(line, "\n")] = 0;
		if (line[at] != '/')
			break;
		offset = address_in(line + at, address - from + offset, build_id, &length);
		place = place_in(module_of(body, line + at, build_id, length), offset);
	}
	if (maps)
		fclose(maps);
	return place;
}

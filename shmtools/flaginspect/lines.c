/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lines.c: addresses to lines, by libdw where the build has it. A module is opened once, and believed only if its build id is the one that
 * was noted: the file may have been replaced since. */
#include "lines.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "keytext.h"

void lines_place(const char *path, uint64_t offset, char *text, size_t size)
{
	const char *slash = strrchr(path, '/');

	path = slash ? slash + 1 : path;
	snprintf(text, size, "%.200s+%#" PRIx64, keytext_encode(path, strlen(path)).text, offset);
}

#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>

enum {
	MODULES = 16,
};

static struct {
	struct flagstore_module which;
	Dwfl *dwfl;
	Dwfl_Module *module; /* NULL: not there, or another build */
	GElf_Addr bias;
} kept[MODULES];
static size_t kept_count;

static bool same_build(Dwfl_Module *module, const struct flagstore_module *which)
{
	const unsigned char *id;
	GElf_Addr where;
	int length = dwfl_module_build_id(module, &id, &where);

	if (!which->build_id_length)
		return length <= 0;
	return length >= (int)which->build_id_length && memcmp(id, which->build_id, which->build_id_length) == 0;
}

static size_t open_module(const struct flagstore_module *which)
{
	static const Dwfl_Callbacks callbacks = {
		.section_address = dwfl_offline_section_address,
		.find_debuginfo = dwfl_standard_find_debuginfo,
	};
	size_t index = kept_count < MODULES ? kept_count++ : MODULES - 1;

	if (kept[index].dwfl)
		dwfl_end(kept[index].dwfl);
	kept[index].which = *which;
	kept[index].module = NULL;
	kept[index].dwfl = dwfl_begin(&callbacks);
	if (!kept[index].dwfl)
		return index;
	kept[index].module = dwfl_report_offline(kept[index].dwfl, "", which->path, -1);
	dwfl_report_end(kept[index].dwfl, NULL, NULL);
	if (kept[index].module && (!dwfl_module_getelf(kept[index].module, &kept[index].bias) || !same_build(kept[index].module, which)))
		kept[index].module = NULL;
	return index;
}

static size_t find_module(const struct flagstore_module *which)
{
	for (size_t i = 0; i < kept_count; i++)
		if (memcmp(&kept[i].which, which, sizeof *which) == 0)
			return i;
	return open_module(which);
}

void lines_describe(struct Dwfl_Module *module, uint64_t address, const char *place, char *text, size_t size)
{
	const char *function = dwfl_module_addrname(module, address), *file = NULL, *slash;
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	int number = 0;

	if (line)
		file = dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
	slash = file ? strrchr(file, '/') : NULL;
	if (file)
		snprintf(text, size, "%.100s at %.100s:%d (%s)", function ? function : "?", slash ? slash + 1 : file, number, place);
	else
		snprintf(text, size, "%.100s (%s)", function ? function : "?", place);
}

void lines_resolve(const struct flagstore_module *module, uint64_t offset, char *text, size_t size)
{
	size_t index = find_module(module);
	char place[256];

	lines_place(module->path, offset, place, sizeof place);
	if (!kept[index].module) {
		snprintf(text, size, "%s", place);
		return;
	}
	/* A return address is behind the call. */
	offset += kept[index].bias;
	lines_describe(kept[index].module, offset ? offset - 1 : 0, place, text, size);
}

void lines_end(void)
{
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i].dwfl)
			dwfl_end(kept[i].dwfl);
	kept_count = 0;
	memset(kept, 0, sizeof kept);
}
#else
void lines_resolve(const struct flagstore_module *module, uint64_t offset, char *text, size_t size)
{
	lines_place(module->path, offset, text, size);
}

void lines_end(void)
{
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * name.c: from a segment's name to its file. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#define DIRECTORY_DEFAULT "/dev/shm"
#define PREFIX "flagstore."

/* Control characters would make messages lie, and names that begin with a dot are not seen in listings. */
static const char *fault_of(const char *name)
{
	if (!*name)
		return "it is empty";
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return "it has a control character in it";
	if (strlen(name) >= PATH_MAX)
		return "it is too long";
	if (strchr(name, '/'))
		return name[strlen(name) - 1] == '/' ? "it is a directory's" : NULL;
	if (*name == '.' || *name == '-')
		return "it begins with a dot or a hyphen";
	return strlen(PREFIX) + strlen(name) > NAME_MAX ? "it is too long" : NULL;
}

int flagstore_path(const char *name, char *path, size_t size)
{
	const char *fault = fault_of(name), *directory = getenv("FLAGSTORE_DIR"), *slash = "/", *prefix = PREFIX;
	int length;

	/* Nothing is written when it fails, so it is measured first. */
	if (fault)
		return fs_fail(FLAGSTORE_ENAME, "\"%.100s\" can't be the name of a segment: %s", name, fault);
	if (!directory || !*directory)
		directory = DIRECTORY_DEFAULT;
	if (strchr(name, '/'))
		directory = prefix = slash = "";
	length = snprintf(NULL, 0, "%s%s%s%s", directory, slash, prefix, name);
	if (length < 0 || (size_t)length >= size)
		return fs_fail(FLAGSTORE_EARGUMENT, "the path of segment \"%.100s\" is longer than %zu bytes", name, size);
	snprintf(path, size, "%s%s%s%s", directory, slash, prefix, name);
	return FLAGSTORE_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * format.c: which of the formats a file has. */
#include "format.h"

#include <string.h>

#include "cli.h"

static const struct format *const formats[] = {&format_tsv, &format_flagd};

enum {
	FORMATS = sizeof formats / sizeof *formats,
};

const struct format *format_named(const char *name)
{
	for (size_t i = 0; i < FORMATS; i++) {
		if (strcmp(name, formats[i]->name) == 0)
			return formats[i];
	}
	cli_usage("--format takes " FORMAT_NAMES ", not `%s'", name);
}

const struct format *format_of_name(const char *file)
{
	const char *extension = strrchr(file, '.');

	for (size_t i = 0; extension && i < FORMATS; i++) {
		if (strcmp(extension, formats[i]->extension) == 0)
			return formats[i];
	}
	return NULL;
}

const struct format *format_of_contents(const struct contents *contents)
{
	return contents->bytes[strspn(contents->bytes, " \t\r\n")] == '{' ? &format_flagd : &format_tsv;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * format.h: the forms in which flags stand in files. Each is a row: its name, how a file is recognised, how it is read
 * and written. */
#ifndef FORMAT_H
#define FORMAT_H

#include <jansson.h>
#include <stdio.h>

#include "flaglist.h"

/* A file's contents, read whole. */
struct contents {
	const char *file; /* its name, for messages */
	char *bytes;      /* length bytes and a NUL */
	size_t length;
};

struct format {
	const char *name;
	const char *extension;

	/* Adds the contents' flags to the list, and to skipped an object {"key", "reason"} for each one that can't be a
	 * boolean flag. Returns STATUS_DONE, or after printing a failure the exit status. */
	int (*read)(const struct contents *contents, struct flaglist *list, json_t *skipped);

	/* Writes the flags in the order of the list; the caller looks at the stream's errors. Returns as read does. */
	int (*write)(const struct flaglist *list, FILE *stream);
};

extern const struct format format_tsv, format_flagd;

#define FORMAT_NAMES "tsv or flagd"

/* The format of this name; bad usage ends the process. */
const struct format *format_named(const char *name);

/* The format that the file's name says, NULL when it says nothing. */
const struct format *format_of_name(const char *file);

/* The format that contents look like. */
const struct format *format_of_contents(const struct contents *contents);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * contents.c: a file read whole. */
#include "contents.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

enum {
	READ_AT_ONCE = 64 * 1024,
};

static void read_stream(FILE *stream, struct contents *contents)
{
	size_t room = 0, count;

	do {
		if (room - contents->length < READ_AT_ONCE + 1) {
			room = 2 * room + READ_AT_ONCE + 1;
			contents->bytes = realloc(contents->bytes, room);
			if (!contents->bytes)
				failure_memory();
		}
		count = fread(contents->bytes + contents->length, 1, READ_AT_ONCE, stream);
		contents->length += count;
	} while (count > 0);
	contents->bytes[contents->length] = '\0';
}

int contents_read(const char *file, struct contents *contents)
{
	bool standard = strcmp(file, "-") == 0;
	FILE *stream = standard ? stdin : fopen(file, "re");
	int status = STATUS_DONE;

	*contents = (struct contents){.file = standard ? "standard input" : file};
	if (!stream)
		return failure_errno(STATUS_INPUT, "%s can't be opened for reading", file);
	read_stream(stream, contents);
	if (ferror(stream)) {
		status = failure_errno(STATUS_INPUT, "%s can't be read", contents->file);
		contents_free(contents);
	}
	if (!standard)
		fclose(stream);
	return status;
}

void contents_free(struct contents *contents)
{
	free(contents->bytes);
	contents->bytes = NULL;
}

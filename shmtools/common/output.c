/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * output.c: JSON on standard output, and whether it all arrived there. */
#define LIBBSD_NETBSD_VIS /* stravis() is the same in both; the header wants a choice all the same */
#include "output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <vis.h>

static void print_document(json_t *document)
{
	if (!document)
		failure_memory();
	json_dumpf(document, stdout, 0);
	json_decref(document);
}

void output_json(json_t *document)
{
	print_document(document);
	putchar('\n');
}

static const char *before_item;

void output_list_begin(void)
{
	before_item = "[";
}

void output_list_item(json_t *item)
{
	fputs(before_item, stdout);
	print_document(item);
	before_item = ",\n";
}

void output_list_end(void)
{
	puts(*before_item == '[' ? "[]" : "]");
}

json_t *output_text(const char *text)
{
	json_t *string = json_string(text);
	char *encoded;

	if (string)
		return string;
	if (stravis(&encoded, text, VIS_OCTAL | VIS_NOLOCALE) < 0)
		failure_memory();
	string = json_string(encoded);
	free(encoded);
	return string;
}

int output_flush(void)
{
	static bool reported;

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return STATUS_DONE;
	/* A write that failed earlier has left its mark on the stream, but not its errno. */
	if (!reported && errno)
		failure_errno(STATUS_OUTPUT, "standard output can't be written");
	else if (!reported)
		failure(STATUS_OUTPUT, "standard output could not be written");
	reported = true;
	return STATUS_OUTPUT;
}

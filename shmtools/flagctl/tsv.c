/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * tsv.c: flags as lines, each a key's text (keytext.h), a tab, and true or false. */
#include <string.h>

#include "failure.h"
#include "format.h"
#include "keytext.h"
#include "value.h"

/* Reads one line without its newline. NULL, or the reason why it is no flag. */
static const char *read_line(const char *line, size_t length, struct key *key, bool *value)
{
	const char *tab = memchr(line, '\t', length);
	size_t key_length;

	if (length == 0)
		return "it is empty";
	if (!tab)
		return "it has no tab between key and value";
	key_length = (size_t)(tab - line);
	if (!value_parse(tab + 1, length - key_length - 1, value))
		return "what stands behind the tab is not " VALUE_FORMS;
	return keytext_decode(line, key_length, key);
}

static int read_tsv(const struct contents *contents, struct flaglist *list, json_t *skipped)
{
	const char *line = contents->bytes, *end = line + contents->length;

	(void)skipped;
	for (size_t number = 1; line < end; number++) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t length = (size_t)((newline ? newline : end) - line);
		struct flagstore_flag flag = {.exists = true};
		struct flaglist_item *item;
		struct key key;
		const char *reason = read_line(line, length, &key, &flag.value);

		if (reason)
			return failure(STATUS_DATA, "%s:%zu: the line is not a flag: %s; nothing was imported", contents->file,
			               number, reason);
		item = flaglist_add(list, key.bytes, key.length, &flag);
		item->file = contents->file;
		item->line = number;
		line += length + 1;
	}
	return STATUS_DONE;
}

static int write_tsv(const struct flaglist *list, FILE *stream)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct flaglist_item *item = &list->items[i];

		fprintf(stream, "%s\t%s\n", keytext_encode(item->key, item->length).text, value_text(item->flag.value));
	}
	return STATUS_DONE;
}

const struct format format_tsv = {"tsv", ".tsv", read_tsv, write_tsv};

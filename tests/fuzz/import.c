/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * import.c: a fuzzer's entry: what `flagctl import' reads, and a key's text. No input crashes the parsers or is lost memory, none makes a
 * key that is not valid, and what was read is read again from what is written of it.
 *
 * An input is a byte that chooses the parser (of its value modulo 3: TSV, flagd's JSON, a key's vis(3) text), then the parser's input.
 *
 * tests/fuzz.sh builds it and runs it under libFuzzer; for AFL++ and without a fuzzer, see segment.c. By hand, from the top of the
 * source, after ./bootstrap:
 *
 *     clang -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude \
 *         $(pkg-config --cflags libbsd-overlay) -Ishmtools/common -Ishmtools/flagctl tests/fuzz/import.c shmtools/common/[a-z]*.c \
 *         shmtools/flagctl/{filter,flagd,flaglist,format,tsv}.c build/.libs/libflagstore-internal.a -ljansson -lbsd -o import
 */
#include <string.h>

#include "cli.h"
#include "entry.h"
#include "failure.h"
#include "flaglist.h"
#include "format.h"
#include "keytext.h"

static void see_key(const char *bytes, size_t length)
{
	must(length > 0 && length <= FLAGSTORE_KEY_MAX);
	must(strlen(bytes) == length);
}

/* Text of length bytes. What it decodes to is encoded and decoded to the same again. */
static void try_key(const char *text, size_t length)
{
	struct key key, again;
	struct keytext encoded;

	if (keytext_decode(text, length, &key))
		return;
	see_key(key.bytes, key.length);
	encoded = keytext_encode(key.bytes, key.length);
	must(!keytext_decode(encoded.text, strlen(encoded.text), &again));
	must(again.length == key.length && memcmp(again.bytes, key.bytes, key.length) == 0);
}

static int read_list(const struct format *format, char *bytes, size_t length, struct flaglist *list)
{
	struct contents contents = {.file = "input", .bytes = bytes, .length = length};
	json_t *skipped = json_array();
	int status = format->read(&contents, list, skipped);

	must(status == STATUS_DONE || status == STATUS_DATA);
	json_decref(skipped);
	for (size_t i = 0; i < list->count; i++)
		see_key(list->items[i].key, list->items[i].length);
	return status;
}

static void see_same(const struct flaglist *list, const struct flaglist *again)
{
	must(again->count == list->count);
	for (size_t i = 0; i < list->count; i++) {
		must(again->items[i].length == list->items[i].length);
		must(memcmp(again->items[i].key, list->items[i].key, list->items[i].length) == 0);
		must(again->items[i].flag.value == list->items[i].flag.value);
	}
}

static void read_again(const struct format *format, const struct flaglist *list)
{
	struct flaglist again = {0};
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);

	must(stream);
	must(format->write(list, stream) == STATUS_DONE);
	must(fclose(stream) == 0);
	must(read_list(format, text, length, &again) == STATUS_DONE);
	see_same(list, &again);
	flaglist_free(&again);
	free(text);
}

static void try_format(const struct format *format, const uint8_t *data, size_t size)
{
	struct flaglist list = {0};
	char *bytes = malloc(size + 1);
	int status;

	must(bytes);
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	status = read_list(format, bytes, size, &list);
	if (status == STATUS_DONE) {
		flaglist_sort(&list);
		/* Import refuses two of one key. */
		if (!flaglist_duplicate(&list))
			read_again(format, &list);
	}
	flaglist_free(&list);
	free(bytes);
}

/* The sentences are made, and go nowhere. Fuzzers and sanitizers have standard error by its number. */
static void turn_away_stderr(void)
{
	static FILE *nowhere;

	if (nowhere)
		return;
	nowhere = fopen("/dev/null", "we");
	must(nowhere);
	stderr = nowhere;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	turn_away_stderr();
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0: try_format(&format_tsv, data + 1, size - 1); break;
	case 1: try_format(&format_flagd, data + 1, size - 1); break;
	default:
		/* Without a byte more than it has. */
		text = malloc(size);
		must(text);
		memcpy(text, data + 1, size - 1);
		try_key(text, size - 1);
		free(text);
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * keytext.c: keys to vis(3) text and back. */
#define LIBBSD_NETBSD_VIS /* strnunvis(destination, size, source), the order of snprintf() */
#include "keytext.h"

#include <stdbool.h>
#include <string.h>
#include <vis.h>

#include "cli.h"

struct keytext keytext_encode(const char *key, size_t length)
{
	struct keytext result;

	if (length > FLAGSTORE_KEY_MAX)
		length = FLAGSTORE_KEY_MAX;
	strvisx(result.text, key, length, VIS_OCTAL | VIS_CSTYLE | VIS_NL | VIS_TAB | VIS_NOLOCALE);
	return result;
}

/* unvis(3) takes any character behind a backslash for itself, and leaves out a backslash at the end. A typing error
 * must not become another key: only what vis(3) writes is taken. */
static bool escapes_known(const char *text)
{
	for (; *text; text++) {
		if (*text != '\\')
			continue;
		text++;
		if (*text == '\0' || !strchr("\\abfnrstv01234567^M", *text))
			return false;
	}
	return true;
}

const char *keytext_decode(const char *text, size_t length, struct key *key)
{
	char encoded[KEYTEXT_SIZE], decoded[KEYTEXT_SIZE];
	int count;

	if (length >= sizeof encoded)
		return "it is longer than 255 bytes";
	if (memchr(text, '\0', length))
		return "it has a NUL byte in it";
	memcpy(encoded, text, length);
	encoded[length] = '\0';

	count = escapes_known(encoded) ? strnunvis(decoded, sizeof decoded, encoded) : -1;
	if (count < 0)
		return "its backslashes are no vis(3) text (a backslash itself is written \\\\)";
	if (count == 0)
		return "it is empty";
	if (count > FLAGSTORE_KEY_MAX)
		return "it is longer than 255 bytes";
	if (memchr(decoded, '\0', (size_t)count))
		return "it has a NUL byte in it";
	key->length = (size_t)count;
	memcpy(key->bytes, decoded, key->length);
	key->bytes[key->length] = '\0';
	return NULL;
}

struct key keytext_operand(const char *operand)
{
	struct key key;
	const char *reason = keytext_decode(operand, strlen(operand), &key);

	if (reason)
		cli_usage("`%.80s%s' can't be a key because %s", operand, strlen(operand) > 80 ? "..." : "", reason);
	return key;
}

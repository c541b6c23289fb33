/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * keytext.h: keys as text, in vis(3) form. A key is any bytes but NUL; a terminal, a TSV line and an argument are not.
 * So wherever a tool shows a key, everything but printable ASCII is encoded, and the backslash too; wherever it takes
 * one, it is decoded. Both ways keep every key, in every locale.
 *
 * (The locale is left out on purpose: libbsd's strvisx() drops bytes of some sequences in UTF-8 locales.) */
#ifndef KEYTEXT_H
#define KEYTEXT_H

#include <stddef.h>

#include <flagstore.h>

#define KEYTEXT_SIZE (4 * FLAGSTORE_KEY_MAX + 1) /* room for the longest key's text and its NUL */

struct keytext {
	char text[KEYTEXT_SIZE];
};

/* Encodes at most FLAGSTORE_KEY_MAX bytes (bytes beyond are left out). keytext_encode(key, length).text is good until
 * the end of the full expression, as an argument of printf for instance. */
struct keytext keytext_encode(const char *key, size_t length);

struct key {
	size_t length;
	char bytes[FLAGSTORE_KEY_MAX + 1]; /* and a NUL */
};

/* Decodes a text of length bytes into *key. NULL on success, otherwise the reason, fit to stand after "because"; *key
 * is unspecified then. */
const char *keytext_decode(const char *text, size_t length, struct key *key);

/* The same for an operand; bad usage ends the process. */
struct key keytext_operand(const char *operand);

#endif

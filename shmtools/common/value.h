/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * value.h: a flag's value as text. */
#ifndef VALUE_H
#define VALUE_H

#include <stdbool.h>
#include <stddef.h>

/* What value_parse() takes, for messages. */
#define VALUE_FORMS "true or false (on, off, yes, no, 1, 0)"

/* Whether the length bytes of text are a value, and which. */
bool value_parse(const char *text, size_t length, bool *value);

/* The same for an operand; bad usage ends the process. */
bool value_operand(const char *operand);

/* "true" or "false". */
const char *value_text(bool value);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * output.h: standard output. Text goes there by printf(3); JSON by output_json(). Whether it all arrived is asked once,
 * at the end by cli_main(), or after each line by a command that prints for as long as it runs. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "failure.h"

/* Prints one JSON document on a line of its own and lets go of it. NULL, which jansson answers when it can't build one,
 * ends the process. */
void output_json(json_t *document);

/* The same for a list too long to be built in memory: an array, printed item by item. */
void output_list_begin(void);
void output_list_item(json_t *item);
void output_list_end(void);

/* A JSON string of text that others have written (paths, sentences): what is not UTF-8 is encoded as vis(3) does it.
 * Keys are shown by keytext_encode(). */
json_t *output_text(const char *text);

/* Writes out what has been printed. STATUS_DONE, or after saying why it did not arrive STATUS_OUTPUT. */
int output_flush(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * describe.h: flags and those who changed them, as text and JSON. */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include <flagstore.h>
#include <jansson.h>

struct who {
	char text[4 * 32 + 24];
};

/* A worker as "command[pid]". */
struct who describe_worker(const struct flagstore_worker *worker);

/* The same for writer id, "-" when it is not known (any more). */
struct who describe_writer(const flagstore *store, uint32_t id);

/* {"id": ..., "pid": ..., "command": ...}, or null. */
json_t *describe_writer_json(const flagstore *store, uint32_t id);

/* {"key": ..., "value": true}, or "value": null for a missing flag. */
json_t *describe_value(const char *key, size_t length, const struct flagstore_flag *flag);

/* The same and all else that is known about a flag that exists. */
json_t *describe_flag(const flagstore *store, const char *key, size_t length, const struct flagstore_flag *flag);

#endif

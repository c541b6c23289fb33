/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * describe.c: flags and those who changed them, as text and JSON. A worker's command name is its own choice, so it is
 * encoded as keys are. */
#include "describe.h"

#include <stdio.h>
#include <string.h>

#include "keytext.h"

static struct keytext command_text(const struct flagstore_worker *worker)
{
	return keytext_encode(worker->command, strnlen(worker->command, sizeof worker->command));
}

struct who describe_worker(const struct flagstore_worker *worker)
{
	struct who who;

	snprintf(who.text, sizeof who.text, "%.128s[%d]", command_text(worker).text, (int)worker->pid);
	return who;
}

/* NULL when the writer is not known. Neighbours in a list often have the same writer, and to ask for one takes a system
 * call; an id never means anybody else later, so the last answer stays true. */
static const struct flagstore_worker *find_writer(const flagstore *store, uint32_t id)
{
	static struct flagstore_worker last;

	if (id != 0 && id == last.id)
		return &last;
	if (id == 0 || flagstore_worker(store, id, &last) != FLAGSTORE_OK)
		return NULL;
	return &last;
}

struct who describe_writer(const flagstore *store, uint32_t id)
{
	const struct flagstore_worker *worker = find_writer(store, id);

	return worker ? describe_worker(worker) : (struct who){"-"};
}

json_t *describe_writer_json(const flagstore *store, uint32_t id)
{
	const struct flagstore_worker *worker = find_writer(store, id);

	if (!worker)
		return json_null();
	return json_pack("{s:I, s:I, s:s}", "id", (json_int_t)id, "pid", (json_int_t)worker->pid, "command",
	                 command_text(worker).text);
}

json_t *describe_value(const char *key, size_t length, const struct flagstore_flag *flag)
{
	return json_pack("{s:s, s:o}", "key", keytext_encode(key, length).text, "value",
	                 flag->exists ? json_boolean(flag->value) : json_null());
}

json_t *describe_flag(const flagstore *store, const char *key, size_t length, const struct flagstore_flag *flag)
{
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:o}", "key", keytext_encode(key, length).text, "value",
	                 flag->exists ? json_boolean(flag->value) : json_null(), "version", (json_int_t)flag->version,
	                 "changes", (json_int_t)flag->changes, "changed_ms", (json_int_t)flag->changed_ms, "writer",
	                 describe_writer_json(store, flag->writer));
}

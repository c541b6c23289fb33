/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagd.c: flags as flagd's flag definitions (https://flagd.dev/schema/v0/flags.json). A definition can say more than a
 * boolean flag can be: what can't be taken over is skipped and named, what breaks the schema is an error. A key is the
 * flag's name itself here, not its vis(3) text. */
#include <string.h>

#include "failure.h"
#include "format.h"
#include "keytext.h"

#define SCHEMA "https://flagd.dev/schema/v0/flags.json"

/* Whether the definition keeps to the schema, as far as a flag's value depends on it. NULL, or what is wrong. */
static const char *find_fault(json_t *definition)
{
	json_t *state = json_object_get(definition, "state");
	json_t *variants = json_object_get(definition, "variants");
	json_t *chosen = json_object_get(definition, "defaultVariant");
	json_t *targeting = json_object_get(definition, "targeting");

	if (!json_is_object(definition))
		return "it is not an object";
	if (!json_is_string(state))
		return "`state' is missing or not a string";
	if (strcmp(json_string_value(state), "ENABLED") != 0 && strcmp(json_string_value(state), "DISABLED") != 0)
		return "`state' is neither ENABLED nor DISABLED";
	if (!json_is_object(variants))
		return "`variants' is missing or not an object";
	if (chosen && !json_is_null(chosen) && !json_is_string(chosen))
		return "`defaultVariant' is neither a string nor null";
	if (json_is_string(chosen) && !json_object_get(variants, json_string_value(chosen)))
		return "`defaultVariant' names none of its variants";
	if (targeting && !json_is_object(targeting))
		return "`targeting' is not an object";
	return NULL;
}

static bool is_boolean(json_t *variants)
{
	const char *name;
	json_t *value;

	json_object_foreach(variants, name, value)
	{
		if (!json_is_boolean(value))
			return false;
	}
	return json_object_size(variants) > 0;
}

/* NULL when the definition is a plain boolean flag, otherwise why it must be skipped. */
static const char *find_obstacle(json_t *definition)
{
	if (!is_boolean(json_object_get(definition, "variants")))
		return "its variants are not boolean";
	if (strcmp(json_string_value(json_object_get(definition, "state")), "DISABLED") == 0)
		return "it is disabled, so its value is the caller's default";
	if (json_object_size(json_object_get(definition, "targeting")) > 0)
		return "it has targeting rules";
	if (!json_is_string(json_object_get(definition, "defaultVariant")))
		return "it has no default variant, so its value is the code's default";
	return NULL;
}

static int skip_flag(json_t *skipped, const char *file, const char *key, const char *reason)
{
	json_t *entry = json_pack("{s:s, s:s}", "key", keytext_encode(key, strlen(key)).text, "reason", reason);

	if (!entry || json_array_append_new(skipped, entry) != 0)
		failure_memory();
	warning("%s: flag %s is skipped: %s", file, keytext_encode(key, strlen(key)).text, reason);
	return STATUS_DONE;
}

static int read_definition(const char *file, const char *key, json_t *definition, struct flaglist *list,
                           json_t *skipped)
{
	struct flagstore_flag flag = {.exists = true};
	const char *reason = find_fault(definition);
	json_t *chosen;

	if (!reason && (strlen(key) == 0 || strlen(key) > FLAGSTORE_KEY_MAX))
		reason = "its key must have 1 to 255 bytes";
	if (reason)
		return failure(STATUS_DATA, "%s: flag %s is not valid: %s; nothing was imported", file,
		               keytext_encode(key, strlen(key)).text, reason);
	reason = find_obstacle(definition);
	if (reason)
		return skip_flag(skipped, file, key, reason);
	chosen = json_object_get(definition, "defaultVariant");
	flag.value = json_is_true(json_object_get(json_object_get(definition, "variants"), json_string_value(chosen)));
	flaglist_add(list, key, strlen(key), &flag)->file = file;
	return STATUS_DONE;
}

static int read_object(const char *file, json_t *flags, struct flaglist *list, json_t *skipped)
{
	const char *key;
	json_t *definition;

	json_object_foreach(flags, key, definition)
	{
		int status = read_definition(file, key, definition, list, skipped);

		if (status)
			return status;
	}
	return STATUS_DONE;
}

static int read_array(const char *file, json_t *flags, struct flaglist *list, json_t *skipped)
{
	json_t *definition;
	size_t index;

	json_array_foreach(flags, index, definition)
	{
		json_t *key = json_object_get(definition, "key");
		int status;

		if (!json_is_string(key))
			return failure(STATUS_DATA, "%s: element %zu of `flags' has no string `key'; nothing was imported", file,
			               index);
		status = read_definition(file, json_string_value(key), definition, list, skipped);
		if (status)
			return status;
	}
	return STATUS_DONE;
}

static int read_flagd(const struct contents *contents, struct flaglist *list, json_t *skipped)
{
	json_error_t fault;
	json_t *document = json_loadb(contents->bytes, contents->length, JSON_REJECT_DUPLICATES, &fault);
	json_t *flags = json_object_get(document, "flags");
	int status;

	if (!document)
		status = failure(STATUS_DATA, "%s:%d:%d: the file is not valid JSON: %s; nothing was imported", contents->file,
		                 fault.line, fault.column, fault.text);
	else if (json_is_object(flags))
		status = read_object(contents->file, flags, list, skipped);
	else if (json_is_array(flags))
		status = read_array(contents->file, flags, list, skipped);
	else
		status = failure(STATUS_DATA, "%s: the file has no object or array `flags'; nothing was imported",
		                 contents->file);
	json_decref(document);
	return status;
}

static json_t *make_definition(bool value)
{
	return json_pack("{s:s, s:{s:b, s:b}, s:s}", "state", "ENABLED", "variants", "on", 1, "off", 0, "defaultVariant",
	                 value ? "on" : "off");
}

static int write_flagd(const struct flaglist *list, FILE *stream)
{
	json_t *flags = json_object(), *document = json_pack("{s:s, s:o}", "$schema", SCHEMA, "flags", flags);

	if (!document)
		failure_memory();
	for (size_t i = 0; i < list->count; i++) {
		const struct flaglist_item *item = &list->items[i];
		json_t *definition = make_definition(item->flag.value);

		if (!definition)
			failure_memory();
		if (json_object_set_new(flags, item->key, definition) != 0) {
			json_decref(document);
			return failure(STATUS_DATA, "flag %s can't be written as JSON: its key is not UTF-8; use the format tsv",
			               keytext_encode(item->key, item->length).text);
		}
	}
	json_dumpf(document, stream, JSON_INDENT(2));
	fputc('\n', stream);
	json_decref(document);
	return STATUS_DONE;
}

const struct format format_flagd = {"flagd", ".json", read_flagd, write_flagd};

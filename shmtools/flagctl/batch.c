/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl batch: several changes as one, from operands or from the lines of standard input. */
#include <stdio.h>
#include <string.h>

#include "changes.h"
#include "commands.h"
#include "contents.h"
#include "output.h"
#include "value.h"

static bool is_word(const char *text, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* Reads "KEY=true", "KEY=false", "KEY=toggle" or "KEY=delete"; a key may contain "=". NULL, or the reason why it is
 * none. */
static const char *read_change(const char *text, size_t length, struct change *change)
{
	const char *equals = memrchr(text, '=', length);
	const char *action = equals + 1;
	size_t action_length;

	if (!equals)
		return "it has no `='";
	action_length = (size_t)(text + length - action);
	if (is_word(action, action_length, "toggle"))
		change->kind = CHANGE_TOGGLE;
	else if (is_word(action, action_length, "delete"))
		change->kind = CHANGE_DELETE;
	else if (value_parse(action, action_length, &change->value))
		change->kind = CHANGE_SET;
	else
		return "what stands behind the `=' is not toggle, delete, " VALUE_FORMS;
	return keytext_decode(text, (size_t)(equals - text), &change->key);
}

static void read_operands(int count, char **operands, struct changes *changes)
{
	for (int i = 0; i < count; i++) {
		const char *reason = read_change(operands[i], strlen(operands[i]), changes_add(changes));

		if (reason)
			cli_usage("`%s' is not a change: %s", operands[i], reason);
	}
}

static int read_lines(struct changes *changes)
{
	struct contents contents;
	int status = contents_read("-", &contents);
	const char *line, *end;

	if (status)
		return status;
	line = contents.bytes;
	end = line + contents.length;
	for (size_t number = 1; line < end && !status; number++) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t length = (size_t)((newline ? newline : end) - line);
		const char *reason = read_change(line, length, changes_add(changes));

		if (reason)
			status = failure(STATUS_DATA, "%s:%zu: the line is not a change: %s; nothing was changed", contents.file,
			                 number, reason);
		line += length + 1;
	}
	contents_free(&contents);
	return status;
}

static void print_result(size_t count, size_t changed)
{
	if (cli_json)
		output_json(json_pack("{s:I, s:I}", "changes", (json_int_t)count, "changed", (json_int_t)changed));
	else
		printf("%zu changes, %zu flags changed\n", count, changed);
}

static int run(int count, char **operands)
{
	struct changes changes = {0};
	size_t changed = 0;
	int status = STATUS_DONE;

	if (count > 1)
		read_operands(count - 1, operands + 1, &changes);
	else
		status = read_lines(&changes);
	if (!status)
		status = changes_apply(&changes, operands[0], &changed);
	if (!status)
		print_result(changes.count, changed);
	changes_free(&changes);
	return status;
}

const struct cli_command command_batch = {
	.name = "batch",
	.operands = "NAME [KEY=CHANGE...]",
	.least = 1,
	.most = CLI_ANY_NUMBER,
	.summary = "make several changes as one: all of them or none",
	.details = "CHANGE is true, false (or what set takes), toggle or delete. Without changes as operands they are the\n"
	           "lines of standard input. At most 4096 changes.\n",
	.run = run,
};

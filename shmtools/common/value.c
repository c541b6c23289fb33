/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * value.c: a flag's value as text. */
#include "value.h"

#include <string.h>

#include "cli.h"

static const struct {
	const char *text;
	bool value;
} forms[] = {
	{"true", true}, {"false", false}, {"on", true}, {"off", false},
	{"yes", true},  {"no", false},    {"1", true},  {"0", false},
};

bool value_parse(const char *text, size_t length, bool *value)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (strlen(forms[i].text) != length || memcmp(forms[i].text, text, length) != 0)
			continue;
		*value = forms[i].value;
		return true;
	}
	return false;
}

bool value_operand(const char *operand)
{
	bool value;

	if (!value_parse(operand, strlen(operand), &value))
		cli_usage("`%s' is no value: say " VALUE_FORMS, operand);
	return value;
}

const char *value_text(bool value)
{
	return value ? "true" : "false";
}

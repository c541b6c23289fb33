/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * error.c: result codes and the calling thread's detail sentence. Touches thread-local memory only. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char detail[512];

const char *flagstore_strerror(int error)
{
	switch (error) {
	case FLAGSTORE_OK:
		return "success";
#define SENTENCE(name, code, sentence)                                                                                 \
	case FLAGSTORE_##name:                                                                                             \
		return sentence;
		FLAGSTORE_ERRORS(SENTENCE)
#undef SENTENCE
	default:
		return "unknown error code";
	}
}

const char *flagstore_error_name(int error)
{
	switch (error) {
	case FLAGSTORE_OK:
		return "OK";
#define NAME(name, code, sentence)                                                                                     \
	case FLAGSTORE_##name:                                                                                             \
		return #name;
		FLAGSTORE_ERRORS(NAME)
#undef NAME
	default:
		return "EUNKNOWN";
	}
}

const char *flagstore_detail(void)
{
	return detail;
}

int fs_fail(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof detail, format, arguments);
	va_end(arguments);
	return error;
}

int fs_fail_errno(int error, const char *format, ...)
{
	char reason[128];
	va_list arguments;
	size_t length;

	/* The GNU strerror_r, which may answer with a string of its own. */
	const char *sentence = strerror_r(errno, reason, sizeof reason);

	va_start(arguments, format);
	vsnprintf(detail, sizeof detail, format, arguments);
	va_end(arguments);
	length = strlen(detail);
	snprintf(detail + length, sizeof detail - length, ": %s", sentence);
	return error;
}

const char *fs_printable(const char *bytes, size_t length, char text[FS_PRINTABLE_SIZE])
{
	size_t room = FS_PRINTABLE_SIZE - sizeof "...", count = length < room ? length : room;

	for (size_t i = 0; i < count; i++)
		text[i] = (unsigned char)bytes[i] >= ' ' && bytes[i] != 0x7f && (unsigned char)bytes[i] < 0x80 ? bytes[i] : '?';
	strcpy(text + count, count < length ? "..." : "");
	return text;
}

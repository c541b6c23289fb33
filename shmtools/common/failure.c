/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * failure.c: exit statuses and sentences on standard error. Sentences may carry names of files and commands, so
 * whatever could steer a terminal is encoded as vis(3) does it. */
#define LIBBSD_NETBSD_VIS /* strvisx() is the same in both; the header wants a choice all the same */
#include "failure.h"

#include <errno.h>
#include <flagstore.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vis.h>

#include "cli.h"

enum {
	SENTENCE_SIZE = 8192,
};

enum status failure_status(int error)
{
	switch (error) {
	case FLAGSTORE_OK:
		return STATUS_DONE;
	case FLAGSTORE_EARGUMENT:
	case FLAGSTORE_EKEY:
	case FLAGSTORE_ENAME:
		return STATUS_USAGE;
	case FLAGSTORE_ENOSEGMENT:
	case FLAGSTORE_ENOTFOUND:
		return STATUS_MISSING;
	case FLAGSTORE_EEXISTS:
		return STATUS_CREATE;
	case FLAGSTORE_EPERMISSION:
	case FLAGSTORE_ENAMESPACE:
	case FLAGSTORE_ENOTLABORATORY:
	case FLAGSTORE_EREADONLY:
		return STATUS_DENIED;
	case FLAGSTORE_ENOTSEGMENT:
	case FLAGSTORE_ELAYOUT:
	case FLAGSTORE_EFEATURE:
	case FLAGSTORE_ETRUNCATED:
	case FLAGSTORE_ECORRUPT:
	case FLAGSTORE_ENOTREADY:
		return STATUS_UNUSABLE;
	case FLAGSTORE_ENOSPACE:
	case FLAGSTORE_EFULL:
	case FLAGSTORE_EPERSIST:
		return STATUS_OUTPUT;
	case FLAGSTORE_ECONFLICT:
		return STATUS_NO;
	case FLAGSTORE_ETIMEDOUT:
	case FLAGSTORE_EBUSY:
	case FLAGSTORE_EREFUSED:
	case FLAGSTORE_ENOTDURABLE:
		return STATUS_AGAIN;
	case FLAGSTORE_ETOOBIG:
		return STATUS_DATA;
	case FLAGSTORE_ENOMEMORY:
	case FLAGSTORE_ESYSTEM:
		return STATUS_SYSTEM;
	default:
		return STATUS_SOFTWARE;
	}
}

static const char *status_name(enum status status)
{
	switch (status) {
#define STATUS_NAME(name, number, meaning)                                                                             \
	case STATUS_##name:                                                                                                \
		return #name;
		STATUSES(STATUS_NAME)
#undef STATUS_NAME
	}
	return "SOFTWARE";
}

static void print_json(json_t *document)
{
	if (!document)
		failure_memory();
	json_dumpf(document, stderr, JSON_COMPACT);
	fputc('\n', stderr);
	json_decref(document);
}

/* Everything that was printed before comes first, also when both go to the same place. */
static void format_sentence(char *sentence, const char *format, va_list arguments, const char *reason)
{
	static char raw[SENTENCE_SIZE / 4];
	int length = vsnprintf(raw, sizeof raw, format, arguments);

	if (reason && length >= 0 && (size_t)length < sizeof raw)
		snprintf(raw + length, sizeof raw - (size_t)length, ": %s", reason);
	strvisx(sentence, raw, strlen(raw), VIS_OCTAL | VIS_NL | VIS_NOSLASH | VIS_NOLOCALE);
	fflush(stdout);
}

static int report(enum status status, const char *name, const char *format, va_list arguments, const char *reason)
{
	static char sentence[SENTENCE_SIZE];

	format_sentence(sentence, format, arguments, reason);
	if (cli_json)
		print_json(json_pack("{s:{s:s, s:i, s:s}}", "error", "name", name, "status", (int)status, "message", sentence));
	else
		fprintf(stderr, "%s: %s\n", getprogname(), sentence);
	return (int)status;
}

int failure_of(int error, const char *format, ...)
{
	va_list arguments;
	int status;

	va_start(arguments, format);
	status = report(failure_status(error), flagstore_error_name(error), format, arguments, NULL);
	va_end(arguments);
	return status;
}

int failure_of_library(int error)
{
	const char *detail = flagstore_detail();

	return failure_of(error, "%s", *detail ? detail : flagstore_strerror(error));
}

int failure(enum status status, const char *format, ...)
{
	va_list arguments;
	int result;

	va_start(arguments, format);
	result = report(status, status_name(status), format, arguments, NULL);
	va_end(arguments);
	return result;
}

int failure_errno(enum status status, const char *format, ...)
{
	const char *reason = strerror(errno);
	va_list arguments;
	int result;

	va_start(arguments, format);
	result = report(status, status_name(status), format, arguments, reason);
	va_end(arguments);
	return result;
}

void warning(const char *format, ...)
{
	static char sentence[SENTENCE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	format_sentence(sentence, format, arguments, NULL);
	va_end(arguments);
	if (cli_json)
		print_json(json_pack("{s:{s:s}}", "warning", "message", sentence));
	else
		fprintf(stderr, "%s: warning: %s\n", getprogname(), sentence);
}

void failure_memory(void)
{
	fprintf(stderr, "%s: the process is out of memory\n", getprogname());
	exit(STATUS_SYSTEM);
}

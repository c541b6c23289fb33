/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * failure.h: how a command ends. The documented exit statuses, which of them each error of the library is, and the
 * printing of errors on standard error: as a sentence, or under --json as one object a line,
 *	{"error": {"name": "ENOSEGMENT", "status": 3, "message": "..."}}
 * where the name is the library's name of the error or the status's name in the table below. */
#ifndef FAILURE_H
#define FAILURE_H

#include <sysexits.h>

/* Every exit status: name, number, what it means to a user. The tools' --help and their pages' EXIT STATUS say the
 * same. */
#define STATUSES(X)                                                                                                    \
	X(DONE, 0, "done, or yes: true, healthy")                                                                          \
	X(NO, 1, "no: false, not as expected, not healthy")                                                                \
	X(USAGE, 2, "the command line is not valid")                                                                       \
	X(MISSING, 3, "there is no such segment or flag")                                                                  \
	X(DATA, EX_DATAERR, "the input's contents are not valid; nothing was changed")                                     \
	X(INPUT, EX_NOINPUT, "an input file can't be read")                                                                \
	X(UNUSABLE, EX_UNAVAILABLE, "the segment can't be used: damaged, of another layout, or no segment at all")         \
	X(SOFTWARE, EX_SOFTWARE, "an error inside of the command itself")                                                  \
	X(SYSTEM, EX_OSERR, "the operating system refused something")                                                      \
	X(CREATE, EX_CANTCREAT, "the segment or file exists already or can't be created")                                  \
	X(OUTPUT, EX_IOERR, "no room is left for flags, or output can't be written")                                       \
	X(AGAIN, EX_TEMPFAIL, "a time limit passed or the segment is in use; it may work later")                           \
	X(DENIED, EX_NOPERM, "permission is denied, also to writers from another PID namespace")

enum status {
#define STATUS_NUMBER(name, number, meaning) STATUS_##name = (number),
	STATUSES(STATUS_NUMBER)
#undef STATUS_NUMBER
};

/* The exit status that a result code of the library is. */
enum status failure_status(int error);

/* Each of these prints a sentence and returns the exit status, so that a command can `return` it. */

/* A library call failed: the sentence is flagstore_detail(), to be used right after the call, and not for
 * point reads. */
int failure_of_library(int error);

/* A library call failed, and the command knows better what was tried. */
int failure_of(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Anything else. */
int failure(enum status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with ": " and the sentence of errno behind it. */
int failure_errno(enum status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Something that the user should know, and that is no failure: {"warning": {"message": "..."}} under --json. */
void warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* There is no memory for a small thing: nothing sensible is left to do. */
_Noreturn void failure_memory(void);

#endif

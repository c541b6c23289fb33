/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * support.h: what all test programs share: requirements, children, a segment directory of their own.
 *
 * require...() may be used anywhere. In the thread that runs a test a failed one ends the test; in a child process it
 * ends the child, and in another thread the whole program, each with status 1. So the one who waits for the child
 * learns of it, and a program that ended too early counts as failed.
 */
#ifndef FLAGSTORE_TESTS_SUPPORT_H
#define FLAGSTORE_TESTS_SUPPORT_H

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <flagstore.h>
#include <stdbool.h>
#include <sys/types.h>

/* ---------------------------------------------------------------------------------------- requirements */

#define require(condition) require_true(__FILE__, __LINE__, #condition, (condition))
#define require_int(expected, actual) \
	require_same(__FILE__, __LINE__, #actual, (long long)(expected), (long long)(actual))
#define require_ok(call) require_result(__FILE__, __LINE__, #call, FLAGSTORE_OK, (call), NULL)
#define require_error(error, call) require_result(__FILE__, __LINE__, #call, (error), (call), NULL)
/* The detail must be a sentence and hold these words. */
#define require_error_says(error, words, call) require_result(__FILE__, __LINE__, #call, (error), (call), (words))

void require_true(const char *file, int line, const char *text, bool condition);
void require_same(const char *file, int line, const char *text, long long expected, long long actual);
void require_result(const char *file, int line, const char *text, int expected, int result, const char *words);

/* What is going on; printed with the next requirement that fails. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Checks the segment as a writer; nothing may be wrong and nothing skipped. Prints what is wrong. */
void require_healthy(flagstore *store);

/* Ends the running test as skipped; the reason stands in its output. */
void skip_because(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ------------------------------------------------------------------------------------------- segments */

/* Group set-up and tear-down: an empty segment directory, named by FLAGSTORE_DIR, gone at the end. */
int segments_setup(void **state);
int segments_teardown(void **state);

/* The same in a child: one of its own, inside of its parent's. */
int segments_own(void);

/* A new segment of 64 MiB at most, in place of an older one of the same name. options may be NULL. */
flagstore *fresh(const char *name, const struct flagstore_options *options);
flagstore *attach(const char *name, uint32_t flags);
struct flagstore_flag lookup(const flagstore *store, const char *key);
struct flagstore_info info(const flagstore *store);

/* The path of a segment's file; one of a few static places. */
const char *path_of(const char *name);

/* A number that differs when any byte of the file does (holes are zeros). */
uint64_t digest_of(const char *path);

/* Copies a segment's file, in place of an older one, with all the room that it has. */
void copy_file(const char *from, const char *to);

/* Gives a segment's file, which may be attached and mapped, the bytes that another one has, and at least its room. */
void rewind_file(const char *from, const char *to);

/* The i-th key of a family, "prefix.i", into a place of at least KEY_ROOM bytes; returns it. */
enum { KEY_ROOM = 64 };
const char *key_of(char *place, const char *prefix, unsigned i);

/* --------------------------------------------------------------------------------- processes and time */

typedef void body(void *argument);

/* Runs body in a child process that ends with status 0 after it, and dies with its parent. */
pid_t child(body *run, void *argument);

/* Waits for a child; after limit_ms it is killed and the requirement fails. Returns the status as waitpid() does. */
int child_status(pid_t pid, int limit_ms);

/* It must end with status 0 within 60 seconds. */
void child_succeeds(pid_t pid);

/* child(), then child_succeeds(). */
void in_child(body *run, void *argument);

/* It is sent SIGKILL and waited for; false when it had ended by itself before. */
bool child_kill(pid_t pid);

/* Zeroed memory that children share; until the program ends. */
void *shared_memory(size_t bytes);

int64_t now_ms(void);
int64_t now_us(void);
void pause_us(long us);

/* A fast generator of numbers (splitmix64); the state may be any number. */
uint64_t random_next(uint64_t *state);

#endif

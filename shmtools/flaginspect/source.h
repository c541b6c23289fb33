/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * source.h: what is inspected: a live segment, a file that nobody works in, or a snapshot.
 *
 * flagstore_attach() refuses what is damaged, half made, cut short, or of another boot. The inspector opens all of that, reads it through
 * the library's own eyes (struct flagstore, whose every offset is checked when it is used), and changes nothing in it. Of a file it maps
 * what the file really holds; holes, and what lies behind its end, are zeros of the process's own. */
#ifndef SOURCE_H
#define SOURCE_H

#include "segment.h"

enum source_kind {
	SOURCE_LIVE,     /* somebody is attached and may write */
	SOURCE_FILE,     /* a segment or a copy of one; nobody is at work in it */
};

struct source {
	enum source_kind kind;
	flagstore *store;      /* opened read-only; not to be given to flagstore_close() */
	bool table;            /* the header tells where everything is; without it, there is nothing but the header */
	uint64_t file_bytes;   /* size of the file */
	uint64_t device, inode;
	bool mended;           /* the header's constants are not those of the file, but what they must have been */
	char damage[256];      /* what had to be guessed because the header is damaged, or cut short; empty: nothing */
};

/* Opens what the operand names: a segment, as everywhere, or, without a segment of that name, a file in the working directory. Returns
 * STATUS_DONE, or the exit status after printing a failure: only what can't be opened, or is no segment whatever one allows for. */
int source_open(const char *name, struct source *source);

/* The same with the library's result and detail instead of a printed failure. */
int source_try(const char *name, struct source *source);

/* Makes the store a writable copy that nobody else sees. Returns a result of the library. */
int source_make_private(struct source *source);

/* Whether somebody is attached and may write, now. */
bool source_is_live(const struct source *source);

/* "live segment" or "file". */
const char *source_text(const struct source *source);

void source_close(struct source *source);

/* What most commands are: opens it, shows it, closes it. Returns the exit status. */
int source_show(const char *name, int (*show)(const struct source *source));

/* For what is to be seen in the table alone: STATUS_DONE, or the exit status after printing why there is none. */
int source_needs_table(const struct source *source);

#endif

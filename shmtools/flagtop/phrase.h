/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * phrase.h: what a frame says, in words. All text is printable ASCII: keys, commands and names are encoded as vis(3) does it, so that no
 * byte in a segment can steer a terminal. */
#ifndef PHRASE_H
#define PHRASE_H

#include "model.h"

struct phrase {
	char text[1400]; /* room for the longest key, encoded, and more */
};

/* Both parties of a conflict in 80 columns: the command gives way. */
enum {
	PHRASE_PARTY = 34,
	PHRASE_COMMAND_LEAST = 4,
	PHRASE_MODULE = 10,
};

struct phrase rate_phrase(double rate);                        /* "0", "0.3", "12", "1 234" */
struct phrase who_phrase(const struct model_who *who);         /* "command[pid]", "-" */
struct phrase key_phrase(const char *key, size_t length);      /* "-" when it is not known */
struct phrase text_phrase(const char *text);                   /* any sentence, encoded */
struct phrase command_phrase(const struct model_thread *thread); /* "command", with the thread's name if it has one of its own */
struct phrase state_phrase(const struct model_thread *thread); /* "waiting 1.2 s for shard 3 behind command[pid]" */
struct phrase holder_phrase(const struct model_shard *shard);
struct phrase party_phrase(const struct flagstore_conflict *conflict, const struct flagstore_party *party);
struct phrase places_phrase(const struct flagstore_conflict *conflict);
struct phrase event_phrase(const struct model_event *event);
struct phrase time_phrase(int64_t ns);                         /* "14:22:33.123", UTC */
const char *flag_phrase(const struct flagstore_flag *flag);    /* "true", "false", "missing" */

enum { PHRASE_ITEMS = 12 };

/* The header's items, the most important first; returns how many. The first is the health word. */
size_t header_phrases(const struct frame *frame, struct phrase items[PHRASE_ITEMS]);

#endif

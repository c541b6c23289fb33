/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * names.h: the keys of the flags that events are about. An event names a slot and a life of a flag, not its key. The slot has it for as
 * long as the flag stands there; what was seen once is remembered, because growth moves flags and deletes end them; and what is still
 * missing is looked for by a walk over all flags, which may not take more than a small part of the time. */
#ifndef NAMES_H
#define NAMES_H

#include "model.h"

struct names;

struct names *names_open(const flagstore *store);

/* The key of the flag that a change is about; length 0: not known. */
void names_find(struct names *names, const struct flagstore_event *change, struct model_key *key);

/* Looks for the keys of those hot flags that have none. */
void names_complete(struct names *names, struct model_hot *hot, size_t count);

void names_close(struct names *names);

#endif

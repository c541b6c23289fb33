/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * operations.h: every kind of write, one by one, each with the scene in which it is that kind, and with what the flags are
 * before and after it. Whoever interrupts a write somewhere can ask here what may be seen afterwards.
 *
 *     open_scene(operation, &scene);               makes the segment that the scene names
 *     ... copy its file, attach, operation->run(store, &scene), die in the middle ...
 *     require_old_or_new(reader, &scene);          any reader, at once
 *     require_whole(store, &scene);                a writer, after the recovery
 *     close_scene(&scene);
 */
#ifndef FLAGSTORE_TESTS_OPERATIONS_H
#define FLAGSTORE_TESTS_OPERATIONS_H

#include "support.h"

enum presence { MISSING, IS_FALSE, IS_TRUE };

enum { TOUCHED_MAX = 200 };

struct scene {
	const struct operation *operation;
	const char *segment;  /* as it is before the write; nobody is attached */
	unsigned bystanders;  /* flags that the write leaves alone: bystander(i), true for odd i */
	unsigned count;       /* flags that the write changes */
	struct touched {
		char key[FLAGSTORE_KEY_MAX + 1];
		enum presence before;
		enum presence after;
	} touched[TOUCHED_MAX];
};

struct operation {
	const char *name;
	uint32_t shards;
	void (*prepare)(flagstore *store, struct scene *scene);
	int (*run)(flagstore *store, const struct scene *scene);
};

extern const struct operation operations[];
extern const unsigned operations_count;

void open_scene(const struct operation *operation, struct scene *scene);
void close_scene(struct scene *scene);

const char *bystander(char *place, unsigned i);

/* As many flags as were there before, plus those that exist now of the touched ones. */
unsigned flags_there(const flagstore *store, const struct scene *scene);

/* The bystanders are as they were, also for a cursor; each touched flag is as before the write or as after it. */
void require_old_or_new(const flagstore *store, const struct scene *scene);

/* And all touched flags are as before, or all as after. Returns true when after. */
bool require_whole(flagstore *store, const struct scene *scene);

#endif

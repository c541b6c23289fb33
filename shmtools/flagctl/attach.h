/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * attach.h: attaching to the segment that the first operand names, and saying why it can't be done. */
#ifndef ATTACH_H
#define ATTACH_H

#include <flagstore.h>

enum {
	/* How often those who sleep for a change ask attach_still_there(): nobody wakes them when a segment goes. */
	ATTACH_LOOK_EVERY_MS = 1000,
};

/* Each attaches and returns STATUS_DONE, or the exit status after printing a failure. */

/* To look. Works without permission to write and from any PID namespace, and leaves no trace in the segment. */
int attach_to_read(const char *name, flagstore **store);

/* To change flags. */
int attach_to_write(const char *name, flagstore **store);

/* To look with a writer's means, where that is allowed (writers wake it, it may take locks), and without them
 * otherwise. */
int attach_to_follow(const char *name, flagstore **store);

/* Whether the segment has been unlinked, so that nothing will ever change in it for those who look it up by name:
 * prints that, and returns STATUS_MISSING; otherwise STATUS_DONE. */
int attach_still_there(const char *name, const flagstore *store);

#endif

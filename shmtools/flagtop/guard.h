/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.h: the one thing that flagtop changes, and only when it is told to. */
#ifndef GUARD_H
#define GUARD_H

/* Sets the guard's mode: attaches to write for as long as that takes. Returns a result of the library; ENOSEGMENT too when the segment of
 * that name is another one than that with the UUID. */
int guard_set(const char *segment, const char *uuid, int mode);

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * pace.h: from one look to the next, and the signals that end it all. */
#ifndef PACE_H
#define PACE_H

#include <stdbool.h>

#include "model.h"

/* From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT are noted instead of ending the process. */
void pace_catch_signals(void);

/* The signal that has come, 0: none. */
int pace_signal(void);

/* Sleeps for the interval, reading the event rings on the way; shorter when a signal comes. Returns a result of the library. */
int pace_sleep(struct model *model, uint64_t milliseconds);

#endif

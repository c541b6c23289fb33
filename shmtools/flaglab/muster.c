/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * muster.c: how a process waits until all are there. */
#include "muster.h"

#include "clock.h"

void muster_join(struct muster *muster)
{
	atomic_fetch_add_explicit(&muster->ready, 1, memory_order_release);
	while (muster_phase(muster) == PHASE_ASSEMBLE)
		clock_sleep_until(clock_now() + MILLISECOND);
}

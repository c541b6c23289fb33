/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * muster.h: what the processes of the laboratory are to do now, and how many are ready for it. Lies in memory that they share;
 * the parent gives the orders. Nobody waits by a lock, so it does not matter who is killed when. */
#ifndef MUSTER_H
#define MUSTER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

enum phase {
	PHASE_ASSEMBLE, /* processes start and attach */
	PHASE_QUIET,    /* crash: nobody writes yet */
	PHASE_RUN,
	PHASE_PAUSE,    /* crash: writers stand still, while all is compared */
	PHASE_SETTLE,   /* run: no more flips; workers read on until all have seen the last one */
	PHASE_STOP,
};

struct muster {
	alignas(64) _Atomic uint32_t phase; /* by the parent */
	_Atomic uint32_t ready;             /* added up by all who are forked, once each */
};

static inline enum phase muster_phase(const struct muster *muster)
{
	return (enum phase)atomic_load_explicit(&muster->phase, memory_order_acquire);
}

static inline void muster_set(struct muster *muster, enum phase phase)
{
	atomic_store_explicit(&muster->phase, (uint32_t)phase, memory_order_release);
}

static inline uint32_t muster_ready(const struct muster *muster)
{
	return atomic_load_explicit(&muster->ready, memory_order_acquire);
}

/* For a forked process: says that it is ready, and sleeps until all are. */
void muster_join(struct muster *muster);

#endif

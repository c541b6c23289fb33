/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * phase.h: what a shard's writer is in the middle of, in words. */
#ifndef PHASE_H
#define PHASE_H

#include "layout.h"

static inline const char *phase_text(const struct fs_shard *shard)
{
	static const char *const texts[] = {
		"idle",           "filling a bucket",  "publishing a bucket", "founding the table",
		"doubling the directory", "storing a long key", "releasing a long key", "enlarging a redo record",
	};
	uint32_t phase = atomic_load_explicit(&shard->phase, memory_order_relaxed);

	if (phase >= sizeof texts / sizeof *texts)
		return "nothing that is known";
	if (phase != FS_IDLE)
		return texts[phase];
	if (atomic_load_explicit(&shard->batch, memory_order_relaxed))
		return "part of a batch";
	return atomic_load_explicit(&shard->sequence, memory_order_relaxed) & 1 ? "changing" : "idle";
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * absl.cc: absl::flat_hash_map without any lock, for one thread. */
struct no_lock {
	void Lock()
	{
	}
	void Unlock()
	{
	}
};

#define LOCK no_lock
#define PEER_ALONE 1
#define PEER_NAME "absl"
#define PEER_TITLE "absl::flat_hash_map without a lock, one thread"
#include "absl.h"

#include "driver.h"

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * absl-mutex.cc: absl::flat_hash_map behind absl::Mutex. */
#include <absl/synchronization/mutex.h>

#define LOCK absl::Mutex
#define PEER_NAME "absl-mutex"
#define PEER_TITLE "absl::flat_hash_map with a mutex"
#include "absl.h"

#include "driver.h"

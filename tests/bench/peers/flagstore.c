/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagstore.c: flagstore, as a program that links with its shared library does it. */
#include "peer-flagstore.h"

#define PEER_NAME "flagstore"
#define PEER_TITLE "flagstore"
#define PEER_MOST 100000000

static const char *peer_version(void)
{
	return flagstore_version();
}

#include "driver.h"

/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * place.h: addresses in running programs as places in the files that they came from, which can be told for as long as those files
 * exist. */
#ifndef FS_PLACE_H
#define FS_PLACE_H

#include <sys/types.h>

#include "layout.h"

/* The place of an address in this process, as struct fs_party has it, with its module added to the body's when it is a new one. 0: unknown. */
uint64_t fs_place_here(struct fs_conflict_body *body, uintptr_t address);

/* The same of another process, for as long as it lives and may be looked at. */
uint64_t fs_place_there(struct fs_conflict_body *body, pid_t pid, uintptr_t address);

/* The calling thread's stack. */
void fs_place_stack(struct fs_conflict_body *body);

#endif

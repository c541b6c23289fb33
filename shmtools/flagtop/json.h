/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * json.h: a frame for programs. */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>

#include "model.h"

/* All of the frame, for output_json(). */
json_t *json_frame(const char *segment, const struct frame *frame);

#endif

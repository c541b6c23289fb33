/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * happening.h: events of the flight recorder as text and JSON. */
#ifndef HAPPENING_H
#define HAPPENING_H

#include <jansson.h>

#include "source.h"

/* The key in the slot that the event is about, in vis(3) form; "" when the slot holds another life by now, or the event is about none. */
struct happening_key {
	char text[4 * FLAGSTORE_KEY_MAX + 1];
};
struct happening_key happening_key(const struct source *source, const struct flagstore_event *event);

/* "insert true, change 1", "waited 1.2 ms behind flagctl[12]" and the like. */
struct happening_text {
	char text[320];
};
struct happening_text happening_text(const struct source *source, const struct flagstore_event *event);

json_t *happening_json(const struct source *source, const struct flagstore_event *event);

/* "2024-05-31T09:00:00.123456Z" */
struct happening_time {
	char text[40];
};
struct happening_time happening_time(int64_t time_ns);

#endif

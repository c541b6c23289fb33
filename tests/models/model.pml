/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * model.pml: what the models have in common. Included by each.
 *
 * Bounds, and the number of the planted mistake, come from the environment when the verifier runs, so that it is compiled once for
 * all of them. Macros MISTAKE_... in a model name its mistakes; 0 is none. */

c_decl {
\#include <stdlib.h>

static int from_environment(const char *name, int otherwise)
{
	const char *text = getenv(name);

	return text && *text ? atoi(text) : otherwise;
}
}

/* The value of a bound, a global variable. To be assigned once, at the start. */
#define BOUND(variable, otherwise) c_code { now.variable = from_environment(#variable, otherwise); }

/* A store by a process that may be killed just before it: one step. The process has a variable deaths, how often it may still be
 * killed, and a label died, where it goes on as its successor. */
#define STORE(...) if :: d_step { __VA_ARGS__ } :: atomic { deaths > 0 -> deaths--; goto died } fi

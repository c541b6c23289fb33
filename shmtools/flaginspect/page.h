/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * page.h: a picture as one page of HTML that needs nothing else: SVG, a legend, what is wrong when one points at it; light or dark as
 * the reader's system is. */
#ifndef PAGE_H
#define PAGE_H

#include <stdio.h>

#include "picture.h"

void page_print(const struct source *source, const struct picture *picture, FILE *file);

#endif

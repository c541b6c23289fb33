#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab-histogram.sh: the quantiles that flaglab prints are those of the durations that it was given, from the smallest to the largest.
set -u
. "$top_srcdir/tests/tap.sh"

cat >"$work/test.c" <<'END'
#include "histogram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct histogram histogram;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Against a sorted list of numbers with as many bits as chance wants. */
static int spread(unsigned bits, int count)
{
	static const double shares[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
	uint64_t *numbers = calloc((size_t)count, sizeof *numbers);

	for (int i = 0; i < count; i++) {
		numbers[i] = (((uint64_t)random() << 33) ^ ((uint64_t)random() << 15) ^ (uint64_t)random()) >> (random() % bits + 64 - bits);
		histogram_add(&histogram, numbers[i]);
	}
	qsort(numbers, (size_t)count, sizeof *numbers, compare);
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		int rank = (int)(shares[i] * count + 0.999999) - 1;
		uint64_t right = numbers[rank < 0 ? 0 : rank], said = histogram_quantile(&histogram, shares[i]);
		uint64_t off = right > said ? right - said : said - right;

		if ((double)off > (double)right * 0.004 + 0.5) {
			printf("%g: %llu instead of %llu\n", shares[i], (unsigned long long)said, (unsigned long long)right);
			return 1;
		}
	}
	return histogram_count(&histogram) != (uint64_t)count || histogram_most(&histogram) != numbers[count - 1];
}

static int one(uint64_t number)
{
	histogram_add(&histogram, number);
	return histogram_quantile(&histogram, 0.5) > number || (double)histogram_quantile(&histogram, 0.5) < (double)number * 0.996 ||
	       histogram_most(&histogram) != number;
}

int main(int argc, char **argv)
{
	if (strcmp(argv[1], "none") == 0)
		return histogram_quantile(&histogram, 0.5) != 0 || histogram_most(&histogram) != 0 || histogram_count(&histogram) != 0;
	if (strcmp(argv[1], "one") == 0)
		return one(strtoull(argv[2], NULL, 0));
	return spread((unsigned)atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 100000);
}
END

numbers='0 1 127 128 129 255 256 257 1000000 0x7fffffffffffffff 0xffffffffffffffff'
echo "1..$(($(wc -w <<<"$numbers") + 5))"
check "it compiles" $CC ${CFLAGS-} -std=c11 -D_GNU_SOURCE -I"$top_srcdir/shmtools/flaglab" -o "$work/test" "$work/test.c" \
	"$top_srcdir/shmtools/flaglab/histogram.c"
check "nothing was added" "$work/test" none
for i in $numbers; do
	check "$i alone" "$work/test" one "$i"
done
check "small numbers" "$work/test" spread 7
check "numbers of all sizes" "$work/test" spread 63
check "few numbers" "$work/test" spread 40 3

# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# api.sh: what include/flagstore.h declares, for the tests that compare it with something else. To be sourced; needs $CC and
# $top_srcdir.

# What the compiler sees of the header, without its function types.
api_text() {
	$CC -E -P -x c "$top_srcdir/include/flagstore.h" | sed '/^typedef [a-z]* flagstore_[a-z_]*(/d'
}

# The names of all functions, sorted.
api_functions() {
	api_text | grep -oE '\bflagstore_[a-z_]+\(' | tr -d '(' | LC_ALL=C sort -u
}

# Those of them that the header defines itself.
api_inline_functions() {
	api_text | sed -n 's/^static inline .*\b\(flagstore_[a-z_]*\)(.*/\1/p' | LC_ALL=C sort -u
}

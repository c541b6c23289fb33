#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# symbols.sh: the shared library exports the functions of the header, and nothing else.
set -eu
. "$top_srcdir/tests/api.sh"
library=$top_builddir/.libs/libflagstore.so

exported() {
	nm -D --defined-only "$library" | awk '{print $NF}' | LC_ALL=C sort -u
}

echo 1..1
if difference=$(diff <(LC_ALL=C comm -23 <(api_functions) <(api_inline_functions)) <(exported)); then
	echo "ok 1 - the shared library exports what the header declares"
else
	echo "$difference" | sed -n 's/^</# declared, but not exported:/p; s/^>/# exported, but not declared:/p'
	echo "not ok 1 - the shared library exports what the header declares"
fi

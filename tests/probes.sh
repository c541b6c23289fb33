#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# probes.sh: the library has the static probes that flagstore(7) lists.
set -u
. "$top_srcdir/tests/tap.sh"

library=$top_builddir/.libs/libflagstore.so

probes() {
	readelf -n "$library" | awk '/Provider: flagstore$/ {on = 1; next} on && /Name:/ {print $2; on = 0}' | LC_ALL=C sort -u
}
listed() {
	sed -n '/^\.Sh PROBES/,/^\.Sh FULL/s/^\.It \([a-z]*\) Ta .*/\1/p' "$top_srcdir/man/flagstore.7" | LC_ALL=C sort -u
}
same() {
	[ "$(listed | wc -l)" -eq 7 ] && diff <(listed) <(probes)
}

echo 1..1
if [ -z "$(probes)" ] && ! echo '#include <sys/sdt.h>' | $CC -E - >/dev/null 2>&1; then
	skip "the library has the probes that flagstore(7) lists" "there is no sys/sdt.h: apt-get install systemtap-sdt-dev"
else
	check "the library has the probes that flagstore(7) lists" same
fi

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# header.sh: the header can be used from C and C++ by itself, without a warning, and a C++ program can use the library,
# which has the package's version.
set -u
. "$top_srcdir/tests/tap.sh"
export FLAGSTORE_DIR=$work
warnings='-Wall -Wextra -Wconversion -pedantic -Werror'

cat >"$work/program.cc" <<'END'
#include <cstdio>
#include <flagstore.h>

static int refuse(const char *what)
{
	std::fprintf(stderr, "%s: %s\n", what, flagstore_detail());
	return 1;
}

int main()
{
	flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	flagstore *store = nullptr;
	flagstore_handle *handle = nullptr;

	if (flagstore_create("header", &options, &store) != FLAGSTORE_OK)
		return refuse("create");
	if (flagstore_handle_open(store, "flag", &handle) != FLAGSTORE_OK)
		return refuse("handle");
	if (flagstore_handle_get(handle))
		return refuse("a missing flag reads true");
	if (flagstore_set(store, "flag", true) != FLAGSTORE_OK)
		return refuse("set");
	if (!flagstore_handle_get(handle))
		return refuse("a true flag reads false");
	flagstore_handle_close(handle);
	flagstore_close(store);
	std::puts(flagstore_version());
	return 0;
}
END

# A library that was built with a sanitizer needs a program that was, by the same compiler.
case $CC in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac

runs() {
	"$work/program" >"$work/version"
}

same_version() {
	grep -qx "Version: $(cat "$work/version")" "$top_builddir/flagstore.pc"
}

echo 1..4
check "the header compiles as C11" $CC -std=c11 $warnings -fsyntax-only -x c "$top_srcdir/include/flagstore.h"
if command -v $cxx >/dev/null; then
	check "a C++17 program compiles and links" $cxx -std=c++17 $warnings $CFLAGS -I"$top_srcdir/include" \
		"$work/program.cc" -o "$work/program" -L"$top_builddir/.libs" -lflagstore -Wl,-rpath,"$top_builddir/.libs"
	check "and runs" runs
	check "with a library of the version that pkg-config tells" same_version
else
	skip "a C++17 program compiles and links" "there is no $cxx"
	skip "and runs" "there is no $cxx"
	skip "with a library of the version that pkg-config tells" "there is no $cxx"
fi

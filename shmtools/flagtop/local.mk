# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The command flagtop, its page, its completion and its tests. It looks at segments by the library's inner names.

bin_PROGRAMS += shmtools/flagtop/flagtop
shmtools_flagtop_flagtop_SOURCES = \
	shmtools/flagtop/batch.c \
	shmtools/flagtop/draw.c \
	shmtools/flagtop/draw.h \
	shmtools/flagtop/guard.c \
	shmtools/flagtop/guard.h \
	shmtools/flagtop/json.c \
	shmtools/flagtop/json.h \
	shmtools/flagtop/main.c \
	shmtools/flagtop/model.c \
	shmtools/flagtop/model.h \
	shmtools/flagtop/names.c \
	shmtools/flagtop/names.h \
	shmtools/flagtop/nanoseconds.h \
	shmtools/flagtop/options.h \
	shmtools/flagtop/pace.c \
	shmtools/flagtop/pace.h \
	shmtools/flagtop/phrase.c \
	shmtools/flagtop/phrase.h \
	shmtools/flagtop/screen.c \
	shmtools/flagtop/source.c \
	shmtools/flagtop/source.h \
	shmtools/flagtop/table.c \
	shmtools/flagtop/table.h \
	shmtools/flagtop/terminal.c \
	shmtools/flagtop/terminal.h
shmtools_flagtop_flagtop_CPPFLAGS = $(shmtools_cppflags) -I$(top_srcdir)/src $(CURSES_CFLAGS)
shmtools_flagtop_flagtop_LDADD = libshmtools.la libflagstore-internal.la $(JANSSON_LIBS) $(CURSES_LIBS) $(BSD_LIBS)

dist_man_MANS += man/flagtop.1
dist_bash_completion_DATA += shmtools/completion/flagtop
dist_check_SCRIPTS += tests/flagtop.sh tests/flagtop-manual.sh

# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The command flaginspect, its page, its completion and its tests. It looks at segments by the library's inner names.

bin_PROGRAMS += shmtools/flaginspect/flaginspect
shmtools_flaginspect_flaginspect_SOURCES = \
	shmtools/flaginspect/check.c \
	shmtools/flaginspect/commands.h \
	shmtools/flaginspect/conflicts.c \
	shmtools/flaginspect/diff.c \
	shmtools/flaginspect/dump.c \
	shmtools/flaginspect/events.c \
	shmtools/flaginspect/facts.c \
	shmtools/flaginspect/facts.h \
	shmtools/flaginspect/findings.c \
	shmtools/flaginspect/findings.h \
	shmtools/flaginspect/flags.c \
	shmtools/flaginspect/flags.h \
	shmtools/flaginspect/happening.c \
	shmtools/flaginspect/happening.h \
	shmtools/flaginspect/history.c \
	shmtools/flaginspect/lines.c \
	shmtools/flaginspect/lines.h \
	shmtools/flaginspect/locks.c \
	shmtools/flaginspect/main.c \
	shmtools/flaginspect/map.c \
	shmtools/flaginspect/page.c \
	shmtools/flaginspect/page.h \
	shmtools/flaginspect/picture.c \
	shmtools/flaginspect/picture.h \
	shmtools/flaginspect/phase.h \
	shmtools/flaginspect/process.c \
	shmtools/flaginspect/process.h \
	shmtools/flaginspect/repair.c \
	shmtools/flaginspect/shards.c \
	shmtools/flaginspect/snapshot.c \
	shmtools/flaginspect/source.c \
	shmtools/flaginspect/source.h \
	shmtools/flaginspect/stacks.c \
	shmtools/flaginspect/stacks.h \
	shmtools/flaginspect/threads.c \
	shmtools/flaginspect/watch.c \
	shmtools/flaginspect/workers.c
inspect_cppflags = $(shmtools_cppflags) -I$(top_srcdir)/src $(LIBDW_CFLAGS)
inspect_libs = libshmtools.la libflagstore-internal.la $(JANSSON_LIBS) $(BSD_LIBS)
shmtools_flaginspect_flaginspect_CPPFLAGS = $(inspect_cppflags)
shmtools_flaginspect_flaginspect_LDADD = $(inspect_libs) $(LIBDW_LIBS)

dist_man_MANS += man/flaginspect.1
dist_bash_completion_DATA += shmtools/completion/flaginspect
EXTRA_DIST += tests/flaginspect.sh
dist_check_SCRIPTS += \
	tests/flaginspect-check.sh \
	tests/flaginspect-diff.sh \
	tests/flaginspect-events.sh \
	tests/flaginspect-locks.sh \
	tests/flaginspect-manual.sh \
	tests/flaginspect-map.sh \
	tests/flaginspect-repair.sh

# What the tests look for.
check_PROGRAMS += tests/culprit
tests_culprit_SOURCES = tests/culprit.c
tests_culprit_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/src
tests_culprit_LDADD = libflagstore-internal.la

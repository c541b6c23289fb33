# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# What the commands share. A command's own local.mk takes shmtools_cppflags and shmtools_libs from here.

shmtools_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/shmtools/common $(JANSSON_CFLAGS)
shmtools_libs = libshmtools.la libflagstore.la $(JANSSON_LIBS) $(BSD_LIBS)

noinst_LTLIBRARIES += libshmtools.la
libshmtools_la_SOURCES = \
	shmtools/common/cli.c \
	shmtools/common/cli.h \
	shmtools/common/columns.c \
	shmtools/common/columns.h \
	shmtools/common/describe.c \
	shmtools/common/describe.h \
	shmtools/common/failure.c \
	shmtools/common/failure.h \
	shmtools/common/keypack.c \
	shmtools/common/keypack.h \
	shmtools/common/keytext.c \
	shmtools/common/keytext.h \
	shmtools/common/outfile.c \
	shmtools/common/outfile.h \
	shmtools/common/output.c \
	shmtools/common/output.h \
	shmtools/common/peer-flagstore.h \
	shmtools/common/progress.c \
	shmtools/common/progress.h \
	shmtools/common/quantity.c \
	shmtools/common/quantity.h \
	shmtools/common/value.c \
	shmtools/common/value.h \
	shmtools/common/workload.h \
	shmtools/common/workloads.h \
	shmtools/common/workteam.h
libshmtools_la_CPPFLAGS = $(shmtools_cppflags)

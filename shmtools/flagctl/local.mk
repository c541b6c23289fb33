# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The command flagctl, its page, its completion and its tests.

bin_PROGRAMS += shmtools/flagctl/flagctl
shmtools_flagctl_flagctl_SOURCES = \
	shmtools/flagctl/attach.c \
	shmtools/flagctl/attach.h \
	shmtools/flagctl/backup.c \
	shmtools/flagctl/batch.c \
	shmtools/flagctl/breaker.c \
	shmtools/flagctl/changes.c \
	shmtools/flagctl/changes.h \
	shmtools/flagctl/check.c \
	shmtools/flagctl/commands.h \
	shmtools/flagctl/contents.c \
	shmtools/flagctl/contents.h \
	shmtools/flagctl/create.c \
	shmtools/flagctl/delete.c \
	shmtools/flagctl/doctor.c \
	shmtools/flagctl/export.c \
	shmtools/flagctl/filter.c \
	shmtools/flagctl/filter.h \
	shmtools/flagctl/flagd.c \
	shmtools/flagctl/flaglist.c \
	shmtools/flagctl/flaglist.h \
	shmtools/flagctl/format.c \
	shmtools/flagctl/format.h \
	shmtools/flagctl/get.c \
	shmtools/flagctl/guard.c \
	shmtools/flagctl/health.c \
	shmtools/flagctl/import.c \
	shmtools/flagctl/info.c \
	shmtools/flagctl/list.c \
	shmtools/flagctl/main.c \
	shmtools/flagctl/persist.c \
	shmtools/flagctl/reserve.c \
	shmtools/flagctl/restore.c \
	shmtools/flagctl/saved.c \
	shmtools/flagctl/saved.h \
	shmtools/flagctl/set.c \
	shmtools/flagctl/test.c \
	shmtools/flagctl/toggle.c \
	shmtools/flagctl/tsv.c \
	shmtools/flagctl/unlink.c \
	shmtools/flagctl/verify.c \
	shmtools/flagctl/wait.c \
	shmtools/flagctl/watch.c
# health counts flags by the library's inner names.
shmtools_flagctl_flagctl_CPPFLAGS = $(shmtools_cppflags) -I$(top_srcdir)/src $(LMDB_CFLAGS)
shmtools_flagctl_flagctl_LDADD = libshmtools.la libflagstore-internal.la $(JANSSON_LIBS) $(BSD_LIBS) $(LMDB_LIBS)

dist_man_MANS += man/flagctl.1

bash_completiondir = $(BASH_COMPLETION_DIR)
dist_bash_completion_DATA = shmtools/completion/flagctl

EXTRA_DIST += tests/flagctl.sh
dist_check_SCRIPTS += \
	tests/flagctl-completion.sh \
	tests/flagctl-flags.sh \
	tests/flagctl-import.sh \
	tests/flagctl-keys.sh \
	tests/flagctl-manual.sh \
	tests/flagctl-output.sh \
	tests/flagctl-persist.sh \
	tests/flagctl-segments.sh \
	tests/flagctl-usage.sh \
	tests/flagctl-waits.sh

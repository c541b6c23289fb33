# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The library: compiled once for use, and once more with the points at which tests kill it.

include_HEADERS = include/flagstore.h

library_sources = \
	include/flagstore.h \
	src/admit.c \
	src/admit.h \
	src/attach.c \
	src/backup.c \
	src/batch.c \
	src/block.c \
	src/block.h \
	src/breaker.c \
	src/breaker.h \
	src/census.c \
	src/census.h \
	src/change.c \
	src/change.h \
	src/check.c \
	src/check.h \
	src/checkfind.c \
	src/checkfind.h \
	src/checkheader.c \
	src/checkshard.c \
	src/conflict.c \
	src/create.c \
	src/cursor.c \
	src/cursor.h \
	src/disk.c \
	src/disk.h \
	src/dump.c \
	src/error.c \
	src/error.h \
	src/event.c \
	src/event.h \
	src/events.c \
	src/fence.h \
	src/file.c \
	src/file.h \
	src/find.h \
	src/futex.h \
	src/grow.c \
	src/grow.h \
	src/guard.c \
	src/guard.h \
	src/handle.c \
	src/info.c \
	src/journal.c \
	src/journal.h \
	src/key.h \
	src/layout.h \
	src/lock.c \
	src/lock.h \
	src/many.c \
	src/mend.c \
	src/mend.h \
	src/mendbucket.c \
	src/mendheader.c \
	src/mendheap.c \
	src/mendshard.c \
	src/name.c \
	src/persist.c \
	src/persist.h \
	src/persistence.c \
	src/place.c \
	src/place.h \
	src/point.h \
	src/probe.h \
	src/reconcile.c \
	src/recover.c \
	src/recover.h \
	src/redo.c \
	src/redo.h \
	src/repair.c \
	src/repair.h \
	src/reserve.c \
	src/room.c \
	src/seat.c \
	src/seat.h \
	src/section.c \
	src/section.h \
	src/segment.c \
	src/segment.h \
	src/sigbus.c \
	src/sigbus.h \
	src/slot.c \
	src/slot.h \
	src/snapshot.c \
	src/store.c \
	src/store.h \
	src/table.c \
	src/table.h \
	src/undertaking.c \
	src/undertaking.h \
	src/wait.c \
	src/wait.h \
	src/watch.c \
	src/worker.c \
	src/worker.h

# Calls inside the library go straight to its own functions: faster, and what -export-symbols-regex leaves out can't be replaced anyway.
library_cppflags = $(AM_CPPFLAGS) $(LMDB_CFLAGS) -DFLAGSTORE_VERSION='"$(PACKAGE_VERSION)"'
library_cflags = $(AM_CFLAGS) -fno-semantic-interposition

# All of it with its inner names: for the commands' and the tests' looks inside, and what the shared and the static library are made of.
noinst_LTLIBRARIES += libflagstore-internal.la
libflagstore_internal_la_SOURCES = $(library_sources)
libflagstore_internal_la_CPPFLAGS = $(library_cppflags)
libflagstore_internal_la_CFLAGS = $(library_cflags)
libflagstore_internal_la_LIBADD = $(LMDB_LIBS)

# -z nodelete: the handler of flagstore_catch_sigbus() must not be unloaded.
# -z now: a read in a signal handler must not have to call the dynamic linker first.
lib_LTLIBRARIES += libflagstore.la
libflagstore_la_SOURCES =
libflagstore_la_LIBADD = libflagstore-internal.la
libflagstore_la_LDFLAGS = -version-info $(FLAGSTORE_INTERFACE) -no-undefined -export-symbols-regex '^flagstore_' -Wl,-z,now -Wl,-z,nodelete

check_LTLIBRARIES += libflagstore-points.la
libflagstore_points_la_SOURCES = $(library_sources)
libflagstore_points_la_CPPFLAGS = $(library_cppflags) -DFLAGSTORE_POINTS
libflagstore_points_la_CFLAGS = $(library_cflags)
libflagstore_points_la_LIBADD = $(LMDB_LIBS)

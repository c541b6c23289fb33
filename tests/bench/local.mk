# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The benchmark: a program that measures, and a driver for each peer whose packages configure has found. Nothing of it is built but by
# `make bench`, except what the test suite tries it with.

bench_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/shmtools/common -I$(top_srcdir)/tests/bench
bench_cxxflags = -std=c++17 -Wall -Wextra
bench_libs = libshmtools.la

check_PROGRAMS += tests/bench/run tests/bench/peers/flagstore
tests_bench_run_SOURCES = \
	tests/bench/drivers.c \
	tests/bench/drivers.h \
	tests/bench/plot.c \
	tests/bench/results.c \
	tests/bench/results.h \
	tests/bench/run.c \
	tests/bench/table.c
tests_bench_run_CPPFLAGS = $(bench_cppflags) $(JANSSON_CFLAGS)
tests_bench_run_LDADD = $(shmtools_libs) -lm
# A program, not libtool's script before one: it looks for the drivers beside itself.
tests_bench_run_LDFLAGS = -no-install

tests_bench_peers_flagstore_SOURCES = tests/bench/driver.h tests/bench/peers/flagstore.c
tests_bench_peers_flagstore_CPPFLAGS = $(bench_cppflags)
tests_bench_peers_flagstore_LDADD = $(bench_libs) libflagstore.la
tests_bench_peers_flagstore_LDFLAGS = -no-install

bench_peers = tests/bench/peers/lmdb
EXTRA_PROGRAMS += $(bench_peers)

tests_bench_peers_lmdb_SOURCES = tests/bench/driver.h tests/bench/peers/lmdb.c
tests_bench_peers_lmdb_CPPFLAGS = $(bench_cppflags) $(LMDB_CFLAGS)
tests_bench_peers_lmdb_LDADD = $(bench_libs) $(LMDB_LIBS)

if HAVE_CK
bench_peers += tests/bench/peers/ck
endif
tests_bench_peers_ck_SOURCES = tests/bench/driver.h tests/bench/peers/ck.c
tests_bench_peers_ck_CPPFLAGS = $(bench_cppflags) $(CK_CFLAGS)
tests_bench_peers_ck_LDADD = $(bench_libs) $(CK_LIBS)

if HAVE_ABSL
bench_peers += tests/bench/peers/absl tests/bench/peers/absl-mutex
endif
tests_bench_peers_absl_SOURCES = tests/bench/driver.h tests/bench/peers/absl.h tests/bench/peers/absl.cc
tests_bench_peers_absl_CPPFLAGS = $(bench_cppflags) $(ABSL_CFLAGS)
tests_bench_peers_absl_CXXFLAGS = $(bench_cxxflags)
tests_bench_peers_absl_LDADD = $(bench_libs) $(ABSL_LIBS)
tests_bench_peers_absl_mutex_SOURCES = tests/bench/driver.h tests/bench/peers/absl.h tests/bench/peers/absl-mutex.cc
tests_bench_peers_absl_mutex_CPPFLAGS = $(bench_cppflags) $(ABSL_CFLAGS)
tests_bench_peers_absl_mutex_CXXFLAGS = $(bench_cxxflags)
tests_bench_peers_absl_mutex_LDADD = $(bench_libs) $(ABSL_LIBS)

if HAVE_URCU
bench_peers += tests/bench/peers/urcu
endif
tests_bench_peers_urcu_SOURCES = tests/bench/driver.h tests/bench/peers/urcu.c
tests_bench_peers_urcu_CPPFLAGS = $(bench_cppflags) $(URCU_CFLAGS)
tests_bench_peers_urcu_LDADD = $(bench_libs) $(URCU_LIBS)

if HAVE_TBB
bench_peers += tests/bench/peers/tbb
endif
tests_bench_peers_tbb_SOURCES = tests/bench/driver.h tests/bench/peers/tbb.cc
tests_bench_peers_tbb_CPPFLAGS = $(bench_cppflags) $(TBB_CFLAGS)
tests_bench_peers_tbb_CXXFLAGS = $(bench_cxxflags)
tests_bench_peers_tbb_LDADD = $(bench_libs) $(TBB_LIBS)

if HAVE_GLIB
bench_peers += tests/bench/peers/glib
endif
tests_bench_peers_glib_SOURCES = tests/bench/driver.h tests/bench/peers/glib.c
tests_bench_peers_glib_CPPFLAGS = $(bench_cppflags) $(GLIB_CFLAGS)
tests_bench_peers_glib_LDADD = $(bench_libs) $(GLIB_LIBS)

if HAVE_BOOST
bench_peers += tests/bench/peers/boost
endif
tests_bench_peers_boost_SOURCES = tests/bench/driver.h tests/bench/peers/boost.cc
tests_bench_peers_boost_CPPFLAGS = $(bench_cppflags)
tests_bench_peers_boost_CXXFLAGS = $(bench_cxxflags)
tests_bench_peers_boost_LDADD = $(bench_libs)

if HAVE_TDB
bench_peers += tests/bench/peers/tdb
endif
tests_bench_peers_tdb_SOURCES = tests/bench/driver.h tests/bench/peers/tdb.c
tests_bench_peers_tdb_CPPFLAGS = $(bench_cppflags) $(TDB_CFLAGS)
tests_bench_peers_tdb_LDADD = $(bench_libs) $(TDB_LIBS)

if HAVE_REDIS
bench_peers += tests/bench/peers/redis
endif
tests_bench_peers_redis_SOURCES = tests/bench/driver.h tests/bench/peers/redis.c tests/bench/peers/server.h
tests_bench_peers_redis_CPPFLAGS = $(bench_cppflags) -DREDIS_SERVER='"$(REDIS_SERVER)"'
tests_bench_peers_redis_LDADD = $(bench_libs) $(HIREDIS_LIBS)

if HAVE_MEMCACHED
bench_peers += tests/bench/peers/memcached
endif
tests_bench_peers_memcached_SOURCES = tests/bench/driver.h tests/bench/peers/memcached.c tests/bench/peers/server.h
tests_bench_peers_memcached_CPPFLAGS = $(bench_cppflags) $(LIBMEMCACHED_CFLAGS) -DMEMCACHED='"$(MEMCACHED)"'
tests_bench_peers_memcached_LDADD = $(bench_libs) $(LIBMEMCACHED_LIBS)

# Two files of Go a program; no modules, so nothing is looked for elsewhere.
go_build = GO111MODULE=off GOFLAGS= GOCACHE=$(abs_top_builddir)/tests/bench/gocache $(GO) build -o $@
if HAVE_GO
bench_go = tests/bench/peers/go-rwmutex tests/bench/peers/go-syncmap
endif
tests/bench/peers/go-rwmutex: tests/bench/go/driver.go tests/bench/go/rwmutex.go
	$(AM_V_GEN)$(MKDIR_P) tests/bench/peers && $(go_build) $(srcdir)/tests/bench/go/driver.go $(srcdir)/tests/bench/go/rwmutex.go
tests/bench/peers/go-syncmap: tests/bench/go/driver.go tests/bench/go/syncmap.go
	$(AM_V_GEN)$(MKDIR_P) tests/bench/peers && $(go_build) $(srcdir)/tests/bench/go/driver.go $(srcdir)/tests/bench/go/syncmap.go
EXTRA_DIST += tests/bench/go/driver.go tests/bench/go/rwmutex.go tests/bench/go/syncmap.go

clean-local:
	rm -rf tests/bench/gocache

dist_check_SCRIPTS += tests/bench.sh
EXTRA_DIST += tests/bench/README

# Everything, in less than 20 minutes. BENCH='--peers flagstore,absl --sizes 1000' measures less.
bench: bench-build
	$(AM_V_at)tests/bench/run --output tests/bench/bench.json --svg tests/bench/bench.svg $(BENCH)
	@echo "tests/bench/bench.json has all rounds, tests/bench/bench.svg the plot"

bench-build: tests/bench/run tests/bench/peers/flagstore $(bench_peers) $(bench_go)

.PHONY: bench bench-build
CLEANFILES += tests/bench/bench.json tests/bench/bench.svg $(bench_peers) $(bench_go)

# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The tests. `make check` builds them and runs them all by tests/run, whose last line is the sum:
# N passed, N failed, N skipped. Some of them only: make check CHECKS='tests/points tests/reads'.

# The sum must stay the last line: make says nothing behind it.
AM_MAKEFLAGS = --no-print-directory

if HAVE_CMOCKA
check_LTLIBRARIES += tests/libsupport.la
check_PROGRAMS += $(test_programs)
endif
tests_libsupport_la_SOURCES = \
	tests/afterlife.c \
	tests/afterlife.h \
	tests/linearize.c \
	tests/linearize.h \
	tests/model.c \
	tests/model.h \
	tests/operations.c \
	tests/operations.h \
	tests/recorder.c \
	tests/recorder.h \
	tests/support.c \
	tests/support.h
tests_libsupport_la_CPPFLAGS = $(test_cppflags)
test_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/src $(CMOCKA_CFLAGS)
test_libraries = tests/libsupport.la libflagstore.la $(CMOCKA_LIBS)

test_programs = \
	tests/hash \
	tests/points \
	tests/segments \
	tests/reads \
	tests/batches \
	tests/space \
	tests/reserve \
	tests/forks \
	tests/environments \
	tests/damage \
	tests/truncation \
	tests/guard \
	tests/bits \
	tests/inspect-bits \
	tests/hostile \
	tests/deaths \
	tests/durable \
	tests/durable-deaths \
	tests/durable-faults \
	tests/durable-power \
	tests/instructions \
	tests/overtaken \
	tests/waiters \
	tests/orders \
	tests/linear \
	tests/stress

tests_hash_CPPFLAGS = $(test_cppflags)
tests_hash_LDADD = $(test_libraries)
tests_points_CPPFLAGS = $(test_cppflags)
tests_points_LDADD = $(test_libraries)
tests_segments_CPPFLAGS = $(test_cppflags)
tests_segments_LDADD = $(test_libraries)
tests_reads_CPPFLAGS = $(test_cppflags)
tests_reads_LDADD = $(test_libraries)
tests_batches_CPPFLAGS = $(test_cppflags)
tests_batches_LDADD = $(test_libraries)
tests_space_CPPFLAGS = $(test_cppflags)
tests_space_LDADD = $(test_libraries)
tests_reserve_CPPFLAGS = $(test_cppflags)
tests_reserve_LDADD = $(test_libraries)
tests_damage_CPPFLAGS = $(test_cppflags)
tests_damage_LDADD = $(test_libraries)
tests_hostile_CPPFLAGS = $(test_cppflags)
tests_hostile_LDADD = $(test_libraries)
tests_bits_CPPFLAGS = $(test_cppflags)
tests_bits_LDADD = $(test_libraries)
# The same, with the eyes of the inspector.
tests_inspect_bits_SOURCES = tests/bits.c shmtools/flaginspect/findings.c shmtools/flaginspect/source.c
tests_inspect_bits_CPPFLAGS = $(test_cppflags) -DFLAGSTORE_INSPECT -I$(top_srcdir)/shmtools/flaginspect -I$(top_srcdir)/shmtools/common
tests_inspect_bits_LDADD = tests/libsupport.la $(inspect_libs) $(CMOCKA_LIBS)
tests_truncation_CPPFLAGS = $(test_cppflags)
tests_truncation_LDADD = $(test_libraries)
tests_environments_CPPFLAGS = $(test_cppflags)
tests_environments_LDADD = $(test_libraries)
tests_guard_CPPFLAGS = $(test_cppflags)
tests_guard_LDADD = $(test_libraries)
tests_forks_CPPFLAGS = $(test_cppflags)
tests_forks_LDADD = $(test_libraries)
tests_waiters_CPPFLAGS = $(test_cppflags)
tests_waiters_LDADD = $(test_libraries)
tests_orders_CPPFLAGS = $(test_cppflags)
tests_orders_LDADD = $(test_libraries)
tests_linear_CPPFLAGS = $(test_cppflags)
tests_linear_LDADD = $(test_libraries)
tests_stress_CPPFLAGS = $(test_cppflags)
tests_stress_LDADD = $(test_libraries)

# Single-stepped: no function may have to be looked up on the way.
stepper_sources = tests/residue.c tests/residue.h tests/stepper.c tests/stepper.h
tests_instructions_SOURCES = tests/instructions.c $(stepper_sources)
tests_instructions_CPPFLAGS = $(test_cppflags)
tests_instructions_LDADD = $(test_libraries)
tests_instructions_LDFLAGS = -Wl,-z,now

# Killed at the points of the library that is built for it.
tests_deaths_CPPFLAGS = $(test_cppflags) -DFLAGSTORE_POINTS
tests_deaths_LDADD = tests/libsupport.la libflagstore-points.la $(CMOCKA_LIBS)

# Both: a reader is stepped, a writer dies at points.
tests_overtaken_SOURCES = tests/overtaken.c $(stepper_sources)
tests_overtaken_CPPFLAGS = $(test_cppflags) -DFLAGSTORE_POINTS
tests_overtaken_LDADD = tests/libsupport.la libflagstore-points.la $(CMOCKA_LIBS)
tests_overtaken_LDFLAGS = -Wl,-z,now

# Segments that persist. With the library's inner names, for looks at the journal.
durable_cppflags = $(test_cppflags) $(LMDB_CFLAGS)
durable_libraries = tests/libsupport.la libflagstore-internal.la $(LMDB_LIBS) $(CMOCKA_LIBS)
tests_durable_SOURCES = tests/durable.c tests/durability.c tests/durability.h
tests_durable_CPPFLAGS = $(durable_cppflags)
tests_durable_LDADD = $(durable_libraries)
tests_durable_deaths_SOURCES = tests/durable-deaths.c tests/durability.c tests/durability.h $(stepper_sources)
tests_durable_deaths_CPPFLAGS = $(durable_cppflags)
tests_durable_deaths_LDADD = $(durable_libraries)
tests_durable_deaths_LDFLAGS = -Wl,-z,now
EXTRA_PROGRAMS += tests/durable-bench
tests_durable_bench_SOURCES = tests/durable-bench.c tests/durability.c tests/durability.h
tests_durable_bench_CPPFLAGS = $(durable_cppflags)
tests_durable_bench_LDADD = $(durable_libraries)
tests_durable_faults_SOURCES = tests/durable-faults.c tests/durability.c tests/durability.h
tests_durable_faults_CPPFLAGS = $(durable_cppflags)
tests_durable_faults_LDADD = $(durable_libraries)
tests_durable_power_SOURCES = tests/durable-power.c tests/durability.c tests/durability.h
tests_durable_power_CPPFLAGS = $(durable_cppflags)
tests_durable_power_LDADD = $(durable_libraries)

test_scripts = \
	tests/fuzz.sh \
	tests/handle-code.sh \
	tests/header.sh \
	tests/incident.sh \
	tests/manual.sh \
	tests/models.sh \
	tests/planted.sh \
	tests/probes.sh \
	tests/readme-example.sh \
	tests/sanitizers.sh \
	tests/symbols.sh
dist_check_SCRIPTS += $(test_scripts)

# Not tests: the runner, what scripts source, and a part of the sanitizers' builds.
EXTRA_DIST += tests/run tests/api.sh tests/tap.sh tests/clocklock.c tests/planted-durable.sh

# What tests/models.sh verifies.
EXTRA_DIST += \
	tests/models/README \
	tests/models/batch.pml \
	tests/models/block.pml \
	tests/models/model.pml \
	tests/models/table.pml

# What tests/fuzz.sh compiles, and inputs that are worth another look.
EXTRA_DIST += \
	tests/fuzz/entry.h \
	tests/fuzz/import.c \
	tests/fuzz/replay.c \
	tests/fuzz/segment.c \
	tests/fuzz/corpus/import/flagd-array \
	tests/fuzz/corpus/import/flagd-object \
	tests/fuzz/corpus/import/key \
	tests/fuzz/corpus/import/key-faulty \
	tests/fuzz/corpus/import/key-long \
	tests/fuzz/corpus/import/tsv \
	tests/fuzz/corpus/import/tsv-faulty \
	tests/fuzz/corpus/segment/batch-under-way \
	tests/fuzz/corpus/segment/died \
	tests/fuzz/corpus/segment/directory-copied \
	tests/fuzz/corpus/segment/free-list \
	tests/fuzz/corpus/segment/heap \
	tests/fuzz/corpus/segment/phase-doubling \
	tests/fuzz/corpus/segment/phase-filling \
	tests/fuzz/corpus/segment/phase-founding \
	tests/fuzz/corpus/segment/phase-keying \
	tests/fuzz/corpus/segment/phase-publishing \
	tests/fuzz/corpus/segment/phase-releasing \
	tests/fuzz/corpus/segment/rebooted \
	tests/fuzz/corpus/segment/room \
	tests/fuzz/corpus/segment/shards-signed \
	tests/fuzz/corpus/segment/unchanged-both \
	tests/fuzz/corpus/segment/unchanged-read \
	tests/fuzz/corpus/segment/unchanged-write

# The longest first: they run side by side.
longest = tests/sanitizers.sh tests/stress tests/fuzz.sh tests/flaglab-run.sh tests/instructions tests/overtaken tests/deaths tests/models.sh
CHECKS = $(longest) $(filter-out $(longest),$(test_programs) $(dist_check_SCRIPTS))
run_tests = top_srcdir='$(top_srcdir)' top_builddir='$(top_builddir)' CC='$(CC)' CFLAGS='$(CFLAGS)' \
	CMOCKA_CFLAGS='$(CMOCKA_CFLAGS)' CMOCKA_LIBS='$(CMOCKA_LIBS)' LMDB_LIBS='$(LMDB_LIBS)' \
	TOOLS_CFLAGS='$(JANSSON_CFLAGS) $(BSD_CFLAGS) $(LIBDW_CFLAGS) $(CURSES_CFLAGS)' \
	TOOLS_LIBS='$(JANSSON_LIBS) $(BSD_LIBS) $(LIBDW_LIBS) $(CURSES_LIBS)' $(srcdir)/tests/run

check-local:
if HAVE_CMOCKA
	$(AM_V_at)$(run_tests) $(CHECKS)
else
	@echo "cmocka is missing: apt-get install libcmocka-dev, then configure again" >&2
	@exit 1
endif

# Longer than what `make check` has time for.
check-sanitizers:
	$(AM_V_at)SANITIZER_SECONDS=60 $(run_tests) -k -t 1800 tests/sanitizers.sh

# Killed after each instruction that leaves something new behind, of every kind of write, of recoveries after several deaths of each, and
# of creating, attaching and closing; each time with each of those who may come next. KILL_EVERY=n: after each n-th of the others too.
check-kill: $(check_LTLIBRARIES) tests/instructions
	$(AM_V_at)KILL_ALL=1 KILL_JOBS=$${KILL_JOBS:-$$(nproc)} CMOCKA_MESSAGE_OUTPUT=TAP tests/instructions

# Reads that a writer overtakes at a machine instruction, for DRAWS draws of each kind of write.
check-overtaken: $(check_LTLIBRARIES) tests/overtaken
	$(AM_V_at)FLAGSTORE_TEST_DRAWS=$${DRAWS:-2000} CMOCKA_MESSAGE_OUTPUT=TAP tests/overtaken

# Segments that persist: killed at every system call, and after every instruction that leaves something new behind; every file that a disk may
# have when the power fails; every kind of failing disk. SOAK=seconds: power losses for so long.
check-durable: $(check_LTLIBRARIES) tests/durable tests/durable-deaths tests/durable-faults tests/durable-power
	$(AM_V_at)KILL_ALL=1 FAULTS_ALL=1 SOAK=$${SOAK:-30} $(run_tests) -j 2 -k -t 864000 tests/durable-deaths tests/durable-faults tests/durable-power \
		tests/durable tests/planted-durable.sh

# What durability costs, against LMDB used directly.
bench-durable: $(check_LTLIBRARIES) tests/durable-bench
	$(AM_V_at)tests/durable-bench

# The models with larger bounds. Takes minutes and a few GB of memory.
check-model:
	$(AM_V_at)MODELS_LONG=1 $(run_tests) -k -t 7200 tests/models.sh

# Segments scribbled over while they are in use, and each bit of one flipped. SOAK=seconds goes on for so long and until 100,000 damages
# are done, whichever is later.
check-hostile: $(check_LTLIBRARIES) tests/hostile tests/bits tests/damage tests/truncation
	$(AM_V_at)HOSTILE=all SOAK=$${SOAK:-60} $(run_tests) -k -t 864000 tests/hostile tests/bits tests/damage tests/truncation

# Fuzzers on a segment's file and on what is imported, for SOAK=seconds each, side by side. Needs clang and its libFuzzer.
check-fuzz: libflagstore-internal.la
	$(AM_V_at)FUZZ_REQUIRED=yes FUZZ_SECONDS=$${SOAK:-30} $(run_tests) -k -t 864000 tests/fuzz.sh

# Histories of all operations, judged. SOAK=seconds: until they are over and 10 million operations have been judged.
check-linear: $(check_LTLIBRARIES) tests/linear
	$(AM_V_at)SOAK=$${SOAK:-} PROGRESS=$$([ -t 2 ] && tty <&2) $(run_tests) -k -t 86400 tests/linear

# CYCLES inserts and deletes of few keys, and as many of ever new ones: neither the file nor the process may grow.
check-churn: $(check_LTLIBRARIES) tests/space
	$(AM_V_at)CYCLES=$${CYCLES:-100000000} $(run_tests) -k -t 86400 tests/space

.PHONY: bench-durable check-churn check-durable check-fuzz check-hostile check-kill check-linear check-model check-overtaken check-sanitizers
CLEANFILES += tests/logs/*.log tests/durable-bench

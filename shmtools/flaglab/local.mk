# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# The command flaglab, its page, its completion, its tests, and the demonstration.

bin_PROGRAMS += shmtools/flaglab/flaglab
shmtools_flaglab_flaglab_SOURCES = \
	shmtools/flaglab/auditor.c \
	shmtools/flaglab/auditor.h \
	shmtools/flaglab/bench.c \
	shmtools/flaglab/board.c \
	shmtools/flaglab/board.h \
	shmtools/flaglab/catalog.c \
	shmtools/flaglab/catalog.h \
	shmtools/flaglab/clock.h \
	shmtools/flaglab/commands.h \
	shmtools/flaglab/crash.c \
	shmtools/flaglab/crash.h \
	shmtools/flaglab/crashlive.c \
	shmtools/flaglab/crashlive.h \
	shmtools/flaglab/crashreport.c \
	shmtools/flaglab/crashreport.h \
	shmtools/flaglab/crew.c \
	shmtools/flaglab/crew.h \
	shmtools/flaglab/figures.c \
	shmtools/flaglab/figures.h \
	shmtools/flaglab/flipper.c \
	shmtools/flaglab/flipper.h \
	shmtools/flaglab/histogram.c \
	shmtools/flaglab/histogram.h \
	shmtools/flaglab/incident.c \
	shmtools/flaglab/incident.h \
	shmtools/flaglab/incidentflags.c \
	shmtools/flaglab/incidentplay.c \
	shmtools/flaglab/incidentplay.h \
	shmtools/flaglab/incidentwork.c \
	shmtools/flaglab/inspect.c \
	shmtools/flaglab/inspect.h \
	shmtools/flaglab/judge.c \
	shmtools/flaglab/judge.h \
	shmtools/flaglab/lab.h \
	shmtools/flaglab/ledger.c \
	shmtools/flaglab/ledger.h \
	shmtools/flaglab/live.c \
	shmtools/flaglab/live.h \
	shmtools/flaglab/main.c \
	shmtools/flaglab/muster.c \
	shmtools/flaglab/muster.h \
	shmtools/flaglab/race.c \
	shmtools/flaglab/race.h \
	shmtools/flaglab/racereport.c \
	shmtools/flaglab/racework.c \
	shmtools/flaglab/reader.c \
	shmtools/flaglab/reader.h \
	shmtools/flaglab/report.c \
	shmtools/flaglab/report.h \
	shmtools/flaglab/run.c \
	shmtools/flaglab/shared.c \
	shmtools/flaglab/shared.h \
	shmtools/flaglab/stopwatch.c \
	shmtools/flaglab/stopwatch.h \
	shmtools/flaglab/ticker.c \
	shmtools/flaglab/ticker.h \
	shmtools/flaglab/tool.c \
	shmtools/flaglab/tool.h \
	shmtools/flaglab/worker.c \
	shmtools/flaglab/worker.h \
	shmtools/flaglab/writer.c \
	shmtools/flaglab/writer.h
shmtools_flaglab_flaglab_CPPFLAGS = $(shmtools_cppflags)
shmtools_flaglab_flaglab_LDADD = $(shmtools_libs)

dist_man_MANS += man/flaglab.1
dist_bash_completion_DATA += shmtools/completion/flaglab
dist_noinst_SCRIPTS += shmtools/demo.sh
EXTRA_DIST += tests/flaglab.sh tests/data/README tests/data/grafana.tsv tests/data/postgresql.tsv
dist_check_SCRIPTS += \
	tests/flaglab-bench.sh \
	tests/flaglab-crash.sh \
	tests/flaglab-demo.sh \
	tests/flaglab-histogram.sh \
	tests/flaglab-incident.sh \
	tests/flaglab-manual.sh \
	tests/flaglab-race.sh \
	tests/flaglab-run.sh

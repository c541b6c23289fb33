/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * probe.h: static probes for perf, bpftrace and the like, listed in flagstore(7). Without sys/sdt.h they are nothing; with it, and with
 * nobody listening, one no-op each. */
#ifndef FS_PROBE_H
#define FS_PROBE_H

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
#define FS_PROBE3(name, a, b, c) DTRACE_PROBE3(flagstore, name, a, b, c)
#define FS_PROBE4(name, a, b, c, d) DTRACE_PROBE4(flagstore, name, a, b, c, d)
#else
#define FS_PROBE3(name, a, b, c) ((void)0)
#define FS_PROBE4(name, a, b, c, d) ((void)0)
#endif

#endif

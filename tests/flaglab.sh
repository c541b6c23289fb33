# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaglab.sh: what the tests of flaglab share, on top of what those of flagctl do. To be sourced.
. "$(dirname "${BASH_SOURCE[0]}")/flagctl.sh"
tool=flaglab

# as_before SEGMENT COMMAND...: the command's status; afterwards all flags have the values that they had, and there are no others
as_before() {
	local segment=$1 status=0

	shift
	flagctl export "$segment" >"$work/before" || return 1
	"$@" || status=$?
	flagctl export "$segment" | diff "$work/before" - || return 1
	return $status
}

# members PID [NAME]: the processes that PID has started
members() {
	cat /proc/[0-9]*/status 2>/dev/null | awk -v parent="$1" -v name="${2-}" '
		$1 == "Name:" {mine = name == "" || $2 == name}
		$1 == "Pid:" {pid = $2}
		$1 == "PPid:" && $2 == parent && mine {print pid}'
}

gone() {
	local pid

	for pid in "$@"; do
		[ ! -e "/proc/$pid" ] || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" = Z ] || return 1
	done
}

# ended STATUS: what has begun as $lab, with the processes $crew, ends so, and none of them is left
ended() {
	local seen=0

	wait "$lab" || seen=$?
	cat "$work/lab.out"
	echo "status $seen (expected $1)"
	[ "$seen" -eq "$1" ] && eventually gone $crew
}

# liars_work: planted faults can be preloaded; otherwise the tests of them are skipped
liars_work() {
	[[ ${CFLAGS-} != *-fsanitize* ]] && [ -e "${top_builddir-}/.libs/libflagstore.so" ]
}

# compile_liar: $work/liar.c becomes $work/liar.so, a library between flaglab and the store
compile_liar() {
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -I"$top_srcdir/include" -shared -fPIC -o "$work/liar.so" "$work/liar.c" -ldl
}

# Planted faults: a library between the command and the store that lies now and then. Prints what each of them begins with.
# lie_once_in(EVERY, WANTED, WHO) in it: whether it is time for this lie, in a process of this name.
liar_begins() {
	cat <<'END'
#include <dlfcn.h>
#include <flagstore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TRUTH(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int lie_once_in(unsigned every, const char *wanted, const char *who)
{
	static unsigned count;
	const char *lie = getenv("LIE");
	char name[16];

	if (!lie || strcmp(lie, wanted) != 0)
		return 0;
	prctl(PR_GET_NAME, name);
	return strcmp(name, who) == 0 && ++count % every == 0;
}
END
}

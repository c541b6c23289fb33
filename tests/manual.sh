#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# manual.sh: the pages are well-formed, and the library's pages say what the headers say: flagstore(3) has every function with its
# type, and every error; flagstore(5) has the offsets of every field that it names.
set -u
. "$top_srcdir/tests/tap.sh"
. "$top_srcdir/tests/api.sh"

# The SYNOPSIS of flagstore(3) is C when it is formatted, but for its titles.
synopsis() {
	mandoc -Tascii -Owidth=1000 "$top_srcdir/man/flagstore.3" | sed 's/.\x08//g' |
		awk '/^SYNOPSIS/ {on = 1; next} /^[A-Z]/ {on = 0} on && /^     /'
}

same_functions() {
	diff <(api_functions) <(synopsis | grep -oE '\bflagstore_[a-z_]+\(' | tr -d '(' | grep -vx flagstore_found | LC_ALL=C sort -u) |
		sed -n 's/^</not in the page:/p; s/^>/not in the header:/p' | grep . && return 1
	return 0
}

# Every prototype once more, after the header's: one that differs does not compile.
same_prototypes() {
	synopsis >"$work/synopsis.c"
	grep -q 'flagstore_set' "$work/synopsis.c" || return 1
	$CC -std=c11 -Werror -I"$top_srcdir/include" -fsyntax-only "$work/synopsis.c"
}

# A function that stands in the SYNOPSIS alone is not described.
described() {
	local name missing=0

	for name in $(api_functions); do
		[ "$(grep -cE "^\.(Fn|Fo) ${name%_n}( |$)" "$top_srcdir/man/flagstore.3")" -gt 1 ] && continue
		echo "$name is not described"
		missing=1
	done
	return $missing
}

same_errors() {
	diff <(sed -n 's/^[[:space:]]X(\(E[A-Z]*\), \(-[0-9]*\),.*/FLAGSTORE_\1 \2/p' "$top_srcdir/include/flagstore.h") \
		<(sed -n 's/^\.It Dv \(FLAGSTORE_E[A-Z]*\) Pq \\\(-[0-9]*\)$/\1 \2/p' "$top_srcdir/man/flagstore.3")
}

# Each row "offset, field, meaning" of flagstore(5) as a claim on the struct that its subsection is about.
same_offsets() {
	awk '
	BEGIN {
		type["Slot"] = "fs_slot"
		type["Buckets and directories"] = "fs_bucket"
		type["Shard"] = "fs_shard"
		type["Worker"] = "fs_worker"
		type["Seat"] = "fs_seat"
		type["Event"] = "fs_event"
		type["Conflict"] = "fs_conflict_body"
		type["Shadow"] = "fs_shadow"
		type["Journal"] = "fs_journal"
		print "#include \"layout.h\""
	}
	/^\.Ss / {section = substr($0, 5)}
	/^\.It [0-9]+ Ta [a-z_]+ Ta / {
		structure = section == "Header" ? ($2 < 128 ? "fs_constants" : "fs_header") : type[section]
		# What is in LMDB has no struct in a segment.
		if (structure == "")
			next
		printf "static_assert(offsetof(struct %s, %s) == %d, \"%s\");\n", structure, $4, $2, $4
	}' "$top_srcdir/man/flagstore.5" >"$work/offsets.c"
	[ "$(wc -l <"$work/offsets.c")" -gt 50 ] || return 1
	$CC -std=c11 -D_GNU_SOURCE -I"$top_srcdir/include" -I"$top_srcdir/src" -fsyntax-only "$work/offsets.c"
}

# Each "N NAME" as a claim on the states and phases; so with the size classes and the kinds of block, sentence by sentence.
same_numbers() {
	local page=$top_srcdir/man/flagstore.5 first

	{
		echo '#include "layout.h"'
		sed -n -e '/^The states:$/,/^\.El$/s/^\.It \([0-9]\) \([A-Z]*\)$/static_assert(FS_\2 == \1 << FS_STATE_SHIFT, "\2");/p' \
			-e 's/^\.It \([0-9]\) \([A-Z]*\)$/static_assert(FS_\2 == \1, "\2");/p' "$page"
		echo '#define SLOTS_OF(slots) slots,'
		echo 'static const unsigned slots[] = {FS_BUCKET_SLOTS(SLOTS_OF)}, said[] = {'
		sed -n 's/^The size classes 0 to [0-9] have \(.*\) and \(.*\) slots\.$/\1, \2/p' "$page"
		echo '}; static_assert(sizeof slots == sizeof said, "size classes");'
		set -- BUCKET CELL DIRECTORY REDO
		for first in $(sed -n '/^0 to [0-9]* buckets by size class/,/\.$/p' "$page" | tr '\n' ' ' |
			grep -oE '[0-9]+ to [0-9]+ (b|k|d|r)' | cut -d ' ' -f 1); do
			echo "static_assert(FS_KIND_$1 == $first, \"$1\");"
			shift
		done
	} >"$work/numbers.c"
	[ "$(grep -c static_assert "$work/numbers.c")" -eq 17 ] || { cat "$work/numbers.c"; return 1; }
	$CC -std=c11 -D_GNU_SOURCE -I"$top_srcdir/include" -I"$top_srcdir/src" -fsyntax-only "$work/numbers.c" || return 1
	[ "$(sed -n 's/^#define FS_BUCKET_SLOTS(X) X(\(.*\))$/\1/p' "$top_srcdir/src/layout.h" | sed 's/) X(/, /g')" = \
		"$(sed -n 's/^The size classes 0 to [0-9] have \(.*\) and \(.*\) slots\.$/\1, \2/p' "$page")" ]
}

# Without a single remark, but for those on what this machine has of other manuals.
well_formed() {
	! mandoc -Tlint "$1" 2>&1 | grep -v -e ': STYLE: referenced manual not found: ' -e ': outdated mandoc.db lacks '
}

if ! command -v mandoc >/dev/null; then
	echo "1..0 # SKIP there is no mandoc: apt-get install mandoc"
	exit 0
fi
pages=$(ls "$top_srcdir"/man/*.[1-9])
echo "1..$(($(echo "$pages" | wc -w) + 6))"
for page in $pages; do
	check "$(basename "$page") is well-formed" well_formed "$page"
done
check "flagstore(3) lists the functions of the header" same_functions
check "with the same types" same_prototypes
check "and describes each of them" described
check "flagstore(3) lists the errors of the header" same_errors
check "flagstore(5) has the offsets of the layout" same_offsets
check "and its states, phases, size classes and kinds of block" same_numbers

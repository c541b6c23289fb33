# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl.sh: what the tests of flagctl share. To be sourced. Each test has a segment directory of its own in
# FLAGSTORE_DIR, and says its plan at the end.
: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
. "$top_srcdir/tests/tap.sh"

if ! command -v jq >/dev/null; then
	echo "1..0 # SKIP there is no jq, which reads what --json prints: apt-get install jq"
	exit 0
fi

parent=${FLAGSTORE_DIR:-/dev/shm}
FLAGSTORE_DIR=$(mktemp -d "$parent/flagctl-test.XXXXXX") || exit 1
export FLAGSTORE_DIR
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$work" "$FLAGSTORE_DIR"' EXIT
trap 'exit 130' INT TERM HUP

# The real flags, which not every machine has.
data=${FLAGSTORE_TEST_DATA:-$top_srcdir/../shared/data}

# ends STATUS OUTPUT COMMAND...: it exits with STATUS, and its standard output is OUTPUT (without the last newlines)
ends() {
	local status=$1 output=$2 seen_status=0 seen

	shift 2
	seen=$("$@" 2>"$work/stderr") || seen_status=$?
	cat "$work/stderr"
	echo "status $seen_status (expected $status), output:"
	echo "$seen"
	[ "$seen_status" -eq "$status" ] && [ "$seen" = "$output" ]
}

# says STATUS PATTERN COMMAND...: it exits with STATUS, its standard output matches PATTERN (extended, any line)
says() {
	local status=$1 pattern=$2 seen_status=0

	shift 2
	"$@" >"$work/stdout" || seen_status=$?
	echo "status $seen_status (expected $status), output:"
	cat "$work/stdout"
	[ "$seen_status" -eq "$status" ] && grep -qE -e "$pattern" "$work/stdout"
}

# fails STATUS PATTERN COMMAND...: it exits with STATUS, prints nothing on standard output, and on standard error a
# sentence that matches PATTERN
fails() {
	local status=$1 pattern=$2 seen_status=0

	shift 2
	"$@" >"$work/stdout" 2>"$work/stderr" || seen_status=$?
	echo "status $seen_status (expected $status), standard output and error:"
	cat "$work/stdout" "$work/stderr"
	[ "$seen_status" -eq "$status" ] && [ ! -s "$work/stdout" ] && grep -q "^${tool:-flagctl}: " "$work/stderr" &&
		grep -qE -e "$pattern" "$work/stderr"
}

# unchanged SEGMENT COMMAND...: the command's status; and no flag of the segment differs from before, nor its version
unchanged() {
	local segment=$1 before after status=0

	shift
	before=$(flagctl list "$segment" --json)
	"$@" || status=$?
	after=$(flagctl list "$segment" --json)
	[ "$before" = "$after" ] || {
		printf 'before: %s\nafter:  %s\n' "$before" "$after"
		return 1
	}
	return $status
}

# with_input FILE COMMAND...
with_input() {
	local file=$1

	shift
	"$@" <"$file"
}

# eventually COMMAND...: it succeeds within ten seconds
eventually() {
	local i

	for ((i = 0; i < 200; i++)); do
		"$@" && return
		sleep 0.05
	done
	return 1
}

# The names of all commands, as --help has them.
commands() {
	flagctl --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

plan() {
	echo "1..$number"
}

# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flaginspect.sh: what the tests of flaginspect share, on top of what those of flagctl do. To be sourced.
. "$(dirname "${BASH_SOURCE[0]}")/flagctl.sh"
tool=flaginspect

# poke FILE OFFSET BYTES: writes the bytes, as printf(1) takes them, into the file
poke() {
	printf "$3" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc 2>"$work/dd"
}

# json FILTER COMMAND...: what jq makes of the command's JSON
json() {
	local filter=$1

	shift
	"$@" --json 2>"$work/stderr" | jq -c "$filter"
}

# slot_of FILE KEY: the offset of the key's slot
slot_of() {
	flaginspect dump "$1" --json | jq --arg key "$2" 'first(.shards[].buckets[].used[] | select(.key == $key) | .offset)'
}

inspect_commands() {
	flaginspect --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

# begin OPERANDS...: tests/culprit with these in the background, as $culprit, when it has said that it is at it
begin() {
	"${top_builddir:-.}/tests/culprit" "$@" >"$work/culprit" 2>&1 &
	culprit=$!
	eventually [ -s "$work/culprit" ] && ! grep culprit: "$work/culprit"
}

# offset FIELD: where it is in a segment's file
offset() {
	"${top_builddir:-.}/tests/culprit" offset "$1"
}

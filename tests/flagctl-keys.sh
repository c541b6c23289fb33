#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-keys.sh: keys of any bytes survive the way through operands, output, files and JSON; what can't be a key is
# refused.
set -u
. "$(dirname "$0")/flagctl.sh"

flagctl create t || exit 1

# Every byte but NUL, alone and between two others, as octal escapes: 510 keys.
for byte in $(seq 1 255); do
	printf '\\%03o\ttrue\na\\%03ob\tfalse\n' "$byte" "$byte"
done >"$work/octal.tsv"
check "keys of all bytes are imported" \
	ends 0 '510 flags: 510 inserted or changed, 0 were the same' flagctl import t "$work/octal.tsv"
flagctl export t >"$work/shown.tsv"
check "each is one line with one tab" ends 0 510 grep -cP '^[ -~]+\t(true|false)$' "$work/shown.tsv"
check "what is shown is taken again, and is the same" says 0 '0 would be inserted, 0 changed, 510 are the same' \
	flagctl import t --dry-run "$work/shown.tsv"

all_gettable() {
	local key value

	while IFS=$'\t' read -r key value; do
		[ "$(flagctl get t -- "$key")" = "$value" ] || { echo "$key"; return 1; }
	done <"$work/shown.tsv"
}
check "what is shown can be used as operand" all_gettable
check "no escape sequence comes through" ends 1 '' grep -P '[^\t\n -~]' "$work/shown.tsv"
flagctl list t --json >"$work/keys.json"
check "keys in JSON are the same text" ends 0 "$(cut -f 1 "$work/shown.tsv")" jq -r '.[].key' "$work/keys.json"
sorted_by_bytes() {
	jq -r '.[].key' "$work/keys.json" | grep -xE '\\[0-3][0-7][0-7]' >"$work/escaped"
	LC_ALL=C sort -c "$work/escaped" && [ "$(wc -l <"$work/escaped")" -gt 120 ]
}
# Text sorts the escaped bytes between [ and ]; bytes have the widest last.
check "the list is sorted by bytes" sorted_by_bytes
check "not by text" ends 0 'a\377b' tail -n 1 <(jq -r '.[].key | select(startswith("a"))' "$work/keys.json")

flagctl create u || exit 1
check "bytes may also stand for themselves" flagctl set u $'gr\xc3\xbcn \xff' true
check "they are shown encoded" ends 0 $'gr\\303\\274n \\377\ttrue' flagctl list u
check "both are the same flag" ends 0 true flagctl get u 'gr\303\274n \377'
check "a backslash" flagctl set u 'a\\b' true
check "is shown as two" says 0 '^a\\\\b.true' flagctl list u
check "newline and tab" flagctl set u $'one\ntwo\tthree' true
check "are shown as \\n and \\t" says 0 '^one\\ntwo\\tthree.true' flagctl list u
check "a key that begins with a dash" flagctl set u -- --json true
check "is an option without --" fails 2 'there is no option .-q' flagctl get u -q
check "and is taken behind it" ends 0 true flagctl get u -- --json
check "--prefix is decoded" ends 0 $'one\\ntwo\\tthree\ttrue' flagctl list u --prefix 'one\012'

# The longest key, of the widest bytes: 1020 characters of text.
longest=$(printf '\\201%.0s' $(seq 255))
check "a key of 255 unprintable bytes" flagctl set u "$longest" true
check "can be read" ends 0 true flagctl get u "$longest"
check "is shown whole" ends 0 "$longest"$'\ttrue' flagctl list u --prefix '\201'
check "also in the table" says 0 '\\201  +true ' flagctl list u --long --prefix '\201'
check "can be deleted" flagctl delete u "$longest"
check "256 bytes are too many" fails 2 'longer than 255 bytes' flagctl set u "$longest\\201" true
check "also when they are printable" fails 2 'longer than 255 bytes' flagctl set u "$(printf '%0256d' 0)" true
check "255 printable ones are not" flagctl set u "$(printf '%0255d' 0)" true
check "ten thousand are" fails 2 'longer than 255 bytes' flagctl get u "$(printf '%010000d' 0)"
check "an empty key" fails 2 'it is empty' flagctl set u '' true
check "a NUL byte by escape" fails 2 'NUL byte' flagctl set u 'a\000b' true
check "a NUL byte alone" fails 2 'NUL byte|empty' flagctl set u '\000' true
check "a backslash at the end" fails 2 'no vis' flagctl set u 'a\' true
check "an unknown escape" fails 2 'no vis' flagctl set u 'a\q' true
check "a bad --prefix" fails 2 'no vis' flagctl list u --prefix 'a\'
check "nothing is damaged" ends 0 '0 findings' flagctl check u
plan

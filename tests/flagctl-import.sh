#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-import.sh: files are imported whole or not at all, exported as they were, and bad ones are named by file, line
# and reason.
set -u
. "$(dirname "$0")/flagctl.sh"

cd "$work" || exit 1
flagctl create t || exit 1

printf 'B\ttrue\na\tfalse\na.b\ttrue\nb c\tfalse\n' >good.tsv
check "an import says what it did" ends 0 '4 flags: 4 inserted or changed, 0 were the same' flagctl import t good.tsv
check "an export gives the same bytes" cmp good.tsv <(flagctl export t)
check "a second import changes nothing" \
	unchanged t ends 0 '4 flags: 0 inserted or changed, 4 were the same' flagctl import t good.tsv
flagctl set t other true
flagctl toggle t a >out
check "--dry-run says what would change" \
	unchanged t ends 0 $'change\ta\tfalse\n4 flags: 0 would be inserted, 1 changed, 3 are the same' \
	flagctl import t good.tsv --dry-run
check "--dry-run --json" unchanged t ends 0 '0 1 3 true' \
	jq -r '"\(.inserted) \(.changed) \(.same) \(.dry_run)"' <(flagctl import t good.tsv --dry-run --json)
check "import --json" \
	ends 0 '4 1 3 1' jq -r '"\(.flags) \(.changed) \(.same) \(.batches)"' <(flagctl import t good.tsv --json)
check "flags that are not in the file stay" ends 0 true flagctl get t other
check "standard input" with_input good.tsv ends 0 '4 flags: 0 inserted or changed, 4 were the same' flagctl import t -
check "an empty file" unchanged t ends 0 '0 flags: 0 inserted or changed, 0 were the same' flagctl import t /dev/null
printf 'x\ttrue' >end.tsv
check "a last line without newline" flagctl import t end.tsv
check "is imported" ends 0 true flagctl get t x
printf 'p\ton\nq\t0\n' >forms.tsv
check "other forms of values" flagctl import t forms.tsv
check "are imported" ends 0 $'p\ttrue\nq\tfalse' flagctl get t p q

# bad WHAT PATTERN LINES: a file of these lines behind a good one is refused, by name and line, nothing of it imported
bad() {
	printf "first\ttrue\n$3" >bad.tsv
	check "$1: refused, nothing imported" unchanged t fails 65 "$2" flagctl import t bad.tsv
	check "$1: also in a dry run" unchanged t fails 65 "$2" flagctl import t bad.tsv --dry-run
	check "$1: also behind a good file" unchanged t fails 65 "$2" flagctl import t end.tsv good.tsv bad.tsv
	check "$1: also from standard input" with_input bad.tsv unchanged t fails 65 'standard input:' flagctl import t -
}
bad "no tab" '^flagctl: bad.tsv:2: the line is not a flag: it has no tab' 'second true\n'
bad "no value" 'bad.tsv:2: .*behind the tab' 'second\t\n'
bad "not a value" 'bad.tsv:3: .*behind the tab' 'second\ttrue\nthird\tmaybe\n'
bad "a carriage return" 'bad.tsv:2: .*behind the tab' 'second\ttrue\r\n'
bad "a third field" 'bad.tsv:2: .*behind the tab' 'second\ttrue\ttrue\n'
bad "no key" 'bad.tsv:2: .*it is empty' '\ttrue\n'
bad "an empty line" 'bad.tsv:2: .*it is empty' '\nthird\ttrue\n'
bad "a comment" 'bad.tsv:2: .*no tab' '# comment\n'
bad "a bad escape" 'bad.tsv:2: .*vis' 'a\\qb\ttrue\n'
bad "a NUL byte in the key" 'bad.tsv:2: .*NUL' 'a\0b\ttrue\n'
bad "a NUL byte in the value" 'bad.tsv:2: .*behind the tab' 'ab\ttrue\0\n'
bad "a key of 256 bytes" 'bad.tsv:2: .*longer than 255' "$(printf '%0256d' 0)\ttrue\n"
bad "a duplicate" 'bad.tsv:4: flag first stands at bad.tsv:1 already' 'a1\ttrue\nz\ttrue\nfirst\ttrue\n'
bad "a duplicate with another value" 'bad.tsv:2: flag first stands at bad.tsv:1 already' 'first\tfalse\n'
bad "a duplicate that is written otherwise" 'bad.tsv:2: flag first stands at bad.tsv:1 already' 'f\\151rst\tfalse\n'
printf 'B\ttrue\n' >again.tsv
check "a duplicate in another file names both" \
	unchanged t fails 65 'again.tsv:1: flag B stands at good.tsv:1' flagctl import t good.tsv again.tsv
head -c 100000 /dev/urandom >noise.tsv
check "noise" unchanged t fails 65 '^flagctl: noise.tsv:[0-9]+: ' flagctl import t noise.tsv
check "a file that does not exist" \
	unchanged t fails 66 'nowhere.tsv can.t be opened.*No such file' flagctl import t good.tsv nowhere.tsv
check "a directory" unchanged t fails 66 'can.t be read' flagctl import t .
check "a format that does not exist" unchanged t fails 2 'tsv or flagd' flagctl import t good.tsv --format yaml
check "no segment" fails 3 'nix' flagctl import nix good.tsv
check "a bad file is named even before the segment is looked for" fails 65 'bad.tsv:2' flagctl import nix bad.tsv

# More than a batch.
flagctl create big || exit 1
seq -f 'flag.%06g' 10000 | sed 's/$/\ttrue/' >big.tsv
check "10000 flags go in as three batches" \
	ends 0 '10000 10000 3' jq -r '"\(.flags) \(.changed) \(.batches)"' <(flagctl import big big.tsv --json)
check "and come out again" cmp big.tsv <(flagctl export big)
sed 's/true/false/' big.tsv | sed '$ s/false/perhaps/' >worse.tsv
check "one bad line among 10000 stops all of them" \
	unchanged big fails 65 'worse.tsv:10000: ' flagctl import big worse.tsv

# A segment too small for all batches: what is in is whole batches; nothing is damaged.
flagctl create small --max-size 1M --shards 1 || exit 1
check "no room: it says so, and how many are in" \
	fails 74 'were imported before that; to complete the import, run it again' flagctl import small big.tsv
in_batches() {
	local count

	count=$(flagctl info small --json | jq .flags)
	echo "$count"
	[ "$count" -gt 0 ] && [ $((count % 4096)) -eq 0 ]
}
check "whole batches are in" in_batches
check "existing flags can still be changed" flagctl toggle small flag.000001
check "nothing is damaged" ends 0 '0 findings' flagctl check small

# Killed at any moment: no part of a batch, once a writer (check is one) has seen to what a dead one left.
head -n 4096 big.tsv >batch.tsv
for delay in 0.002 0.004 0.006 0.008 0.010 0.012 0.015 0.020 0.025 0.030 0.040 0.060; do
	flagctl create kill || exit 1
	timeout -s KILL $delay flagctl import kill batch.tsv >out 2>&1
	flagctl check kill | grep -vx '0 findings'
	flagctl info kill --json | jq .flags
	flagctl unlink kill
done >counts 2>/dev/null
check "an import killed at any moment is there or not" ends 1 '' grep -vxE '0|4096' counts
check "it was tried twelve times" ends 0 12 wc -l <counts

# Export.
check "export --output" ends 0 '' flagctl export t --output saved.tsv
check "writes what export prints" cmp saved.tsv <(flagctl export t)
echo precious >kept.json
flagctl create binary && flagctl set binary '\377' true
check "a key that is not UTF-8 has no place in JSON" fails 65 '377 .*UTF-8' flagctl export binary --output kept.json
check "a failed export leaves the old file" ends 0 precious cat kept.json
check "and nothing beside it" ends 1 '' grep -q . <(ls -A | grep '^\.kept')
ln -s kept.json link.json
chmod 640 kept.json
check "an export through a symbolic link" flagctl export t -o link.json
check "leaves the link" [ -L link.json ]
check "and the permissions" ends 0 640 stat -c %a kept.json
check "and guesses flagd from .json" ends 0 true jq '.flags.B.variants[.flags.B.defaultVariant]' kept.json
check "what was exported as flagd is the same" unchanged t says 0 ' 0 inserted or changed' flagctl import t kept.json
check "export --json is flagd" cmp <(flagctl export t --json) <(flagctl export t --format flagd)
check "a folder that does not exist" fails 73 'nowhere/x.tsv' flagctl export t --output nowhere/x.tsv
# A device of the test's own where that can be: whoever may replace a device must not lose the machine's to a fault.
full=$work/full
if mknod full c 1 7 2>out && [ -w full ] && ! echo >full; then
	:
elif [ "$(id -u)" -ne 0 ]; then
	full=/dev/full
else
	full=
fi 2>out
if [ -n "$full" ]; then
	check "a full device" fails 74 'No space' flagctl export t --output "$full"
	check "a device is not replaced" [ -c "$full" ]
else
	skip "a full device" "no device can be made here"
	skip "a device is not replaced" "no device can be made here"
fi
flagctl create empty || exit 1
check "an empty segment gives an empty file" ends 0 '' flagctl export empty
check "and flagd without flags" ends 0 0 jq '.flags | length' <(flagctl export empty --json)

# A segment of two shards, one of which leads nowhere: some word of the file does that to it.
flagctl create whole --max-size 1M --shards 2 && seq -f 'flag.%g=true' 60 | flagctl batch whole >out || exit 1
damage() {
	local offset

	for offset in $(od -A d -v -t x8 -w8 "$FLAGSTORE_DIR/flagstore.whole" | awk '$2 !~ /^0+$/ {print $1 + 0}'); do
		cp --sparse=never "$FLAGSTORE_DIR/flagstore.whole" "$FLAGSTORE_DIR/flagstore.half"
		printf '\377%.0s' 1 2 3 4 5 6 7 8 |
			dd of="$FLAGSTORE_DIR/flagstore.half" bs=1 seek="$offset" conv=notrunc 2>out
		flagctl list half >out 2>err
		[ $? -eq 69 ] && [ -s out ] && return
	done
	return 1
}
check "a segment with a shard that can't be walked" damage
says_half() {
	local status=0

	flagctl export half >half.tsv 2>err || status=$?
	wc -l half.tsv
	[ $status -eq 69 ] && grep -q "can't be walked" err && [ -s half.tsv ] && [ "$(wc -l <half.tsv)" -lt 60 ]
}
check "what can be reached of it is exported, and the failure said" says_half
echo precious >kept.tsv
check "but not to a file" fails 69 "can't be walked" flagctl export half --output kept.tsv
check "which is left as it was" ends 0 precious cat kept.tsv

# flagd.
cat >mixed.json <<'END'
{"flags": {
  "yes": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
  "crossed": {"state": "ENABLED", "variants": {"true": false, "on": true}, "defaultVariant": "true", "targeting": {}},
  "same": {"state": "ENABLED", "variants": {"a": true, "b": true}, "defaultVariant": "b"},
  "text": {"state": "ENABLED", "variants": {"on": "true", "off": "false"}, "defaultVariant": "on"},
  "half": {"state": "ENABLED", "variants": {"on": true, "off": 0}, "defaultVariant": "on"},
  "none": {"state": "ENABLED", "variants": {}},
  "code": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": null},
  "disabled": {"state": "DISABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
  "targeted": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on", "targeting": {"if": [true, "on"]}},
  "back\\slash \u00fc": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}
}}
END
flagctl create f || exit 1
check "flagd: boolean flags are imported, the others counted" \
	ends 0 '4 flags: 4 inserted or changed, 0 were the same, 6 more skipped' \
	flagctl import f mixed.json
check "flagd: a value is the variant's, not its name" \
	ends 0 $'back\\\\slash \\303\\274\ttrue\ncrossed\tfalse\nsame\ttrue\nyes\ttrue' flagctl list f
named() {
	local name

	flagctl import f mixed.json 2>err >out
	for name in text half none code disabled targeted; do
		grep -q "^flagctl: warning: mixed.json: flag $name is skipped: " err || { echo "$name"; return 1; }
	done
	[ "$(wc -l <err)" -eq 6 ]
}
check "flagd: each skipped flag is named" named
check "flagd: --json names them too" ends 0 'code disabled half none targeted text' \
	jq -r '[.skipped[].key] | sort | join(" ")' <(flagctl import f mixed.json --json 2>/dev/null)
check "flagd: guessed from the contents" with_input mixed.json says 0 '4 flags' flagctl import f -
printf '{"flags": [{"key": "in.array", "state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}]}' >array.json
check "flagd: an array of flags" flagctl import f array.json
check "flagd: is imported" ends 0 true flagctl get f in.array
check "flagd: two files with one flag" \
	unchanged f fails 65 'flag in.array stands in array.json already' flagctl import f array.json array.json

# broken WHAT PATTERN JSON
broken() {
	printf '%s' "$3" >broken.json
	check "flagd: $1" unchanged f fails 65 "$2" flagctl import f broken.json
}
good='"ok": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}'
broken "cut short" '^flagctl: broken.json:2:[0-9]+: .*JSON' "{\"flags\":
{$good"
broken "a key twice" '^flagctl: broken.json:2:[0-9]+: .*duplicate' "{\"flags\": {$good,
$good}}"
broken "a key twice in an array" 'flag a stands in broken.json already' '{"flags": [{"key": "a", "state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}, {"key": "a", "state": "ENABLED", "variants": {"on": false}, "defaultVariant": "on"}]}'
broken "no flags" 'no object or array .flags' '{"flag": {}}'
broken "an array at the top" 'no object or array .flags' '[]'
broken "no JSON at all" 'not valid JSON' 'flags: yes'
broken "empty" 'not valid JSON' ''
broken "not UTF-8" 'not valid JSON' $'{"flags": {"\xff": 1}}'
broken "a NUL byte in a key" 'not valid JSON' '{"flags": {"a\u0000b": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}'
broken "a definition that is no object" 'flag x is not valid: it is not an object' "{\"flags\": {$good, \"x\": true}}"
broken "no state" 'flag x .*state' "{\"flags\": {$good, \"x\": {\"variants\": {\"on\": true}, \"defaultVariant\": \"on\"}}}"
broken "another state" 'flag x .*neither ENABLED' "{\"flags\": {$good, \"x\": {\"state\": \"enabled\", \"variants\": {\"on\": true}}}}"
broken "no variants" 'flag x .*variants' "{\"flags\": {$good, \"x\": {\"state\": \"ENABLED\", \"defaultVariant\": \"on\"}}}"
broken "a default that is no variant" 'flag x .*none of its variants' "{\"flags\": {$good, \"x\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}, \"defaultVariant\": \"of\"}}}"
broken "a default that is no string" 'flag x .*neither a string nor null' "{\"flags\": {$good, \"x\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}, \"defaultVariant\": true}}}"
broken "targeting that is no object" 'flag x .*targeting' "{\"flags\": {$good, \"x\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}, \"targeting\": \"all\"}}}"
broken "an array element without a key" 'element 1 of .flags' '{"flags": [{"key": "a", "state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}, {"state": "ENABLED"}]}'
broken "an empty key" '1 to 255 bytes' "{\"flags\": {$good, \"\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}}}}"
broken "a key of 256 bytes" '1 to 255 bytes' "{\"flags\": {$good, \"$(printf '%0256d' 0)\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true}}}}"
broken "a hundred thousand brackets" 'not valid JSON' "$(printf '%0100000d' 0 | tr 0 '[')"

# Real lists of real projects.
for list in chromium-base-features firefox gitlab grafana kubernetes postgresql; do
	file=$data/flags-$list.tsv
	[ -e "$file" ] || file=$top_srcdir/tests/data/$list.tsv
	if [ -e "$file" ]; then
		flagctl create "real.$list" && flagctl import "real.$list" "$file" >out
		check "$list: import and export give the same bytes" cmp "$file" <(flagctl export "real.$list")
		flagctl export "real.$list" --output real.json
		flagctl create "flagd.$list" && flagctl import "flagd.$list" real.json >out
		check "$list: also by way of flagd" cmp "$file" <(flagctl export "flagd.$list")
	else
		skip "$list: import and export give the same bytes" "the list is not on this machine"
	fi
done
if [ -d "$data/flagd" ]; then
	cd "$data/flagd" || exit 1
	flagctl create demo || exit 1
	while read -r file flags skipped; do
		check "$file has $flags boolean flags and $skipped others" ends 0 "$flags $skipped" \
			jq -r '"\(.flags) \(.skipped | length)"' <(flagctl import demo "flagd__$file" --json 2>/dev/null)
	done <<-END
	config_samples_example_flags.flagd.json 1 8
	docs_assets_cheat-sheet-flags-payments.json 0 3
	docs_assets_cheat-sheet-flags.json 1 8
	docs_assets_demo.flagd.json 1 1
	samples_example_flags_secondary.flagd.json 1 1
	systemd_flags.json 1 0
	END
	check "their values" \
		ends 0 $'myBoolFlag\tfalse\nmyFlag\ttrue\nshow-welcome-banner\tfalse\nsimple-boolean\ttrue' flagctl list demo
	for schema in flagd__docs_schema_v0_*.json; do
		check "$schema is no list of flags" unchanged demo fails 65 "$schema" flagctl import demo "$schema"
	done
else
	skip "flagd's own examples" "they are not on this machine"
fi
plan

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-usage.sh: bad usage of any command is a sentence and status 2, and changes nothing; so is each wrong segment,
# with its own status.
set -u
. "$(dirname "$0")/flagctl.sh"

flagctl create t && flagctl set t a true || exit 1
commands=$(commands)

check "there are commands" [ "$(wc -w <<<"$commands")" -ge 15 ]
check "no command at all" fails 2 'a command is missing' flagctl
check "an unknown command" fails 2 'no command .nonsense' flagctl nonsense t a
check "an option in front of the command" fails 2 'options come after' flagctl --json list t
check "--version" says 0 '^flagctl \(flagstore\) [0-9]+\.[0-9]+\.[0-9]+$' flagctl --version
check "help of a command" cmp <(flagctl help get) <(flagctl get --help)
check "help of an unknown command" fails 2 'no command' flagctl help nonsense

# Operands that would do, so that nothing but the one thing that is tried is wrong.
operands() {
	case $1 in
	get | test | toggle | delete | wait) echo a ;;
	set) echo a false ;;
	batch) echo a=false ;;
	import) echo /dev/null ;;
	backup | restore) echo "$work/file" ;;
	reserve) echo 100 ;;
	esac
}
for command in $commands; do
	read -ra rest < <(operands "$command")
	check "$command --help" says 0 "^usage: flagctl $command " flagctl "$command" --help
	check "$command --version" says 0 '^flagctl ' flagctl "$command" --version
	[ "$command" = doctor ] || check "$command without operands" fails 2 "^flagctl: $command: .*missing" flagctl "$command"
	check "$command with an unknown option" unchanged t fails 2 "unknown" flagctl "$command" t "${rest[@]}" --nonsense
	check "$command with an unknown letter" unchanged t fails 2 "no option .-Z" flagctl "$command" t "${rest[@]}" -Z
	check "$command with a value where none is taken" \
		unchanged t fails 2 "takes no value" flagctl "$command" t "${rest[@]}" --json=yes
	if [ "$command" != create ] && [ "$command" != doctor ]; then
		check "$command of a segment that does not exist" fails 3 'nix' flagctl "$command" nix "${rest[@]}"
		check "$command of a name that can't be one" fails 2 '' flagctl "$command" '' "${rest[@]}"
	fi
	case $(flagctl "$command" --help | head -n 1) in
	*...*) ;;
	*) check "$command with too many operands" unchanged t fails 2 'too many' flagctl "$command" t a b c d ;;
	esac
done

# Options whose values can't be.
while read -r command option value pattern; do
	read -ra rest < <(operands "$command")
	check "$command $option $value" \
		unchanged t fails 2 "$pattern" timeout 10 flagctl "$command" new "${rest[@]}" "$option" "$value"
done <<'END'
create --max-size big a size, such as
create --max-size -1 a size
create --max-size 1023K from 1.0 MiB to 64 GiB
create --max-size 65G from 1.0 MiB to 64 GiB
create --max-size 99999999999999999999 from 1.0 MiB
create --reserve 0 from 1 to 1073741824
create --shards 0 from 1 to 1024
create --shards 3 power of two
create --shards 2048 from 1 to 1024
create --shards 0x10 whole number
create --workers 0 from 1 to 4095
create --workers 4096 from 1 to 4095
create --mode 666 no bits but those of 0660
create --mode 4600 no bits but those of 0660
create --mode rw permission bits in octal
create --mode 680 permission bits in octal
create --group nosuchgroup no group .nosuchgroup
create --group -1 no group
create --lock-wait soon a duration
create --lock-wait 0 from 1 to
create --lock-wait 1.2.3 a duration
create --lock-wait 5d a duration
set --expect maybe true or false
wait --timeout never a duration
wait --timeout 99999h from 0 to
watch --count 0 from 1 to
watch --count many whole number
import --format xml tsv or flagd
export --format xml tsv or flagd
END
check "nothing was created" [ ! -e "$FLAGSTORE_DIR/flagstore.new" ]
check "an option without its value" fails 2 'needs a value' flagctl create new --mode
check "options may stand between operands" ends 0 true flagctl get t -- a
check "and be cut short" ends 0 '[{"key": "a", "value": true}]' flagctl get --js t a

# Failures in JSON.
json_failure() {
	local status=$1 name=$2 seen=0

	shift 2
	"$@" >"$work/stdout" 2>"$work/stderr" || seen=$?
	cat "$work/stderr"
	[ "$seen" -eq "$status" ] &&
		jq -e --arg name "$name" --argjson status "$status" \
			'.error | .name == $name and .status == $status and (.message | length > 10)' "$work/stderr"
}
check "--json: a library's error" json_failure 3 ENOSEGMENT flagctl info nix --json
check "--json: a missing flag" json_failure 3 ENOTFOUND flagctl toggle t b --json
check "--json: usage" json_failure 2 USAGE flagctl set --json t a perhaps
check "--json: a file" json_failure 66 INPUT flagctl import t nowhere.tsv --json
check "--json: a message that is not UTF-8" json_failure 66 INPUT flagctl import t $'\xff\xfe' --json
check "a file's name can't steer the terminal" fails 66 '\\033\[2Jx can.t be opened' flagctl import t $'\033[2Jx'

# What is no segment, or none that can be used.
head -c 8192 /dev/urandom >"$FLAGSTORE_DIR/flagstore.noise"
: >"$FLAGSTORE_DIR/flagstore.empty"
head -c 4096 "$FLAGSTORE_DIR/flagstore.t" >"$FLAGSTORE_DIR/flagstore.short"
mkdir "$FLAGSTORE_DIR/flagstore.folder"
for name in noise short; do
	for command in info check get test list set toggle delete batch wait watch import export unlink; do
		read -ra rest < <(operands "$command")
		check "$command of what is $name" fails 69 "flagstore.$name" flagctl "$command" "$name" "${rest[@]}"
	done
done
check "an empty file is no segment" fails 69 'flagstore.empty' flagctl get empty a
check "neither is a folder" fails 69 'flagstore.folder' flagctl get folder a
check "what is no segment is never removed" fails 69 'flagstore.noise' flagctl unlink noise --force
check "it is still there" [ -e "$FLAGSTORE_DIR/flagstore.noise" ]
check "nor overwritten" fails 69 'flagstore.noise' flagctl create noise
check "a damaged segment can be removed by force" ends 0 '' flagctl unlink short --force
FLAGSTORE_DIR=/nowhere check "a segment directory that does not exist" \
	fails 3 '/nowhere.*directory does not exist' flagctl create x
plan

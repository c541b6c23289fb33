#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) The flagstore authors
#
# flagctl-flags.sh: get, test, list, set, toggle, delete and batch do what they say, and nothing when they fail.
set -u
. "$(dirname "$0")/flagctl.sh"

flagctl create t || exit 1

check "a missing flag tests as 3" ends 3 '' flagctl test t a
check "get names a missing flag" fails 3 'segment t has no flag a' flagctl get t a
check "toggle names a missing flag and does not insert it" \
	unchanged t fails 3 'segment t has no flag a' flagctl toggle t a
check "delete names a missing flag" fails 3 'segment t has no flag a' flagctl delete t a

check "set is silent" ends 0 '' flagctl set t a true
check "a true flag tests as 0" ends 0 '' flagctl test t a
check "set to false" ends 0 '' flagctl set t a false
check "a false flag tests as 1" ends 1 '' flagctl test t a
for form in true on yes 1; do
	check "$form is true" flagctl set t form $form
	check "$form is printed as true" ends 0 true flagctl get t form
done
for form in false off no 0; do
	check "$form is false" flagctl set t form $form
	check "$form is printed as false" ends 0 false flagctl get t form
done
for form in TRUE 2 '' ' true' t 'true '; do
	check "'$form' is no value" unchanged t fails 2 'is no value' flagctl set t form "$form"
done

check "toggle prints the new value" ends 0 true flagctl toggle t a
check "toggle turns it back" ends 0 false flagctl toggle t a
check "toggle --json" ends 0 '{"key": "a", "value": true}' flagctl toggle t a --json
check "get of several flags prints keys" ends 0 $'a\ttrue\nform\tfalse' flagctl get t a form
check "get prints those that are there when one is missing" ends 3 $'a\ttrue\nform\tfalse' flagctl get t a b form
check "get --json" ends 3 '[{"key": "b", "value": null}, {"key": "a", "value": true}]' flagctl get t b a --json
check "test --json" ends 1 '{"key": "form", "value": false}' flagctl test t form --json

check "--if-absent leaves an existing flag alone" \
	unchanged t fails 1 'has the flag a already' flagctl set t a false --if-absent
check "--if-absent inserts" ends 0 '' flagctl set t new true --if-absent
check "the inserted flag has the value" ends 0 true flagctl get t new
check "--expect refuses another value" \
	unchanged t fails 1 'flag a of segment t is not false' flagctl set t a true --expect false
check "--expect refuses a missing flag" unchanged t fails 3 'no flag b' flagctl set t b true --expect false
check "--expect sets when it is so" ends 0 '' flagctl set t a false --expect true
check "the expected flag is set" ends 0 false flagctl get t a
check "both conditions at once are bad usage" \
	unchanged t fails 2 'exclude each other' flagctl set t a true --expect true --if-absent
check "set --json" ends 0 '{"key": "a", "value": true}' flagctl set t a true --json
check "a set to the value it has writes nothing" unchanged t flagctl set t a true

check "list is sorted and complete" ends 0 $'a\ttrue\nform\tfalse\nnew\ttrue' flagctl list t
flagctl batch t shop.one=true shop.two=false 'shop[1]=true' Shop=true >"$work/out"
check "list --prefix" ends 0 $'shop.one\ttrue\nshop.two\tfalse\nshop[1]\ttrue' flagctl list t --prefix shop
check "list --glob" ends 0 $'Shop\ttrue\nshop.one\ttrue\nshop.two\tfalse' flagctl list t --glob '*[wo]*[!]m]'
check "prefix and glob together" ends 0 $'shop.two\tfalse' flagctl list t --glob '*two' --prefix shop
check "a prefix that nothing has" ends 0 '' flagctl list t --prefix zzz
check "list sorts by bytes" [ "$(flagctl ls t)" = "$(flagctl ls t | LC_ALL=C sort)" ]
check "list --long says how often and who" \
	says 0 '^a +true +[0-9]+ +20[0-9-]+T[0-9:.]+Z +flagctl\[[0-9]+\]$' flagctl list t --long
check "list --json has every flag" ends 0 7 jq length <(flagctl list t --json)
check "list --json has the writer" ends 0 '"flagctl"' jq '.[0].writer.command' <(flagctl list t --json)

check "delete of several is silent" ends 0 '' flagctl delete t shop.one shop.two
check "delete of one that is missing deletes none" \
	unchanged t fails 3 'no flag shop.one to delete' flagctl delete t a shop.one new
check "delete of one twice deletes none" unchanged t fails 3 'no flag a to delete' flagctl delete t a a
check "delete --json" ends 0 '{"deleted": 1}' flagctl rm t Shop --json
check "a deleted flag is missing" ends 3 '' flagctl test t Shop

check "batch makes all changes" ends 0 '4 changes, 4 flags changed' flagctl batch t a=toggle new=delete x=true y=no
check "as they were named" ends 0 $'a\tfalse\nform\tfalse\nshop[1]\ttrue\nx\ttrue\ny\tfalse' flagctl list t
check "a batch that changes nothing says so" unchanged t ends 0 '2 changes, 0 flags changed' flagctl batch t a=false y=0
check "changes of one key follow their order" \
	ends 0 '3 changes, 1 flags changed' flagctl batch t z=true z=toggle z=toggle
check "and take effect" ends 0 true flagctl get t z
check "insert and delete in one batch" \
	unchanged t ends 0 '2 changes, 0 flags changed' flagctl batch t gone=true gone=delete
check "one missing flag undoes the batch" \
	unchanged t fails 3 'no flag gone to toggle' flagctl batch t x=false gone=toggle y=true
check "a delete before makes it missing" unchanged t fails 3 'no flag x to toggle' flagctl batch t x=delete x=toggle
check "an operand that is no change" unchanged t fails 2 '`y=maybe. is not a change' flagctl batch t x=false y=maybe
check "an operand without =" unchanged t fails 2 'it has no `=' flagctl batch t x=false y
check "an operand without a key" unchanged t fails 2 'it is empty' flagctl batch t x=false =true
check "the last = ends the key" flagctl batch t a=b=c=true
check "keys may contain =" ends 0 true flagctl get t a=b=c

printf 'x=false\ny=true\na=b=c=delete' >"$work/lines"
check "batch from standard input" with_input "$work/lines" ends 0 '3 changes, 3 flags changed' flagctl batch t
check "its changes took effect" ends 0 $'x\tfalse\ny\ttrue' flagctl get t x y
printf 'x=true\n\ny=false\n' >"$work/lines"
check "an empty line is named" \
	with_input "$work/lines" unchanged t fails 65 'standard input:2: the line is not a change' flagctl batch t
printf 'x=true\nq\0q=true\n' >"$work/lines"
check "a NUL byte in a line" with_input "$work/lines" unchanged t fails 65 'standard input:2: .* NUL' flagctl batch t
check "an empty batch" with_input /dev/null unchanged t ends 0 '0 changes, 0 flags changed' flagctl batch t
seq -f 'k%g=true' 4096 >"$work/lines"
check "a batch of 4096 changes" with_input "$work/lines" ends 0 '4096 changes, 4096 flags changed' flagctl batch t
seq -f 'k%g=false' 4097 >"$work/lines"
check "a batch of 4097 changes changes nothing" \
	with_input "$work/lines" unchanged t fails 65 'at most 4096' flagctl batch t
check "batch --json" ends 0 '{"changes": 1, "changed": 1}' flagctl batch t k1=toggle --json

# The dedupe mark: of twenty that try at the same time one is first.
for i in $(seq 20); do
	flagctl set t mark true --if-absent 2>/dev/null && echo first &
done >"$work/first"
wait
check "of 20 callers of --if-absent one is first" ends 0 1 wc -l <"$work/first"
for i in $(seq 20); do
	flagctl toggle t mark &
done >"$work/values"
wait
check "no toggle of 20 at the same time is lost" \
	ends 0 21 jq '.[] | select(.key == "mark").changes' <(flagctl list t --json)
check "nothing is damaged" ends 0 '0 findings' flagctl check t
plan

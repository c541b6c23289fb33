// SPDX-License-Identifier: BSD-2-Clause
// Copyright (c) The flagstore authors
//
// driver.go: what driver.h and workload.h are for peers in C, for those in Go: the same keys, the same workloads, the same lines in and out.
// A peer's file has the type table, newTable() and the methods that are called here; it is compiled together with this one, so
// that the compiler knows what it calls. Workers are goroutines of one process.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	warm           = 2000
	least          = 1000
	workers        = 64
	experimentSize = 1000000
	prepareTime    = 20 * time.Millisecond
	keyTrue        = 1
	keyFirst       = 2
	keySecond      = 4
	packMagic      = 0x316b636170796566
)

type list struct {
	offset, count uint64
}

type pack struct {
	bytes                 []byte
	block                 uint64
	load, access, missing list
}

type key struct {
	name string
	bits byte
}

func (k key) value() bool { return k.bits&keyTrue != 0 }

// read returns the record at an offset, and the offset of the next one. The key's bytes are those of the file: nothing is copied.
func (p *pack) read(at uint64) (key, uint64) {
	length := uint64(p.bytes[at])
	name := p.bytes[at+2 : at+2+length]
	return key{*(*string)(unsafe.Pointer(&name)), p.bytes[at+1]}, at + 3 + length
}

func (p *pack) skip(at, count uint64) uint64 {
	for ; count > 0; count-- {
		at += 3 + uint64(p.bytes[at])
	}
	return at
}

func mapPack(path string) (*pack, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(data[8*i:]) }
	if len(data) < 72 || word(0) != packMagic || word(1) != uint64(len(data)) {
		return nil, fmt.Errorf("%s: no file of keys", path)
	}
	return &pack{data, word(2), list{word(3), word(4)}, list{word(5), word(6)}, list{word(7), word(8)}}, nil
}

type outcome struct {
	possible          bool
	value             float64
	operations, wrong uint64
	more              string
}

type workload struct {
	pack         *pack
	table        *table
	budget       time.Duration
	next, at     uint64
	memoryBefore uint64
	experimented bool
}

var nothing uint64 // 0, and nobody knows it

func count(wrong bool) uint64 {
	if wrong {
		return 1
	}
	return 0
}

// ------------------------------------------------------------------------------------------------------ loops

type loop func(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64)

func loopGet(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64) {
	var wrong uint64
	var k key
	for i := uint64(0); i < n; i++ {
		k, at = p.read(at)
		if t.get(k.name) != (k.value() != invert) {
			wrong++
		}
	}
	return at, wrong
}

func loopDependent(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64) {
	var wrong uint64
	none := atomic.LoadUint64(&nothing)
	for i := uint64(0); i < n; i++ {
		k, after := p.read(at)
		value := t.get(k.name)
		answer := uint64(*(*byte)(unsafe.Pointer(&value)))
		wrong += (answer ^ uint64(k.bits)&keyTrue) ^ count(invert)
		at = after + answer&none
	}
	return at, wrong
}

func loopMiss(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64) {
	var wrong uint64
	var k key
	for i := uint64(0); i < n; i++ {
		k, at = p.read(at)
		if t.get(k.name) {
			wrong++
		}
	}
	return at, wrong
}

func loopSet(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64) {
	var k key
	for i := uint64(0); i < n; i++ {
		k, at = p.read(at)
		t.set(k.name, k.value() != invert)
	}
	return at, 0
}

func loopDelete(t *table, p *pack, at, n uint64, invert bool) (uint64, uint64) {
	var wrong uint64
	var k key
	for i := uint64(0); i < n; i++ {
		k, at = p.read(at)
		wrong += count(!t.delete(k.name))
	}
	return at, wrong
}

func (w *workload) walk(l loop, n uint64) (wrong uint64) {
	for n > 0 {
		if w.at == 0 || w.next == w.pack.access.count {
			w.next, w.at = 0, w.pack.access.offset
		}
		now := w.pack.access.count - w.next
		if now > n {
			now = n
		}
		at, bad := l(w.table, w.pack, w.at, now, false)
		w.at, wrong = at, wrong+bad
		w.next += now
		n -= now
	}
	return wrong
}

func (w *workload) affordable(operations uint64, took time.Duration) uint64 {
	if took <= 0 {
		took = 1
	}
	n := float64(w.budget) * float64(operations) / float64(took)
	if n < least {
		return least
	}
	if n > 1e9 {
		return 1e9
	}
	return uint64(n)
}

func each(took time.Duration, operations uint64) float64 {
	return float64(took.Nanoseconds()) / float64(operations)
}

func (w *workload) timeWalk(l loop, o *outcome) {
	begun := time.Now()
	o.wrong += w.walk(l, warm)
	o.operations = w.affordable(warm, time.Since(begun))
	begun = time.Now()
	o.wrong += w.walk(l, o.operations)
	o.value = each(time.Since(begun), o.operations)
	o.possible = true
}

func (w *workload) timeMisses(o *outcome) {
	missing := w.pack.missing
	n := uint64(warm)
	if n > missing.count {
		n = missing.count
	}
	begun := time.Now()
	_, wrong := loopMiss(w.table, w.pack, missing.offset, n, false)
	o.wrong += wrong
	o.operations = w.affordable(n, time.Since(begun))
	begun = time.Now()
	for left := o.operations; left > 0; {
		now := left
		if now > missing.count {
			now = missing.count
		}
		_, wrong = loopMiss(w.table, w.pack, missing.offset, now, false)
		o.wrong += wrong
		left -= now
	}
	o.value = each(time.Since(begun), o.operations)
	o.possible = true
}

type stretches struct {
	there, back, count uint64
}

func (w *workload) stretches(operations, start uint64) stretches {
	p := w.pack
	if p.access.count > p.block {
		return stretches{p.access.offset, p.skip(p.access.offset, p.block), p.block}
	}
	at := p.skip(p.access.offset, start)
	n := p.block - start
	if n > operations/2 {
		n = operations / 2
	}
	return stretches{at, at, n}
}

func (w *workload) run(l loop, from, n uint64, invert bool, o *outcome) time.Duration {
	begun := time.Now()
	_, wrong := l(w.table, w.pack, from, n, invert)
	o.wrong += wrong
	return time.Since(begun)
}

func (w *workload) timeFlips(o *outcome) {
	s := w.stretches(least, 0)
	took := w.run(loopSet, s.there, s.count, true, o)
	w.run(loopGet, s.there, s.count, true, o)
	took += w.run(loopSet, s.back, s.count, false, o)
	w.run(loopGet, s.there, s.count, false, o)
	wanted := w.affordable(2*s.count, took)
	s = w.stretches(wanted, 0)
	took = 0
	for o.operations < wanted {
		took += w.run(loopSet, s.there, s.count, true, o)
		took += w.run(loopSet, s.back, s.count, false, o)
		o.operations += 2 * s.count
	}
	o.value = each(took, o.operations)
	o.possible = true
}

func (w *workload) absentOnce(s stretches, o *outcome) time.Duration {
	p, t := w.pack, w.table
	known, missing := s.there, p.missing.offset
	var k key
	begun := time.Now()
	for i := uint64(0); i < s.count; i++ {
		k, known = p.read(known)
		o.wrong += count(t.setIfAbsent(k.name, !k.value()))
		k, missing = p.read(missing)
		o.wrong += count(!t.setIfAbsent(k.name, true))
	}
	took := time.Since(begun)
	w.run(loopDelete, p.missing.offset, s.count, false, o)
	return took
}

func atMost(n, most uint64) uint64 {
	if n > most {
		return most
	}
	return n
}

func (w *workload) timeAbsent(o *outcome) {
	most := atMost(w.pack.load.count/16+1, w.pack.missing.count)
	s := w.stretches(least, 0)
	s.count = atMost(s.count, most)
	took := w.absentOnce(s, o)
	wanted := w.affordable(2*s.count, took)
	s = w.stretches(wanted, 0)
	s.count = atMost(s.count, most)
	took = 0
	for o.operations < wanted {
		took += w.absentOnce(s, o)
		o.operations += 2 * s.count
	}
	o.value = each(took, o.operations)
	o.possible = true
}

func (w *workload) churnLoop(gone, come, n uint64, o *outcome) {
	var k key
	for i := uint64(0); i < n; i++ {
		k, gone = w.pack.read(gone)
		o.wrong += count(!w.table.delete(k.name))
		k, come = w.pack.read(come)
		w.table.set(k.name, k.value())
	}
}

func (w *workload) churnOnce(s stretches, o *outcome) time.Duration {
	begun := time.Now()
	w.churnLoop(s.there, w.pack.missing.offset, s.count, o)
	w.churnLoop(w.pack.missing.offset, s.there, s.count, o)
	return time.Since(begun)
}

func (w *workload) timeChurn(o *outcome) {
	s := w.stretches(least/2, 0)
	s.count = atMost(s.count, w.pack.missing.count)
	took := w.churnOnce(s, o)
	wanted := w.affordable(4*s.count, took)
	s = w.stretches(wanted/2, 0)
	s.count = atMost(s.count, w.pack.missing.count)
	took = 0
	for o.operations < wanted {
		took += w.churnOnce(s, o)
		o.operations += 4 * s.count
	}
	o.value = each(took, o.operations)
	o.possible = true
	w.run(loopGet, s.there, s.count, false, o)
}

// -------------------------------------------------------------------------------------------- filling a table

func ownMemory() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range bytes.Split(status, []byte("\n")) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == "RssAnon:" {
			kilobytes, _ := strconv.ParseUint(string(fields[1]), 10, 64)
			return kilobytes * 1024
		}
	}
	return 0
}

func (w *workload) empty() {
	w.table = nil
	w.memoryBefore = ownMemory()
	w.table = newTable()
	w.experimented = false
}

func (w *workload) fillOneByOne() (longest, interrupted time.Duration) {
	const thread = 1 // RUSAGE_THREAD
	var usage syscall.Rusage
	var k key
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.Getrusage(thread, &usage)
	taken := usage.Nivcsw
	at := w.pack.load.offset
	last := time.Now()
	for i := uint64(0); i < w.pack.load.count; i++ {
		k, at = w.pack.read(at)
		w.table.set(k.name, k.value())
		now := time.Now()
		lap := now.Sub(last)
		if lap > interrupted {
			interrupted = lap
		}
		// No lap that was interrupted is shorter.
		if lap > 2*time.Microsecond {
			syscall.Getrusage(thread, &usage)
			if usage.Nivcsw == taken && lap > longest {
				longest = lap
			}
			taken = usage.Nivcsw
			now = time.Now()
		}
		last = now
	}
	return longest, interrupted
}

func (w *workload) timeFill(o *outcome, oneByOne bool) {
	w.empty()
	o.operations = w.pack.load.count
	begun := time.Now()
	if oneByOne {
		longest, interrupted := w.fillOneByOne()
		o.value = float64(longest.Nanoseconds())
		o.more = fmt.Sprintf(", \"longest_of_all\": %d", interrupted.Nanoseconds())
	} else {
		loopSet(w.table, w.pack, w.pack.load.offset, w.pack.load.count, false)
		o.value = each(time.Since(begun), o.operations)
	}
	w.run(loopGet, w.pack.load.offset, w.pack.load.count, false, o)
	o.possible = true
}

func (w *workload) timeList(o *outcome) {
	var k key
	var wanted uint64
	at := w.pack.load.offset
	for i := uint64(0); i < w.pack.load.count; i++ {
		k, at = w.pack.read(at)
		wanted += count(k.value())
	}
	begun := time.Now()
	for ok := true; ok; ok = time.Since(begun) < w.budget {
		flags, trues := w.table.list()
		o.wrong += count(flags != w.pack.load.count) + count(trues != wanted)
		o.operations += w.pack.load.count
	}
	o.value = each(time.Since(begun), o.operations)
	o.possible = true
}

func (w *workload) weigh(o *outcome) {
	o.operations = w.pack.load.count
	o.value = (float64(ownMemory()) - float64(w.memoryBefore)) / float64(o.operations)
	o.possible = true
	runtime.KeepAlive(w.table)
}

// ------------------------------------------------------------------------------------------------------- teams

type member struct {
	number                   int
	operations, wrong, trues uint64
	ended                    time.Time
}

// team runs so many workers: all prepare, all wait, all begin. It returns them and the time from the beginning until the last had
// done its part.
func team(n int, prepare, part func(m *member), o *outcome) ([]member, time.Duration) {
	members := make([]member, n)
	gate := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(n)
	done.Add(n)
	for i := range members {
		go func(m *member, number int) {
			defer done.Done()
			m.number = number
			if prepare != nil {
				prepare(m)
			}
			ready.Done()
			<-gate
			part(m)
			m.ended = time.Now()
		}(&members[i], i)
	}
	ready.Wait()
	begun := time.Now()
	close(gate)
	done.Wait()
	var took time.Duration
	for i := range members {
		m := &members[i]
		o.wrong += m.wrong
		o.operations += m.operations
		if m.ended.Sub(begun) > took {
			took = m.ended.Sub(begun)
		}
	}
	return members, took
}

func (w *workload) mixLoop(at, n uint64, invert bool, own, foreign byte) (wrong uint64) {
	var k key
	for i := uint64(0); i < n; i++ {
		k, at = w.pack.read(at)
		if k.bits&own != 0 {
			w.table.set(k.name, k.value() != invert)
		} else if w.table.get(k.name) != k.value() && k.bits&foreign == 0 {
			wrong++
		}
	}
	return wrong
}

func (w *workload) mixOnce(m *member, wanted uint64) {
	var start uint64
	if w.pack.access.count == w.pack.block {
		start = uint64(m.number) * w.pack.block / 2
	}
	s := w.stretches(wanted, start)
	own, foreign := byte(keyFirst), byte(keySecond)
	if m.number == 1 {
		own, foreign = foreign, own
	}
	for ok := true; ok; ok = m.operations < wanted {
		m.wrong += w.mixLoop(s.there, s.count, true, own, foreign)
		m.wrong += w.mixLoop(s.back, s.count, false, own, foreign)
		m.operations += 2 * s.count
	}
}

func (w *workload) timeMix(o *outcome) {
	begun := time.Now()
	o.wrong += w.walk(loopGet, warm)
	wanted := w.affordable(warm, time.Since(begun))
	_, took := team(2, func(m *member) { w.mixOnce(m, wanted); m.operations = 0 }, func(m *member) { w.mixOnce(m, wanted) }, o)
	o.value = each(took*2, o.operations)
	o.possible = true
	o.wrong += w.walk(loopGet, least)
}

func (w *workload) toggleTeam(n uint64, o *outcome) time.Duration {
	k, _ := w.pack.read(w.pack.access.offset)
	members, took := team(2, nil, func(m *member) {
		for ; m.operations < n; m.operations++ {
			m.trues += count(w.table.toggle(k.name))
		}
	}, o)
	o.wrong += count(members[0].trues+members[1].trues != n)
	return took
}

func (w *workload) timeToggles(o *outcome) {
	var first outcome
	took := w.toggleTeam(10*least, &first)
	took = w.toggleTeam(w.affordable(10*least, took)&^1, o)
	o.wrong += first.wrong
	o.value = each(took, o.operations)
	o.possible = true
}

func (w *workload) timeExperiment(o *outcome) {
	p, t := w.pack, w.table
	w.experimented = true
	prepare := func(m *member) {
		var k key
		at, begun := p.access.offset, time.Now()
		for i := uint64(0); i < p.block && time.Since(begun) < prepareTime; i++ {
			k, at = p.read(at)
			t.toggle(k.name)
			t.toggle(k.name)
		}
	}
	_, took := team(workers, prepare, func(m *member) {
		var k key
		next := p.access.count / workers * uint64(m.number)
		at := p.skip(p.access.offset, next)
		for ; m.operations < experimentSize/workers&^1; m.operations += 2 {
			if next == p.access.count {
				next, at = 0, p.access.offset
			}
			next++
			k, at = p.read(at)
			t.set(k.name, true)
			m.wrong += count(!t.get(k.name))
		}
	}, o)
	o.value = each(took, o.operations)
	flags, trues := t.list()
	o.wrong += count(flags != p.load.count) + count(trues != p.load.count)
	o.possible = true
}

func (w *workload) readers(n int, alone, sameLine bool, o *outcome) (ns, flips float64) {
	p, t := w.pack, w.table
	flipped, _ := p.read(p.access.offset)
	all := n
	if !alone {
		all++
	}
	var stop uint32
	prepare := func(m *member) {
		_, wrong := loopGet(t, p, p.access.offset, p.block, false)
		m.wrong += wrong
	}
	members, _ := team(all, prepare, func(m *member) {
		begun := time.Now()
		if m.number == n {
			value := flipped.value()
			for ; atomic.LoadUint32(&stop) == 0; m.trues++ {
				value = !value
				t.set(flipped.name, value)
			}
			t.set(flipped.name, flipped.value())
			return
		}
		k, next, at := flipped, uint64(0), p.access.offset
		for time.Since(begun) < w.budget {
			for i := 0; i < 256; i++ {
				if !sameLine {
					if next == p.access.count {
						next, at = 0, p.access.offset
					}
					next++
					k, at = p.read(at)
				}
				if t.get(k.name) != k.value() && (alone || k.name != flipped.name) {
					m.wrong++
				}
			}
			m.operations += 256
		}
		atomic.StoreUint32(&stop, 1)
		m.trues = uint64(time.Since(begun))
	}, o)
	for _, m := range members[:n] {
		ns += float64(m.trues) / float64(m.operations+1) / float64(n)
	}
	if !alone {
		flips = float64(members[n].trues) / float64(members[0].trues+1) * 1e9
	}
	return ns, flips
}

func (w *workload) timeDisturbed(o *outcome, sameLine bool) {
	n := runtime.NumCPU() - 1
	if n < 1 {
		n = 1
	}
	if n > 31 {
		n = 31
	}
	quiet, _ := w.readers(n, true, sameLine, o)
	ns, flips := w.readers(n, false, sameLine, o)
	o.value = ns
	o.more = fmt.Sprintf(", \"undisturbed\": %.9g, \"readers\": %d, \"flips_per_second\": %.9g", quiet, n, flips)
	o.possible = true
}

// --------------------------------------------------------------------------------------------------- all workloads

func (w *workload) do(work string) (o outcome) {
	if work == "insert" || work == "longest" {
		w.timeFill(&o, work == "longest")
		return o
	}
	if w.table == nil || w.experimented {
		w.timeFill(&o, false)
		if o.wrong > 0 {
			return o
		}
		o = outcome{}
	}
	switch work {
	case "get":
		w.timeWalk(loopGet, &o)
	case "dependent":
		w.timeWalk(loopDependent, &o)
	case "miss":
		w.timeMisses(&o)
	case "flip":
		w.timeFlips(&o)
	case "same":
		w.timeWalk(loopSet, &o)
		o.wrong += w.walk(loopGet, least)
	case "absent":
		w.timeAbsent(&o)
	case "churn":
		w.timeChurn(&o)
	case "mix":
		w.timeMix(&o)
	case "toggle":
		w.timeToggles(&o)
	case "disturbed", "same-line":
		w.timeDisturbed(&o, work == "same-line")
	case "list":
		w.timeList(&o)
	case "experiment":
		w.timeExperiment(&o)
	case "memory":
		w.weigh(&o)
	}
	return o
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintf(os.Stderr, "usage: %s KEYS DIRECTORY; to be called by tests/bench/run\n", os.Args[0])
		os.Exit(2)
	}
	keys, err := mapPack(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := workload{pack: keys}
	fmt.Printf("{\"peer\": \"%s\", \"title\": \"%s\", \"version\": \"%s\", \"processes\": false, \"most\": %d}\n", peerName, peerTitle,
		strings.TrimPrefix(runtime.Version(), "go"), peerMost)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var work string
		var milliseconds int
		if n, _ := fmt.Sscan(lines.Text(), &work, &milliseconds); n != 2 {
			os.Exit(1)
		}
		w.budget = time.Duration(milliseconds) * time.Millisecond
		o := w.do(work)
		fmt.Printf("{\"work\": \"%s\", \"possible\": %t, \"value\": %.9g, \"operations\": %d, \"wrong\": %d%s}\n", work, o.possible, o.value,
			o.operations, o.wrong, o.more)
	}
}

// SPDX-License-Identifier: BSD-2-Clause
// Copyright (c) The flagstore authors
//
// syncmap.go: Go's sync.Map. It holds a pointer to each flag's value, so that a flip need not allocate anything, and can be atomic.
package main

import (
	"strings"
	"sync"
	"sync/atomic"
)

const (
	peerName  = "go-syncmap"
	peerTitle = "Go sync.Map"
	peerMost  = 1000000
)

type table struct {
	flags sync.Map
}

func newTable() *table { return new(table) }

func (t *table) find(name string) *atomic.Bool {
	if found, ok := t.flags.Load(name); ok {
		return found.(*atomic.Bool)
	}
	return nil
}

func (t *table) get(name string) bool {
	flag := t.find(name)
	return flag != nil && flag.Load()
}

// insert returns the flag that is there already; nil: it has been inserted.
func (t *table) insert(name string, value bool) *atomic.Bool {
	flag := new(atomic.Bool)
	flag.Store(value)
	if found, ok := t.flags.LoadOrStore(strings.Clone(name), flag); ok {
		return found.(*atomic.Bool)
	}
	return nil
}

func (t *table) set(name string, value bool) {
	flag := t.find(name)
	if flag == nil {
		flag = t.insert(name, value)
	}
	if flag != nil && flag.Load() != value {
		flag.Store(value)
	}
}

func (t *table) setIfAbsent(name string, value bool) bool {
	return t.find(name) == nil && t.insert(name, value) == nil
}

func (t *table) toggle(name string) bool {
	flag := t.find(name)
	for flag != nil {
		value := flag.Load()
		if flag.CompareAndSwap(value, !value) {
			return !value
		}
	}
	return false
}

func (t *table) delete(name string) bool {
	_, ok := t.flags.LoadAndDelete(name)
	return ok
}

func (t *table) list() (flags, trues uint64) {
	t.flags.Range(func(name, flag any) bool {
		flags += count(name.(string) != "")
		trues += count(flag.(*atomic.Bool).Load())
		return true
	})
	return flags, trues
}

// SPDX-License-Identifier: BSD-2-Clause
// Copyright (c) The flagstore authors
//
// rwmutex.go: Go's map behind a sync.RWMutex.
package main

import (
	"strings"
	"sync"
)

const (
	peerName  = "go-rwmutex"
	peerTitle = "Go map with RWMutex"
	peerMost  = 10000000
)

type table struct {
	lock  sync.RWMutex
	flags map[string]bool
}

func newTable() *table { return &table{flags: make(map[string]bool)} }

func (t *table) get(name string) bool {
	t.lock.RLock()
	value := t.flags[name]
	t.lock.RUnlock()
	return value
}

// A map keeps the key it has; a new one gets a copy of its own.
func (t *table) set(name string, value bool) {
	t.lock.Lock()
	if _, ok := t.flags[name]; !ok {
		name = strings.Clone(name)
	}
	t.flags[name] = value
	t.lock.Unlock()
}

func (t *table) setIfAbsent(name string, value bool) bool {
	t.lock.Lock()
	_, ok := t.flags[name]
	if !ok {
		t.flags[strings.Clone(name)] = value
	}
	t.lock.Unlock()
	return !ok
}

func (t *table) toggle(name string) bool {
	t.lock.Lock()
	value := !t.flags[name]
	t.flags[name] = value
	t.lock.Unlock()
	return value
}

func (t *table) delete(name string) bool {
	t.lock.Lock()
	_, ok := t.flags[name]
	delete(t.flags, name)
	t.lock.Unlock()
	return ok
}

func (t *table) list() (flags, trues uint64) {
	t.lock.RLock()
	for name, value := range t.flags {
		flags += count(name != "")
		trues += count(value)
	}
	t.lock.RUnlock()
	return flags, trues
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// isCached has the maps whose answers the programs cache, or remember of a pair of addresses (bpf/memo.h): all that say who
// may send what where, and by which number it is counted.
var isCached = map[string]bool{
	gatewayMapTomboloClusters: true,
	gatewayMapTomboloLocals:   true,
	gatewayMapTomboloPlaces:   true,
	gatewayMapTomboloPods:     true,
	gatewayMapTomboloRemotes:  true,
	gatewayMapTomboloSlots:    true,
	gatewayMapTomboloSources:  true,
	gatewayMapTomboloTransit:  true,
	gatewayMapTomboloUnderlay: true,
	gatewayMapTomboloVnis:     true,
}

// epoch is the word of tombolo_epoch, in the kernel's own memory.
type epoch struct {
	memory []byte
	word   *atomic.Uint64
	first  sync.Once
}

// openEpoch maps the word into this process: only so it changes at once, and as one addition whoever else adds.
func openEpoch(m *ebpf.Map) (*epoch, error) {
	memory, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map epoch into memory: %w", err)
	}
	return &epoch{memory: memory, word: (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(memory)))}, nil
}

// bump ends all that was cached. It must come after the change of the trie: what a program asked before the change, it
// caches as of the epoch before.
func (e *epoch) bump() { e.word.Add(1) }

func (e *epoch) close() error {
	if e.memory == nil {
		return nil
	}
	memory := e.memory
	e.memory = nil
	return unix.Munmap(memory)
}

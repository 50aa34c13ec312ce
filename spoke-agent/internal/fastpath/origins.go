// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// originFresh is FRESH of bpf/learn.h.
const originFresh = 5 * time.Second

// cacheBits is CACHE_BITS of bpf/maps.h, and trieLearned is LEARNED.
const (
	cacheBits   = 18
	trieLearned = 4
)

// originEntry is what a program has learned: struct cached with a struct learned in it.
type originEntry struct {
	pod    endpointKey
	epoch  uint64
	origin netip.Addr
	// since is the kernel's coarse monotonic clock when a packet last confirmed it.
	since time.Duration
}

func (e originEntry) question() uint64 {
	address := e.pod.address.As4()
	return trieLearned<<56 | uint64(e.pod.vni)<<32 | uint64(native.Uint32(address[:]))
}

func (e originEntry) slot() uint32 {
	return uint32(e.question() * 0x9e3779b97f4a7c15 >> (64 - cacheBits))
}

func (e originEntry) encode() []byte {
	a := e.origin.As4()
	origin := uint64(native.Uint32(a[:]))
	b := native.AppendUint64(nil, e.question()^sealOf(e.epoch, origin, uint64(e.since)))
	b = native.AppendUint64(b, e.epoch)
	b = native.AppendUint64(b, origin)
	return native.AppendUint64(b, uint64(e.since))
}

// sealOf is what seal() of bpf/cache.h adds to the question. So the question need not be in the map to be found there.
func sealOf(epoch, answer0, answer1 uint64) uint64 {
	return (epoch*0xff51afd7ed558ccd+answer0)*0xc4ceb9fe1a85ec53 + answer1
}

// decodeOrigin reads what is in a slot; false is nothing, or half of two things.
func decodeOrigin(slot uint32, b []byte) (originEntry, bool) {
	epoch, origin, since := native.Uint64(b[8:]), native.Uint64(b[16:]), native.Uint64(b[24:])
	question := native.Uint64(b) ^ sealOf(epoch, origin, since)
	e := originEntry{
		pod:   endpointKey{vni: uint32(question>>32) & maxVNI, address: addrOf(uint32(question))},
		epoch: epoch, origin: addrOf(uint32(origin)), since: time.Duration(since),
	}
	return e, e.question() == question && e.slot() == slot
}

// addrOf is an address as the programs hold it in a number.
func addrOf(v uint32) netip.Addr { return netip.AddrFrom4([4]byte(native.AppendUint32(nil, v))) }

// kernelClock is bpf_ktime_get_coarse_ns.
func kernelClock() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// origins are the nodes of other clusters that pods of this node would send to now.
func (f *Fastpath) origins() ([]originEntry, error) {
	now, err := kernelClock()
	if err != nil {
		return nil, err
	}
	const size = 4096
	keys, values := make([]uint32, size), make([][32]byte, size)
	var (
		cursor  ebpf.MapBatchCursor
		origins []originEntry
	)
	for {
		n, err := f.maps[gatewayMapTomboloOrigins].BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			e, ok := decodeOrigin(keys[i], values[i][:])
			if ok && e.epoch == f.epoch.word.Load() && now-e.since <= originFresh {
				origins = append(origins, e)
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return origins, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read origins: %w", err)
		}
	}
}

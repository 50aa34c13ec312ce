// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// maxVpc is MAX_VPC of bpf/layout.h: what a name in the maps takes, with the zero that ends it.
const maxVpc = 128

func encodeName(vpc string) []byte {
	b := make([]byte, maxVpc)
	copy(b, vpc)
	return b
}

func decodeName(b []byte) (string, error) {
	if err := wantLen("name", b, maxVpc); err != nil {
		return "", err
	}
	name, rest, ok := bytes.Cut(b, []byte{0})
	if !ok || len(bytes.Trim(rest, "\x00")) != 0 {
		return "", errors.New("decode name: it is not zero-terminated")
	}
	return string(name), nil
}

// samplingEntry is struct sampling.
type samplingEntry struct {
	until time.Duration // of CLOCK_MONOTONIC
	every uint32
	drops bool
}

func (e samplingEntry) encode() []byte {
	b := native.AppendUint64(nil, uint64(e.until))
	b = native.AppendUint32(b, e.every)
	return appendBool(b, e.drops)
}

func decodeSampling(b []byte) (samplingEntry, error) {
	if err := wantLen("sampling", b, 16); err != nil {
		return samplingEntry{}, err
	}
	drops, err := decodeBool("drops", b[12:])
	if err != nil {
		return samplingEntry{}, fmt.Errorf("decode sampling: %w", err)
	}
	return samplingEntry{until: time.Duration(native.Uint64(b)), every: native.Uint32(b[8:]), drops: drops}, nil
}

// programNames are the names of enum program, in its order.
var programNames = []string{"tombolo_out", "tombolo_in", "tombolo_slow_in", "tombolo_pod"}

// recordEntry is struct record.
type recordEntry struct {
	time                        time.Duration // of CLOCK_MONOTONIC
	cluster                     uint64
	vni, remoteVNI              uint32
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	bytes, packets              uint32
	protocol, program, event    uint8
}

// recordSize is the size of struct record.
const recordSize = 48

func decodeRecord(b []byte) (recordEntry, error) {
	if err := wantLen("record", b, recordSize); err != nil {
		return recordEntry{}, err
	}
	e := recordEntry{
		time:            time.Duration(native.Uint64(b)),
		cluster:         native.Uint64(b[8:]),
		vni:             native.Uint32(b[16:]),
		remoteVNI:       native.Uint32(b[20:]),
		source:          netip.AddrFrom4([4]byte(b[24:])),
		destination:     netip.AddrFrom4([4]byte(b[28:])),
		sourcePort:      binary.BigEndian.Uint16(b[32:]),
		destinationPort: binary.BigEndian.Uint16(b[34:]),
		bytes:           native.Uint32(b[36:]),
		packets:         native.Uint32(b[40:]),
		protocol:        b[44],
		program:         b[45],
		event:           b[46],
	}
	if int(e.program) >= len(programNames) {
		return recordEntry{}, fmt.Errorf("decode record: program %d is none", e.program)
	}
	if int(e.event) > len(dropReasons)+len(slowReasons) {
		return recordEntry{}, fmt.Errorf("decode record: event %d is none", e.event)
	}
	return e, nil
}

// monotonic is the programs' clock: CLOCK_MONOTONIC.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read monotonic clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

func (f *Fastpath) sampling() (samplingEntry, error) {
	var b []byte
	if err := f.maps[gatewayMapTomboloSampling].Lookup(uint32(0), &b); err != nil {
		return samplingEntry{}, fmt.Errorf("read sampling: %w", err)
	}
	return decodeSampling(b)
}

func (f *Fastpath) setSampling(e samplingEntry) error {
	if err := f.maps[gatewayMapTomboloSampling].Put(uint32(0), e.encode()); err != nil {
		return fmt.Errorf("write sampling: %w", err)
	}
	return nil
}

// endSampling ends what a reader that was killed has left on: the programs would ask for the time of each packet.
func (f *Fastpath) endSampling() error {
	e, err := f.sampling()
	if err != nil || e.every == 0 {
		return err
	}
	if now, err := monotonic(); err != nil || now < e.until {
		return err
	}
	return f.setSampling(samplingEntry{})
}

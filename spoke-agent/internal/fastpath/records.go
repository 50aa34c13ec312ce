// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// Record is what became of one packet between a Vpc here and one in another cluster.
type Record struct {
	// Time at which the program saw the packet.
	Time time.Time `json:"time"`
	// Direction is "out" (to the other cluster) or "in".
	Direction string `json:"direction"`
	// Program that saw it.
	Program string `json:"program"`
	// Verdict is "forwarded", "slow" (left to the kernel, or of a pod to OVN) or "dropped", and Reason why it was not forwarded: that of
	// Counters.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	// SrcVpc and DstVpc are the "namespace/name" of the Vpcs that the addresses are of; empty when nobody knows.
	SrcVpc string `json:"src_vpc,omitempty"`
	DstVpc string `json:"dst_vpc,omitempty"`
	// Cluster is the other cluster; empty when nobody knows.
	Cluster string `json:"cluster,omitempty"`
	// VNI of the Vpc here, RemoteVNI of the Vpc there; 0 when nobody knows.
	VNI       uint32 `json:"vni"`
	RemoteVNI uint32 `json:"remote_vni,omitempty"`
	// Src, Dst, Protocol and ports of the inner IPv4 packet. No ports: there are none, or in an earlier fragment.
	Src      netip.Addr `json:"src"`
	Dst      netip.Addr `json:"dst"`
	Protocol uint8      `json:"protocol"`
	SrcPort  uint16     `json:"src_port,omitempty"`
	DstPort  uint16     `json:"dst_port,omitempty"`
	// Packets, where each segment of a super-packet counts, and Bytes of the inner IPv4 packet.
	Packets uint32 `json:"packets"`
	Bytes   uint32 `json:"bytes"`
}

// RecordOptions say which records are wanted.
type RecordOptions struct {
	// Every is how many packets one record stands for, on the average: 1 is all of them.
	Every uint32
	// Drops wants only packets that are dropped.
	Drops bool
	// Lost is told how many records have been lost since it was last told: there was no room, for this process is too slow.
	Lost func(uint64)
}

const (
	// samplingLease is how long the programs go on making records after the reader was last heard of.
	samplingLease = 3 * time.Second
	// samplingRenewal is how often the reader says that it is there, and looks for what was lost.
	samplingRenewal = time.Second
)

// Records makes the programs tell what becomes of packets, and gives it to each until ctx is done (which is no error) or each
// returns an error. There is one reader at a time. When the process is killed, the programs stop within seconds.
func (f *Fastpath) Records(ctx context.Context, o RecordOptions, each func(Record) error) error {
	if o.Every == 0 {
		return errors.New("read records: one in 0 packets is none; give 1 for all, or more")
	}
	if err := f.free(); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	reader, err := ringbuf.NewReader(f.maps[gatewayMapTomboloRecords])
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	defer reader.Close()
	r := recordReader{Fastpath: f, options: o, reader: reader, each: each}
	if r.lost, err = f.lostRecords(); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	err = r.run(ctx)
	return errors.Join(err, f.setSampling(samplingEntry{}), r.tellLost())
}

// free is an error while another process reads: a record goes to one reader only.
func (f *Fastpath) free() error {
	e, err := f.sampling()
	if err != nil {
		return err
	}
	now, err := monotonic()
	if err == nil && e.every != 0 && now < e.until {
		return fmt.Errorf("another process reads them on this node: end it, or wait %s if it was killed", samplingLease)
	}
	return err
}

// recordReader is one call of Records.
type recordReader struct {
	*Fastpath
	options  RecordOptions
	reader   *ringbuf.Reader
	each     func(Record) error
	names    recordNames
	lost     uint64
	starting time.Duration // records before are of a reader before
}

func (r *recordReader) run(ctx context.Context) error {
	var err error
	if r.starting, err = monotonic(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = r.reader.Flush() })() // wakes ReadInto
	var record ringbuf.Record
	var due time.Time
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(due) {
			if err := r.renew(); err != nil {
				return err
			}
			due = now.Add(samplingRenewal)
			r.reader.SetDeadline(due)
		}
		err := r.reader.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read record: %w", err)
		}
		if err := r.give(record.RawSample); err != nil {
			return err
		}
	}
	return nil
}

// renew goes on being the reader, with the names of now.
func (r *recordReader) renew() error {
	wall := time.Now()
	now, err := monotonic()
	if err != nil {
		return err
	}
	r.names.boot = wall.Add(-now)
	if err := r.setSampling(samplingEntry{until: now + samplingLease, every: r.options.Every, drops: r.options.Drops}); err != nil {
		return err
	}
	if r.names.clusters, err = r.clusterNames(); err != nil {
		return err
	}
	if r.names.vpcs, err = r.vpcNames(); err != nil {
		return err
	}
	return r.tellLost()
}

func (r *recordReader) give(b []byte) error {
	e, err := decodeRecord(b)
	if err != nil || e.time < r.starting {
		return err
	}
	return r.each(r.names.record(e))
}

func (r *recordReader) tellLost() error {
	lost, err := r.lostRecords()
	if err != nil {
		return err
	}
	if lost > r.lost && r.options.Lost != nil {
		r.options.Lost(lost - r.lost)
	}
	r.lost = lost
	return nil
}

// lostRecords is how many found no room, ever.
func (f *Fastpath) lostRecords() (lost uint64, err error) {
	var perCPU [][]byte
	if err := f.maps[gatewayMapTomboloObservation].Lookup(uint32(0), &perCPU); err != nil {
		return 0, fmt.Errorf("read number of lost records: %w", err)
	}
	for _, b := range perCPU {
		if err := wantLen("observation", b, recordSize+16); err != nil {
			return 0, err
		}
		lost += native.Uint64(b[recordSize:])
	}
	return lost, nil
}

// recordNames has the names of what records only number, and when CLOCK_MONOTONIC was 0.
type recordNames struct {
	clusters map[uint64]string
	vpcs     map[uint32]string
	boot     time.Time
}

func (n recordNames) record(e recordEntry) Record {
	r := Record{
		Time: n.boot.Add(e.time), Program: programNames[e.program], VNI: e.vni, RemoteVNI: e.remoteVNI,
		Src: e.source, Dst: e.destination, Protocol: e.protocol, SrcPort: e.sourcePort, DstPort: e.destinationPort,
		Packets: e.packets, Bytes: e.bytes,
	}
	if e.cluster != 0 {
		r.Cluster = clusterName(n.clusters, e.cluster)
	}
	if r.Program == "tombolo_out" || r.Program == "tombolo_pod" {
		r.Direction, r.SrcVpc, r.DstVpc = flowDirections[0], n.vpcs[e.vni], n.vpcs[e.remoteVNI]
	} else {
		r.Direction, r.SrcVpc, r.DstVpc = flowDirections[1], n.vpcs[e.remoteVNI], n.vpcs[e.vni]
	}
	switch event := int(e.event); {
	case event < len(dropReasons):
		r.Verdict, r.Reason = "dropped", dropReasons[event]
	case event < len(dropReasons)+len(slowReasons):
		r.Verdict, r.Reason = "slow", slowReasons[event-len(dropReasons)]
	default:
		r.Verdict = "forwarded"
	}
	return r
}

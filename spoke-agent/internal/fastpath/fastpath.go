// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"

	"github.com/go-logr/logr"
)

// Options of Open.
type Options struct {
	// PinPath is a directory in a bpffs (see MountBPFFS), for example /sys/fs/bpf/tombolo. Everything that
	// must outlive the process is pinned below it.
	PinPath string
	// Logger of what Set changes.
	Logger logr.Logger
}

// Fastpath is the kernel's side of one node's gateway: pinned maps and pinned links.
type Fastpath struct {
	opts Options
}

// FlowCounter counts the packets between a Vpc here and a Vpc in another cluster, in one direction.
type FlowCounter struct {
	// VNI of the Vpc here, RemoteVNI of the Vpc there.
	VNI, RemoteVNI uint32
	// Vpc and RemoteVpc are their "namespace/name", empty until Set has named them.
	Vpc, RemoteVpc string
	// Cluster where the remote Vpc is.
	Cluster string
	// Direction is "out" (to the other cluster) or "in".
	Direction string
	// Packets, where each segment of a super-packet counts.
	Packets uint64
	// Bytes of the inner IPv4 packets, as they crossed the program.
	Bytes uint64
}

var errUnbuilt = errors.New("fastpath: programs are not built in")

// MountBPFFS mounts a bpffs at dir unless dir is on one already.
func MountBPFFS(dir string) error { return errUnbuilt }

// Open loads the programs and opens, or makes, the pinned maps.
func Open(opts Options) (*Fastpath, error) { return nil, errUnbuilt }

// Set makes the kernel forward exactly what cfg says.
func (f *Fastpath) Set(cfg Config) error { return errUnbuilt }

// Counters returns packets and bytes per flow direction, and dropped packets by reason.
func (f *Fastpath) Counters() ([]FlowCounter, map[string]uint64, error) { return nil, nil, errUnbuilt }

// Dump returns all that the maps hold as sorted lines.
func (f *Fastpath) Dump() (string, error) { return "", errUnbuilt }

// Close releases what the process holds. Pinned maps and links go on working.
func (f *Fastpath) Close() error { return errUnbuilt }

// Remove detaches the programs and deletes every pin.
func (f *Fastpath) Remove() error { return errUnbuilt }

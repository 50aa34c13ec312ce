// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package programs is the bench's own eBPF: a tunnel as Cilium makes it, a generator
// of packets inside the kernel, and a counter of those that arrive. Its functions
// work in the network namespace of the calling thread.
package programs

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Tunnel is one gateway that encapsulates with a VXLAN device of metadata (collect_md) and hands packets from it to the
// pod past the stack (redirect_peer).
type Tunnel struct {
	// PodEnd and Device are interface indices: the gateway's end of the pod's veth, and the VXLAN device.
	PodEnd, Device int
	// VNI of the pod's packets, both ways.
	VNI uint32
	// Endpoint that has Prefix.
	Endpoint netip.Addr
	Prefix   netip.Prefix
	// Pod that is here, and the MAC addresses on its veth.
	Pod               netip.Addr
	PodMAC, RouterMAC net.HardwareAddr
}

type peerKey struct {
	Length  uint32
	Address [4]byte
}

type peerEntry struct {
	Endpoint, VNI uint32
}

type podEntry struct {
	Ifindex           uint32
	PodMAC, RouterMAC [6]byte
}

// closers are closed last first.
type closers []io.Closer

// Close ends what was attached.
func (c closers) Close() error {
	var errs []error
	for i := range c {
		errs = append(errs, c[len(c)-1-i].Close())
	}
	return errors.Join(errs...)
}

func load(set map[string]uint32) (*benchObjects, error) {
	spec, err := loadBench()
	if err != nil {
		return nil, err
	}
	for name, value := range set {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s of the bench's programs: %w", name, err)
		}
	}
	var objects benchObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return nil, fmt.Errorf("load the bench's programs: %w", err)
	}
	return &objects, nil
}

func attach(ifindex int, program *ebpf.Program) (link.Link, error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: program, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil, fmt.Errorf("attach %s to interface %d: %w", program, ifindex, err)
	}
	return l, nil
}

// Attach makes the gateway forward until the Closer is closed.
func (t Tunnel) Attach() (io.Closer, error) {
	objects, err := load(map[string]uint32{benchVarTunnelIfindex: uint32(t.Device)})
	if err != nil {
		return nil, err
	}
	open := closers{objects}
	pod := podEntry{uint32(t.PodEnd), [6]byte(t.PodMAC), [6]byte(t.RouterMAC)}
	endpoint := t.Endpoint.As4()
	peer := peerEntry{uint32(endpoint[0])<<24 | uint32(endpoint[1])<<16 | uint32(endpoint[2])<<8 | uint32(endpoint[3]), t.VNI}
	err = errors.Join(
		objects.BenchPods.Put(t.Pod.As4(), pod),
		objects.BenchPeers.Put(peerKey{uint32(t.Prefix.Bits()), t.Prefix.Addr().As4()}, peer),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill the tunnel's maps: %w", err), open.Close())
	}
	for ifindex, program := range map[int]*ebpf.Program{t.PodEnd: objects.BenchFromPod, t.Device: objects.BenchFromTunnel} {
		l, err := attach(ifindex, program)
		if err != nil {
			return nil, errors.Join(err, open.Close())
		}
		open = append(open, l)
	}
	return open, nil
}

// Switch joins interfaces as a switch joins machines.
type Switch []SwitchPort

// SwitchPort is one port, and the MAC address of the interface at its other end, which is in another namespace.
type SwitchPort struct {
	Ifindex int
	MAC     net.HardwareAddr
}

// Attach makes the switch forward until the Closer is closed.
func (s Switch) Attach() (io.Closer, error) {
	objects, err := load(nil)
	if err != nil {
		return nil, err
	}
	open := closers{objects}
	for _, port := range s {
		err := objects.BenchSwitchPorts.Put([]byte(port.MAC), uint32(port.Ifindex))
		var l link.Link
		if err == nil {
			l, err = attach(port.Ifindex, objects.BenchSwitch)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make switch: %w", err), open.Close())
		}
		open = append(open, l)
	}
	return open, nil
}

// Counter counts the frames that arrive at an interface, which ends their way.
type Counter struct {
	closers
	objects *benchObjects
}

// Count counts frames of that length, in bytes with the Ethernet header: in XDP, which makes a veth take what the other
// end's XDP sends, or when they have become skbs.
func Count(ifindex, length int, xdp bool) (*Counter, error) {
	objects, err := load(map[string]uint32{benchVarExpected: uint32(length)})
	if err != nil {
		return nil, err
	}
	var l link.Link
	if xdp {
		l, err = link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: objects.BenchReturn})
	} else {
		l, err = attach(ifindex, objects.BenchArrive)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach counter: %w", err), objects.Close())
	}
	return &Counter{closers{objects, l}, objects}, nil
}

// Arrived is the number of frames since Count.
func (c *Counter) Arrived() (uint64, error) {
	var n uint64
	if err := c.objects.Arrived.Get(&n); err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	return n, nil
}

// Generator makes frames inside the kernel and gives them to an interface.
type Generator struct {
	closers
	objects *benchObjects
	frame   []byte
	in      int
}

// MaxDestinations is how many destinations a Generator takes in turn at most.
const MaxDestinations = 1 << 17

// NewGenerator makes a generator of frames that leave by the interface ifindex. The frame's innermost IPv4 header has no
// destination: it gets one of destinations, in turn, whose number is a power of two.
func NewGenerator(ifindex int, frame []byte, destinations []netip.Addr) (*Generator, error) {
	n := len(destinations)
	if n == 0 || n&(n-1) != 0 || n > MaxDestinations {
		return nil, fmt.Errorf("make generator: %d destinations; give a power of two, %d at most", n, MaxDestinations)
	}
	objects, err := load(map[string]uint32{benchVarOutIfindex: uint32(ifindex), benchVarUsed: uint32(n - 1)})
	if err != nil {
		return nil, err
	}
	keys, values := make([]uint32, n), make([][4]byte, n)
	for i, a := range destinations {
		keys[i], values[i] = uint32(i), a.As4()
	}
	_, err = objects.BenchDestinations.BatchUpdate(keys, values, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill destinations: %w", err), objects.Close())
	}
	whole := make([]byte, objects.BenchFrame.ValueSize())
	copy(whole, frame)
	if err := objects.BenchFrame.Put(uint32(0), whole); err != nil {
		return nil, errors.Join(fmt.Errorf("fill frame: %w", err), objects.Close())
	}
	return &Generator{closers{objects}, objects, frame, ifindex}, nil
}

// xdpMD is struct xdp_md of linux/bpf.h, as BPF_PROG_TEST_RUN takes it.
type xdpMD struct {
	Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// Run sends n frames. The work on them is done before it returns, in the calling thread.
func (g *Generator) Run(n int) error {
	_, err := g.objects.BenchGenerate.Run(&ebpf.RunOptions{
		Data:    g.frame,
		Context: xdpMD{DataEnd: uint32(len(g.frame)), IngressIfindex: uint32(g.in)},
		Repeat:  uint32(n),
		Flags:   unix.BPF_F_TEST_XDP_LIVE_FRAMES,
	})
	if err != nil {
		return fmt.Errorf("run generator: %w", err)
	}
	return nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// A pod that is all packet socket: it sends frames by the hundred, and reads what comes from memory that it shares with
// the kernel (PACKET_RX_RING, linux/if_packet.h). Its kernel gets nothing of either.
type wire struct {
	out, in int
	ring    []byte
	next    int

	headers []mmsghdr
	vectors []unix.Iovec
}

const (
	ringFrame  = 2048
	ringFrames = 8192
	// batchSize is the most that is under way at once: a CPU queues 1000 packets (net.core.netdev_max_backlog).
	batchSize = 256
)

// mmsghdr is struct mmsghdr (sendmmsg(2)).
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ uint32
}

func newWire(t *testing.T, ns *linktest.Namespace) *wire {
	t.Helper()
	w := &wire{headers: make([]mmsghdr, batchSize), vectors: make([]unix.Iovec, batchSize)}
	for i := range w.headers {
		w.headers[i].Iov = &w.vectors[i]
		w.headers[i].SetIovlen(1)
	}
	ns.MustDo(t, func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(w.openOut(dev.Index), w.openIn(dev.Index), dropAll(t, dev.Index))
	})
	t.Cleanup(func() {
		if err := errors.Join(unix.Munmap(w.ring), unix.Close(w.in), unix.Close(w.out)); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *wire) openOut(ifindex int) (err error) {
	if w.out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	return errors.Join(
		unix.SetsockoptInt(w.out, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20),
		unix.Bind(w.out, &unix.SockaddrLinklayer{Ifindex: ifindex}))
}

func (w *wire) openIn(ifindex int) (err error) {
	const (
		all = 0x0300 // ETH_P_ALL in network byte order
		v2  = 1      // TPACKET_V2
	)
	if w.in, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	req := unix.TpacketReq{Block_size: 1 << 16, Block_nr: ringFrames * ringFrame >> 16, Frame_size: ringFrame, Frame_nr: ringFrames}
	if err := errors.Join(
		unix.SetsockoptInt(w.in, unix.SOL_PACKET, unix.PACKET_VERSION, v2),
		unix.SetsockoptInt(w.in, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptTpacketReq(w.in, unix.SOL_PACKET, unix.PACKET_RX_RING, &req)); err != nil {
		return fmt.Errorf("make ring: %w", err)
	}
	if w.ring, err = unix.Mmap(w.in, 0, ringFrames*ringFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	return unix.Bind(w.in, &unix.SockaddrLinklayer{Ifindex: ifindex, Protocol: all})
}

// dropAll keeps what comes from the pod's own kernel, which would answer; packet sockets see it before.
func dropAll(t *testing.T, ifindex int) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, dropped), asm.Return()}})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

// send sends at most batchSize frames.
func (w *wire) send(frames [][]byte) error {
	for i, frame := range frames {
		w.vectors[i].Base = unsafe.SliceData(frame)
		w.vectors[i].SetLen(len(frame))
	}
	for sent := 0; sent < len(frames); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(w.out), uintptr(unsafe.Pointer(&w.headers[sent])), uintptr(len(frames)-sent), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("send frame %d of %d octets: %w", sent, len(frames[sent]), errno)
		}
		sent += int(n)
	}
	return nil
}

// receive gives every frame that has come to f. It must not keep them.
func (w *wire) receive(f func(frame []byte)) (n int) {
	for ; ; n++ {
		slot := w.ring[w.next*ringFrame:][:ringFrame]
		h := (*unix.Tpacket2Hdr)(unsafe.Pointer(unsafe.SliceData(slot)))
		if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
			return n
		}
		f(slot[h.Mac:][:h.Snaplen])
		atomic.StoreUint32(&h.Status, 0)
		w.next = (w.next + 1) % ringFrames
	}
}

// lost is how many frames found no room in the ring.
func (w *wire) lost() (int, error) {
	s, err := unix.GetsockoptTpacketStats(w.in, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, err
	}
	return int(s.Drops), nil
}

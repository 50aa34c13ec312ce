// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a packet socket on one interface. It takes IPv4 only, and so sees what tombolo_out has left to the kernel,
// not the transit that the program takes: probing costs the transit nothing.
type socket struct {
	*os.File
	ifname string
}

func openSocket(ifname string) (*socket, error) {
	device, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", ifname, err)
	}
	// Protocol 0 receives nothing: the filter is in place before the first packet.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket (needs CAP_NET_RAW): %w", err)
	}
	s := &socket{File: os.NewFile(uintptr(fd), "packet:"+ifname), ifname: ifname}
	program := unix.SockFprog{Len: uint16(len(onlyEchoReplies)), Filter: unsafe.SliceData(onlyEchoReplies)}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		s.Close()
		return nil, fmt.Errorf("filter packet socket: %w", err)
	}
	address := &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_IP), Ifindex: device.Index}
	if err := unix.Bind(fd, address); err != nil {
		s.Close()
		return nil, fmt.Errorf("bind packet socket to %s: %w", ifname, err)
	}
	return s, nil
}

// swap turns a number into network byte order, which the kernel expects in this field.
func swap(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// onlyEchoReplies: IPv4 protocol 1, no fragment, ICMP type 0.
var onlyEchoReplies = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ethernetLen + 9},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: protocolICMP, Jf: 6},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: ethernetLen + 6},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: notWholeFragment, Jt: 4},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: ethernetLen},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: ethernetLen},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpEchoReply, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

// superDatagrams sends what QUIC sends: several datagrams in one system call (UDP_SEGMENT).
func superDatagrams(p *topology.Path, _ int) (string, error) {
	const calls, segments, length = 55, 10, 1000
	r, err := receive(p, 7101, length)
	if err != nil {
		return "", err
	}
	defer r.conn.Close()
	conn, err := dial(p, 7101)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := option(conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, length); err != nil {
		return "", err
	}
	for range calls {
		if _, err := conn.Write(make([]byte, segments*length)); err != nil {
			return "", err
		}
	}
	const want = calls * segments
	if got := r.total(want); got != want {
		return "", fmt.Errorf("%d of %d datagrams arrived", got, want)
	}
	return fmt.Sprintf("%d datagrams in %d super-packets", want, calls), nil
}

// pathMTU sends packets that fit the pod's interface and not the tunnel, with "don't fragment".
func pathMTU(p *topology.Path, _ int) (_ string, err error) {
	if !p.HasPodMTU() {
		return "", errNotHere
	}
	if err := p.SetPodMTU(topology.UnderlayMTU); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.SetPodMTU(topology.PodMTU)) }()
	conn, err := dial(p, 7102)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := option(conn, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
		return "", err
	}
	mtu := 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline) && mtu != topology.PodMTU; time.Sleep(20 * time.Millisecond) {
		if _, err := conn.Write(make([]byte, topology.UnderlayMTU-28)); err != nil && !errors.Is(err, unix.EMSGSIZE) {
			return "", err
		}
		err := control(conn, func(fd int) (err error) {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if mtu != topology.PodMTU {
		return "", fmt.Errorf("no ICMP came for packets of %d bytes: the pod believes in an MTU of %d, and it is %d",
			topology.UnderlayMTU, mtu, topology.PodMTU)
	}
	return fmt.Sprintf("the pod learns %d", mtu), nil
}

// hops sends packets that die at each router of the Vpcs (between clusters is a wire, whatever carries it), and one that
// just arrives.
func hops(p *topology.Path, _ int) (string, error) {
	const text = "hop"
	r, err := receive(p, 7103, len(text))
	if err != nil {
		return "", err
	}
	defer r.conn.Close()
	var from []string
	for ttl := 1; ttl <= p.Routers+1; ttl++ {
		who, err := farewell(p, ttl, text)
		if ttl <= p.Routers && err != nil {
			return "", fmt.Errorf("TTL %d: %w", ttl, err)
		}
		if ttl > p.Routers && (err == nil || r.total(1) != 1) {
			return "", fmt.Errorf("TTL %d: %d packets arrived, and %v has answered", ttl, r.total(1), who)
		}
		if ttl <= p.Routers {
			from = append(from, who.String())
		}
	}
	return fmt.Sprintf("answered by %v; TTL %d arrives", from, p.Routers+1), nil
}

// farewell sends a packet with a TTL and returns who says that it has ended.
func farewell(p *topology.Path, ttl int, text string) (who netip.Addr, err error) {
	conn, err := dial(p, 7103)
	if err != nil {
		return who, err
	}
	defer conn.Close()
	if err := errors.Join(
		option(conn, unix.IPPROTO_IP, unix.IP_TTL, ttl), option(conn, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
	); err != nil {
		return who, err
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		return who, err
	}
	if failed := control(conn, func(fd int) (_ error) { who, err = offender(fd); return nil }); failed != nil {
		return who, failed
	}
	return who, err
}

// offender waits for an ICMP error and returns who sent it (ip(7), IP_RECVERR).
func offender(fd int) (netip.Addr, error) {
	oob := make([]byte, 512)
	var n int
	var err error
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		_, n, _, _, err = unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("no ICMP came: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return netip.Addr{}, err
	}
	for _, m := range messages {
		const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
		if m.Header.Level != unix.IPPROTO_IP || m.Header.Type != unix.IP_RECVERR || len(m.Data) < size+8 {
			continue
		}
		what := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		if what.Origin != unix.SO_EE_ORIGIN_ICMP || what.Type != 11 { // RFC 792: time exceeded
			return netip.Addr{}, fmt.Errorf("error of origin %d, type %d, code %d came instead", what.Origin, what.Type, what.Code)
		}
		return netip.AddrFrom4([4]byte(m.Data[size+4 : size+8])), nil
	}
	return netip.Addr{}, errors.New("the error has no sender")
}

// swaps restarts the product under a stream of datagrams.
func swaps(p *topology.Path, times int) (string, error) {
	if p.Restarts() == 0 {
		return "", errNotHere
	}
	r, err := receive(p, 7105, 100)
	if err != nil {
		return "", err
	}
	defer r.conn.Close()
	conn, err := dial(p, 7105)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop, done := make(chan struct{}), make(chan int64)
	go func() { done <- stream(conn, stop) }()
	err = p.Restart(max(times/p.Restarts(), 1))
	close(stop)
	sent := <-done
	if err != nil {
		return "", err
	}
	if got := r.total(sent); got != sent {
		return "", fmt.Errorf("%d of %d datagrams arrived over %d restarts of %d nodes", got, sent, times, p.Restarts())
	}
	return fmt.Sprintf("%d datagrams over %d restarts of %d nodes", sent, times, p.Restarts()), nil
}

// stream sends two datagrams per millisecond until stop, and returns how many.
func stream(conn interface{ Write([]byte) (int, error) }, stop <-chan struct{}) (sent int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		for range 2 {
			if _, err := conn.Write(make([]byte, 100)); err == nil {
				sent++
			}
		}
	}
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// namespace makes a network namespace with nothing but its loopback.
func namespace(t *testing.T) string {
	t.Helper()
	const name = "tmb-probe-test"
	if err := netns.Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Delete(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestPing(t *testing.T) {
	ns := namespace(t)
	if err := netns.AddRoute(ns, netip.MustParsePrefix("192.0.2.0/25"), netip.Addr{}, "lo"); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason   string
		options  PingOptions
		received int
		refused  string
	}{
		"Answered": {
			reason:   "a local address answers every request, with the TTL it sent",
			options:  PingOptions{Address: netip.MustParseAddr("127.0.0.1"), Count: 3, Interval: time.Millisecond, Wait: 5 * time.Second},
			received: 3,
		},
		"Silent": {
			reason:  "an address that nobody has is lost, not an error",
			options: PingOptions{Address: netip.MustParseAddr("192.0.2.1"), Count: 2, Interval: time.Millisecond, Wait: 50 * time.Millisecond},
		},
		"NoRoute": {
			reason:  "the kernel's refusal is told, because it is another fault than silence",
			options: PingOptions{Address: netip.MustParseAddr("203.0.113.1"), Count: 1, Wait: 10 * time.Millisecond},
			refused: "unreachable",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var report PingReport
			err := netns.Do(ns, func() (err error) {
				report, err = Ping(t.Context(), tc.options)
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if report.Sent != tc.options.Count || report.Received != tc.received || report.Lost != report.Sent-tc.received {
				t.Errorf("%s: %+v", tc.reason, report)
			}
			if (tc.refused != "") != (report.SendError != "") || !strings.Contains(report.SendError, tc.refused) {
				t.Errorf("%s: send error %q, want %q", tc.reason, report.SendError, tc.refused)
			}
			for _, r := range report.Replies {
				if r.TTL != 64 || r.RTT <= 0 || r.From != tc.options.Address {
					t.Errorf("%s: reply %+v", tc.reason, r)
				}
			}
		})
	}
}

func TestParseError(t *testing.T) {
	s := &icmpSocket{raw: true, id: 0x1234}
	ip := make([]byte, 20)
	ip[0] = 0x45
	request := []byte{icmpEchoRequest, 0, 0, 0, 0x12, 0x34, 0, 7}
	packet := append(append(append([]byte{}, ip...), icmpUnreachable, codeFragNeeded, 0, 0, 0, 0, 0x05, 0x14), append(ip, request...)...)
	got, ok := s.parse(packet)
	if !ok || got.Seq != 7 || got.Error != "fragmentation needed, mtu 1300" {
		t.Errorf("parsed %+v, %v", got, ok)
	}
	s.id = 1
	if got, ok := s.parse(packet); ok {
		t.Errorf("took an error about another process's request: %+v", got)
	}
}

func TestTCP(t *testing.T) {
	ns := namespace(t)
	cases := map[string]struct {
		reason string
		serve  func(net.Listener) error
		match  bool
	}{
		"Echo": {
			reason: "what comes back is what was sent",
			serve:  Echo,
			match:  true,
		},
		"Spoilt": {
			reason: "one changed byte is seen",
			serve: func(l net.Listener) error {
				conn, err := l.Accept()
				if err != nil {
					return err
				}
				defer conn.Close()
				b := make([]byte, 64<<10)
				n, err := conn.Read(b)
				b[0] ^= 1
				_, werr := conn.Write(b[:n])
				_, cerr := io.Copy(conn, conn)
				return errors.Join(err, werr, cerr)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := netns.Listen(t.Context(), ns, "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() { _ = tc.serve(l) }() // ends with the listener
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var report TCPReport
			err = netns.Do(ns, func() (err error) {
				report, err = TCP(ctx, l.Addr().String(), 256<<10)
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if report.Match != tc.match || report.Echoed != report.Bytes {
				t.Errorf("%s: %+v", tc.reason, report)
			}
		})
	}
}

func TestRate(t *testing.T) {
	ns := namespace(t)
	l, err := netns.Listen(t.Context(), ns, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = Echo(l) }() // ends with the listener
	err = netns.Do(ns, func() error {
		datagrams, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			return err
		}
		defer datagrams.Close()
		go func() { _ = EchoUDP(datagrams) }() // ends with the socket
		for network, window := range map[string]int{"tcp": 1, "udp": 8} {
			report, err := Rate(t.Context(), network, l.Addr().String(), window, 50*time.Millisecond)
			if err != nil || report.Answered == 0 || report.PerSecond() == 0 || report.P99 < report.P50 {
				t.Errorf("%s: %+v: %v", network, report, err)
			}
		}
		datagrams.Close()
		report, err := Rate(t.Context(), "udp", l.Addr().String(), 8, time.Millisecond)
		if err == nil && (report.Answered > 0 || report.Lost == 0) {
			t.Errorf("nobody answers: %+v", report)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

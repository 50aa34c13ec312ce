// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// datagram is the payload of a small UDP packet: 64 bytes of Ethernet.
const datagram = 18

// lostAfter is when a datagram without an answer is given up.
const lostAfter = 200 * time.Millisecond

// RateReport says how many messages an echo server has answered.
type RateReport struct {
	Address  string        `json:"address"`
	Answered int           `json:"answered"`
	Lost     int           `json:"lost"` // Lost datagrams.
	Elapsed  time.Duration `json:"elapsed"`
	P50      time.Duration `json:"p50"` // P50 and P99 are between one answer and the next.
	P99      time.Duration `json:"p99"`
}

// PerSecond are the answers.
func (r RateReport) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Answered) / r.Elapsed.Seconds()
}

// Rate sends messages to an echo server for a time, so many of them on their way at once: by "tcp" of one byte, by "udp" of 18.
func Rate(ctx context.Context, network, address string, window int, duration time.Duration) (RateReport, error) {
	report := RateReport{Address: address}
	message := make([]byte, 1)
	if network == "udp" {
		message = make([]byte, datagram)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return report, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var took []time.Duration
	start := time.Now()
	on := 0 // their way
	for last := start; last.Sub(start) < duration; {
		for ; on < window; on++ {
			if _, err := conn.Write(message); err != nil {
				return report, fmt.Errorf("send: %w", err)
			}
		}
		n, lost, err := receive(conn, network, message)
		if err != nil {
			return report, fmt.Errorf("receive answer %d: %w", len(took)+1, err)
		}
		now := time.Now()
		if lost {
			report.Lost, on, last = report.Lost+on, 0, now
			continue
		}
		on -= n
		took, last = append(took, now.Sub(last)), now
	}
	report.Answered, report.Elapsed = len(took), time.Since(start)
	if len(took) > 0 {
		slices.Sort(took)
		report.P50, report.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return report, nil
}

// receive takes one answer: n is 1 then. Only datagrams are lost.
func receive(conn net.Conn, network string, b []byte) (n int, lost bool, err error) {
	if network != "udp" {
		_, err := conn.Read(b[:1])
		return 1, false, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(lostAfter)); err != nil {
		return 0, false, err
	}
	switch _, err := conn.Read(b); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, true, nil
	default:
		return 1, false, err
	}
}

// EchoUDP answers every datagram with itself until conn is closed.
func EchoUDP(conn net.PacketConn) error {
	b := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("read datagram on %s: %w", conn.LocalAddr(), err)
		}
		// Who does not get it counts it as lost.
		_, _ = conn.WriteTo(b[:n], from)
	}
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// TCPReport is the outcome of a TCP echo.
type TCPReport struct {
	Address string        `json:"address"`
	Bytes   int64         `json:"bytes"`  // Bytes sent, and expected back.
	Echoed  int64         `json:"echoed"` // Echoed bytes that came back.
	Elapsed time.Duration `json:"elapsed"`
	SHA256  string        `json:"sha256"` // SHA256 of what was sent, in hex.
	Match   bool          `json:"match"`  // Match says that the same bytes came back.
}

// MbitPerSecond of payload in one direction; the same load goes the other way.
func (r TCPReport) MbitPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Echoed) * 8 / 1e6 / r.Elapsed.Seconds()
}

// TCP sends size random bytes to an echo server and compares what comes back.
// A difference is in the report (Match), a broken connection is an error.
func TCP(ctx context.Context, address string, size int64) (TCPReport, error) {
	report := TCPReport{Address: address, Bytes: size}
	start := time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return report, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	sent, got := sha256.New(), sha256.New()
	writing := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.MultiWriter(conn, sent), rand.Reader, size)
		writing <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	report.Echoed, err = io.Copy(got, conn)
	if err = errors.Join(err, <-writing); err != nil {
		return report, fmt.Errorf("echo %d of %d bytes: %w", report.Echoed, size, err)
	}
	report.Elapsed = time.Since(start)
	report.SHA256 = fmt.Sprintf("%x", sent.Sum(nil))
	report.Match = report.SHA256 == fmt.Sprintf("%x", got.Sum(nil))
	return report, nil
}

// Echo answers every connection with its own bytes until the listener is closed.
func Echo(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		go func() {
			defer conn.Close()
			// The client half-closes; what it did is seen on its own side.
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
)

// TestServe sends a megabyte through, closes the sending half and reads the
// answer that only then comes.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	echo := listen(t)
	go func() {
		c, err := echo.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(b) // the reader below checks it
		}
	}()
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, new(net.Dialer).DialContext, echo.Addr().String()) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := bytes.Repeat([]byte("tombolo "), 1<<17)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes back, want the %d that were sent", len(got), len(want))
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve ends with %v, want nil when its context ends", err)
	}
}

func TestATargetThatIsAwayClosesTheClient(t *testing.T) {
	away := listen(t)
	address := away.Addr().String()
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	go func() { _ = Serve(t.Context(), l, new(net.Dialer).DialContext, address) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read from a target that is away")
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

// TestOccupiedPort: somebody listens on WireGuard's port. They go on, and when they leave the tunnel comes.
func TestOccupiedPort(t *testing.T) {
	w := newWorld(t)
	w.east.gateway.MustDo(t, w.east.tunnel.Close)
	var socket net.PacketConn
	w.east.gateway.MustDo(t, func() (err error) { socket, err = net.ListenPacket("udp4", "0.0.0.0:51871"); return err })
	for range 2 { // the second attempt must say the same
		err := w.east.gateway.Do(func() error { return w.east.tunnel.Set(w.east.wireguard) })
		if !errors.Is(err, link.ErrPortOccupied) || !strings.Contains(err.Error(), "something else on this node has UDP port 51871") {
			t.Errorf("error is %v", err)
		}
	}
	socket.Close()
	w.east.set(t)
	eventually(t, "an answer through the tunnel", func() bool { return w.ping(t, 1) == 1 })
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"testing"
)

func TestEncrypted(t *testing.T) {
	w := newWorld(t)
	eventually(t, "an answer", func() bool { return w.ping(t, 1) == 1 })
	w.wire.take("")
	if n := w.ping(t, 20); n != 20 {
		t.Errorf("%d of 20 answered", n)
	}
	ports, clear := w.wire.take("tombolo")
	t.Log(ports)
	if ports[port] < 40 || ports[4789] != 0 || clear != 0 {
		t.Errorf("on the wire: %v by UDP port, %d frames that can be read", ports, clear)
	}
}

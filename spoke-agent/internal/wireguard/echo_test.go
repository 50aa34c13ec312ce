// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"testing"

	"github.com/go-logr/logr/testr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// TestEcho measures the way between two gateways that encrypt: nothing of it is on the wire in the clear.
func TestEcho(t *testing.T) {
	w := newWorld(t)
	p := tunnelprobe.New(testr.New(t), nil)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	w.east.gateway.MustDo(t, func() error {
		return p.Set(tunnelprobe.Config{Address: w.east.address, Port: 4789, Targets: []tunnelprobe.Target{{Cluster: "west", Node: "w1", Address: w.west.address, MTU: 1440}}})
	})
	before := w.east.drops(t, "not_vxlan")
	eventually(t, "the answers to be refused while nobody has told their port", func() bool { return w.east.drops(t, "not_vxlan") > before })
	w.east.config.Underlay.EchoPort = p.Port()
	w.east.set(t)
	eventually(t, "the tunnel to be measured", func() bool {
		results := p.Results()
		return len(results) == 1 && results[0].Reachable && results[0].RTT > 0 && results[0].PathMTU == 1440
	})
	byPort, _ := w.wire.take(marker)
	if byPort[4789] != 0 || byPort[port] == 0 {
		t.Errorf("UDP ports %v were seen on the wire", byPort)
	}
}

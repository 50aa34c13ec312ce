// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"net/netip"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/programs"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// buildCollect makes what Cilium does with tunnels: eBPF names the endpoint, the kernel's VXLAN device encapsulates.
func buildCollect(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	b.routers()
	b.collect(podA, clientEnd, clientAddress, endpointB, subnetB)
	b.collect(podB, serverEnd, serverAddress, endpointA, subnetA)
	return b.finish()
}

func (b *builder) collect(at, pod end, address, endpoint, prefix string) {
	device := end{at.host, "vx0"}
	b.vxlanDevice(device, 0, vxlanPort, "")
	tunnel := programs.Tunnel{
		PodEnd: b.index(at), Device: b.index(device), VNI: productVNI,
		Endpoint: netip.MustParseAddr(endpoint), Prefix: netip.MustParsePrefix(prefix),
		Pod: netip.MustParseAddr(address), PodMAC: b.mac(pod), RouterMAC: b.mac(at),
	}
	b.try(func() error {
		return netns.Do(b.path.namespace(at.host), func() error {
			attached, err := tunnel.Attach()
			if err == nil {
				b.path.open = append(b.path.open, attached)
			}
			return err
		})
	})
}

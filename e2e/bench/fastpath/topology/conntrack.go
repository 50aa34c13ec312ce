// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// rules are what a node with a network policy and kube-proxy has at the least: every packet's connection is known.
const rules = `
table ip bench {
	chain forward {
		type filter hook forward priority filter
		ct state established,related accept
		ct state invalid drop
		tcp flags syn tcp option maxseg size set rt mtu
		accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		accept
	}
}
`

func buildConntrack(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.vxlanGateways()
	b.conntrack("ga", "gb")
	return b.finish()
}

func (b *builder) conntrack(hosts ...string) {
	for _, host := range hosts {
		b.try(func() error {
			var stderr bytes.Buffer
			cmd := exec.CommandContext(b.ctx, "nft", "-f", "-")
			cmd.Stdin, cmd.Stderr = bytes.NewReader([]byte(rules)), &stderr
			if err := netns.Do(b.path.namespace(host), cmd.Run); err != nil {
				return fmt.Errorf("set rules of %s: %w: %s", host, err, stderr.String())
			}
			return nil
		})
	}
}

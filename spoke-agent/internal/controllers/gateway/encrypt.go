// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// announcedKey is the public half that the hub should approve. A rotation that is asked for begins here.
func (r *Reconciler) announcedKey(ctx context.Context, rotate string) (wireguard.PublicKey, error) {
	keys, err := r.Keys.Get(ctx)
	if err != nil {
		return wireguard.PublicKey{}, err
	}
	if err := keys.Rotate(rotate); err != nil {
		return wireguard.PublicKey{}, err
	}
	return keys.Announced()
}

// encrypt makes the tunnel what the plan says, with the key that the hub has approved. It is set without a key too: that
// fails, but guards.
func (r *Reconciler) encrypt(ctx context.Context, tunnel gateway.Tunnel) error {
	config := tunnel.Config
	keys, err := r.Keys.Get(ctx)
	if err == nil {
		err = keys.Approve(tunnel.Approved)
		config.Key, config.Next, config.Former = keys.Current(), keys.Next(), keys.Former()
	}
	if err != nil {
		err = fmt.Errorf("%w (--state-dir): %w", health.ErrNoKey, err)
	}
	if setErr := r.Tunnel.Set(config); setErr != nil {
		err = errors.Join(err, fmt.Errorf("set tunnel: %w", setErr))
	}
	if err == nil && r.Tunnel.Settled() {
		err = keys.DropFormer()
	}
	return err
}

// encrypted is true when a port has remotes in clusters that must be encrypted.
func encrypted(port gateway.Port, clusters []fastpath.Cluster) bool {
	return slices.ContainsFunc(port.Fastpath.Remotes, func(r fastpath.Remote) bool {
		return slices.ContainsFunc(clusters, func(c fastpath.Cluster) bool { return c.Name == r.Cluster && c.Encrypted })
	})
}

// inTheClear is a slow path without the clusters that must be encrypted: the kernel too sends them nothing then, whether or not
// the guard could be set.
func inTheClear(slow link.SlowPath) link.SlowPath {
	slow.Vpcs = slices.Clone(slow.Vpcs)
	for i, vpc := range slow.Vpcs {
		slow.Vpcs[i].Remotes = slices.DeleteFunc(slices.Clone(vpc.Remotes), func(r link.SlowRemote) bool { return r.EncryptedMTU != 0 })
	}
	return slow
}

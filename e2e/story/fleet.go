// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package story is what a person does with a fleet: apply, wait, look, send
// packets. The demo and the end-to-end tests tell their stories with it.
package story

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tombolo-io/tombolo/e2e/lab"
)

// Fleet is a lab that is up, with Tombolo running in it.
type Fleet struct {
	// Lab starts and stops parts.
	Lab *lab.Lab
	// Hub is the cluster that people write to.
	Hub *Cluster
	// Spokes by name.
	Spokes map[string]*Cluster
}

// Start brings up a lab and connects to its clusters.
func Start(ctx context.Context, o lab.Options) (*Fleet, error) {
	l, err := lab.Up(ctx, o)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Lab: l, Spokes: map[string]*Cluster{}}
	if f.Hub, err = Connect(l.Hub.Name, l.Hub.Kubeconfig); err != nil {
		return nil, err
	}
	for _, s := range l.Spokes {
		if f.Spokes[s.Name], err = Connect(s.Name, s.Kubeconfig); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Clusters are the hub and the spokes in order of name.
func (f *Fleet) Clusters() []*Cluster {
	all := []*Cluster{f.Hub}
	for _, name := range slices.Sorted(maps.Keys(f.Spokes)) {
		all = append(all, f.Spokes[name])
	}
	return all
}

// Namespace makes a tenant: the namespace of that name in every cluster.
func (f *Fleet) Namespace(ctx context.Context, name string) error {
	for _, c := range f.Clusters() {
		if err := c.Namespace(ctx, name); err != nil {
			return fmt.Errorf("make namespace %s in %s: %w", name, c.Name, err)
		}
	}
	return nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/address"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// options of an allocator.
type options struct {
	name              string
	seed              uint64
	prefixes, singles int
	keep, told        int
	settle            bool
}

// tenant asks for prefixes and addresses, and gives them back.
type tenant struct {
	options
	planner   *planner
	addresses *address.Allocator
	history   *record.Log
	client    client.Client
}

// owned is what an owner had begun: the last of its lines.
type owned struct {
	owner, what string
	// pool that it asks of.
	pool string
	// values of a prefix: one, or more when clusters are told.
	values []string
}

// readBegun finds in the history of former processes what is not ended.
func readBegun(path string) (map[string]*owned, error) {
	begun := map[string]*owned{}
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return begun, nil
	}
	lines, err := record.Read(path)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		switch line.What {
		case record.Allocate:
			begun[line.Owner] = &owned{owner: line.Owner, what: line.What, pool: line.Values[0]}
		case record.Allocated:
			begun[line.Owner].what, begun[line.Owner].values = line.What, line.Values
		case record.Refused, record.Release:
			begun[line.Owner].what = line.What
		case record.Released:
			delete(begun, line.Owner)
		}
	}
	return begun, nil
}

// run goes on with what was begun, and asks until stop ends. Then it ends what it has begun, and keeps what it has.
func (t *tenant) run(ctx, stop context.Context, begun map[string]*owned) error {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	var planning errgroup.Group
	planning.Go(func() error { return t.planner.run(ctx) })
	shares := make([][]*owned, t.prefixes+t.singles)
	for _, o := range begun {
		worker := 0
		if _, err := fmt.Sscanf(o.owner[strings.LastIndex(o.owner, "/")+1:], "w%d-", &worker); err != nil {
			cancel()
			return fmt.Errorf("read owner %s: %w", o.owner, err)
		}
		shares[worker] = append(shares[worker], o)
	}
	for i, share := range shares {
		w := &worker{tenant: t, number: i, kind: kind(vpcs{t}), has: share, random: rand.New(rand.NewPCG(t.seed, uint64(record.Now())))}
		if i >= t.prefixes {
			w.kind = addresses{t}
		}
		g.Go(func() error { return w.run(ctx, stop, g) })
	}
	err := g.Wait()
	cancel()
	return errors.Join(err, planning.Wait())
}

// vpcs are owners of prefixes.
type vpcs struct{ *tenant }

// nowhere is a cluster that does not exist: nobody is told of a Vpc there.
const nowhere = "nowhere"

func (v vpcs) ask(random *rand.Rand) string {
	pool := []string{"wide", "wide", "narrow", "tiny"}[random.IntN(4)]
	cluster, length := nowhere, map[string]int{"wide": 24 + random.IntN(5), "narrow": 26 + random.IntN(3), "tiny": 28}[pool]
	if random.IntN(100) < v.told {
		cluster = []string{"east", "west"}[random.IntN(2)]
	}
	return fmt.Sprintf("%s/%d/%s", pool, length, cluster)
}

func (v vpcs) object(owner, ask string) (*networkv1alpha1.Vpc, int, error) {
	parts := strings.Split(ask, "/")
	vpc := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: v.name, Name: owner[strings.LastIndex(owner, "/")+1:]}}
	length := int32(0)
	if _, err := fmt.Sscan(parts[1], &length); err != nil {
		return nil, 0, fmt.Errorf("read %q: %w", ask, err)
	}
	vpc.Spec.Clusters.Names = []networkv1alpha1.ClusterName{networkv1alpha1.ClusterName(parts[2])}
	vpc.Spec.CIDR = &networkv1alpha1.VpcCIDR{FromPool: parts[0], PrefixLength: length}
	values := 1
	if parts[2] != nowhere {
		values = 3 // the range, the VNI, the link
	}
	return vpc, values, nil
}

func (v vpcs) allocate(ctx context.Context, owner, ask string, _ bool) (answer, error) {
	vpc, values, err := v.object(owner, ask)
	if err != nil {
		return answer{}, err
	}
	if err := v.client.Create(ctx, vpc); err != nil && !apierrors.IsAlreadyExists(err) {
		return answer{}, fmt.Errorf("create Vpc: %w", err)
	}
	return v.planner.wait(ctx, owner, values)
}

func (v vpcs) release(ctx context.Context, owner, ask string) error {
	vpc, _, err := v.object(owner, ask)
	if err != nil {
		return err
	}
	if err := v.client.Delete(ctx, vpc); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete Vpc: %w", err)
	}
	return nil
}

func (v vpcs) released(ctx context.Context, owner string) error {
	_, err := v.planner.wait(ctx, owner, 0)
	return err
}

func (v vpcs) kind() string { return "Vpc" }

// addresses are owners of single addresses.
type addresses struct{ *tenant }

func (a addresses) kind() string { return "ElasticIP" }

func (a addresses) ask(random *rand.Rand) string {
	return []string{"public", "public", "few"}[random.IntN(3)]
}

func (a addresses) owner(owner string) networkv1alpha1.AddressOwner {
	name := owner[strings.LastIndex(owner, "/")+1:]
	return networkv1alpha1.AddressOwner{Kind: "ElasticIP", Namespace: a.name, Name: name, UID: a.name + "." + name}
}

// allocate does what the hub does for an ElasticIP. One that was begun by a process before is looked up first.
func (a addresses) allocate(ctx context.Context, owner, pool string, again bool) (answer, error) {
	for {
		if again {
			own, err := a.addresses.Owned(ctx, a.owner(owner), "")
			if err != nil {
				return answer{}, err
			}
			for i := range own[min(1, len(own)):] {
				if err := a.addresses.GiveBack(ctx, &own[i+1]); err != nil {
					return answer{}, err
				}
			}
			if len(own) > 0 {
				return answer{values: []string{record.Value(own[0].Spec.Pool, string(own[0].Spec.Address))}}, nil
			}
		}
		got, refused, err := a.addresses.Take(ctx, a.owner(owner), pool, "")
		switch {
		case err == nil && refused == nil:
			return answer{values: []string{record.Value(pool, got)}}, nil
		case err == nil:
			return answer{refused: true}, nil
		case !stale.Only(err):
			return answer{}, err
		}
		again = true
		if !sleep(ctx, stale.RetrySoon) {
			return answer{}, context.Cause(ctx)
		}
	}
}

func (a addresses) release(ctx context.Context, owner, _ string) error {
	own, err := a.addresses.Owned(ctx, a.owner(owner), "")
	if err != nil {
		return err
	}
	for i := range own {
		if err := a.addresses.GiveBack(ctx, &own[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a addresses) released(context.Context, string) error { return nil }

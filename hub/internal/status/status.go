// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status writes what the planner says about what people wrote. A status is an output of the plan: it is
// compared with what there is, and patched once or not at all.
package status

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/delta"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// Patch is one status to write.
type Patch struct {
	// Old is the object as it was read, New the same with the decided status.
	Old, New client.Object
	// News is what to tell when it is written.
	News []Transition
	// Answers is true when nothing was said yet about what the person asked for last.
	Answers bool
}

// Vpcs are the patches of those Vpcs whose decided status is not what they have. Those that are done are left out, and
// added to when found equal.
func Vpcs(done *settled.Set, objects map[federation.Key]*networkv1alpha1.Vpc, decided map[federation.Key]networkv1alpha1.VpcStatus, now metav1.Time) []Patch {
	return diff(done, objects, decided, now,
		func(o *networkv1alpha1.Vpc) *networkv1alpha1.VpcStatus { return &o.Status },
		func(s *networkv1alpha1.VpcStatus) *[]metav1.Condition { return &s.Conditions })
}

// Subnets are the patches of those Subnets whose decided status is not what they have.
func Subnets(done *settled.Set, objects map[federation.Key]*networkv1alpha1.Subnet, decided map[federation.Key]networkv1alpha1.SubnetStatus, now metav1.Time) []Patch {
	return diff(done, objects, decided, now,
		func(o *networkv1alpha1.Subnet) *networkv1alpha1.SubnetStatus { return &o.Status },
		func(s *networkv1alpha1.SubnetStatus) *[]metav1.Condition { return &s.Conditions })
}

// Peerings are the patches of those VpcPeerings whose decided status is not what they have.
func Peerings(done *settled.Set, objects map[federation.Key]*networkv1alpha1.VpcPeering, decided map[federation.Key]networkv1alpha1.VpcPeeringStatus, now metav1.Time) []Patch {
	patches := diff(done, objects, decided, now,
		func(o *networkv1alpha1.VpcPeering) *networkv1alpha1.VpcPeeringStatus { return &o.Status },
		func(s *networkv1alpha1.VpcPeeringStatus) *[]metav1.Condition { return &s.Conditions })
	for i := range patches {
		before, after := patches[i].Old.(*networkv1alpha1.VpcPeering), patches[i].New.(*networkv1alpha1.VpcPeering)
		if before.Status.State != after.Status.State {
			patches[i].News = append(patches[i].News, Transition{
				Object: after, Reason: string(after.Status.State),
				Note: fmt.Sprintf("state is %s, was %q", after.Status.State, before.Status.State),
			})
		}
	}
	return patches
}

// Pools are the patches of those IPPools whose decided ledger is not what they have.
func Pools(done *settled.Set, objects map[federation.Key]*networkv1alpha1.IPPool, decided map[federation.Key]networkv1alpha1.IPPoolStatus, now metav1.Time) []Patch {
	return diff(done, objects, decided, now,
		func(o *networkv1alpha1.IPPool) *networkv1alpha1.IPPoolStatus { return &o.Status },
		func(s *networkv1alpha1.IPPoolStatus) *[]metav1.Condition { return &s.Conditions })
}

// diff changes neither the objects, which belong to the cache, nor the decision, which belongs to the planner.
func diff[O client.Object, S any](done *settled.Set, objects map[federation.Key]O, decided map[federation.Key]S, now metav1.Time, status func(O) *S, conditions func(*S) *[]metav1.Condition) []Patch {
	var patches []Patch
	for key, want := range decided {
		old, ok := objects[key]
		if !ok || done.Has(key, old) {
			continue
		}
		have := *conditions(status(old))
		carried := conditions(&want)
		*carried = Carry(have, *carried, now)
		if equality.Semantic.DeepEqual(*status(old), want) {
			done.Add(key, old)
			continue
		}
		updated := old.DeepCopyObject().(O)
		*status(updated) = want
		updated = updated.DeepCopyObject().(O) // shares nothing with the decision: the API server's answer is decoded into it
		patches = append(patches, Patch{
			Old: old, New: updated, News: Compare(updated, have, *carried),
			Answers: !slices.ContainsFunc(have, func(c metav1.Condition) bool { return c.ObservedGeneration == old.GetGeneration() }),
		})
	}
	return patches
}

// Write patches each object once and returns the news of those that were written. A status that was decided from an
// older object than there is now is not written: the next plan knows more.
func Write(ctx context.Context, c client.Client, patches []Patch) ([]Transition, error) {
	written := make([]bool, len(patches))
	indexes := make([]int, len(patches))
	for i := range patches {
		indexes[i] = i
	}
	err := parallel.Do(indexes, func(i int) error {
		p := patches[i]
		if err := delta.WriteStatus(ctx, c, p.Old, p.New); err != nil {
			return fmt.Errorf("patch status of %T %s: %w", p.New, client.ObjectKeyFromObject(p.New), stale.Wrap(err))
		}
		written[i] = true
		return nil
	})
	var news []Transition
	for i, p := range patches {
		if written[i] {
			news = append(news, p.News...)
		}
	}
	return news, err
}

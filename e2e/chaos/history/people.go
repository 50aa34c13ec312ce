// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// objects are what people have written when they want w.
func (w *Wanted) objects() []client.Object {
	var all []client.Object
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: world.Tenant, Name: name} }
	for vpc, clusters := range w.Vpcs {
		var names []networkv1alpha1.ClusterName
		for _, c := range clusters {
			names = append(names, networkv1alpha1.ClusterName(c))
		}
		all = append(all, &networkv1alpha1.Vpc{ObjectMeta: meta(vpc), Spec: networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: names}}})
		for n, subnet := range w.Subnets[vpc] {
			spec := networkv1alpha1.SubnetSpec{Vpc: vpc, Cluster: networkv1alpha1.ClusterName(subnet.Cluster)}
			if subnet.Pool {
				spec.FromPool = &networkv1alpha1.PoolRequest{Name: "subnets", PrefixLength: 26}
			} else {
				spec.CIDRBlock = networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", 1+slices.Index(vpcs, vpc), n))
			}
			all = append(all, &networkv1alpha1.Subnet{ObjectMeta: meta(subnetName(vpc, n)), Spec: spec})
		}
	}
	for p := range w.Peerings {
		all = append(all, &networkv1alpha1.VpcPeering{ObjectMeta: meta(p[0] + "-" + p[1]), Spec: networkv1alpha1.VpcPeeringSpec{Vpc: p[0], PeerVpc: networkv1alpha1.VpcReference{Name: p[1]}}})
	}
	return all
}

func subnetName(vpc string, n int) string { return fmt.Sprintf("%s-net%d", vpc, n) }

// express writes what people want, as far as the hub takes it now: names that are still going have to wait.
// It has an error as long as something is not as wanted.
func express(ctx context.Context, c client.Client, w *Wanted) error {
	found, err := written(ctx, c)
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range w.objects() {
		key := kindOf(want) + "/" + want.GetName()
		have := found[key]
		delete(found, key)
		switch {
		case have == nil:
			if err := c.Create(ctx, want); err != nil && !apierrors.IsAlreadyExists(err) {
				errs = append(errs, err)
			}
		case have.GetDeletionTimestamp() != nil:
			errs = append(errs, fmt.Errorf("%s is still being deleted", key))
		default:
			errs = append(errs, change(ctx, c, have, want))
		}
	}
	for key, have := range found {
		errs = append(errs, fmt.Errorf("%s is still there", key))
		if have.GetDeletionTimestamp() == nil {
			errs = append(errs, client.IgnoreNotFound(c.Delete(ctx, have)))
		}
	}
	return errors.Join(errs...)
}

// change makes an object what people want; what can't be changed is made anew.
func change(ctx context.Context, c client.Client, have, want client.Object) error {
	switch h := have.(type) {
	case *networkv1alpha1.Vpc:
		if w := want.(*networkv1alpha1.Vpc); !equality.Semantic.DeepEqual(h.Spec, w.Spec) {
			h.Spec = w.Spec
			return c.Update(ctx, h)
		}
	case *networkv1alpha1.Subnet:
		w := want.(*networkv1alpha1.Subnet)
		if h.Spec.Vpc != w.Spec.Vpc || h.Spec.Cluster != w.Spec.Cluster || h.Spec.CIDRBlock != w.Spec.CIDRBlock || (h.Spec.FromPool == nil) != (w.Spec.FromPool == nil) {
			return errors.Join(fmt.Errorf("subnet %s is another one", h.Name), c.Delete(ctx, h))
		}
	}
	return nil
}

// written is what people have written, by kind and name.
func written(ctx context.Context, c client.Client) (map[string]client.Object, error) {
	var vpcs networkv1alpha1.VpcList
	var subnets networkv1alpha1.SubnetList
	var peerings networkv1alpha1.VpcPeeringList
	for _, list := range []client.ObjectList{&vpcs, &subnets, &peerings} {
		if err := c.List(ctx, list); err != nil {
			return nil, err
		}
	}
	found := map[string]client.Object{}
	add := func(o client.Object) { found[kindOf(o)+"/"+o.GetName()] = o }
	for i := range vpcs.Items {
		add(&vpcs.Items[i])
	}
	for i := range subnets.Items {
		add(&subnets.Items[i])
	}
	for i := range peerings.Items {
		add(&peerings.Items[i])
	}
	return found, nil
}

func kindOf(o client.Object) string {
	kind := fmt.Sprintf("%T", o)
	return kind[strings.LastIndex(kind, ".")+1:]
}

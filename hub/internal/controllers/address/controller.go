// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package address hands out single addresses: it gives each ElasticIP one, and takes it back.
//
// To create the IPAddress of an address is the lock (docs/decisions/0014): of two leaders that have chosen one address the slower is told that it
// exists, and takes another. Nothing is believed of a cache that would give an address away or take a second one, and a write whose outcome
// is unknown is looked at again.
package address

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

const (
	// usePrefix begins the finalizers of those who use an ElasticIP.
	usePrefix = "network.tombolo.io/"
	// labelOwner on an IPAddress is the UID of its owner, to find it by.
	labelOwner = "network.tombolo.io/owner-uid"
	// tries is how many addresses are tried before the queue has a turn.
	tries = 32
)

// Controller gives ElasticIPs their addresses.
type Controller struct {
	// client reads from the cache; live reads from the API server itself.
	client client.Client
	live   client.Reader
}

// Reconcile one ElasticIP.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	eip := &networkv1alpha1.ElasticIP{}
	if err := c.client.Get(ctx, request.NamespacedName, eip); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var err error
	if eip.DeletionTimestamp != nil {
		err = c.release(ctx, eip)
	} else {
		err = c.allocate(ctx, eip)
	}
	if err != nil && stale.Only(err) {
		return reconcile.Result{RequeueAfter: retryStale}, nil
	}
	return reconcile.Result{}, err
}

// allocate gives an ElasticIP an address if it has none, and says so.
func (c *Controller) allocate(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	if meta.IsStatusConditionTrue(eip.Status.Conditions, networkv1alpha1.ConditionAllocated) && controllerutil.ContainsFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	if err := c.hold(ctx, eip); err != nil {
		return err
	}
	own, err := c.owned(ctx, eip)
	if err != nil {
		return err
	}
	if len(own) == 0 {
		address, refused, err := c.take(ctx, eip)
		if err != nil {
			return err
		}
		return c.say(ctx, eip, address, refused)
	}
	for i := range own[1:] { // of a leader that did not know of the first
		if err := c.giveBack(ctx, &own[i+1]); err != nil {
			return err
		}
	}
	return c.say(ctx, eip, string(own[0].Spec.Address), nil)
}

// hold puts the finalizer on before anything is taken.
func (c *Controller) hold(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	before := eip.DeepCopy()
	if !controllerutil.AddFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	if err := c.client.Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("hold ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}

// owned lists the addresses of an ElasticIP: the one that it was told first.
func (c *Controller) owned(ctx context.Context, eip *networkv1alpha1.ElasticIP) ([]networkv1alpha1.IPAddress, error) {
	var list networkv1alpha1.IPAddressList
	if err := c.live.List(ctx, &list, client.MatchingLabels{labelOwner: string(eip.UID)}); err != nil {
		return nil, fmt.Errorf("list addresses of ElasticIP %s/%s: %w", eip.Namespace, eip.Name, err)
	}
	own := slices.DeleteFunc(list.Items, func(a networkv1alpha1.IPAddress) bool {
		return a.Spec.Owner != ownerOf(eip) || a.DeletionTimestamp != nil
	})
	slices.SortFunc(own, func(a, b networkv1alpha1.IPAddress) int {
		switch {
		case string(a.Spec.Address) == eip.Status.Address:
			return -1
		case string(b.Spec.Address) == eip.Status.Address:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return own, nil
}

func ownerOf(eip *networkv1alpha1.ElasticIP) networkv1alpha1.AddressOwner {
	return networkv1alpha1.AddressOwner{Kind: "ElasticIP", Namespace: eip.Namespace, Name: eip.Name, UID: string(eip.UID)}
}

// take finds an address that nobody has and takes it.
func (c *Controller) take(ctx context.Context, eip *networkv1alpha1.ElasticIP) (string, *federation.Refusal, error) {
	var all networkv1alpha1.IPAddressList
	if err := c.client.List(ctx, &all); err != nil {
		return "", nil, fmt.Errorf("list IPAddresses: %w", err)
	}
	holders := map[string]string{}
	for i := range all.Items {
		holders[all.Items[i].Name] = describe(&all.Items[i])
	}
	for range tries {
		pool, err := c.pool(ctx, c.client, eip.Spec.Pool)
		if err != nil {
			return "", nil, err
		}
		addr, refused := federation.PickAddress(pool, eip.Spec.Pool, eip.Spec.Address, func(a netip.Addr) string {
			return holders[networkv1alpha1.AddressName(pool.Spec.RoutingDomain, a.String())]
		})
		if refused != nil {
			return "", refused, nil
		}
		o := newAddress(pool, eip, addr)
		holder, err := c.create(ctx, o)
		if err != nil {
			return "", nil, err
		}
		if holder == "" {
			holder, err = c.confirm(ctx, o, addr)
		}
		if err != nil || holder == "" {
			return addr.String(), nil, err
		}
		holders[o.Name] = holder
	}
	return "", nil, &stale.Error{Err: fmt.Errorf("ElasticIP %s/%s: %d addresses were taken by others first", eip.Namespace, eip.Name, tries)}
}

func newAddress(pool *networkv1alpha1.IPPool, eip *networkv1alpha1.ElasticIP, addr netip.Addr) *networkv1alpha1.IPAddress {
	return &networkv1alpha1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: networkv1alpha1.AddressName(pool.Spec.RoutingDomain, addr.String()), Labels: map[string]string{labelOwner: string(eip.UID)}},
		Spec:       networkv1alpha1.IPAddressSpec{Address: networkv1alpha1.IPv4(addr.String()), Pool: pool.Name, Owner: ownerOf(eip)},
	}
}

// create is the lock. It returns who has the address; empty when it is ours, even if the answer to the request was lost.
func (c *Controller) create(ctx context.Context, o *networkv1alpha1.IPAddress) (holder string, err error) {
	failed := c.client.Create(ctx, o.DeepCopy())
	if failed == nil {
		return "", nil
	}
	var there networkv1alpha1.IPAddress
	err = c.live.Get(ctx, client.ObjectKeyFromObject(o), &there)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("take address %s: %w", o.Spec.Address, stale.Wrap(failed))
	case err != nil:
		return "", fmt.Errorf("look who has address %s: %w", o.Spec.Address, err)
	case there.Spec.Owner == o.Spec.Owner && there.DeletionTimestamp == nil:
		return "", nil
	}
	return describe(&there), nil
}

// confirm looks at the pool once more: a range may have been imported, nested or taken out since it was read. Then the address is given back.
func (c *Controller) confirm(ctx context.Context, o *networkv1alpha1.IPAddress, addr netip.Addr) (holder string, err error) {
	pool, err := c.pool(ctx, c.live, o.Spec.Pool)
	if err != nil {
		return "", err
	}
	if pool == nil {
		return "", nil
	}
	if holder = federation.MayHave(pool, addr); holder == "" {
		return "", nil
	}
	var there networkv1alpha1.IPAddress
	if err := c.live.Get(ctx, client.ObjectKeyFromObject(o), &there); err != nil {
		return holder, client.IgnoreNotFound(err)
	}
	return holder, c.giveBack(ctx, &there)
}

// pool reads a pool; nil when there is none.
func (c *Controller) pool(ctx context.Context, from client.Reader, name string) (*networkv1alpha1.IPPool, error) {
	pool := &networkv1alpha1.IPPool{}
	err := from.Get(ctx, client.ObjectKey{Name: name}, pool)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read IPPool %s: %w", name, err)
	}
	return pool, nil
}

// describe names who has an address.
func describe(o *networkv1alpha1.IPAddress) string {
	return o.Spec.Owner.Kind + " " + o.Spec.Owner.Namespace + "/" + o.Spec.Owner.Name
}

// release gives the address of an ElasticIP under deletion back, when nobody uses it: who does says so in status.usedBy, or holds it by a finalizer.
func (c *Controller) release(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	used := eip.Status.UsedBy != "" || slices.ContainsFunc(eip.Finalizers, func(f string) bool { return f != networkv1alpha1.AddressFinalizer && strings.HasPrefix(f, usePrefix) })
	if used || !controllerutil.ContainsFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	own, err := c.owned(ctx, eip)
	if err != nil {
		return err
	}
	for i := range own {
		if err := c.giveBack(ctx, &own[i]); err != nil {
			return err
		}
	}
	before := eip.DeepCopy()
	controllerutil.RemoveFinalizer(eip, networkv1alpha1.AddressFinalizer)
	if err := c.client.Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}

// giveBack deletes just this IPAddress, and none of the same name that came after it.
func (c *Controller) giveBack(ctx context.Context, o *networkv1alpha1.IPAddress) error {
	uid := o.UID
	if err := c.client.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("give address %s back: %w", o.Spec.Address, stale.Wrap(err))
	}
	return nil
}

// say writes what an ElasticIP has got.
func (c *Controller) say(ctx context.Context, eip *networkv1alpha1.ElasticIP, address string, refused *federation.Refusal) error {
	before := eip.DeepCopy()
	condition := metav1.Condition{
		Type: networkv1alpha1.ConditionAllocated, Status: metav1.ConditionTrue, ObservedGeneration: eip.Generation,
		Reason: networkv1alpha1.ReasonAllocated, Message: "It has the address for as long as it exists.",
	}
	if refused != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, refused.Reason, refused.Message
	}
	eip.Status.Address = address
	meta.SetStatusCondition(&eip.Status.Conditions, condition)
	if equality.Semantic.DeepEqual(before.Status, eip.Status) {
		return nil
	}
	if err := c.client.Status().Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("tell ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}

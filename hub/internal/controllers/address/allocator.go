// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package address

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

const (
	// labelOwner on an IPAddress is the UID of its owner, to find it by.
	labelOwner = "network.tombolo.io/owner-uid"
	// tries is how many addresses are tried before the queue has a turn.
	tries = 32
)

// Allocator hands out single addresses, whoever their owners are.
type Allocator struct {
	// client reads from the cache; live reads from the API server itself.
	client client.Client
	live   client.Reader
}

// NewAllocator makes an Allocator that writes with c, which reads from the cache, and reads from the API server itself with live.
func NewAllocator(c client.Client, live client.Reader) *Allocator {
	return &Allocator{client: c, live: live}
}

// Owned lists the addresses of an owner: the one that it was told first.
func (a *Allocator) Owned(ctx context.Context, owner networkv1alpha1.AddressOwner, told string) ([]networkv1alpha1.IPAddress, error) {
	var list networkv1alpha1.IPAddressList
	if err := a.live.List(ctx, &list, client.MatchingLabels{labelOwner: owner.UID}); err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", describe(owner), err)
	}
	own := slices.DeleteFunc(list.Items, func(o networkv1alpha1.IPAddress) bool {
		return o.Spec.Owner != owner || o.DeletionTimestamp != nil
	})
	slices.SortFunc(own, func(x, y networkv1alpha1.IPAddress) int {
		switch {
		case string(x.Spec.Address) == told:
			return -1
		case string(y.Spec.Address) == told:
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	return own, nil
}

// Take finds an address of a pool that nobody has, or the wanted one, and takes it.
func (a *Allocator) Take(ctx context.Context, owner networkv1alpha1.AddressOwner, name string, wanted networkv1alpha1.IPv4) (string, *federation.Refusal, error) {
	var all networkv1alpha1.IPAddressList
	if err := a.client.List(ctx, &all); err != nil {
		return "", nil, fmt.Errorf("list IPAddresses: %w", err)
	}
	holders := map[string]string{}
	for i := range all.Items {
		holders[all.Items[i].Name] = describe(all.Items[i].Spec.Owner)
	}
	for range tries {
		pool, err := a.pool(ctx, a.client, name)
		if err != nil {
			return "", nil, err
		}
		addr, refused := federation.PickAddress(pool, name, wanted, func(one netip.Addr) string {
			return holders[networkv1alpha1.AddressName(pool.Spec.RoutingDomain, one.String())]
		})
		if refused != nil {
			return "", refused, nil
		}
		o := newAddress(pool, owner, addr)
		holder, err := a.create(ctx, o)
		if err != nil {
			return "", nil, err
		}
		if holder == "" {
			holder, err = a.confirm(ctx, o, addr)
		}
		if err != nil || holder == "" {
			return addr.String(), nil, err
		}
		holders[o.Name] = holder
	}
	return "", nil, &stale.Error{Err: fmt.Errorf("%s: %d addresses were taken by others first", describe(owner), tries)}
}

func newAddress(pool *networkv1alpha1.IPPool, owner networkv1alpha1.AddressOwner, addr netip.Addr) *networkv1alpha1.IPAddress {
	return &networkv1alpha1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: networkv1alpha1.AddressName(pool.Spec.RoutingDomain, addr.String()), Labels: map[string]string{labelOwner: owner.UID}},
		Spec:       networkv1alpha1.IPAddressSpec{Address: networkv1alpha1.IPv4(addr.String()), Pool: pool.Name, Owner: owner},
	}
}

// create is the lock. It returns who has the address; empty when it is ours, even if the answer to the request was lost.
func (a *Allocator) create(ctx context.Context, o *networkv1alpha1.IPAddress) (holder string, err error) {
	failed := a.client.Create(ctx, o.DeepCopy())
	if failed == nil {
		return "", nil
	}
	var there networkv1alpha1.IPAddress
	err = a.live.Get(ctx, client.ObjectKeyFromObject(o), &there)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("take address %s: %w", o.Spec.Address, stale.Wrap(failed))
	case err != nil:
		return "", fmt.Errorf("look who has address %s: %w", o.Spec.Address, err)
	case there.Spec.Owner == o.Spec.Owner && there.DeletionTimestamp == nil:
		return "", nil
	}
	return describe(there.Spec.Owner), nil
}

// confirm looks at the pool once more: a range may have been imported, nested or taken out since it was read. Then the address is given back.
func (a *Allocator) confirm(ctx context.Context, o *networkv1alpha1.IPAddress, addr netip.Addr) (holder string, err error) {
	pool, err := a.pool(ctx, a.live, o.Spec.Pool)
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
	if err := a.live.Get(ctx, client.ObjectKeyFromObject(o), &there); err != nil {
		return holder, client.IgnoreNotFound(err)
	}
	return holder, a.GiveBack(ctx, &there)
}

// pool reads a pool; nil when there is none.
func (a *Allocator) pool(ctx context.Context, from client.Reader, name string) (*networkv1alpha1.IPPool, error) {
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
func describe(o networkv1alpha1.AddressOwner) string {
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// GiveBack deletes just this IPAddress, and none of the same name that came after it.
func (a *Allocator) GiveBack(ctx context.Context, o *networkv1alpha1.IPAddress) error {
	uid := o.UID
	if err := a.client.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("give address %s back: %w", o.Spec.Address, stale.Wrap(err))
	}
	return nil
}

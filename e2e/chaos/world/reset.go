// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
)

// everything of a row's tables, in the language of ovsdb-client(1).
const emptyDatabase = `["OVN_Northbound",{"op":"delete","table":"Logical_Router","where":[]},{"op":"delete","table":"Logical_Switch","where":[]}]`

// Reset takes everything away by force, whatever state it is in, and puts the programs of that directory in the place of
// those that are there. They are started by Run.
func (w *World) Reset(ctx context.Context, programs string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	w.Programs = programs
	w.Controller.Kill()
	w.Controller.path = filepath.Join(programs, "tombolo-hub")
	w.HubProxy.Heal()
	for _, s := range w.Spokes {
		s.Agent.Kill()
		s.Agent.path = filepath.Join(programs, "tombolo-agent")
		for _, p := range []*faulty.Proxy{s.ToHub, s.ToSpoke} {
			p.Heal()
		}
		if err := w.Home(ctx, s); err != nil {
			return err
		}
	}
	if err := until(ctx, "empty everything", w.clear); err != nil {
		return err
	}
	for _, s := range w.Spokes {
		out, err := exec.CommandContext(ctx, "ovsdb-client", "transact", "unix:"+s.Northbound, emptyDatabase).CombinedOutput()
		if err != nil {
			return fmt.Errorf("empty northbound database: %w: %s", err, out)
		}
	}
	for _, pool := range Pools() {
		if err := w.Hub.Admin.Create(ctx, pool); err != nil {
			return fmt.Errorf("create pool: %w", err)
		}
	}
	return nil
}

// clear has an error until nothing is left.
func (w *World) clear(ctx context.Context) error {
	var errs []error
	for _, list := range []client.ObjectList{
		&networkv1alpha1.VpcPeeringList{}, &networkv1alpha1.SubnetList{}, &networkv1alpha1.VpcList{}, &networkv1alpha1.IPPoolList{},
		&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{},
	} {
		errs = append(errs, w.Hub.clear(ctx, list, ""))
	}
	for _, s := range w.Spokes {
		for _, list := range []client.ObjectList{&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{}} {
			errs = append(errs, s.clear(ctx, list, charts.Namespace))
		}
	}
	return errors.Join(append(errs, w.Repair(ctx))...)
}

func (s *Server) clear(ctx context.Context, list client.ObjectList, namespace string) error {
	if err := s.Admin.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	var errs []error
	for _, item := range items {
		object := item.(client.Object)
		before := object.DeepCopyObject().(client.Object)
		object.SetFinalizers(nil)
		errs = append(errs, fmt.Errorf("%T %s was still there", object, object.GetName()),
			client.IgnoreNotFound(s.Admin.Patch(ctx, object, client.MergeFrom(before))),
			client.IgnoreNotFound(s.Admin.Delete(ctx, object, &client.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})))
	}
	return errors.Join(errs...)
}

// Run starts the programs that don't run.
func (w *World) Run() error {
	errs := []error{w.Controller.Start()}
	for _, s := range w.Spokes {
		errs = append(errs, s.Agent.Start())
	}
	return errors.Join(errs...)
}

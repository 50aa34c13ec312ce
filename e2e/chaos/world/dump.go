// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Dump writes the objects of every server into files beside the logs, for who looks for the cause of a failure.
func (w *World) Dump(ctx context.Context, name string) error {
	lists := func() []client.ObjectList {
		return []client.ObjectList{&networkv1alpha1.FleetList{}, &networkv1alpha1.IPPoolList{}, &networkv1alpha1.VpcList{}, &networkv1alpha1.SubnetList{},
			&networkv1alpha1.VpcPeeringList{}, &spokev1alpha1.InterconnectGatewayList{}, &spokev1alpha1.LocalRouterList{}}
	}
	var errs []error
	servers := []*Server{w.Hub}
	for _, s := range w.Spokes {
		servers = append(servers, s.Server)
	}
	for _, s := range servers {
		found := map[string]client.ObjectList{}
		for _, list := range lists() {
			errs = append(errs, s.Admin.List(ctx, list))
			found[fmt.Sprintf("%T", list)] = list
		}
		text, err := json.MarshalIndent(found, "", " ")
		if err != nil {
			return fmt.Errorf("dump %s: %w", s.Name, err)
		}
		errs = append(errs, os.WriteFile(filepath.Join(w.Dir, name+"-"+s.Name+".json"), text, 0o600))
	}
	return errors.Join(errs...)
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers is the hub's controllers. Start reading here.
package controllers

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tombolo-io/tombolo/hub/internal/controllers/address"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/heartbeat"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/join"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/membership"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/planning"
)

// Controller is one controller of the hub.
type Controller struct {
	Name string
	// Add registers the controller with the manager.
	Add func(manager.Manager) error
}

// All names every controller.
var All = []Controller{
	{"planning", planning.Add},     // what people wrote → what each cluster is told, and the answer in statuses
	{"membership", membership.Add}, // what the agent of each cluster may read and write; what clusters leave behind
	{"join", join.Add},             // certificates for agents of clusters without OCM's agents
	{"heartbeat", heartbeat.Add},   // which agents are silent
	{"address", address.Add},       // ElasticIP → IPAddress
}

// Add registers all of them.
func Add(mgr manager.Manager) error {
	for _, controller := range All {
		if err := controller.Add(mgr); err != nil {
			return fmt.Errorf("add controller %s: %w", controller.Name, err)
		}
	}
	return nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package attachment is the pod annotation tombolo.io/network: what the controller tells the node
// about a pod's interface.
package attachment

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Attachment is a pod's interface.
type Attachment struct {
	// Vpc and Subnet, as "namespace/name".
	Vpc    string `json:"vpc"`
	Subnet string `json:"subnet"`
	// Port is the Logical_Switch_Port and so the iface-id of the OVS interface.
	Port string `json:"port"`
	// Address that OVN gave the pod, with the length of its subnet.
	Address netip.Prefix `json:"address"`
	// MAC that OVN gave the pod.
	MAC string `json:"mac"`
	// Gateway of the pod's default route.
	Gateway netip.Addr `json:"gateway"`
	// MTU of the interface, in bytes.
	MTU int `json:"mtu"`
}

// String is the annotation's value.
func (a Attachment) String() string {
	value, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings, numbers and netip values always marshal
	}
	return string(value)
}

// Parse reads an annotation's value.
func Parse(value string) (Attachment, error) {
	var a Attachment
	if err := json.Unmarshal([]byte(value), &a); err != nil {
		return Attachment{}, fmt.Errorf("parse attachment %q: %w", value, err)
	}
	if a.Port == "" || !a.Address.IsValid() || !a.Gateway.IsValid() || a.MAC == "" || a.MTU == 0 {
		return Attachment{}, fmt.Errorf("parse attachment %q: port, address, mac, gateway and mtu must be set", value)
	}
	return a, nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wireguard is the only importer of WireGuard: the interface that encrypts what gateways of
// different clusters send each other, and this node's keys.
//
//	tombolo_out ─▶ tbwg0 ─▶ WireGuard ─▶ UDP to the other gateway ─▶ WireGuard ─▶ tbwg0 ─▶ tombolo_in_tunnel
//
// Inside the tunnel the packets keep the gateways' own addresses. A peer may send from its approved address and from no
// other (AllowedIPs), so that what comes out of the interface is proved to be from the endpoint that it says it is from.
//
// The kernel's WireGuard is taken where there is one. It goes on when the agent ends. Where there is none, wireguard-go
// runs in the agent: the interface, and with it what is encrypted, ends with the process and is back with the next one.
//
//	keys.go      the private key, on this node's disk and nowhere else; rotation
//	tunnel.go    Set: from what the interface has to what it should have
//	kernel.go, embedded.go   the two ways to have it
package wireguard

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"maps"

	"github.com/google/uuid"
)

// The keys of external_ids by which a row is found again.
const (
	// KeyOwner holds the UID of the Vpc that a row belongs to (in Open_vSwitch: VswitchPort.Owner). A row without it
	// is not ours.
	KeyOwner = "tombolo.io/owner"
	// KeyKind says what the row is for: one of the kinds below.
	KeyKind = "tombolo.io/kind"
	// KeyID tells rows of one owner and kind apart.
	KeyID = "tombolo.io/id"
	// KeyPod and KeyPodUID name the pod of a port, for people.
	KeyPod    = "tombolo.io/pod"
	KeyPodUID = "tombolo.io/pod-uid"
)

// kind is what a row is for.
type kind string

const (
	kindRouter      kind = "router"
	kindSubnet      kind = "subnet"
	kindTransit     kind = "transit"
	kindRouterPort  kind = "router-port"  // Logical_Router_Port to a switch
	kindSwitchPort  kind = "switch-port"  // Logical_Switch_Port of type router
	kindPeerPort    kind = "peer-port"    // Logical_Router_Port to another router
	kindGatewayPort kind = "gateway-port" // Logical_Switch_Port of a gateway node
	kindPodPort     kind = "pod-port"
	kindRoute       kind = "route"
)

// identity is what a row is to us. It never depends on what the database holds, so that two agents that work at once
// (an old leader and a new one) mean the same row.
type identity struct {
	owner string
	kind  kind
	id    string
}

// space is the name space of our row UUIDs (RFC 9562, version 5).
var space = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("rows.ovn.tombolo.io"))

// uuid is the UUID that the row gets when we insert it. ovsdb-server refuses a second row with the same one ("duplicate
// uuid"), which makes an insert from a stale cache an error instead of a twin.
func (i identity) uuid() string {
	return uuid.NewSHA1(space, []byte(i.owner+"\x00"+string(i.kind)+"\x00"+i.id)).String()
}

// externalIDs marks a row as ours; more is added to them.
func (i identity) externalIDs(more map[string]string) map[string]string {
	ids := map[string]string{KeyOwner: i.owner, KeyKind: string(i.kind), KeyID: i.id}
	maps.Copy(ids, more)
	return ids
}

// identityOf reads the marks of a row; ok is false for a row that is not ours.
func identityOf(externalIDs map[string]string) (id identity, ok bool) {
	id = identity{owner: externalIDs[KeyOwner], kind: kind(externalIDs[KeyKind]), id: externalIDs[KeyID]}
	return id, id.owner != ""
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// wishOf is the encryption that a cluster's label asks for. A word that is not known asks for it too: a typing error opens
// nothing.
func wishOf(c Cluster) spokev1alpha1.Encryption {
	switch c.Labels[networkv1alpha1.LabelEncryption] {
	case "", string(spokev1alpha1.EncryptionNone):
		return ""
	default:
		return spokev1alpha1.EncryptionWireGuard
	}
}

// keyOwner is the one gateway that has a key.
type keyOwner struct{ cluster, node string }

// keyring is who has which public key. Whoever had it approved first keeps it: a key is one gateway's.
type keyring map[spokev1alpha1.PublicKey]keyOwner

// hold notes the keys that are approved already, those of the older endpoint first.
func (k keyring) hold(cluster string, endpoints []spokev1alpha1.GatewayEndpoint) {
	for _, e := range endpoints {
		if _, held := k[e.PublicKey]; e.PublicKey != "" && !held {
			k[e.PublicKey] = keyOwner{cluster, e.Node}
		}
	}
}

// usableKey is true when somebody could encrypt to a reported key.
func usableKey(r spokev1alpha1.ReportedEndpoint) bool {
	raw, err := base64.StdEncoding.Strict().DecodeString(string(r.PublicKey))
	return err == nil && len(raw) == 32 && r.WireGuardPort >= 1 && r.WireGuardPort <= 65535
}

// encryption is which clusters want it, and which can't.
type encryption struct {
	// specs have nothing but Encryption: what else is in them makes no difference here.
	specs map[string]*spokev1alpha1.InterconnectGatewaySpec
	// wanted by any cluster at all.
	wanted bool
	// unable says why nobody can encrypt to a cluster, or not to all its gateways.
	unable map[string]string
}

// newEncryption looks at what was approved, and at what was refused.
func newEncryption(set *gatewaySet) *encryption {
	e := &encryption{specs: map[string]*spokev1alpha1.InterconnectGatewaySpec{}, unable: map[string]string{}}
	for _, g := range set.list {
		e.specs[g.Name] = &spokev1alpha1.InterconnectGatewaySpec{Encryption: g.Spec.Encryption}
		e.wanted = e.wanted || g.Spec.Encryption == spokev1alpha1.EncryptionWireGuard
		if why := keysMissing(g); why != "" {
			e.unable[g.Name] = why
		}
	}
	return e
}

// keysMissing names the gateways of a cluster that have no approved key; empty when all have.
func keysMissing(g *spokev1alpha1.InterconnectGateway) string {
	if len(g.Spec.Endpoints) == 0 {
		return fmt.Sprintf("cluster %s has no approved gateway node", g.Name)
	}
	var missing []string
	for _, e := range g.Spec.Endpoints {
		if e.PublicKey != "" {
			continue
		}
		why := "has reported no WireGuard key"
		if i := slices.IndexFunc(g.Spec.Refused, func(r spokev1alpha1.RefusedReport) bool {
			return r.Node == e.Node && (r.Reason == spokev1alpha1.ReasonKeyTaken || r.Reason == spokev1alpha1.ReasonKeyInvalid)
		}); i >= 0 {
			why = "has no approved key: " + g.Spec.Refused[i].Message
		}
		missing = append(missing, fmt.Sprintf("gateway node %s of cluster %s %s", e.Node, g.Name, why))
	}
	return strings.Join(missing, "; ")
}

// pairs collects the pairs of clusters that must encrypt.
type pairs struct {
	encryption *encryption
	wanted     []string
	problems   []string
}

func (p *pairs) add(a, b string) {
	one, other := p.encryption.specs[a], p.encryption.specs[b]
	if a == b || one == nil || other == nil || !spokev1alpha1.Encrypted(one, other) {
		return
	}
	p.wanted = append(p.wanted, min(a, b)+"–"+max(a, b))
	for _, cluster := range []string{a, b} {
		if why := p.encryption.unable[cluster]; why != "" {
			p.problems = append(p.problems, why)
		}
	}
}

// between adds all pairs of a site of f and a site of g.
func (p *pairs) between(f, g *footprint) {
	if !p.encryption.wanted {
		return
	}
	for _, here := range f.sites {
		for _, there := range g.sites {
			p.add(here.cluster, there.cluster)
		}
	}
}

// report appends the Encrypted condition, if anything must be encrypted.
func (p *pairs) report(c *chain) {
	if len(p.wanted) == 0 {
		return
	}
	var missing *refusal
	if len(p.problems) > 0 {
		slices.Sort(p.problems)
		missing = refuse(networkv1alpha1.ReasonKeyMissing, "%s: nothing is sent to it in the clear", strings.Join(slices.Compact(p.problems), "; "))
	}
	slices.Sort(p.wanted)
	own := chain{generation: c.generation}
	own.add(networkv1alpha1.ConditionEncrypted, missing, networkv1alpha1.ReasonWireGuard, strings.Join(slices.Compact(p.wanted), ", "))
	c.conditions = append(c.conditions, own.conditions...)
}

// makeEncryption notes what the gateways of all clusters say of encryption.
func (p *Planner) makeEncryption() {
	p.encryption.get(func() *encryption { return newEncryption(p.gateway.value) }, p.gateway.value)
}

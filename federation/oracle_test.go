// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"net/netip"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// fabric walks packets over routers as the data path does, and knows nothing of how they were planned. It shares no
// code with the planner on purpose.
type fabric struct {
	routers []*spokev1alpha1.LocalRouter
}

// landing is where a packet ends: at a router, or nowhere, and why.
type landing struct {
	router  *spokev1alpha1.LocalRouter
	dropped string
	// broken is set when the routers contradict each other, which may never be.
	broken string
}

// hop is one line of a router's table.
type hop struct {
	prefix netip.Prefix
	// kind is "connected", "peer" or "gateway"; peer is which.
	kind string
	peer int
}

// send walks a packet from a router on.
func (f *fabric) send(at *spokev1alpha1.LocalRouter, src, dst netip.Addr) landing {
	for range 8 {
		next, err := lookup(at, dst)
		if err != "" {
			return landing{broken: err}
		}
		switch next.kind {
		case "":
			return landing{dropped: fmt.Sprintf("%s has no route to %s", name(at), dst)}
		case "connected":
			return landing{router: at}
		case "peer":
			to, err := f.cross(at, at.Spec.Peers[next.peer])
			if err != "" {
				return landing{broken: err}
			}
			at = to
		case "gateway":
			return f.tunnel(at, src, dst)
		}
	}
	return landing{broken: "the packet goes around in circles"}
}

// lookup finds the longest prefix; a connected one wins over a static one of the same length.
func lookup(at *spokev1alpha1.LocalRouter, dst netip.Addr) (best hop, err string) {
	table := []hop{{prefix: netip.MustParsePrefix(at.Spec.LinkCIDR), kind: "connected"}}
	for _, s := range at.Spec.Subnets {
		table = append(table, hop{prefix: netip.MustParsePrefix(s.CIDR), kind: "connected"})
	}
	for i, p := range at.Spec.Peers {
		for _, prefix := range p.Prefixes {
			table = append(table, hop{prefix: netip.MustParsePrefix(prefix), kind: "peer", peer: i})
		}
	}
	for _, r := range at.Spec.Routes {
		table = append(table, hop{prefix: netip.MustParsePrefix(r), kind: "gateway"})
	}
	for _, h := range table {
		switch {
		case !h.prefix.Contains(dst):
		case best.kind == "" || h.prefix.Bits() > best.prefix.Bits():
			best, err = h, ""
		case h.prefix.Bits() == best.prefix.Bits() && h.kind != best.kind:
			err = fmt.Sprintf("%s has two ways to %s: %s and %s", name(at), h.prefix, best.kind, h.kind)
		case h.prefix.Bits() == best.prefix.Bits() && h.kind == "peer" && h.peer != best.peer:
			err = fmt.Sprintf("%s has two peers with %s", name(at), h.prefix)
		}
	}
	return best, err
}

// cross takes a packet over the link between two routers of one cluster: both ends must agree.
func (f *fabric) cross(at *spokev1alpha1.LocalRouter, p spokev1alpha1.LocalPeer) (*spokev1alpha1.LocalRouter, string) {
	for _, to := range f.routers {
		if to.Namespace != at.Namespace || to.Spec.Vpc != p.Vpc {
			continue
		}
		for _, q := range to.Spec.Peers {
			if q.Vpc == at.Spec.Vpc && q.LocalConnectIP == p.RemoteConnectIP && q.RemoteConnectIP == p.LocalConnectIP {
				return to, ""
			}
		}
	}
	return nil, fmt.Sprintf("%s has a link to %s that is not there on the other side", name(at), p.Vpc.Name)
}

// tunnel takes a packet through the gateways: out by the longest remote prefix, in by VNI, source and destination.
func (f *fabric) tunnel(at *spokev1alpha1.LocalRouter, src, dst netip.Addr) landing {
	var remote *spokev1alpha1.Remote
	longest := -1
	for i, r := range at.Spec.Remotes {
		for _, s := range r.Prefixes {
			if p := netip.MustParsePrefix(s); p.Contains(dst) && p.Bits() >= longest {
				if p.Bits() == longest {
					return landing{broken: fmt.Sprintf("%s has two remotes with %s", name(at), p)}
				}
				remote, longest = &at.Spec.Remotes[i], p.Bits()
			}
		}
	}
	if remote == nil {
		return landing{dropped: "no remote has it"}
	}
	var to []*spokev1alpha1.LocalRouter
	for _, r := range f.routers {
		if r.Namespace == remote.Cluster && r.Spec.Vpc.VNI == remote.Vpc.VNI {
			to = append(to, r)
		}
	}
	if len(to) != 1 {
		return landing{broken: fmt.Sprintf("%d routers in %s have VNI %d", len(to), remote.Cluster, remote.Vpc.VNI)}
	}
	if !mayEnter(to[0], at.Namespace, src) {
		return landing{dropped: fmt.Sprintf("%s lets no %s in from %s", name(to[0]), src, at.Namespace)}
	}
	here := func(s string) bool { return netip.MustParsePrefix(s).Contains(dst) }
	if !here(to[0].Spec.LinkCIDR) && !slices.ContainsFunc(to[0].Spec.Subnets, func(s spokev1alpha1.RouterSubnet) bool { return here(s.CIDR) }) {
		return landing{dropped: fmt.Sprintf("%s has no %s", name(to[0]), dst)}
	}
	return landing{router: to[0]}
}

// mayEnter is the check of the inner source: it must be where the hub says that the sending cluster has it.
func mayEnter(to *spokev1alpha1.LocalRouter, from string, src netip.Addr) bool {
	return slices.ContainsFunc(to.Spec.Remotes, func(r spokev1alpha1.Remote) bool {
		return r.Cluster == from && slices.ContainsFunc(r.Prefixes, func(s string) bool { return netip.MustParsePrefix(s).Contains(src) })
	})
}

func name(r *spokev1alpha1.LocalRouter) string { return r.Namespace + "/" + r.Name }

// vpcOf names the Vpc of a router.
func vpcOf(r *spokev1alpha1.LocalRouter) Key {
	return Key(r.Spec.Vpc.Namespace + "/" + r.Spec.Vpc.Name)
}

// check walks a packet from each subnet of each router to each subnet of each router. allowed says which Vpcs may
// talk, required which routers must be able to, in both directions. It returns what is wrong.
func (f *fabric) check(allowed func(a, b Key) bool, required func(a, b *spokev1alpha1.LocalRouter) bool) []string {
	var wrong []string
	for _, a := range f.routers {
		for _, s := range a.Spec.Subnets {
			src := netip.MustParsePrefix(s.CIDR).Addr().Next().Next().Next()
			for _, b := range f.routers {
				for _, d := range b.Spec.Subnets {
					dst := netip.MustParsePrefix(d.CIDR).Addr().Next().Next().Next().Next()
					path := fmt.Sprintf("%s %s → %s %s", name(a), src, name(b), dst)
					there := f.send(a, src, dst)
					if there.broken != "" {
						wrong = append(wrong, path+": "+there.broken)
					}
					if there.router != nil && !allowed(vpcOf(a), vpcOf(there.router)) {
						wrong = append(wrong, path+": leaks into "+name(there.router))
					}
					if !required(a, b) {
						continue
					}
					if there.router != b {
						wrong = append(wrong, path+": does not arrive: "+there.dropped)
					} else if back := f.send(b, dst, src); back.router != a {
						wrong = append(wrong, path+": no answer: "+back.dropped)
					}
				}
			}
		}
	}
	return wrong
}

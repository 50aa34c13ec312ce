// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

const (
	// linkBits is the length of a link when the pool names none: one address for the router, five for gateways.
	linkBits = 29
	// peerBits is the length of the link between two routers of one cluster.
	peerBits = 30
	// subnetBits is the length of a subnet when neither it nor the pool names one.
	subnetBits = 24
	// smallestSubnetBits is the longest prefix that has room for a gateway and pods.
	smallestSubnetBits = 29
	// warnPercent is the share of a pool from which on it warns, when it names none.
	warnPercent = 90
	// maxVNI is the largest VXLAN network identifier (RFC 7348: 24 bits).
	maxVNI = 1<<24 - 1
)

type poolNode struct {
	tracked[*networkv1alpha1.IPPool]
	view    cell[poolView]
	entries cell[poolEntries]
	stock   cell[stock]
	status  cell[networkv1alpha1.IPPoolStatus]
	shelved *networkv1alpha1.IPPoolStatus
	// applied is what of the entries the Planner's ledger has.
	applied *poolEntries
}

// poolView is what a pool says, read once.
type poolView struct {
	name       string
	created    int64
	generation int64
	purpose    networkv1alpha1.IPPoolPurpose
	deleting   bool
	// settled is true when the hub had accepted just this.
	settled bool
	// ranges in order of address.
	ranges []netip.Prefix
	// first and last VNI.
	first, last uint32
	lengths     networkv1alpha1.PrefixLengths
	uid         string
	// domain is where its addresses are routed.
	domain string
	// parent is the pool that it is nested in, and cut the length of its range there; 0 when it names its ranges.
	parent string
	cut    int
	// inside are the blocks in other ledgers that its ranges lie in.
	inside []netip.Prefix
	// exclude is never handed out.
	exclude ipam.Set
	imports []networkv1alpha1.PoolImport
	// warn is the share, in percent, from which on it warns.
	warn    int64
	invalid *refusal
}

// admittedPool is a pool that may hand out, unless refused.
type admittedPool struct {
	*poolView
	refused *refusal
	// keeps is true for a refused pool that stays where it is: others may not come in its place.
	keeps bool
}

// pools is the verdict on all pools.
type pools struct {
	// all in the order in which they hand out: settled before new, older before younger.
	all []admittedPool
	// grants are the entries that this verdict adds to ledgers: what is nested, and imports.
	grants []entry
}

// linkRanges are the prefixes that links are taken from, and links outside of them: nothing else may lie there.
type linkRanges struct {
	set ipam.Set
	// ranges are the prefixes that links are taken from, in order of address; cidrs are the same as text.
	ranges []netip.Prefix
	cidrs  []string
	// holder of each prefix of the set.
	holder map[netip.Prefix]string
}

// overlap finds a prefix for links that overlaps p, and says whose it is.
func (l *linkRanges) overlap(p netip.Prefix) (netip.Prefix, string, bool) {
	q, found := l.set.Overlap(p)
	return q, l.holder[q], found
}

// named finds a pool by name.
func (p *pools) named(name string) *admittedPool {
	i := slices.IndexFunc(p.all, func(a admittedPool) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return &p.all[i]
}

// open lists the pools of a purpose that may hand out, nested ones first: who nests a pool wants several small ledgers instead of a large one.
func (p *pools) open(purpose networkv1alpha1.IPPoolPurpose) []*poolView {
	var open []*poolView
	for _, pool := range p.all {
		if pool.purpose == purpose && pool.refused == nil && !pool.deleting {
			open = append(open, pool.poolView)
		}
	}
	slices.SortStableFunc(open, func(a, b *poolView) int { return cmpTrueFirst(a.parent != "", b.parent != "") })
	return open
}

// readPool reads the spec of a pool.
func readPool(o *networkv1alpha1.IPPool) *poolView {
	v := &poolView{
		name: o.Name, created: o.CreationTimestamp.Unix(), generation: o.Generation, purpose: o.Spec.Purpose,
		deleting: o.DeletionTimestamp != nil, settled: isTrue(o.Status.Conditions, networkv1alpha1.ConditionAccepted, o.Generation),
		uid: string(o.UID), domain: domainOf(&o.Spec), imports: o.Spec.Imports, warn: int64(cmp.Or(o.Spec.WarnPercent, warnPercent)),
	}
	if o.Spec.Purpose == networkv1alpha1.PurposeVNI {
		v.invalid = v.readVNIs(o.Spec.VNIs)
		return v
	}
	if o.Spec.Parent != nil {
		v.parent, v.cut = o.Spec.Parent.Name, int(o.Spec.Parent.PrefixLength)
	}
	v.ranges, v.invalid = readCIDRs("spec.cidrs", o.Spec.CIDRs)
	if v.invalid == nil && len(v.ranges) == 0 && v.cut == 0 {
		v.invalid = refuse(networkv1alpha1.ReasonInvalid, "spec.cidrs is empty: add the ranges that may be handed out")
	}
	if v.invalid == nil {
		v.invalid = v.readLengths(o.Spec.PrefixLengths)
	}
	if v.invalid == nil {
		v.invalid = v.readExcluded(o.Spec.Exclude)
	}
	return v
}

// readExcluded reads spec.exclude.
func (v *poolView) readExcluded(ranges []networkv1alpha1.IPRange) *refusal {
	var all []netip.Prefix
	for _, r := range ranges {
		first, last, err := ipam.ParseRange(string(r))
		if err != nil {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.exclude: %v", err)
		}
		all = append(all, ipam.Between(first, last)...)
	}
	v.exclude = ipam.NewSet(all...)
	return nil
}

// single is true for pools of single addresses.
func (v *poolView) single() bool {
	return v.purpose == networkv1alpha1.PurposeExternal || v.purpose == networkv1alpha1.PurposeServiceVIP
}

func (v *poolView) readVNIs(r *networkv1alpha1.VNIRange) *refusal {
	if r == nil {
		return refuse(networkv1alpha1.ReasonInvalid, "spec.vnis is missing: set first and last")
	}
	if r.First < 1 || r.Last < r.First || r.Last > maxVNI {
		return refuse(networkv1alpha1.ReasonInvalid, "spec.vnis %d to %d is no range of VNIs: choose 1 <= first <= last <= %d", r.First, r.Last, maxVNI)
	}
	v.first, v.last = uint32(r.First), uint32(r.Last)
	return nil
}

func (v *poolView) readLengths(l *networkv1alpha1.PrefixLengths) *refusal {
	switch {
	case v.single():
		v.lengths = networkv1alpha1.PrefixLengths{Min: 32, Max: 32, Default: 32}
	case l == nil && v.purpose == networkv1alpha1.PurposeLink:
		v.lengths = networkv1alpha1.PrefixLengths{Min: 8, Max: 30, Default: linkBits}
	case l == nil:
		v.lengths = networkv1alpha1.PrefixLengths{Min: 8, Max: smallestSubnetBits, Default: subnetBits}
	case l.Min < 8 || l.Max > 30 || l.Default < l.Min || l.Max < l.Default:
		return refuse(networkv1alpha1.ReasonInvalid, "spec.prefixLengths min %d, default %d, max %d can't be used: choose 8 <= min <= default <= max <= 30", l.Min, l.Default, l.Max)
	default:
		v.lengths = *l
	}
	return nil
}

// holding is a prefix that is in use, and by whom.
type holding struct {
	prefix netip.Prefix
	holder string
}

// linkRanges are the ranges of all pools of links, of refused ones those that something is handed out of, and the
// links that are in use outside of these.
func (p *pools) linkRanges(handedOut func(pool string, r netip.Prefix) bool, inUse []holding) *linkRanges {
	l := &linkRanges{holder: map[netip.Prefix]string{}}
	for _, pool := range p.all {
		if pool.purpose != networkv1alpha1.PurposeLink {
			continue
		}
		for _, r := range pool.ranges {
			if l.holder[r] == "" && (pool.refused == nil || handedOut(pool.name, r)) {
				l.holder[r] = fmt.Sprintf("IPPool %q, which is for links", pool.name)
			}
		}
	}
	l.set = ipam.NewSet(slices.Collect(maps.Keys(l.holder))...)
	for _, r := range l.set.Prefixes() {
		if around, _ := l.set.Around(r); around == r { // what is nested is routed with what it lies in
			l.ranges = append(l.ranges, r)
		}
	}
	l.cidrs = texts(l.ranges)
	for _, h := range inUse {
		if _, inside := l.set.Around(h.prefix); !inside && l.holder[h.prefix] == "" {
			l.holder[h.prefix] = h.holder
		}
	}
	if len(l.holder) > l.set.Len() {
		l.set = ipam.NewSet(slices.Collect(maps.Keys(l.holder))...)
	}
	return l
}

// readCIDRs reads a list of CIDRs, in order of address.
func readCIDRs(field string, cidrs []networkv1alpha1.CIDR) ([]netip.Prefix, *refusal) {
	prefixes := make([]netip.Prefix, 0, len(cidrs))
	for _, c := range cidrs {
		p, refused := readCIDR(field, string(c))
		if refused != nil {
			return nil, refused
		}
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, ipam.Compare)
	return prefixes, nil
}

// unroutable are ranges that no host of a Vpc can have (RFC 6890): this network, loopback, multicast and above.
var unroutable = ipam.NewSet(netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"))

// readCIDR reads one CIDR.
func readCIDR(field, cidr string) (netip.Prefix, *refusal) {
	p, err := ipam.ParsePrefix(cidr)
	if err != nil {
		return p, refuse(networkv1alpha1.ReasonInvalid, "%s: %v", field, err)
	}
	if q, found := unroutable.Overlap(p); found {
		return p, refuse(networkv1alpha1.ReasonInvalid, "%s: %s overlaps %s, which no host can have: choose a private range such as 10.0.0.0/16", field, p, q)
	}
	return p, nil
}

// isTrue is true when a condition holds for this very generation.
func isTrue(conditions []metav1.Condition, typ string, generation int64) bool {
	return slices.ContainsFunc(conditions, func(c metav1.Condition) bool {
		return c.Type == typ && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation
	})
}

// cmpTrueFirst orders true before false.
func cmpTrueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// texts writes prefixes as strings.
func texts(prefixes []netip.Prefix) []string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return all
}

// readPools reads the pools, their ledgers, and the single addresses.
func (p *Planner) readPools() {
	for _, n := range p.pools.sorted {
		n.view.get(func() *poolView { return readPool(n.obj) }, n.obj)
		n.entries.get(func() *poolEntries { return readEntries(n.obj, n.entries.value) }, n.obj)
	}
	inputs := make([]any, 0, len(p.addresses.sorted))
	for _, n := range p.addresses.sorted {
		n.entry.get(func() *entry { return addressEntry(n.obj) }, n.obj)
		inputs = append(inputs, n.entry.value)
	}
	p.addressEntries.get(func() *poolEntries {
		all := &poolEntries{}
		for _, n := range p.addresses.sorted {
			if n.entry.value.prefix.IsValid() {
				all.list = append(all.list, n.entry.value)
			}
		}
		slices.SortFunc(all.list, (*entry).compare)
		return all
	}, inputs...)
}

// admitPools decides which may hand out, and takes what they need themselves.
func (p *Planner) admitPools() {
	inputs, unsettled := []any{p.addressEntries.value}, false
	for _, n := range p.pools.sorted {
		inputs = append(inputs, n.view.value, n.entries.value)
		unsettled = unsettled || !n.view.value.settled
	}
	for _, n := range p.pools.sorted {
		for _, e := range n.entries.value.list {
			if len(p.freed) > 0 && p.freed[e] {
				inputs = append(inputs, e)
			}
		}
	}
	if unsettled {
		inputs = append(inputs, p.owners)
	}
	judged := false
	p.admitted.get(func() *pools { judged = true; return p.judgePools() }, inputs...)
	if !judged {
		for _, grant := range p.admitted.value.grants {
			p.ledger.take(&grant)
		}
	}
	inputs = append(inputs[:0], p.admitted.value, p.carried)
	for _, n := range p.pools.sorted {
		inputs = append(inputs, n.entries.value)
	}
	p.links.get(func() *linkRanges { return p.admitted.value.linkRanges(p.handedOut, p.linksInUse()) }, inputs...)
	inputs = inputs[:0]
	for _, g := range p.gateways.sorted {
		inputs = append(inputs, g.obj)
	}
	p.reserved.get(func() *reservedRanges { return readReserved(p.gateways.sorted) }, inputs...)
}

// addressNode is an address that was handed out singly.
type addressNode struct {
	tracked[*networkv1alpha1.IPAddress]
	entry cell[entry]
}

// addressEntry keeps a single address from everybody else. Its domain is the first part of its name; its pool is the entry's object.
func addressEntry(o *networkv1alpha1.IPAddress) *entry {
	domain, _, _ := strings.Cut(o.Name, ".")
	who := o.Spec.Owner
	e := &entry{owner: owner{name: who.Kind + "/" + string(joinKey(who.Namespace, who.Name)), uid: who.UID}, domain: domain, kind: "IPAddress", object: Key(o.Spec.Pool), value: string(o.Spec.Address)}
	if addr, err := ipam.ParseAddr(string(o.Spec.Address)); err == nil {
		e.prefix = netip.PrefixFrom(addr, 32)
	}
	return e
}

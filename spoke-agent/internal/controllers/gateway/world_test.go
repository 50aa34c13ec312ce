// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/neighbours"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// world is the node as the controller leaves it: the state of interfaces, bridge, eBPF and prober as sorted text.
type world struct {
	mu       sync.Mutex
	links    map[string]link.Pair
	ports    map[string]ovn.VswitchPort
	config   fastpath.Config
	vxlan    string
	slow     link.SlowPath
	sets     int
	targets  []probe.Target
	results  map[string]probe.Result
	failures map[string]error
	changed  chan struct{}
	tunnel   wireguard.Config
	// mtu of the underlay, and the XDP program and programs of others on it.
	mtu, xdp int
	ahead    []string
	// aliases of pods' interfaces, and what other nodes say; nodes are not known while they are nil.
	aliases  map[string]string
	seconds  []string
	looks    int
	nodes    map[string]netip.Addr
	pods     []neighbours.Pod
	woken    chan struct{}
	echoes   tunnelprobe.Config
	measured []tunnelprobe.Result
	// names of public keys.
	names map[wireguard.PublicKey]string
}

func newWorld() *world {
	return &world{
		links: map[string]link.Pair{}, ports: map[string]ovn.VswitchPort{}, results: map[string]probe.Result{},
		failures: map[string]error{}, changed: make(chan struct{}, 1), mtu: 1500,
		names: map[wireguard.PublicKey]string{}, aliases: map[string]string{}, nodes: map[string]netip.Addr{}, woken: make(chan struct{}, 1),
	}
}

func (w *world) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	if w.config.Underlay.Interface != "" {
		fmt.Fprintf(&b, "fastpath underlay %s %s:%d\n", w.config.Underlay.Interface, w.config.Underlay.Address, w.config.Underlay.UDPPort)
	}
	if w.config.Underlay.Tunnel != "" {
		fmt.Fprintf(&b, "fastpath tunnel %s\n", w.config.Underlay.Tunnel)
	}
	if w.tunnel.Interface != "" {
		public, _ := w.tunnel.Key.Public()
		fmt.Fprintf(&b, "tunnel %s mtu %d port %d key %s\n", w.tunnel.Interface, w.tunnel.MTU, w.tunnel.ListenPort, w.names[public])
	}
	for _, p := range w.tunnel.Peers {
		fmt.Fprintf(&b, "tunnel peer %s:%d key %d\n", p.Address, p.Port, p.Key[0])
	}
	for _, c := range w.config.Clusters {
		fmt.Fprintf(&b, "fastpath cluster %s %v%s", c.Name, c.Endpoints, map[bool]string{true: " encrypted"}[c.Encrypted])
		if c.MTU != 0 {
			fmt.Fprintf(&b, " mtu %d", c.MTU)
		}
		fmt.Fprintln(&b)
	}
	for _, p := range w.config.Ports {
		fmt.Fprintf(&b, "fastpath port %s %s remotes %d\n", p.Interface, p.Vpc, len(p.Remotes))
	}
	for _, p := range w.config.Pods {
		fmt.Fprintf(&b, "fastpath pod %s switch %q vni %d %s %s router %s\n", p.Interface, p.Switch, p.VNI, p.Address, p.MAC, p.RouterMAC)
	}
	for _, h := range w.config.Own.Hosts {
		fmt.Fprintf(&b, "fastpath host vni %d %s at %s\n", h.VNI, h.Address, h.Node)
	}
	if len(w.config.Own.Nodes) > 0 {
		fmt.Fprintf(&b, "fastpath nodes %v\n", w.config.Own.Nodes)
	}
	for _, r := range w.config.Relays {
		fmt.Fprintf(&b, "fastpath relay vni %d %s to %s\n", r.VNI, r.From, r.To)
	}
	if w.vxlan != "" {
		fmt.Fprintf(&b, "slow path %s\n", w.vxlan)
	}
	for _, v := range w.slow.Vpcs {
		fmt.Fprintf(&b, "slow path %s via %s remotes %d\n", v.Interface, v.Router, len(v.Remotes))
	}
	for _, name := range slices.Sorted(maps.Keys(w.links)) {
		l := w.links[name]
		fmt.Fprintf(&b, "link %s %s %s mtu %d\n", l.GatewayEnd, l.OVSEnd, l.MAC, l.MTU)
	}
	for _, name := range slices.Sorted(maps.Keys(w.ports)) {
		fmt.Fprintf(&b, "port %s %s owner %s\n", name, w.ports[name].IfaceID, w.ports[name].Owner)
	}
	for _, t := range w.echoes.Targets {
		fmt.Fprintf(&b, "echo from %s:%d to %s %s %s mtu %d\n", w.echoes.Address, w.config.Underlay.EchoPort, t.Cluster, t.Node, t.Address, t.MTU)
	}
	for _, t := range w.targets {
		fmt.Fprintf(&b, "probe %s: %s → %s\n", t.Key, t.Src, t.Dst)
	}
	return b.String()
}

func (w *world) fail(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures[name] = err
}

func (w *world) failure(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures[name]
}

func (w *world) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.links[name]
	return ok
}

func (w *world) setCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets
}

func (w *world) answer(key string, reachable bool) {
	w.mu.Lock()
	w.results[key] = probe.Result{Key: key, Reachable: reachable, RTT: 1500 * time.Microsecond, Since: time.Now()}
	w.mu.Unlock()
	w.changed <- struct{}{}
}

func (w *world) forgetResults() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.results)
}

func (w *world) Ensure(p link.Pair) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failures[p.GatewayEnd]; err != nil {
		return err
	}
	w.links[p.GatewayEnd] = p
	return nil
}

func (w *world) Remove(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failures["remove"]; err != nil {
		return err
	}
	delete(w.links, name)
	return nil
}

func (w *world) List(prefix string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if prefix == naming.PodSwitchEndPrefix {
		return w.seconds, nil
	}
	return slices.Sorted(maps.Keys(w.links)), nil
}

func (w *world) Aliases(prefix string) (map[string]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.aliases), nil
}

// Nodes and Pods are the neighbours.
func (w *world) Nodes() (map[string]netip.Addr, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return maps.Clone(w.nodes), w.nodes != nil
}

func (w *world) lookCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks
}

func (w *world) Pods() ([]neighbours.Pod, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pods), true
}

func (w *world) Underlay(name string) (string, netip.Addr, int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return name, netip.MustParseAddr("192.0.2.10"), w.mtu, w.failures["underlay"]
}

func (w *world) XDP(string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.xdp, nil
}

func (w *world) EnsureVXLAN(v link.VXLAN) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failures["tbx4789"]; err != nil {
		return err
	}
	w.vxlan = link.VXLANName(v.Port)
	return nil
}

// SetSlowPath fails as the kernel would when the device is missing, and as no test would notice when its guard is.
func (w *world) SetSlowPath(s link.SlowPath) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name := link.VXLANName(s.VXLAN.Port); w.vxlan != name || w.config.Underlay.VXLAN != name {
		return fmt.Errorf("the slow path is opened with device %q and guard on %q", w.vxlan, w.config.Underlay.VXLAN)
	}
	w.slow = s
	return nil
}

func (w *world) RemoveSlowPath() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vxlan, w.slow = "", link.SlowPath{}
	return nil
}

func (w *world) AddPort(_ context.Context, _ string, p ovn.VswitchPort) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failures[p.Interface]; err != nil {
		return err
	}
	w.ports[p.Interface] = p
	return nil
}

func (w *world) DelPort(_ context.Context, _, iface string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ports, iface)
	return nil
}

// fastpathOf and proberOf are views of the world whose Set and Remove are other ones.
type fastpathView struct{ *world }

func fastpathOf(w *world) Fastpath { return fastpathView{w} }

func (f fastpathView) Set(c fastpath.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config = c
	f.sets++
	return nil
}

func (f fastpathView) Remove() error { return f.Set(fastpath.Config{}) }

func (f fastpathView) Counters() (fastpath.Counters, error) {
	flow := fastpath.FlowCounter{VNI: 100, RemoteVNI: 900, Vpc: "demo/a", RemoteVpc: "demo/far", Cluster: "west", Direction: "out", Packets: 3, Bytes: 300}
	unnamed := fastpath.FlowCounter{VNI: 300, RemoteVNI: 900, Cluster: "west", Direction: "out"} // as after a Set that failed
	another := unnamed
	another.VNI = 400
	return fastpath.Counters{
		Flows: []fastpath.FlowCounter{flow, unnamed, another},
		Drops: map[string]uint64{"no_route": 1}, Slow: map[string]uint64{"too_big": 1},
	}, nil
}

func (f fastpathView) RelayCounters() ([]fastpath.RelayCounter, error) {
	return []fastpath.RelayCounter{{VNI: 100, From: "west", To: "south", Packets: 3, Bytes: 300}}, nil
}

func (f fastpathView) Ahead() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ahead, nil
}

func (f fastpathView) Lookups() (hits, misses uint64, err error) { return 2, 1, nil }

type proberView struct{ *world }

func proberOf(w *world) Prober { return proberView{w} }

func (p proberView) Set(targets []probe.Target) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = targets
	return nil
}

func (p proberView) Results() []probe.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.results))
}

func (p proberView) Changed() <-chan struct{} { return p.changed }

// echoesView is the world as what measures the way to other clusters.
type echoesView struct{ *world }

func (e echoesView) Set(c tunnelprobe.Config) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.echoes = c
	return nil
}

func (e echoesView) Port() uint16 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.echoes.Targets) == 0 {
		return 0
	}
	return 40000
}

func (e echoesView) Results() []tunnelprobe.Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.measured)
}

func (e echoesView) Changed() <-chan struct{} { return e.changed }

// measure gives results, and tells of them.
func (w *world) measure(results ...tunnelprobe.Result) {
	w.mu.Lock()
	w.measured = results
	w.mu.Unlock()
	w.changed <- struct{}{}
}

// tunnelView is the world as the interface that encrypts.
type tunnelView struct{ *world }

func tunnelOf(w *world) Tunnel { return tunnelView{w} }

func (v tunnelView) Set(c wireguard.Config) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.failures[c.Interface]; err != nil {
		return err
	}
	v.tunnel = c
	return nil
}

func (v tunnelView) Settled() bool { return true }

func (v tunnelView) Remove(string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tunnel = wireguard.Config{}
	return nil
}

// name gives a public key a name.
func (w *world) name(key wireguard.PublicKey, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[key] = name
}

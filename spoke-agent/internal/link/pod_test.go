// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

func podLink(pod *linktest.Namespace) PodLink {
	return PodLink{
		NetNSPath: pod.Path(), IfName: "eth0", HostEnd: "tbp1", MAC: "0a:58:0a:00:00:02",
		Address: netip.MustParsePrefix("10.0.0.2/16"), Gateway: netip.MustParseAddr("10.0.0.1"),
		MTU: 1400, DisableTxOffload: true,
	}
}

func TestAddPod(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		before func(t *testing.T, node, pod *linktest.Namespace)
		change func(*PodLink)
		route  string
	}{
		"nothing there": {reason: "the first time"},
		"again": {
			reason: "a runtime may call ADD again after a timeout",
			before: func(t *testing.T, node, pod *linktest.Namespace) {
				node.MustDo(t, func() error { return AddPod(podLink(pod)) })
			},
		},
		"other address before": {
			reason: "the old address and the old route go",
			before: func(t *testing.T, node, pod *linktest.Namespace) {
				p := podLink(pod)
				p.Address, p.Gateway = netip.MustParsePrefix("10.9.0.2/16"), netip.MustParseAddr("10.9.0.1")
				node.MustDo(t, func() error { return AddPod(p) })
			},
		},
		"host end of another pod": {
			reason: "the name is this pod's: whatever has it is left over",
			before: func(t *testing.T, node, pod *linktest.Namespace) {
				other := linktest.New(t, "other")
				node.MustDo(t, func() error { return AddPod(podLink(other)) })
			},
		},
		"pod's end leads elsewhere": {
			reason: "a half-made interface is made anew",
			before: func(t *testing.T, node, pod *linktest.Namespace) { node.Veth(t, "stray", pod, "eth0") },
		},
		"gateway outside of the subnet": {
			reason: "a /32 has no neighbours: the route is onlink",
			change: func(p *PodLink) { p.Address = netip.MustParsePrefix("10.0.0.2/32") },
			route:  "default via 10.0.0.1 dev eth0 onlink",
		},
	} {
		t.Run(name, func(t *testing.T) {
			node, pod := linktest.New(t, "node"), linktest.New(t, "pod")
			if tc.before != nil {
				tc.before(t, node, pod)
			}
			p := podLink(pod)
			if tc.change != nil {
				tc.change(&p)
			}
			for range 2 {
				node.MustDo(t, func() error { return AddPod(p) })
			}
			eth, host := pod.IP(t, "-d link show eth0"), node.IP(t, "-d link show tbp1")
			for _, want := range []string{"mtu 1400", "0a:58:0a:00:00:02", "state UP"} {
				if !strings.Contains(eth, want) {
					t.Errorf("%s: eth0 lacks %q:\n%s", tc.reason, want, eth)
				}
			}
			for _, want := range []string{"mtu 1400", "NOARP", "state UP", "addrgenmode none"} {
				if !strings.Contains(host, want) {
					t.Errorf("%s: host end lacks %q:\n%s", tc.reason, want, host)
				}
			}
			if got := pod.IP(t, "-4 -o addr show dev eth0"); strings.Count(got, "inet ") != 1 || !strings.Contains(got, p.Address.String()) {
				t.Errorf("%s: addresses are %s, want only %s", tc.reason, got, p.Address)
			}
			want := tc.route
			if want == "" {
				want = "default via 10.0.0.1 dev eth0"
			}
			if got := pod.IP(t, "route show default"); strings.TrimSpace(got) != want {
				t.Errorf("%s: default routes are %q, want %q", tc.reason, got, want)
			}
			wantOff(t, pod, "eth0", "tx-checksumming", "tcp-segmentation-offload", "tx-udp-segmentation")
			if err := node.Do(func() error { return CheckPod(p) }); err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

// TestDetour: with a second pair and no program, what the pod sends comes out of the bridge's end, and the other way round;
// checksums and segments are finished by then.
func TestDetour(t *testing.T) {
	node, pod := linktest.New(t, "node"), linktest.New(t, "pod")
	p := podLink(pod)
	p.DisableTxOffload, p.SwitchEnd, p.OVSEnd, p.Alias = false, "tbq1", "tbr1", "pod-1"
	for range 2 {
		node.MustDo(t, func() error { return AddPod(p) })
	}
	if err := node.Do(func() error { return CheckPod(p) }); err != nil {
		t.Error(err)
	}
	node.MustDo(t, func() error {
		aliases, err := Aliases("tbp")
		if len(aliases) != 1 || aliases["tbp1"] != "pod-1" {
			t.Errorf("aliases are %v", aliases)
		}
		return err
	})
	for _, dev := range []string{"tbp1", "tbq1"} {
		if filters := runIn(t, node, "tc", "filter", "show", "dev", dev, "ingress"); strings.Count(filters, "mirred") != 1 {
			t.Errorf("%s has not one filter after two calls:\n%s", dev, filters)
		}
	}
	// The bridge's end stands for the router here.
	router := linktest.New(t, "router")
	node.IP(t, "link set tbr1 netns "+router.Name)
	router.IP(t, "link set tbr1 address 0a:58:0a:00:00:01 arp on up")
	router.IP(t, "addr add 10.0.0.1/16 dev tbr1")
	runIn(t, pod, "ping", "-c", "3", "-i", "0.1", "-W", "10", "10.0.0.1")
	wantOff(t, node, "tbq1", "tx-checksumming", "tcp-segmentation-offload", "tx-udp-segmentation")

	// The second pair is made anew: the filter that led to the former one goes.
	node.IP(t, "link del tbq1")
	if err := node.Do(func() error { return CheckPod(p) }); err == nil || !strings.Contains(err.Error(), "tbq1 is gone") {
		t.Errorf("CHECK without the second pair: %v", err)
	}
	node.MustDo(t, func() error { return AddPod(p) })
	if err := node.Do(func() error { return CheckPod(p) }); err != nil {
		t.Error(err)
	}
	if filters := runIn(t, node, "tc", "filter", "show", "dev", "tbp1", "ingress"); strings.Count(filters, "mirred") != 1 {
		t.Errorf("tbp1 has not one filter:\n%s", filters)
	}
	node.MustDo(t, func() error { return errors.Join(Remove("tbp1"), Remove("tbq1")) })
	if got := node.IP(t, "-o link show type veth"); got != "" {
		t.Errorf("left: %s", got)
	}
}

func runIn(t *testing.T, n *linktest.Namespace, name string, args ...string) string {
	t.Helper()
	out, err := n.Run(name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func TestAddPodRefuses(t *testing.T) {
	node, pod := linktest.New(t, "node"), linktest.New(t, "pod")
	for name, tc := range map[string]struct {
		reason string
		change func(*PodLink)
		want   string
	}{
		"no namespace": {reason: "a sandbox that is gone", change: func(p *PodLink) { p.NetNSPath = "/run/netns/tmb-none" }, want: "/run/netns/tmb-none"},
		"IPv6":         {reason: "pods have IPv4", change: func(p *PodLink) { p.Address = netip.MustParsePrefix("fd00::2/64") }, want: "address fd00::2/64: use an IPv4 address"},
		"no address":   {reason: "a forgotten field", change: func(p *PodLink) { p.Address = netip.Prefix{} }, want: "use an IPv4 address with a length"},
		"no name":      {reason: "a forgotten field", change: func(p *PodLink) { p.IfName = "" }, want: "interface: interface name"},
	} {
		t.Run(name, func(t *testing.T) {
			p := podLink(pod)
			tc.change(&p)
			if err := node.Do(func() error { return AddPod(p) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestDelPod(t *testing.T) {
	node, pod := linktest.New(t, "node"), linktest.New(t, "pod")
	node.MustDo(t, func() error { return AddPod(podLink(pod)) })
	for range 2 { // a runtime may call DEL again
		node.MustDo(t, func() error { return DelPod(pod.Path(), "eth0") })
	}
	if got := node.IP(t, "-o link show type veth"); got != "" {
		t.Errorf("after DEL the host end is left: %s", got)
	}
	for _, path := range []string{"", "/run/netns/tmb-none"} {
		if err := DelPod(path, "eth0"); err != nil {
			t.Errorf("DEL of a pod whose namespace %q is gone: %v", path, err)
		}
	}
}

func TestCheckPod(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		spoil  func(t *testing.T, node, pod *linktest.Namespace)
		want   string
	}{
		"down":    {reason: "CHECK finds it", spoil: func(t *testing.T, _, pod *linktest.Namespace) { pod.IP(t, "link set eth0 down") }, want: "eth0 is down"},
		"MTU":     {reason: "CHECK finds it", spoil: func(t *testing.T, node, _ *linktest.Namespace) { node.IP(t, "link set tbp1 mtu 1300") }, want: "tbp1 has MTU 1300, want 1400"},
		"MAC":     {reason: "port security would drop", spoil: func(t *testing.T, _, pod *linktest.Namespace) { pod.IP(t, "link set eth0 address 02:00:00:00:00:01") }, want: "want 0a:58:0a:00:00:02"},
		"address": {reason: "CHECK finds it", spoil: func(t *testing.T, _, pod *linktest.Namespace) { pod.IP(t, "addr add 10.0.0.3/16 dev eth0") }, want: "want 10.0.0.2/16"},
		"route":   {reason: "CHECK finds it", spoil: func(t *testing.T, _, pod *linktest.Namespace) { pod.IP(t, "route del default") }, want: "no default route via 10.0.0.1"},
		"gone":    {reason: "CHECK finds it", spoil: func(t *testing.T, node, _ *linktest.Namespace) { node.IP(t, "link del tbp1") }, want: "are no pair"},
	} {
		t.Run(name, func(t *testing.T) {
			node, pod := linktest.New(t, "node"), linktest.New(t, "pod")
			node.MustDo(t, func() error { return AddPod(podLink(pod)) })
			tc.spoil(t, node, pod)
			if err := node.Do(func() error { return CheckPod(podLink(pod)) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

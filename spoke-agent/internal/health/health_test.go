// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

func TestReason(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		err    error
		want   string
	}{
		"old kernel":      {"as Open says it", fmt.Errorf("open fast path: %w", link.Kind(unix.EINVAL, fastpath.ErrKernelTooOld)), "KernelTooOld"},
		"capability":      {"as Open says it", fmt.Errorf("open: %w", link.Kind(unix.EPERM, fastpath.ErrMissingCapability)), "MissingCapability"},
		"no bpffs":        {"as Open says it", fastpath.ErrNoBPFFS, "NoBPFFileSystem"},
		"pins":            {"EINVAL of a map of another size is no old kernel", errors.Join(unix.EINVAL, fastpath.ErrForeignPins), "ForeignPins"},
		"program":         {"XDP takes one", fastpath.ErrForeignProgram, "ForeignProgram"},
		"port":            {"joined with what the attempt to clean up says", errors.Join(link.Kind(unix.EADDRINUSE, link.ErrPortOccupied), errors.New("also")), "PortOccupied"},
		"rp_filter":       {"a sysctl of the host", link.ErrReversePathFilter, "ReversePathFilter"},
		"no VXLAN":        {"a module that is not there", link.ErrKernelLacks, "KernelLacks"},
		"no underlay":     {"no default route", fmt.Errorf("%w: %w", ErrNoUnderlay, errors.New("no default route")), "NoUnderlay"},
		"Open vSwitch":    {"its database is away", fmt.Errorf("%w: %w", ErrVswitch, errors.New("dial")), "VswitchUnreachable"},
		"no key":          {"the state directory can't be written", fmt.Errorf("%w: %w", ErrNoKey, unix.EACCES), "NoKey"},
		"netlink refuses": {"EPERM of anything else is a capability too", fmt.Errorf("set up: %w", unix.EPERM), "MissingCapability"},
		"anything":        {"what has no name", errors.New("no memory"), "Failed"},
	} {
		if got := Reason(tc.err); got != tc.want {
			t.Errorf("%s: %s: reason %s, want %s", name, tc.reason, got, tc.want)
		}
	}
}

// text is conditions in short.
func text(conditions []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "%s %s %s\n", c.Type, c.Status, c.Reason)
	}
	return b.String()
}

func TestConditions(t *testing.T) {
	served := Found{Gateway: true, Served: true, PodMTU: 1390, Wires: []Wire{{"wan0", 1500}}}
	for name, tc := range map[string]struct {
		reason string
		modify func(*Found)
		want   string
	}{
		"fine":     {"nothing is missing", func(*Found) {}, "DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nMTUSufficient True Ready\n"},
		"no label": {"no gateway has no conditions", func(f *Found) { f.Gateway = false }, ""},
		"waiting": {"who is not approved yet knows only whether it could", func(f *Found) { f.Served = false },
			"DataPathReady True Ready\nMTUSufficient True Ready\n"},
		"broken": {"what was not tried is not known", func(f *Found) { f.DataPath = fastpath.ErrKernelTooOld },
			"DataPathReady False KernelTooOld\nMTUSufficient True Ready\n"},
		"no underlay": {"nor is the MTU", func(f *Found) { f.DataPath, f.Wires, f.Served = ErrNoUnderlay, nil, false },
			"DataPathReady False NoUnderlay\n"},
		"foreign": {"a program of somebody else's first", func(f *Found) { f.Ahead = []string{"program 7 on the ingress of wan0"} },
			"DataPathReady True Ready\nFirstOnHooks False ForeignProgram\nSlowPathReady True Ready\nMTUSufficient True Ready\n"},
		"slow": {"the fast path goes on", func(f *Found) { f.SlowPath = link.ErrPortOccupied },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady False PortOccupied\nMTUSufficient True Ready\n"},
		"encrypts": {"with the tunnel's MTU", func(f *Found) { f.Encrypts, f.Wires = true, append(f.Wires, Wire{"tbwg0", 1440}) },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nEncryptionReady True Ready\nMTUSufficient True Ready\n"},
		"can't encrypt": {"others are served", func(f *Found) { f.Encrypts, f.Encryption = true, ErrNoKey },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nEncryptionReady False NoKey\nMTUSufficient True Ready\n"},
		"pods answer": {"as they should", func(f *Found) { f.Inside = Inside{Asked: true, Answering: []string{"n3"}} },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nPodsReachable True Ready\nMTUSufficient True Ready\n"},
		"cut off": {"inside", func(f *Found) { f.Inside = Inside{Asked: true, CutOff: "no answer"} },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nPodsReachable False NoWayToPods\nMTUSufficient True Ready\n"},
		"MTU": {"1440 is just enough, 1439 is not", func(f *Found) { f.Wires = append(f.Wires, Wire{"tbwg0", 1439}) },
			"DataPathReady True Ready\nFirstOnHooks True Ready\nSlowPathReady True Ready\nMTUSufficient False MTUTooSmall\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := served
			tc.modify(&f)
			if diff := cmp.Diff(tc.want, text(Conditions(f))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	message := Conditions(Found{Gateway: true, PodMTU: 1390, Wires: []Wire{{"wan0", 1400}}})[1].Message
	for _, part := range []string{"wan0 has an MTU of 1400 bytes", "1390 (--pod-mtu)", "50 more", "lower --pod-mtu"} {
		if !strings.Contains(message, part) {
			t.Errorf("message %q does not say %q", message, part)
		}
	}
	if long := Conditions(Found{Gateway: true, DataPath: errors.New(strings.Repeat("é", 4000))})[0].Message; len(long) > maxMessage+10 {
		t.Errorf("a message has %d bytes", len(long))
	}
}

func TestEnter(t *testing.T) {
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	had := metav1.Condition{Type: "DataPathReady", Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: long}
	list := []spokev1alpha1.GatewayNode{{Node: "n1", Conditions: []metav1.Condition{had, {Type: "EncryptionReady"}}}, {Node: "n3"}}
	list = Enter(list, "n2", []metav1.Condition{had}, []string{"n3"})
	list = Enter(list, "n1", []metav1.Condition{{Type: "DataPathReady", Status: metav1.ConditionTrue, Reason: "Ready"}}, nil)
	want := []spokev1alpha1.GatewayNode{{Node: "n1", Conditions: []metav1.Condition{had}}, {Node: "n2", PodNodes: []string{"n3"}, Conditions: []metav1.Condition{had}}, {Node: "n3"}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("a new node, and one that no more encrypts (-want +got):\n%s", diff)
	}
	if got := Enter(Enter(list, "n1", nil, nil), "n9", nil, nil); len(got) != 2 || got[0].Node != "n2" {
		t.Errorf("after n1 is no gateway any more: %+v", got)
	}
}

func TestReach(t *testing.T) {
	had := metav1.Condition{Type: "DataPathReady", Status: metav1.ConditionTrue, Reason: "Ready"}
	list := []spokev1alpha1.GatewayNode{{Node: "n2", Conditions: []metav1.Condition{had}}}
	for _, step := range []struct {
		reason        string
		silent        map[string]string
		want, changed string
	}{
		{"who never was silent has no such condition", nil, "", ""},
		{"one that has an entry, and one that has none", map[string]string{"n1": "dark", "n2": "dark"}, "n1 False dark\nn2 False dark\n", "n1 n2 "},
		{"again", map[string]string{"n1": "dark", "n2": "dark"}, "n1 False dark\nn2 False dark\n", ""},
		{"another node says so: no change", map[string]string{"n1": "dark", "n2": "darker"}, "n1 False dark\nn2 False darker\n", ""},
		{"one is back", map[string]string{"n1": "dark"}, "n1 False dark\nn2 True Other gateway nodes get its answers.\n", "n2 "},
		{"both are", nil, "n1 True Other gateway nodes get its answers.\nn2 True Other gateway nodes get its answers.\n", "n1 "},
	} {
		before := slices.Clone(list)
		reached, changed := Reach(list, step.silent)
		if diff := cmp.Diff(before, list); diff != "" {
			t.Errorf("%s: the list that was given changed (-before +after):\n%s", step.reason, diff)
		}
		list = Enter(reached, "n2", []metav1.Condition{had}, nil) // what the node says of itself changes none of it
		got, told := "", ""
		for _, g := range list {
			if c := meta.FindStatusCondition(g.Conditions, "Reachable"); c != nil {
				got += fmt.Sprintf("%s %s %s\n", g.Node, c.Status, c.Message)
			}
		}
		for _, node := range slices.Sorted(maps.Keys(changed)) {
			told += node + " "
		}
		if got != step.want || told != step.changed {
			t.Errorf("%s: %q, changed %q; want %q, %q", step.reason, got, told, step.want, step.changed)
		}
	}
}

func TestWorst(t *testing.T) {
	node := func(name string, f func(*Found)) spokev1alpha1.GatewayNode {
		found := Found{Gateway: true, Served: true, PodMTU: 1390, Wires: []Wire{{"wan0", 1500}}, Encrypts: true}
		f(&found)
		return spokev1alpha1.GatewayNode{Node: name, Conditions: Conditions(found)}
	}
	fine := node("n1", func(*Found) {})
	slow := node("n2", func(f *Found) { f.SlowPath = link.ErrPortOccupied })
	small := node("n3", func(f *Found) { f.Wires[0].MTU = 1400 })
	clear := node("n4", func(f *Found) { f.Encryption = ErrNoKey })
	old := node("n5", func(f *Found) { f.DataPath = fastpath.ErrKernelTooOld })
	gone, _ := Reach([]spokev1alpha1.GatewayNode{node("n6", func(*Found) {})}, map[string]string{"n6": "dark"})
	dark := gone[0]
	for name, tc := range map[string]struct {
		reason string
		nodes  []spokev1alpha1.GatewayNode
		silent []string
		want   string
	}{
		"none":       {"no gateway, no condition", nil, nil, ""},
		"fine":       {"", []spokev1alpha1.GatewayNode{fine}, nil, "True Ready Every gateway node is as it should be."},
		"restricted": {"packets cross, most of them", []spokev1alpha1.GatewayNode{fine, small, slow}, nil, "True PortOccupied gateway node n2: SlowPathReady: the UDP port is occupied"},
		"dark":       {"others carry its packets", []spokev1alpha1.GatewayNode{dark, small, slow}, nil, "True GatewayUnreachable gateway node n6: Reachable: dark"},
		"clear":      {"nothing goes to encrypted clusters", []spokev1alpha1.GatewayNode{fine, small, slow, clear}, nil, "False NoKey gateway node n4: EncryptionReady: no key"},
		"worst":      {"nothing goes", []spokev1alpha1.GatewayNode{fine, small, slow, clear, old}, []string{"n6"}, "False KernelTooOld gateway node n5: DataPathReady: the kernel is too old"},
		"silent":     {"it may be fine or not", []spokev1alpha1.GatewayNode{fine, small}, []string{"n6"}, "Unknown NotReported gateway node n6 has not reported: is tombolo-agent node running there?"},
	} {
		got := ""
		if c := Worst(tc.nodes, tc.silent); c != nil {
			got = fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
		if got != tc.want {
			t.Errorf("%s: %s: %q, want %q", name, tc.reason, got, tc.want)
		}
	}
}

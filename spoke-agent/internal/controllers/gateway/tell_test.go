// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// TestConditions raises each condition and takes its cause away. That the causes are told apart for real is tested where they are
// met: packages fastpath, link and wireguard.
func TestConditions(t *testing.T) {
	for name, delay := range map[string]time.Duration{
		"Fast": 0,
		"Slow": 300 * time.Millisecond, // what is said again before the cache has shown that something else was said meanwhile
	} {
		t.Run(name, func(t *testing.T) { testConditions(t, delay) })
	}
}

func testConditions(t *testing.T, delay time.Duration) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace), world: newWorld(), keys: t.TempDir(), delay: delay}
	f.Permissions(t)
	own := interconnect("east", true)
	f.mustCreate(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}, localRouter("a", 100), own,
		interconnect("west", false, spokev1alpha1.GatewayEndpoint{Node: "w1", Address: "192.0.2.20", PublicKey: spokev1alpha1.PublicKey(wireguard.PublicKey{7}.String()), WireGuardPort: 51871}))
	f.agent(t)
	f.world.fail("tcx", link.Kind(errors.New("tcx needs Linux 6.6"), fastpath.ErrKernelTooOld))
	f.label(t, "true")
	f.eventuallyConditions(t, "DataPathReady=KernelTooOld MTUSufficient", "False KernelTooOld gateway node e1: DataPathReady: tcx needs Linux 6.6")
	f.eventuallyEvent(t, "Warning KernelTooOld Gateway node e1: tcx needs Linux 6.6")
	f.world.fail("tcx", nil)
	f.eventuallyConditions(t, "DataPathReady MTUSufficient", "True Ready Every gateway node is as it should be.")
	f.eventuallyEvent(t, "Normal Ready Gateway node e1: The node can forward.")

	own.Spec.Endpoints = []spokev1alpha1.GatewayEndpoint{{Node: "e1", Address: "192.0.2.10"}}
	f.mustUpdate(t, own)
	f.eventuallyConditions(t, "DataPathReady FirstOnHooks SlowPathReady MTUSufficient", "True Ready Every gateway node is as it should be.")
	reachable := false
	for _, step := range []struct {
		raise      func()
		conditions string
		worst      string
		world      string
	}{
		{
			func() { f.world.fail("tbx4789", link.Kind(errors.New("port 4789"), link.ErrPortOccupied)) },
			"DataPathReady FirstOnHooks SlowPathReady=PortOccupied MTUSufficient", "True PortOccupied gateway node e1: SlowPathReady: port 4789",
			strings.ReplaceAll(serving, slowPath, ""),
		},
		{
			func() { f.world.set(func(w *world) { w.failures, w.mtu = map[string]error{}, 1449 }) },
			"DataPathReady FirstOnHooks SlowPathReady MTUSufficient=MTUTooSmall", "True MTUTooSmall gateway node e1: MTUSufficient: wan0 has an MTU of 1449 bytes",
			strings.ReplaceAll(serving, "192.0.2.20 mtu 1500", "192.0.2.20 mtu 1449"),
		},
		{
			func() {
				f.world.set(func(w *world) { w.mtu, w.ahead, w.xdp = 1500, []string{"program 7 on the ingress of wan0"}, 9 })
			},
			"DataPathReady FirstOnHooks=ForeignProgram SlowPathReady MTUSufficient",
			"True ForeignProgram gateway node e1: FirstOnHooks: Before Tombolo's come programs of others: program 7 on the ingress of wan0, XDP program 9 on wan0.", serving,
		},
		{
			func() { f.world.set(func(w *world) { w.ahead, w.xdp = nil, 0 }) },
			"DataPathReady FirstOnHooks SlowPathReady MTUSufficient", "True Ready Every gateway node is as it should be.", serving,
		},
		{
			func() { f.world.fail("underlay", errors.New("no interface wan0")) },
			"DataPathReady=NoUnderlay", `False NoUnderlay gateway node e1: DataPathReady: no interface to the other clusters (--endpoint-interface "wan0"): no interface wan0`, serving,
		},
		{
			func() { f.world.fail("underlay", nil) },
			"DataPathReady FirstOnHooks SlowPathReady MTUSufficient", "True Ready Every gateway node is as it should be.", serving,
		},
	} {
		step.raise()
		reachable = !reachable
		f.world.answer("demo.a demo/far west", reachable) // a reason to look again
		f.eventuallyConditions(t, step.conditions, step.worst)
		f.eventuallyWorld(t, step.conditions, step.world)
	}

	f.world.fail("tbwg0", link.Kind(errors.New("port 51871"), link.ErrPortOccupied))
	own.Spec.Encryption = spokev1alpha1.EncryptionWireGuard
	f.mustUpdate(t, own)
	f.eventuallyConditions(t, "DataPathReady FirstOnHooks SlowPathReady EncryptionReady=PortOccupied MTUSufficient=MTUTooSmall", "False PortOccupied gateway node e1: EncryptionReady: set tunnel: port 51871")
	f.world.fail("tbwg0", nil)
	f.eventuallyConditions(t, "DataPathReady FirstOnHooks SlowPathReady EncryptionReady MTUSufficient=MTUTooSmall", "True MTUTooSmall gateway node e1: MTUSufficient: tbwg0 has an MTU of 1440 bytes")

	f.label(t, "false")
	f.eventuallyConditions(t, "", "")
}

// set changes what the world is by itself.
func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// eventuallyConditions waits for those of node e1 ("Type" is True, "Type=Reason" is not), and for the object's own DataPathReady, which
// starts with worst.
func (f *fixture) eventuallyConditions(t *testing.T, want, worst string) {
	t.Helper()
	clustertest.Eventually(t, "conditions "+want, func(ctx context.Context) error {
		own := interconnect("east", true)
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(own), own); err != nil {
			return err
		}
		var words []string
		for _, g := range own.Status.Gateways {
			for _, c := range g.Conditions {
				word := c.Type
				if c.Status != metav1.ConditionTrue {
					word += "=" + c.Reason
				}
				words = append(words, word)
			}
		}
		all := ""
		for _, c := range own.Status.Conditions {
			all += fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(want))), slices.Sorted(slices.Values(words))); diff != "" || !strings.HasPrefix(all, worst) || worst == "" && all != "" {
			return fmt.Errorf("%s\n%s", diff, all)
		}
		return nil
	})
}

// eventuallyEvent waits for an event that begins so.
func (f *fixture) eventuallyEvent(t *testing.T, want string) {
	t.Helper()
	clustertest.Eventually(t, "event "+want, func(ctx context.Context) error {
		var all eventsv1.EventList
		if err := f.Client.List(ctx, &all, client.InNamespace(local.Namespace)); err != nil {
			return err
		}
		var seen []string
		for _, e := range all.Items {
			seen = append(seen, fmt.Sprintf("%s %s %s", e.Type, e.Reason, e.Note))
			if strings.HasPrefix(seen[len(seen)-1], want) && e.Regarding.Kind == "InterconnectGateway" {
				return nil
			}
		}
		return fmt.Errorf("events are %q", seen)
	})
}

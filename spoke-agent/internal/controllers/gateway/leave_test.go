// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// TestLeave takes a gateway node out of Tombolo, over a restart of its agent, and lets it come back.
func TestLeave(t *testing.T) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace, "demo"), world: newWorld(), keys: t.TempDir() + "/wireguard"}
	f.Permissions(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1", Labels: map[string]string{local.LabelGateway: "true"}, Annotations: map[string]string{"example.com/theirs": "x"}}}
	f.mustCreate(t, node,
		interconnect("east", true, spokev1alpha1.GatewayEndpoint{Node: "e1", Address: "192.0.2.10"}),
		interconnect("west", false, spokev1alpha1.GatewayEndpoint{Node: "w1", Address: "192.0.2.20"}),
		localRouter("a", 100))
	f.world.ports["tbp00112233445"] = ovn.VswitchPort{Interface: "tbp00112233445", IfaceID: "pod-x", Owner: "x"} // of a pod whose interface is gone
	stop := f.agent(t)
	clustertest.Eventually(t, "the node to serve", func(context.Context) error {
		if !strings.Contains(f.world.String(), "fastpath port tbg100") {
			return errors.New(f.world.String())
		}
		return nil
	})

	f.mustCreate(t, leave.New("", "", false))
	before := f.world.String()
	f.change(func(*world) {})
	if now := f.world.String(); now != before {
		t.Errorf("the node took something down before the cluster was drained:\n%s", now)
	}
	f.world.fail("remove", errors.New("device is busy"))
	if err := leave.StartCleaning(t.Context(), f.Client); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "what keeps it from being clean", func(ctx context.Context) error {
		s, err := f.state(ctx)
		if err == nil && !strings.Contains(s.Problems["e1"], "device is busy") {
			err = fmt.Errorf("problems are %v", s.Problems)
		}
		return err
	})
	f.world.fail("remove", nil)
	f.eventuallyClean(t)
	if left := f.world.String(); left != "" {
		t.Errorf("left on the node:\n%s", left)
	}
	if _, err := os.Stat(f.keys); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the private key is left: %v", err)
	}
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(node), node); err != nil || len(node.Annotations) != 1 {
		t.Errorf("annotations of the Node are %v, %v", node.Annotations, err)
	}

	sets := f.world.setCount()
	stop()
	stop = f.agent(t)
	f.mustCreate(t, localRouter("b", 200))
	if now := f.world.setCount(); now != sets || f.world.String() != "" {
		t.Errorf("an agent that was started again set something up:\n%s", f.world)
	}
	if err := leave.Delete(t.Context(), f.Client); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the node to come back", func(context.Context) error {
		if !strings.Contains(f.world.String(), "fastpath port tbg100") {
			return errors.New(f.world.String())
		}
		return nil
	})
	stop()
}

// TestClearPrograms: a node is clean when there is nothing, and not when nobody can look.
func TestClearPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		err    error
		ends   bool
		clean  bool
	}{
		"KernelTooOld":   {"it has no hooks", fastpath.ErrKernelTooOld, false, true},
		"NoBPFFS":        {"nothing can be pinned", fastpath.ErrNoBPFFS, false, true},
		"HadThem":        {"there are gateway ports: it had programs before", fastpath.ErrKernelTooOld, true, false},
		"Capability":     {"an agent before this one may have had it", fastpath.ErrMissingCapability, false, false},
		"PinsOfAnother":  {"they are there", fastpath.ErrForeignPins, false, false},
		"ForeignProgram": {"it says nothing of ours", fastpath.ErrForeignProgram, false, false},
		"Unknown":        {"out of memory, perhaps", errors.New("cannot allocate memory"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if test.ends {
				w.links["tbg100"] = link.Pair{GatewayEnd: "tbg100"}
			}
			r := &Reconciler{Options: Options{Links: w, Fastpath: lazy.New(func(context.Context) (Fastpath, error) {
				return nil, fmt.Errorf("open fast path: %w", test.err)
			})}}
			err := r.clearPrograms(t.Context())
			if (err == nil) != test.clean || err != nil && !errors.Is(err, test.err) {
				t.Errorf("error %v, want a clean node: %v, because %s", err, test.clean, test.reason)
			}
		})
	}
}

func (f *fixture) state(ctx context.Context) (leave.State, error) {
	return (&leave.Reader{Client: f.Client, Live: f.Client}).State(ctx)
}

func (f *fixture) eventuallyClean(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "the node to be clean", func(ctx context.Context) error {
		s, err := f.state(ctx)
		if err == nil && (!slices.Contains(s.Nodes, "e1") || len(s.Problems) > 0) {
			err = fmt.Errorf("clean are %v, problems %v", s.Nodes, s.Problems)
		}
		return err
	})
}

func (w *world) Ports(context.Context) ([]ovn.VswitchPort, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.ports)), nil
}

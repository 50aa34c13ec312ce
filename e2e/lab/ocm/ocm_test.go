// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ocm

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// TestFleet lets two clusters join a hub, one by the admin's hand and one by
// itself, and uses what OCM does with them.
func TestFleet(t *testing.T) {
	f := newFleet(t, "hub", "one", "two")
	begin := time.Now()
	h := startHub(t, f, false)
	joinByHand(t, h, f)
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h = startHub(t, f, true)
	startAgent(t, h, f["two"])
	if err := h.Joined(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	t.Logf("hub, and one and two joined: %s", time.Since(begin).Round(100*time.Millisecond))
	t.Run("Placement", func(t *testing.T) { testPlacement(t, h) })
	t.Run("ManifestWork", func(t *testing.T) { testManifestWork(t, h, f["one"]) })
	t.Run("AgentAway", func(t *testing.T) { testAgentAway(t, h, f["one"]) })
}

func startHub(t *testing.T, f fleet, auto bool) *Hub {
	t.Helper()
	h, err := StartHub(t.Context(), HubOptions{Cluster: f["hub"], AutoAccept: auto, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func startAgent(t *testing.T, h *Hub, c *kube.ControlPlane) {
	t.Helper()
	bootstrap, err := h.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := StartAgent(t.Context(), AgentOptions{Cluster: c, Bootstrap: bootstrap, Logf: t.Logf}); err != nil {
		t.Fatal(err)
	}
}

// joinByHand: nothing makes one a member but its agent's request and the admin's yes.
func joinByHand(t *testing.T, h *Hub, f fleet) {
	t.Helper()
	var pending *NotJoinedError
	if err := h.Check(t.Context(), "one"); !errors.As(err, &pending) || pending.Missing != StepAsked {
		t.Fatalf("before its agent runs, one is %v; want it not %s", err, StepAsked)
	}
	startAgent(t, h, f["one"])
	eventually(t, "one has asked", func(ctx context.Context) error {
		if err := h.Check(ctx, "one"); !errors.As(err, &pending) || pending.Missing == StepAsked {
			return fmt.Errorf("one is %w", err)
		}
		return nil
	})
	if pending.Missing != StepAccepted {
		t.Fatalf("before anyone says yes, one is %v; want it not %s", pending, StepAccepted)
	}
	if err := h.Accept(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := h.Joined(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	const want = "system:open-cluster-management:one:"
	if got := commonName(t, filepath.Join(f["one"].Dir, "ocm", "hub", "tls.crt")); !strings.HasPrefix(got, want) {
		t.Errorf("the agent of one is %q on the hub, want %s…", got, want)
	}
}

func commonName(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s has no certificate", path)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate.Subject.CommonName
}

// testPlacement follows the decision of a Placement while labels of the clusters change.
func testPlacement(t *testing.T, h *Hub) {
	apply(t, h.Cluster, "placement.yaml")
	steps := []struct {
		reason     string
		one, two   string
		wantChosen []string
	}{
		{"no cluster has the label", "", "", []string{}},
		{"one has it", "open", "", []string{"one"}},
		{"both have it", "open", "open", []string{"one", "two"}},
		{"one is in the set, but not asked for", "closed", "open", []string{"two"}},
		{"an empty decision is a decision", "closed", "closed", []string{}},
	}
	for _, s := range steps {
		label(t, h, "one", s.one)
		label(t, h, "two", s.two)
		begin := time.Now()
		chosen(t, h, "open", s.reason, s.wantChosen...)
		t.Logf("%s: %v after %s", s.reason, s.wantChosen, time.Since(begin).Round(10*time.Millisecond))
	}
}

// chosen waits until a Placement has chosen these clusters and no other.
func chosen(t *testing.T, h *Hub, placement, reason string, want ...string) {
	t.Helper()
	eventually(t, reason, func(ctx context.Context) error {
		got, err := decision(ctx, h, placement)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("chosen by %s are %v, want %v", placement, got, want)
		}
		return err
	})
}

func label(t *testing.T, h *Hub, cluster, shop string) {
	t.Helper()
	value := "null"
	if shop != "" {
		value = `"` + shop + `"`
	}
	change(t, h, cluster, fmt.Sprintf(`{"metadata":{"labels":{"shop":%s}}}`, value))
}

// change merges JSON into a ManagedCluster.
func change(t *testing.T, h *Hub, cluster, patch string) {
	t.Helper()
	managed := &clusterv1.ManagedCluster{}
	managed.Name = cluster
	if err := h.client.Patch(t.Context(), managed, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// decision gives the chosen clusters, sorted; no PlacementDecision at all is an error.
func decision(ctx context.Context, h *Hub, placement string) ([]string, error) {
	var list clusterv1beta1.PlacementDecisionList
	if err := h.client.List(ctx, &list, client.InNamespace("default"), client.MatchingLabels{clusterv1beta1.PlacementLabel: placement}); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, errors.New("there is no PlacementDecision")
	}
	chosen := []string{}
	for _, item := range list.Items {
		for _, d := range item.Status.Decisions {
			chosen = append(chosen, d.ClusterName)
		}
	}
	slices.Sort(chosen)
	return chosen, nil
}

// testManifestWork sends an object to a cluster, and takes it back.
func testManifestWork(t *testing.T, h *Hub, one *kube.ControlPlane) {
	work := apply(t, h.Cluster, "work.yaml")
	spoke, err := connect(one, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	letter := func(ctx context.Context) error {
		return spoke.Get(ctx, client.ObjectKey{Namespace: "default", Name: "letter"}, &corev1.ConfigMap{})
	}
	begin := time.Now()
	eventually(t, "the letter to arrive", letter)
	t.Logf("applied after %s", time.Since(begin).Round(10*time.Millisecond))
	eventually(t, "the hub to know", func(ctx context.Context) error {
		if err := h.client.Get(ctx, client.ObjectKeyFromObject(work), work); err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(work.Object, "status", "conditions")
		available := func(c any) bool {
			condition := c.(map[string]any)
			return condition["type"] == "Available" && condition["status"] == "True"
		}
		if err == nil && !slices.ContainsFunc(conditions, available) {
			err = fmt.Errorf("conditions %v", conditions)
		}
		return err
	})
	begin = time.Now()
	if err := h.client.Delete(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the letter to be taken back", func(ctx context.Context) error { return gone(letter(ctx)) })
	eventually(t, "the ManifestWork to be gone", func(ctx context.Context) error {
		return gone(h.client.Get(ctx, client.ObjectKeyFromObject(work), work))
	})
	t.Logf("removed after %s", time.Since(begin).Round(10*time.Millisecond))
}

func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(err, errors.New("it is there"))
}

// testAgentAway: OCM takes a cluster that it doesn't hear of out of every Placement that has no toleration for that.
// The agent goes on with the certificate it has.
func testAgentAway(t *testing.T, h *Hub, one *kube.ControlPlane) {
	certificate := filepath.Join(one.Dir, "ocm", "hub", "tls.crt")
	before := commonName(t, certificate)
	label(t, h, "one", "open")
	chosen(t, h, "open", "one is chosen", "one")
	// OCM waits for five times as long as this, which is a minute by default.
	change(t, h, "one", `{"spec":{"leaseDurationSeconds":1}}`)
	if err := StopAgent(one); err != nil {
		t.Fatal(err)
	}
	var away *NotJoinedError
	eventually(t, "one to be missed", func(ctx context.Context) error {
		if err := h.Check(ctx, "one"); !errors.As(err, &away) {
			return fmt.Errorf("one is there: %w", err)
		}
		return nil
	})
	if away.Missing != StepAvailable {
		t.Errorf("%v, want it not %s", away, StepAvailable)
	}
	chosen(t, h, "open", "a cluster that is away is taken out")
	chosen(t, h, "loyal", "a toleration keeps it", "one")

	startAgent(t, h, one)
	if err := h.Joined(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	chosen(t, h, "open", "it is back", "one")
	testManifestWork(t, h, one)
	if after := commonName(t, certificate); after != before {
		t.Errorf("the agent was %q and is %q", before, after)
	}
}

// apply applies a file of testdata and gives its first object.
func apply(t *testing.T, c *kube.ControlPlane, file string) *unstructured.Unstructured {
	t.Helper()
	objects, err := kube.ObjectsIn("testdata", file)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := proc.Wait(ctx, what, nil, check); err != nil {
		t.Fatal(err)
	}
}

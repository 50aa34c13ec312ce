// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"bytes"
	"cmp"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

var update = flag.Bool("update", false, "write what was planned into the stories; read it before you commit it")

// TestStories plays each testdata/*.txtar: "input.yaml" and "want", then "step2.yaml" and "want2", and so on. Between
// steps the hub stores what was planned. The first want is the whole plan, the others are what is new in it. Besides the API's kinds there are:
//
//	kind: Cluster    metadata, accepted (true), leaving, gone, left, detached (false): a member of the fleet
//	kind: Placement  metadata, clusters: what an OCM placement decided
//	kind: Report     cluster, endpoints, nodes, reservedCIDRs: what a cluster says of itself
//	kind: Realize    clusters: these do all that they were told in the steps before
//	kind: Delete     of, name: a person deletes this object
//	kind: Hub        uid, epoch, restoredEpoch: which hub plans from now on, and when
//	kind: Confirm    somebody confirms what was held back, or doubted, in the step before
//	kind: Vanish     clusters: the LocalRouters there go at once, without their clusters' consent, as when the CRD is deleted and made again
//	kind: Older      clusters: the agents there are older from now on, and do not say what they hold
//	kind: Newer      clusters: the agents there do
//	kind: Ledger     name, allocations: a pool is restored with this ledger
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("find stories: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { playStory(t, file) })
	}
}

func playStory(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatalf("read story: %v", err)
	}
	w, planner, got, before := newWorld(), NewPlanner(), "", map[string]string{}
	for i, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".yaml") {
			w.play(t, f.Data)
			result, _ := planner.Plan(w.snapshot())
			if diff := gocmp.Diff(render(Plan(w.snapshot())), render(result)); diff != "" {
				t.Errorf("%s: a planner that remembers differs from one that does not (-full +incremental):\n%s", f.Name, diff)
			}
			w.last = result
			after := blocks(render(result))
			got, before = news(before, after), after
			w.store(result)
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(got)
		} else if diff := gocmp.Diff(string(f.Data), got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatalf("write story: %v", err)
		}
	}
}

// blocks splits what was rendered by its first words: "router east/shop.vpc-1" and the lines below it.
func blocks(rendered string) map[string]string {
	all, name := map[string]string{}, ""
	for line := range strings.Lines(rendered) {
		if !strings.HasPrefix(line, " ") {
			words := append(strings.Fields(line), "", "")
			name = words[0] + " " + strings.TrimSuffix(words[1], ":")
			if words[0] == "delete" || words[0] == "release" {
				name += " " + words[2]
			}
		}
		all[name] += line
	}
	return all
}

// news writes the blocks that are new or other than before, and names those that are gone.
func news(before, after map[string]string) string {
	names := slices.Sorted(maps.Keys(after))
	for name := range before {
		if _, stays := after[name]; !stays {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	var b strings.Builder
	for _, name := range names {
		if text, stays := after[name]; !stays {
			b.WriteString("no more " + name + "\n")
		} else if text != before[name] {
			b.WriteString(text)
		}
	}
	return b.String()
}

// rank orders blocks as the planner works.
func rank(name string) int {
	word, _, _ := strings.Cut(name, " ")
	return slices.Index([]string{"doubt", "held", "confirmed", "pool", "vpc", "subnet", "peering", "router", "gateway", "delete", "release"}, word)
}

// act is a document of a story that is no object of the API.
type act struct {
	Kind          string                           `json:"kind"`
	Metadata      metav1.ObjectMeta                `json:"metadata"`
	Accepted      *bool                            `json:"accepted"`
	Leaving       bool                             `json:"leaving"`
	Gone          bool                             `json:"gone"`
	Left          bool                             `json:"left"`
	Detached      bool                             `json:"detached"`
	Clusters      []string                         `json:"clusters"`
	Cluster       string                           `json:"cluster"`
	Endpoints     []spokev1alpha1.ReportedEndpoint `json:"endpoints"`
	Nodes         []spokev1alpha1.ClusterNode      `json:"nodes"`
	ReservedCIDRs []string                         `json:"reservedCIDRs"`
	ObservedEpoch int64                            `json:"observedEpoch"`
	UID           string                           `json:"uid"`
	Epoch         int64                            `json:"epoch"`
	RestoredEpoch int64                            `json:"restoredEpoch"`
	Allocations   []networkv1alpha1.Allocation     `json:"allocations"`
	Of            string                           `json:"of"`
	Name          Key                              `json:"name"`
}

// play applies the documents of a step.
func (w *world) play(t *testing.T, step []byte) {
	t.Helper()
	for doc := range bytes.SplitSeq(step, []byte("\n---\n")) {
		var a act
		if err := yaml.Unmarshal(doc, &a); err != nil {
			t.Fatalf("read %s: %v", doc, err)
		}
		switch a.Kind {
		case "IPPool":
			write(t, w, doc, new(networkv1alpha1.IPPool))
		case "Vpc":
			write(t, w, doc, new(networkv1alpha1.Vpc))
		case "Subnet":
			write(t, w, doc, new(networkv1alpha1.Subnet))
		case "VpcPeering":
			write(t, w, doc, new(networkv1alpha1.VpcPeering))
		case "Cluster":
			w.clusters[a.Metadata.Name] = Cluster{
				Name: a.Metadata.Name, Labels: a.Metadata.Labels, Accepted: a.Accepted == nil || *a.Accepted,
				Leaving: a.Leaving, Gone: a.Gone, Left: a.Left, Detached: a.Detached,
				Endpoints: a.Metadata.Annotations[networkv1alpha1.AnnotationEndpoints],
			}
		case "Placement":
			w.placements[string(keyOf(&a.Metadata))] = a.Clusters
		case "Report":
			w.report(a)
		case "IPAddress":
			write(t, w, doc, new(networkv1alpha1.IPAddress))
		case "Vanish":
			for key, o := range inOrder(w.routers) {
				if slices.Contains(a.Clusters, o.Namespace) {
					delete(w.routers, key)
				}
			}
		case "Older":
			for _, cluster := range a.Clusters {
				w.agent(cluster).older = true
			}
		case "Newer":
			for _, cluster := range a.Clusters {
				w.agent(cluster).older = false
			}
		case "Ledger":
			change(w, w.pools, a.Name, func(o *networkv1alpha1.IPPool) { o.Status.Allocations = a.Allocations })
		case "Realize":
			for _, cluster := range a.Clusters {
				w.realize(cluster)
			}
		case "Hub":
			w.hub = Hub{UID: a.UID, Epoch: a.Epoch, RestoredEpoch: a.RestoredEpoch}
		case "Confirm":
			w.confirm(t)
		case "Delete":
			if !w.delete(a.Of, a.Name) {
				t.Fatalf("delete %s %s: there is none", a.Of, a.Name)
			}
		default:
			t.Fatalf("kind %q is not known in stories:\n%s", a.Kind, doc)
		}
	}
}

func write(t *testing.T, w *world, doc []byte, o metav1.Object) {
	t.Helper()
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		t.Fatalf("read %s: %v", doc, err)
	}
	w.write(o)
}

// report lets a cluster say something of itself; its InterconnectGateway is made if the hub has not done so.
func (w *world) report(a act) {
	key := joinKey(a.Cluster, a.Cluster)
	if w.gateways[key] == nil {
		o := &spokev1alpha1.InterconnectGateway{ObjectMeta: metav1.ObjectMeta{Namespace: a.Cluster, Name: a.Cluster}}
		w.stamp(o, false, false)
		w.gateways[key] = o
	}
	change(w, w.gateways, key, func(o *spokev1alpha1.InterconnectGateway) {
		o.Status.Endpoints, o.Status.Nodes, o.Status.ReservedCIDRs = a.Endpoints, a.Nodes, a.ReservedCIDRs
		o.Status.ObservedEpoch = a.ObservedEpoch
	})
}

// confirm does what the hub does when somebody has confirmed what the last Result tells.
func (w *world) confirm(t *testing.T) {
	t.Helper()
	switch {
	case w.last.Doubt != nil:
		w.hub.Epoch = w.last.Doubt.Highest + 1
		w.hub.RestoredEpoch = w.hub.Epoch
		w.hub.FormerUIDs = append(w.hub.FormerUIDs, w.last.Doubt.Foreign...)
	case w.last.Removal != nil && w.last.Removal.Held:
		w.brake.Confirmed = w.last.Removal.Digest
	default:
		t.Fatal("confirm: there is nothing to confirm")
	}
}

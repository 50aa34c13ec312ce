// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// result of trying.
type result string

const (
	accepted result = "accepted"
	// forbidden by RBAC, or by a policy.
	forbidden result = "forbidden"
	// ineffective: the API server took the request and did not do it, or serves no such thing. An administrator can't do it either.
	ineffective result = "ineffective"
	// unclear: refused for another reason than who asks.
	unclear result = "unclear"
)

// tried is what came of all cells.
type tried map[result][]attempted

// attempted is a cell, and what the API server said against it.
type attempted struct {
	cell
	err error
}

// attempt tries all cells at once, and returns which were accepted. A cell that fails for another reason than who asks is a mistake of the test.
func attempt(t *testing.T, who identity, all []cell) tried {
	t.Helper()
	as, err := who.connect()
	if err != nil {
		t.Fatal(err)
	}
	objects := current(t, all)
	work, results := make(chan cell), tried{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for c := range work {
				r, err := outcome(t.Context(), as, c, objects[objectKey(c)])
				mu.Lock()
				results[r] = append(results[r], attempted{c, err})
				mu.Unlock()
				if r == unclear {
					t.Errorf("%s as %s says nothing about who may: %v", c, who.name, err)
				}
			}
		})
	}
	for _, c := range all {
		work <- c
	}
	close(work)
	group.Wait()
	return results
}

func outcome(ctx context.Context, as dynamic.Interface, c cell, now *unstructured.Unstructured) (result, error) {
	answer, err := c.try(ctx, as, now)
	switch {
	case err == nil && (c.reads() || c.done(now, answer)):
		return accepted, nil
	case err == nil:
		return ineffective, nil
	case apierrors.IsForbidden(err) || strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"):
		return forbidden, err
	case c.kind.plural == "fleets" && c.name == c.kind.fresh() && apierrors.IsInvalid(err): // nobody can make a second one
		return ineffective, err
	case c.unserved() && (apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsUnsupportedMediaType(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)):
		return ineffective, err
	}
	return unclear, err
}

// unserved is true for what no API server of a custom resource does.
func (c cell) unserved() bool {
	return c.sub == "status" && c.kind.ours() && c.kind.status.path == "" || c.sub == "scale" || c.sub == "finalizers" || c.verb == "patch strategic"
}

func objectKey(c cell) string { return c.kind.plural + " " + c.place + "/" + c.name }

// current reads the objects that cells are about, as an administrator.
func current(t *testing.T, all []cell) map[string]*unstructured.Unstructured {
	t.Helper()
	as, err := dynamic.NewForConfig(adminConfig)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, c := range all {
		if _, known := objects[objectKey(c)]; known || c.name == "" || c.name == c.kind.fresh() {
			continue
		}
		on := dynamic.ResourceInterface(as.Resource(c.kind.resource()))
		if c.place != "" {
			on = as.Resource(c.kind.resource()).Namespace(c.place)
		}
		o, err := on.Get(t.Context(), c.name, metav1.GetOptions{})
		if err != nil {
			t.Fatalf("read %s %s/%s: %v", c.kind.plural, c.place, c.name, err)
		}
		objects[objectKey(c)] = o
	}
	return objects
}

// hold compares what was accepted with what should be, in both directions.
func (r tried) hold(t *testing.T, who string, may func(cell) bool) {
	t.Helper()
	total, wrong := 0, 0
	for result, list := range r {
		total += len(list)
		for _, c := range list {
			if (result == accepted) != may(c.cell) {
				wrong++
				t.Errorf("%s: %s is %s: %v", who, c, result, c.err)
			}
		}
	}
	t.Logf("%s: %d tried, %d accepted as they should be, %d forbidden, %d without effect, %d wrong", who, total, len(r[accepted])-wrong, len(r[forbidden]), len(r[ineffective]), wrong)
}

// TestAdministratorMay: what an agent is forbidden is possible. Else a request that is malformed would count as a refusal.
func TestAdministratorMay(t *testing.T) {
	r := attempt(t, identity{name: "admin", groups: []string{"system:masters"}}, slices.DeleteFunc(cells(kindsInOrder()), func(c cell) bool { return c.place != "" && c.place != "east" }))
	r.hold(t, "an administrator", func(c cell) bool { return !impossible(c) })
}

// impossible is what the API server does for nobody: a status is not written with its object, nor the object with its status, and who applies takes
// away only what is his.
func impossible(c cell) bool {
	switch {
	case c.kind.plural == "fleets" && c.name == c.kind.fresh(): // nobody can make a second one
		return true
	case c.unserved() && (c.kind.ours() || c.verb != "patch strategic" || customised(c.kind)):
		return true
	case c.sub == "status" && c.forges != "status" && c.forges != "nothing" && c.forges != "":
		return true
	case c.sub == "" && c.forges == "status":
		return true
	case c.verb == "patch apply" && strings.HasSuffix(c.forges, "off"):
		return true
	}
	return false
}

// customised is true for kinds that a CRD defines.
func customised(k *kind) bool { return strings.Contains(k.apiVersion, "open-cluster-management.io/") }

// agentMay is all that the agent of a cluster may do on the hub (docs/decisions/0012, docs/security.md).
func agentMay(cluster string) func(cell) bool {
	return func(c cell) bool {
		if impossible(c) {
			return false
		}
		own := c.place == cluster
		switch c.kind.plural {
		case "interconnectgateways":
			if c.reads() { // the directory; statuses by themselves only at home
				return c.sub == "" || own
			}
			return own && c.name == cluster && writesStatusOnly(c)
		case "localrouters":
			return own && (c.reads() || writesStatusOnly(c))
		case "leases": // who renews it and when, and nothing around it
			return own && c.name == spokev1alpha1.LeaseName && strings.HasPrefix(c.verb, "patch") && c.forges != "label"
		case "certificatesigningrequests": // renewal
			return c.verb == "create" || c.verb == "get"
		}
		return false
	}
}

// writesStatusOnly is true for writes that change the status or nothing.
func writesStatusOnly(c cell) bool {
	if c.name == c.kind.fresh() || c.verb != "update" && !strings.HasPrefix(c.verb, "patch") {
		return false
	}
	return c.forges == "nothing" || c.sub == "status" && c.forges == "status"
}

func TestAgent(t *testing.T) {
	all := cells(kindsInOrder())
	attempt(t, agent("east"), all).hold(t, "the agent of east", agentMay("east"))
	all = slices.DeleteFunc(all, func(c cell) bool { return !guarded(c.kind) })
	for _, cluster := range []string{"east-1", "north-east"} {
		attempt(t, agent(cluster), thin(all)).hold(t, "the agent of "+cluster, agentMay(cluster))
	}
}

// TestOpenedAgent: RBAC was opened by mistake. The matrix sees it, and the policy still keeps all of Tombolo's objects.
func TestOpenedAgent(t *testing.T) {
	who := agent("east")
	who.open(t)
	r := attempt(t, who, slices.DeleteFunc(cells(kindsInOrder()), func(c cell) bool { return !guarded(c.kind) && c.place != "east" }))
	found := 0
	for _, c := range r[accepted] {
		if guarded(c.kind) {
			continue
		}
		if !agentMay("east")(c.cell) {
			found++
		}
	}
	if found < 100 {
		t.Errorf("the matrix finds %d things that an agent can do as cluster-admin and should not: is it blind?", found)
	}
	kept := tried{}
	for result, list := range r {
		kept[result] = slices.DeleteFunc(slices.Clone(list), func(c attempted) bool { return !guarded(c.kind) })
	}
	kept.hold(t, "the agent of east as cluster-admin", func(c cell) bool {
		if c.kind.plural == "leases" && c.verb == "update" { // of its own; RBAC gives it patches alone
			c.verb = "patch merge"
		}
		return c.reads() && !impossible(c) || !c.reads() && agentMay("east")(c)
	})
}

// guarded kinds are those that a policy keeps from agents whatever RBAC says.
func guarded(k *kind) bool { return k.ours() || k.plural == "leases" }

// TestMixedIdentities: a user and groups that disagree write nothing, whatever RBAC says.
func TestMixedIdentities(t *testing.T) {
	east, twin := agent("east"), agent("east-1")
	others := []string{"AgentOfOCM", "OtherAddOn"} // they have leases of their own, which are none of our business
	for name, who := range map[string]identity{
		"GroupOfTwin":     {name: east.name, groups: twin.groups},
		"UserOfTwin":      {name: twin.name, groups: east.groups},
		"BothGroups":      {name: east.name, groups: append(slices.Clone(east.groups), twin.groups...)},
		"NoGroup":         {name: east.name},
		"OnlyTheAddOn":    {name: east.name, groups: east.groups[1:]},
		"OtherAgent":      {name: strings.TrimSuffix(east.name, "tombolo-agent") + "other", groups: east.groups},
		"LongerName":      {name: east.name + ":x", groups: east.groups},
		"NoName":          {name: "somebody", groups: east.groups},
		"OtherAddOn":      {name: strings.ReplaceAll(east.name, "addon:tombolo", "addon:other"), groups: []string{"system:open-cluster-management:cluster:east:addon:other"}},
		"AgentOfOCM":      {name: "system:open-cluster-management:east:agent", groups: []string{"system:open-cluster-management:east", "system:open-cluster-management:managed-clusters"}},
		"ClusterOfNoName": {name: "system:open-cluster-management:cluster::addon:tombolo:agent:tombolo-agent", groups: []string{"system:open-cluster-management:cluster::addon:tombolo"}},
		"Administrators":  {name: east.name, groups: append(slices.Clone(east.groups), "system:masters")},
	} {
		t.Run(name, func(t *testing.T) {
			who.open(t)
			all := slices.DeleteFunc(cells(kindsInOrder()), func(c cell) bool {
				return !guarded(c.kind) || slices.Contains(others, name) && !c.kind.ours() || c.reads() || c.place != "" && c.place != "east" || !slices.Contains([]string{"", "nothing", "status"}, c.forges)
			})
			attempt(t, who, all).hold(t, fmt.Sprintf("%s in %v", who.name, who.groups), func(cell) bool { return false })
		})
	}
}

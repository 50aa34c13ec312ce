// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/charts"
)

// TestPrivileges: the lab must give the agents what the chart gives them, or its tests prove nothing of it.
func TestPrivileges(t *testing.T) {
	objects, err := charts.Render(charts.SpokeAgent, map[string]any{"clusterName": "east"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"DaemonSet": {"privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": int64(0),
			"seccompProfile": map[string]any{"type": "RuntimeDefault"}, "capabilities": capabilitiesOf(nodeCapabilities)},
		"Deployment": {"privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "runAsUser": int64(65532),
			"seccompProfile": map[string]any{"type": "RuntimeDefault"}, "capabilities": capabilitiesOf(noCapabilities)},
	}
	for kind, want := range want {
		i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
		if i < 0 {
			t.Fatalf("the chart has no %s", kind)
		}
		containers, _, err := unstructured.NestedSlice(objects[i].Object, "spec", "template", "spec", "containers")
		if err != nil || len(containers) != 1 {
			t.Fatalf("%s has %d containers, %v: want one", kind, len(containers), err)
		}
		if diff := cmp.Diff(want, containers[0].(map[string]any)["securityContext"]); diff != "" {
			t.Errorf("securityContext of the %s (-lab +chart):\n%s", kind, diff)
		}
		for _, field := range []string{"hostPID", "hostIPC"} {
			if _, ok, _ := unstructured.NestedBool(objects[i].Object, "spec", "template", "spec", field); ok {
				t.Errorf("the %s has %s", kind, field)
			}
		}
	}
}

func capabilitiesOf(names []string) any {
	capabilities := map[string]any{"drop": []any{"ALL"}}
	if len(names) > 0 {
		var add []any
		for _, name := range names {
			add = append(add, name)
		}
		capabilities["add"] = add
	}
	return capabilities
}

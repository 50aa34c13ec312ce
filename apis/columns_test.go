// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// columnTest is an object, what its status becomes, and what `kubectl get -o wide`
// shows of it without the age.
//
// The apiserver prints only the FIRST value that a column's JSONPath finds, so a
// path such as .status.clusters[*].name would show one cluster of three. A column
// of several values names a whole list.
type columnTest struct {
	object string
	// name of the object; "shown" when it is empty.
	name   string
	status string
	want   string
}

const (
	accepted   = `{type: Accepted, status: "True", reason: Accepted, message: fine, lastTransitionTime: "2026-01-01T00:00:00Z"}`
	available  = `{type: Available, status: "True", reason: NearlyExhausted, message: fine, lastTransitionTime: "2026-01-01T00:00:00Z"}`
	allocated  = `{type: Allocated, status: "True", reason: Allocated, message: fine, lastTransitionTime: "2026-01-01T00:00:00Z"}`
	programmed = `{type: Programmed, status: "False", reason: WaitingForClusters, message: west, lastTransitionTime: "2026-01-01T00:00:00Z"}`
	dataPath   = `{type: DataPathReady, status: "False", reason: KernelTooOld, message: "gateway node n1: tcx needs Linux 6.6 or newer", lastTransitionTime: "2026-01-01T00:00:00Z"}`
	verified   = `{type: Verified, status: Unknown, reason: Probing, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}`
)

var columnTests = map[string]columnTest{
	"ippools": {
		object: ipPoolRules.object,
		status: `{cidrs: [10.0.0.0/8], allocated: 256, capacity: 16777216, conditions: [` + accepted + `, ` + available + `]}`,
		want: `
NAME   PURPOSE  CIDRS           PARENT  ALLOCATED  CAPACITY  ACCEPTED  AVAILABLE
shown  Vpc      ["10.0.0.0/8"]  <none>  256        16777216  True      NearlyExhausted
`,
	},
	"elasticips": {
		object: elasticIPRules.object,
		status: `{address: 203.0.113.7, usedBy: NatGateway/shop/out, conditions: [` + allocated + `]}`,
		want: `
NAME   ADDRESS      POOL    USED BY              ALLOCATED  MESSAGE
shown  203.0.113.7  public  NatGateway/shop/out  True       fine
`,
	},
	"ipaddresses": {
		object: ipAddressRules.object,
		name:   "external.203-0-113-7",
		want: `
NAME                  ADDRESS      POOL    KIND       NAMESPACE  NAME
external.203-0-113-7  203.0.113.7  public  ElasticIP  shop       web
`,
	},
	"fleets": {
		object: fleetRules.object,
		name:   "fleet",
		status: `{epoch: 7, pendingRemoval: {digest: 0123abcd, objects: 20, totalObjects: 40, routers: 20, totalRouters: 38, remotes: 0, totalRemotes: 90, gateways: 0, totalGateways: 2, endpoints: 0, totalEndpoints: 4},
 conditions: [{type: Frozen, status: "True", reason: MassRemoval, message: "kubectl tombolo confirm", lastTransitionTime: "2026-01-01T00:00:00Z"}]}`,
		want: `
NAME   EPOCH  FROZEN  REASON       MAX-REMOVAL  PENDING   MESSAGE
fleet  7      True    MassRemoval  <none>       0123abcd  kubectl tombolo confirm
`,
	},
	"vpcs": {
		object: vpcRules.object,
		status: `{vni: 100, clusters: [{name: east, programmed: true}, {name: west, programmed: false}], conditions: [` + accepted + `, ` + programmed + `]}`,
		want: `
NAME   VNI  CLUSTERS  CIDRS   ACCEPTED  PROGRAMMED  REALIZED                                                                MESSAGE
shown  100  ["east"]  <none>  True      False       [{"name":"east","programmed":true},{"name":"west","programmed":false}]  fine
`,
	},
	"subnets": {
		object: subnetRules.object,
		status: `{clusters: [{name: east, cidr: 10.0.0.0/24, gateway: 10.0.0.1}], conditions: [` + accepted + `]}`,
		want: `
NAME   VPC   CIDR         POOL    ACCEPTED  REALIZED                                                     MESSAGE
shown  shop  10.0.0.0/24  <none>  True      [{"cidr":"10.0.0.0/24","gateway":"10.0.0.1","name":"east"}]  fine
`,
	},
	"vpcpeerings": {
		object: peeringRules.object,
		status: `{state: Provisioning, conditions: [` + accepted + `, ` + programmed + `, ` + verified + `]}`,
		want: `
NAME   VPC   PEER   STATE         PROGRAMMED  VERIFIED  MESSAGE
shown  shop  vault  Provisioning  False       Unknown   fine
`,
	},
	"interconnectgateways": {
		object: gatewayRules.object,
		status: `{conditions: [` + programmed + `, ` + dataPath + `]}`,
		want: `
NAME   ENCAPSULATION  PORT  ENCRYPTION  PROGRAMMED  DATAPATH  REASON        MESSAGE                                        MEMBERSHIP  AGENT   REFUSED  ENDPOINTS
shown  VXLAN          4789  <none>      False       False     KernelTooOld  gateway node n1: tcx needs Linux 6.6 or newer  <none>      <none>  <none>   <none>
`,
	},
	"localrouters": {
		object: routerRules.object,
		status: `{conditions: [` + programmed + `]}`,
		want: `
NAME   VPC   VNI  LINK           PROGRAMMED
shown  shop  100  100.64.0.0/29  False
`,
	},
}

// TestColumns asks the apiserver for the table that `kubectl get` shows.
func TestColumns(t *testing.T) {
	for _, crd := range definitions(t) {
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			test, ok := columnTests[crd.Spec.Names.Plural]
			if !ok {
				t.Fatalf("no test says what `kubectl get %s` shows: add one to columnTests", crd.Spec.Names.Plural)
			}
			name := cmp.Or(test.name, "shown")
			object := patch(t, parse(t, test.object), "metadata: {name: "+name+"}")
			if err := create(t, object); err != nil {
				t.Fatalf("create: %v", err)
			}
			if test.status != "" {
				if err := hub.client.Status().Update(t.Context(), patch(t, object, "status: "+test.status)); err != nil {
					t.Fatalf("update status: %v", err)
				}
			}
			path := "/apis/" + object.GetAPIVersion()
			if namespace := object.GetNamespace(); namespace != "" {
				path += "/namespaces/" + namespace
			}
			got := table(t, path+"/"+crd.Spec.Names.Plural+"/"+name)
			if diff := gocmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" {
				t.Errorf("kubectl get %s -o wide (-want +got):\n%s\n%s", crd.Spec.Names.Plural, diff, got)
			}
		})
	}
}

// table is what the apiserver answers when kubectl asks for columns.
func table(t *testing.T, path string) string {
	t.Helper()
	body, err := hub.rest.Get().AbsPath(path).SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(t.Context()).Raw()
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	var answer metav1.Table
	numbers := json.NewDecoder(bytes.NewReader(body))
	numbers.UseNumber() // else 16777216 would come back as 1.6777216e+07
	if err := numbers.Decode(&answer); err != nil {
		t.Fatalf("parse the table of %s: %v", path, err)
	}
	return render(answer)
}

// render aligns the table as kubectl does, without the age.
func render(answer metav1.Table) string {
	var text strings.Builder
	aligned := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line := func(cell func(column int) any) {
		var cells []string
		for i, column := range answer.ColumnDefinitions {
			if column.Name != "Age" {
				cells = append(cells, fmt.Sprint(cell(i)))
			}
		}
		fmt.Fprintln(aligned, strings.Join(cells, "\t"))
	}
	line(func(i int) any { return strings.ToUpper(answer.ColumnDefinitions[i].Name) })
	for _, row := range answer.Rows {
		line(func(i int) any { return cmp.Or(row.Cells[i], any("<none>")) })
	}
	aligned.Flush()
	return text.String()
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// measured waits until the hub has what a cluster's gateways measured of the way to another one.
func (n *tenant) measured(cluster, other string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "the tunnel from "+cluster+" to "+other+" on the hub", func(ctx context.Context) error {
		gateway := &spokev1alpha1.InterconnectGateway{}
		if err := fleet.Hub.Get(ctx, types.NamespacedName{Namespace: cluster, Name: cluster}, gateway); err != nil {
			return err
		}
		for _, t := range gateway.Status.Tunnels {
			if t.Cluster == other && t.Reachable && t.RTTMicroseconds > 0 && t.PathMTU == 1500 {
				return nil
			}
		}
		return fmt.Errorf("status.tunnels is %+v", gateway.Status.Tunnels)
	}))
}

// recorded looks at the packets between two pods with tombolo-agent flows, on all nodes of the first one's cluster: a pod's own node
// sees them, or else a gateway, and which of them is the flow's.
func (n *tenant) recorded(from, to *story.Pod) {
	n.Helper()
	cluster, err := fleet.Lab.Cluster("east")
	n.must(err)
	type output struct {
		text string
		err  error
	}
	seen := make(chan output)
	for _, node := range cluster.Nodes {
		go func() {
			text, err := fleet.Flows(n.ctx, "east", node.Name, "--duration=5s", "--vpc="+n.name+"/vpc-1")
			if err != nil && strings.Contains(err.Error(), "find maps") {
				err = nil // a node that is no gateway has maps only while it has pods
			}
			seen <- output{text, err}
		}()
	}
	var all strings.Builder
	for left := len(cluster.Nodes); left > 0; {
		select {
		case out := <-seen:
			n.must(out.err)
			all.WriteString(out.text)
			left--
		case <-time.After(100 * time.Millisecond):
			_, err := from.Ping(n.ctx, to.Address, 2, 20*time.Millisecond)
			n.must(err)
		}
	}
	n.must(n.hasFlow(all.String(), from, to))
}

func (n *tenant) hasFlow(out string, from, to *story.Pod) error {
	for line := range strings.Lines(out) {
		var flow struct {
			SrcVpc  string `json:"src_vpc"`
			DstVpc  string `json:"dst_vpc"`
			Cluster string `json:"cluster"`
			Src     string `json:"src"`
			Dst     string `json:"dst"`
			Verdict string `json:"verdict"`
		}
		if err := json.Unmarshal([]byte(line), &flow); err != nil {
			return fmt.Errorf("tombolo-agent flows prints %q: %w", line, err)
		}
		if flow.SrcVpc == n.name+"/vpc-1" && flow.DstVpc == n.name+"/vpc-2" && flow.Cluster == "west" && flow.Verdict == "forwarded" &&
			flow.Src == from.Address.String() && flow.Dst == to.Address.String() {
			n.Logf("a flow record: %s", line)
			return nil
		}
	}
	return fmt.Errorf("no record of %s → %s among:\n%s", from.Address, to.Address, out)
}

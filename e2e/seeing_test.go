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

// recorded looks at the packets between two pods with tombolo-agent flows, on all gateways of the first one's cluster: a flow goes
// by one of them.
func (n *tenant) recorded(from, to *story.Pod) {
	n.Helper()
	gateway := &spokev1alpha1.InterconnectGateway{}
	n.must(fleet.Hub.Get(n.ctx, types.NamespacedName{Namespace: "east", Name: "east"}, gateway))
	type output struct {
		text string
		err  error
	}
	seen := make(chan output)
	for _, e := range gateway.Spec.Endpoints {
		go func() {
			text, err := fleet.Flows(n.ctx, "east", e.Node, "--duration=5s", "--vpc="+n.name+"/vpc-1")
			seen <- output{text, err}
		}()
	}
	var all strings.Builder
	for left := len(gateway.Spec.Endpoints); left > 0; {
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

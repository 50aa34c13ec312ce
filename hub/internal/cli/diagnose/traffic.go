// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/status"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// plainMTU is the smallest path, in bytes of encapsulated packet, that carries pods' packets of the default MTU (1390) in VXLAN (50).
const plainMTU = 1440

// Traffic is judged by the same functions as in a status, so that the two never disagree.

func vpcsProgrammed(f *facts.Facts) []Finding {
	var findings []Finding
	for _, vpc := range status.Of(onHub(f), "").Vpcs {
		// What is refused has been said among addresses.
		if vpc.State != terminal.Well && (vpc.Reason == networkv1alpha1.ReasonWaitingForClusters || vpc.Reason == networkv1alpha1.ReasonClusterError ||
			vpc.Reason == networkv1alpha1.ReasonKeyMissing || vpc.Reason == "NotPlanned" || vpc.Reason == networkv1alpha1.ReasonDeleting) {
			findings = append(findings, Finding{State: vpc.State, Subject: "Vpc " + vpc.Namespace + "/" + vpc.Name, Cause: vpc.Reason + ": " + vpc.Message, Cure: cureOf(vpc.Reason)})
		}
	}
	return findings
}

func peeringsWell(f *facts.Facts) []Finding {
	var findings []Finding
	for _, p := range status.Of(onHub(f), "").Peerings {
		if p.State != terminal.Well {
			findings = append(findings, Finding{State: p.State, Subject: "VpcPeering " + p.Namespace + "/" + p.Name, Cause: p.Reason + ": " + p.Message, Cure: cureOf(p.Reason)})
		}
	}
	return findings
}

func hubTunnels(f *facts.Facts) []Finding { return tunnelFindings(status.Of(onHub(f), "").Tunnels) }

func onHub(f *facts.Facts) *facts.Facts {
	side := *f
	side.Hub = true
	return &side
}

func inCluster(f *facts.Facts) *facts.Facts {
	side := *f
	side.Hub = false
	return &side
}

func tunnelFindings(tunnels []status.Tunnel) []Finding {
	var findings []Finding
	for _, t := range tunnels {
		subject := fmt.Sprintf("tunnel from %s (node %s) to %s", t.From, t.Node, t.To)
		switch t.Reason {
		case "Unreachable":
			findings = append(findings, failed(subject, t.Message, "let UDP 4789 through between the gateway nodes of both clusters (with encryption also the WireGuard port), and look at the gateway nodes there"))
		case "Lossy":
			findings = append(findings, warning(subject, t.Message, "look at the underlay between the two: a full link, or a policer"))
		}
	}
	return findings
}

func hubMTU(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		if gateway := f.Gateway(c.Name); gateway != nil {
			findings = append(findings, mtuFindings("cluster "+c.Name+", ", gateway)...)
		}
	}
	return findings
}

// mtuFindings: what a node says of its own underlay, and what was measured to the other clusters.
func mtuFindings(prefix string, gateway *spokev1alpha1.InterconnectGateway) []Finding {
	const cure = "give the underlay a larger MTU, or pods a smaller one (chart: node.podMTU, the same in all clusters); until then large packets are fragmented or refused"
	var findings []Finding
	for _, node := range gateway.Status.Gateways {
		for _, c := range node.Conditions {
			if c.Type == spokev1alpha1.ConditionMTUSufficient && c.Status == metav1.ConditionFalse {
				findings = append(findings, warning(prefix+"node "+node.Node, c.Message, cure))
			}
		}
	}
	for _, t := range gateway.Status.Tunnels {
		if t.PathMTU > 0 && t.PathMTU < plainMTU {
			findings = append(findings, warning(fmt.Sprintf("%snode %s to %s", prefix, t.Node, t.Cluster),
				fmt.Sprintf("encapsulated packets of at most %d bytes pass; pods of the default MTU send up to %d", t.PathMTU, plainMTU), cure))
		}
	}
	return findings
}

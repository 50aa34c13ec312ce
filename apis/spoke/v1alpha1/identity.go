// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "strings"

// Who a cluster's agent is on the hub: the names that OCM's registration gives to the agent of an add-on (docs/decisions/0012).
const (
	// AgentName is the agent's name within the add-on.
	AgentName = "tombolo-agent"
	// AgentsGroup is the group of the agents of all clusters.
	AgentsGroup = "system:open-cluster-management:addon:tombolo"
	// AgentSigner signs the agents' certificates.
	AgentSigner = "kubernetes.io/kube-apiserver-client"

	clusterPrefix = "system:open-cluster-management:cluster:"
	addOnSuffix   = ":addon:tombolo"
	agentSuffix   = addOnSuffix + ":agent:" + AgentName
)

// AgentUser is the user name of a cluster's agent.
func AgentUser(cluster string) string { return clusterPrefix + cluster + agentSuffix }

// AgentGroup is the group of a cluster's agent, which its permissions are bound to.
func AgentGroup(cluster string) string { return clusterPrefix + cluster + addOnSuffix }

// ClusterOfAgent is the cluster whose agent a user is.
func ClusterOfAgent(user string) (cluster string, ok bool) {
	rest, ok := strings.CutPrefix(user, clusterPrefix)
	if !ok {
		return "", false
	}
	cluster, ok = strings.CutSuffix(rest, agentSuffix)
	return cluster, ok && cluster != "" && !strings.Contains(cluster, ":")
}

// Keys of the Secret that holds the agent's identity on the hub, as OCM's registration names them.
const (
	IdentityKubeconfig  = "kubeconfig"
	IdentityCertificate = "tls.crt"
	IdentityKey         = "tls.key"
	IdentityCluster     = "cluster-name"
	IdentityAgent       = "agent-name"
)

// LeaseName is the Lease in the cluster's namespace on the hub that its agent renews while it works. It is called as the Lease that OCM looks
// at in the cluster itself.
const LeaseName = "tombolo"

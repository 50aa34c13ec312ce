// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package leave is how a cluster's agents leave together: what one asks and the others have done stands in the ConfigMap tombolo-leaving.
//
//	Job, or the hub ─▶ ConfigMap ─▶ mirror: condition Leaving ─▶ hub: Draining … Drained ─▶ "clean" ─▶ nodes ─▶ OVN, copies ─▶ hub is told ─▶ done
//
// The ConfigMap names the installation that leaves, by the UID of its DaemonSet. Agents of another one, installed later, take no notice and
// delete it. So it need not go with the last pod of the installation that leaves: pods that end late must not set everything up again.
package leave

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// ConfigMapName in namespace tombolo-system.
	ConfigMapName = "tombolo-leaving"
	// installationName is the DaemonSet whose UID tells installations apart.
	installationName = "tombolo-agent-node"
)

// Keys of the ConfigMap.
const (
	// keyInstallation is the UID of the installation that leaves; empty when there is no DaemonSet.
	keyInstallation = "installation"
	// keyDetached is the UID of the hub's InterconnectGateway that asked for it, when nobody in the cluster did.
	keyDetached = "detached"
	// keyForce: Drained is not waited for, nor are nodes that are not Ready.
	keyForce = "force"
	// keyClean: what is there can go.
	keyClean = "clean"
	// keyCluster: nothing of Tombolo is left in OVN, on pods and among the copies.
	keyCluster = "cluster"
	// keyController: all is done, and the hub has been told.
	keyController = "controller"
	// prefixNode and prefixProblem are followed by the name of a node: it is clean, or what keeps it from that.
	prefixNode, prefixProblem = "node.", "problem."
)

// Done is the value of what is done.
const Done = "done"

// State is what the ConfigMap says to the agents of an installation. The zero State is everyday life.
type State struct {
	// Leaving is true when this installation leaves.
	Leaving bool
	// Outdated is true when another installation did: its ConfigMap can go.
	Outdated bool
	// Force, Clean, Cluster and Controller are the keys of these names.
	Force, Clean, Cluster, Controller bool
	// Detached is the UID of the hub's InterconnectGateway that asked for it; empty when somebody in the cluster did.
	Detached string
	// Nodes that are clean.
	Nodes []string
	// Problems by node.
	Problems map[string]string
}

// Read reads a ConfigMap, nil for none, as an agent of this installation does. An installation that is not known (empty) takes the ConfigMap
// for its own: it may be the last pod of one whose DaemonSet is gone already.
func Read(cm *corev1.ConfigMap, installation types.UID) State {
	if cm == nil || cm.DeletionTimestamp != nil {
		return State{}
	}
	leaver := cm.Data[keyInstallation]
	if leaver != "" && installation != "" && leaver != string(installation) {
		return State{Outdated: true}
	}
	s := State{
		Leaving: true, Detached: cm.Data[keyDetached], Force: cm.Data[keyForce] != "", Clean: cm.Data[keyClean] != "",
		Cluster: cm.Data[keyCluster] != "", Controller: cm.Data[keyController] != "", Problems: map[string]string{},
	}
	for key, value := range cm.Data {
		if node, ok := strings.CutPrefix(key, prefixNode); ok {
			s.Nodes = append(s.Nodes, node)
		} else if node, ok := strings.CutPrefix(key, prefixProblem); ok {
			s.Problems[node] = value
		}
	}
	slices.Sort(s.Nodes)
	return s
}

// Awaited are the nodes that are not clean yet, and those among all nodes that can't say so because they are not Ready. With Force the latter
// are not waited for. A node that Tombolo was never on bears no mark.
func (s State) Awaited(nodes []corev1.Node) (awaited, notReady []string) {
	for i := range nodes {
		node := &nodes[i]
		if _, marked := node.Annotations[local.AnnotationAgent]; !marked || slices.Contains(s.Nodes, node.Name) {
			continue
		}
		if !ready(node) {
			notReady = append(notReady, node.Name)
			if s.Force {
				continue
			}
		}
		awaited = append(awaited, node.Name)
	}
	return awaited, notReady
}

// ready is what the node's condition says. A cluster without kubelets, as in tests, has no conditions: its nodes count as ready.
func ready(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return true
}

// Reader reads the State of this process's own installation.
type Reader struct {
	// Client reads the ConfigMap, from a watch.
	Client client.Reader
	// Live reads the DaemonSet, once somebody leaves.
	Live client.Reader
}

// State reads it.
func (r *Reader) State(ctx context.Context) (State, error) {
	cm := &corev1.ConfigMap{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: local.Namespace, Name: ConfigMapName}, cm)
	if apierrors.IsNotFound(err) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read ConfigMap %s: %w", ConfigMapName, err)
	}
	installation, err := Installation(ctx, r.Live)
	if err != nil {
		return State{}, err
	}
	return Read(cm, installation), nil
}

// Installation is the UID of the installation's DaemonSet; empty when there is none.
func Installation(ctx context.Context, c client.Reader) (types.UID, error) {
	ds := &appsv1.DaemonSet{}
	err := c.Get(ctx, types.NamespacedName{Namespace: local.Namespace, Name: installationName}, ds)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read DaemonSet %s: %w", installationName, err)
	}
	if ds.DeletionTimestamp != nil {
		return "", nil
	}
	return ds.UID, nil
}

// New is a ConfigMap by which an installation leaves.
func New(installation types.UID, detached string, force bool) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: ConfigMapName},
		Data:       map[string]string{keyInstallation: string(installation)},
	}
	if detached != "" {
		cm.Data[keyDetached] = detached
	}
	if force {
		cm.Data[keyForce], cm.Data[keyClean] = Done, Done
	}
	return cm
}

// note writes keys of the ConfigMap; nil takes one away. Nobody's keys are another's, so no version is looked at.
func note(ctx context.Context, c client.Client, data map[string]any) error {
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("marshal patch of ConfigMap %s: %w", ConfigMapName, err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: ConfigMapName}}
	if err := c.Patch(ctx, cm, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write ConfigMap %s: %w", ConfigMapName, err)
	}
	return nil
}

// NodeDone says that a node is clean.
func NodeDone(ctx context.Context, c client.Client, node string) error {
	return note(ctx, c, map[string]any{prefixNode + node: Done, prefixProblem + node: nil})
}

// NodeProblem says what keeps a node from it.
func NodeProblem(ctx context.Context, c client.Client, node string, problem error) error {
	return note(ctx, c, map[string]any{prefixProblem + node: problem.Error()})
}

// StartCleaning says that what is there can go.
func StartCleaning(ctx context.Context, c client.Client) error {
	return note(ctx, c, map[string]any{keyClean: Done})
}

// ClusterDone says that nothing is left in OVN, on pods and among the copies.
func ClusterDone(ctx context.Context, c client.Client) error {
	return note(ctx, c, map[string]any{keyCluster: Done})
}

// AllDone says that the hub has been told, or that nobody waits for that.
func AllDone(ctx context.Context, c client.Client) error {
	return note(ctx, c, map[string]any{keyController: Done})
}

// Delete deletes the ConfigMap.
func Delete(ctx context.Context, c client.Client) error {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: ConfigMapName}}
	if err := c.Delete(ctx, cm); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ConfigMap %s: %w", ConfigMapName, err)
	}
	return nil
}

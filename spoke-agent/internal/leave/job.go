// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// poll is how often the Job looks, and repeat how often it says the same again.
	poll   = time.Second
	repeat = 10 * time.Second
)

// Job asks the agents of a cluster to leave, and waits until they have.
type Job struct {
	// Client of the cluster. It caches nothing.
	Client client.Client
	// Force waits neither for the hub nor for nodes that are not Ready.
	Force bool
	// Timeout of all.
	Timeout time.Duration
	// Forget deletes what the agent is on the hub, when nothing else is left, and says whether there was anything. Nil: it stays.
	Forget func(context.Context) (bool, error)
	// Out is where the progress goes.
	Out io.Writer
}

// view is what the Job sees.
type view struct {
	state State
	nodes []corev1.Node
	own   *spokev1alpha1.InterconnectGateway
}

// Run asks, waits and says what it waits for. Its error has the cause and the cure.
func (j *Job) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, j.Timeout)
	defer cancel()
	if err := j.ask(ctx); err != nil {
		return fmt.Errorf("ask the agents to leave: %w", err)
	}
	var v view
	said, at := "", time.Time{}
	for {
		seen, err := j.look(ctx)
		if err == nil {
			v = seen
			if v.state.Controller {
				fmt.Fprintln(j.Out, "Nothing of Tombolo is left in this cluster.")
				j.rest(v)
				return j.forget(ctx)
			}
		}
		if now := j.progress(v, err); now != said || time.Since(at) > repeat {
			fmt.Fprintln(j.Out, now)
			said, at = now, time.Now()
		}
		select {
		case <-ctx.Done():
			return j.late(v, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// noInstallation is in the ConfigMap when nothing is installed: no UID, and so outdated for whatever is installed later.
const noInstallation = "none"

// ask writes the ConfigMap. One of an installation that is gone is replaced, one of this installation is added to.
func (j *Job) ask(ctx context.Context) error {
	installation, err := Installation(ctx, j.Client)
	if err != nil {
		return err
	}
	if installation == "" { // or the ConfigMap would be taken for the next installation's
		installation = noInstallation
	}
	wanted := New(installation, "", j.Force)
	cm := &corev1.ConfigMap{}
	err = j.Client.Get(ctx, types.NamespacedName{Namespace: local.Namespace, Name: ConfigMapName}, cm)
	if err == nil && Read(cm, installation).Outdated {
		if err := Delete(ctx, j.Client); err != nil {
			return err
		}
		err = apierrors.NewNotFound(corev1.Resource("configmaps"), ConfigMapName)
	}
	switch {
	case apierrors.IsNotFound(err):
		return j.Client.Create(ctx, wanted)
	case err != nil:
		return err
	case j.Force:
		return note(ctx, j.Client, map[string]any{keyForce: Done, keyClean: Done})
	}
	return nil
}

func (j *Job) look(ctx context.Context) (view, error) {
	var v view
	cm := &corev1.ConfigMap{}
	if err := j.Client.Get(ctx, types.NamespacedName{Namespace: local.Namespace, Name: ConfigMapName}, cm); err != nil {
		return v, fmt.Errorf("read ConfigMap %s: %w", ConfigMapName, err)
	}
	v.state = Read(cm, "")
	var nodes corev1.NodeList
	if err := j.Client.List(ctx, &nodes); err != nil {
		return v, fmt.Errorf("list Nodes: %w", err)
	}
	v.nodes = nodes.Items
	var gateways spokev1alpha1.InterconnectGatewayList
	if err := j.Client.List(ctx, &gateways, client.InNamespace(local.Namespace)); err != nil {
		return v, fmt.Errorf("list InterconnectGateways: %w", err)
	}
	v.own = gateway.Own(gateways.Items)
	return v, nil
}

// progress says what is waited for.
func (j *Job) progress(v view, err error) string {
	if err != nil {
		return "This cluster's API server does not say how far the agents are: " + err.Error()
	}
	awaited, notReady := v.state.Awaited(v.nodes)
	var lines []string
	switch {
	case !v.state.Clean && (v.own == nil || v.own.Spec.Membership != spokev1alpha1.MembershipDraining):
		lines = append(lines, "Waiting for the hub to hear that this cluster leaves.")
	case !v.state.Clean && len(v.own.Spec.AwaitedClusters) > 0:
		lines = append(lines, "Draining: these clusters may still have a way here: "+strings.Join(v.own.Spec.AwaitedClusters, ", ")+".")
	case !v.state.Clean:
		lines = append(lines, "Draining: nobody has a way here any more; this cluster's Vpcs are taken down.")
	case len(awaited) > 0:
		lines = append(lines, "Cleaning up: waiting for nodes "+strings.Join(awaited, ", ")+".")
	case !v.state.Cluster:
		lines = append(lines, "Cleaning up: all nodes are clean; waiting for the controller to clean OVN and the copies.")
	default:
		lines = append(lines, "Waiting for the controller to tell the hub.")
	}
	for _, node := range awaited {
		if problem := v.state.Problems[node]; problem != "" {
			lines = append(lines, fmt.Sprintf("  node %s: %s", node, problem))
		}
	}
	if len(notReady) > 0 {
		lines = append(lines, "  not Ready: "+strings.Join(notReady, ", "))
	}
	return strings.Join(lines, "\n")
}

// What a person can say to a cluster that is leaving, while the Job runs or when it has failed.
const (
	cancel = "to stay instead: kubectl -n " + local.Namespace + " delete configmap " + ConfigMapName
	force  = "leave by force: kubectl -n " + local.Namespace + " patch configmap " + ConfigMapName + ` --type merge --patch '{"data":{"` + keyForce + `":"` + Done + `"}}'`
)

// late says why the time was not enough, and what can be done.
func (j *Job) late(v view, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return errors.New("interrupted; the agents go on leaving: run it again to wait for them")
	}
	awaited, notReady := v.state.Awaited(v.nodes)
	why := ""
	switch {
	case !v.state.Clean && v.own != nil && len(v.own.Spec.AwaitedClusters) > 0:
		why = fmt.Sprintf("clusters %s have not said that they have no way here any more: look on the hub whether it holds that back until somebody "+
			"confirms (kubectl tombolo status, kubectl tombolo confirm), let their agents reach the hub, or, when they are gone for good, say so "+
			"(on the hub: kubectl tombolo leave NAME --gone), or %s; %s", strings.Join(v.own.Spec.AwaitedClusters, ", "), force, cancel)
	case !v.state.Clean:
		why = "the hub has not said that this cluster is drained: look on the hub whether it holds that back until somebody confirms (kubectl tombolo " +
			"status, kubectl tombolo confirm), look at the log of deployment/tombolo-agent-controller, let it reach the hub, " +
			"or " + force + "; " + cancel
	case len(notReady) > 0 && !v.state.Force:
		why = fmt.Sprintf("nodes %s are not Ready and can't clean up: repair them, delete their Node objects, or let what is there stay on them and %s",
			strings.Join(notReady, ", "), force)
	case len(awaited) > 0:
		why = fmt.Sprintf("nodes %s have not said that they are clean%s: look at the log of daemonset/tombolo-agent-node there", strings.Join(awaited, ", "), problems(v.state, awaited))
	case !v.state.Cluster:
		why = "the controller has not cleaned OVN: look at the log of deployment/tombolo-agent-controller; does the northbound database answer?"
	default:
		why = "the controller could not tell the hub: let it reach the hub, or " + force
	}
	return fmt.Errorf("not done after %s; the agents go on: %s; then run it again", j.Timeout, why)
}

func problems(s State, nodes []string) string {
	var all []string
	for _, node := range nodes {
		if s.Problems[node] != "" {
			all = append(all, s.Problems[node])
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// forget the identity: to come back takes a token anyway, and a name may be another cluster's later.
func (j *Job) forget(ctx context.Context) error {
	if j.Forget == nil {
		return nil
	}
	deleted, err := j.Forget(ctx)
	if err != nil {
		return fmt.Errorf("delete the agent's certificate for the hub: %w", err)
	}
	if deleted {
		fmt.Fprintln(j.Out, "The agent's certificate for the hub is deleted.")
	}
	return nil
}

// rest says what --force leaves behind.
func (j *Job) rest(v view) {
	if !v.state.Force {
		return
	}
	if _, notReady := v.state.Awaited(v.nodes); len(notReady) > 0 {
		fmt.Fprintf(j.Out, "On these nodes, which are not Ready, everything is left: %s. Reboot or delete them.\n", strings.Join(notReady, ", "))
	}
	fmt.Fprintln(j.Out, "The hub may not know that this cluster has left: other clusters may send here for as long. When the hub does not hear of it "+
		"by itself, on the hub: kubectl tombolo leave NAME --gone")
}

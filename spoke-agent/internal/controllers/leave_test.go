// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/hubidentity"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// departure is a cluster that leaves: hub and cluster, a Vpc with a pod, and a node whose agent the test is.
type departure struct {
	hub, spoke *clustertest.Cluster
	central    *ovntest.Central
	out        *lines
	ended      chan error
}

func newDeparture(t *testing.T) *departure {
	t.Helper()
	d := &departure{
		hub: clustertest.Start(t, "east"), spoke: clustertest.Start(t, local.Namespace, "demo"), central: ovntest.StartCentral(t),
		out: &lines{}, ended: make(chan error, 1),
	}
	d.spoke.Permissions(t)
	d.spoke.Install(t, "DaemonSet", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
	m, err := NewCluster(d.spoke.Agent(t, "controller"), options.Controller{
		Common: common(), ClusterName: "east", HubKubeconfig: d.hub.Kubeconfig(t), Northbound: d.central.NB.Endpoint, LeaderElect: true,
	}, logr.Discard())
	start(t, m, err)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1", Annotations: map[string]string{local.AnnotationAgent: "0.2.0"}}}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p", Annotations: map[string]string{networkv1alpha1.AnnotationSubnet: "net"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	// Nobody runs it, and so no node takes its annotation off.
	never := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "never", Annotations: map[string]string{local.AnnotationDirectPath: "192.0.2.1"}},
		Spec:       pod.Spec,
	}
	d.must(t, d.spoke.Client.Create(t.Context(), never))
	d.must(t, d.hub.Client.Create(t.Context(), d.gateway()), d.hub.Client.Create(t.Context(), d.router()),
		d.spoke.Client.Create(t.Context(), node), d.spoke.Client.Create(t.Context(), pod))
	clustertest.Eventually(t, "the pod has its address", func(ctx context.Context) error {
		err := d.spoke.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		if err == nil && pod.Annotations[networkv1alpha1.AnnotationNetwork] == "" {
			err = errors.New("none")
		}
		return err
	})
	return d
}

func (d *departure) must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (d *departure) gateway() *spokev1alpha1.InterconnectGateway {
	return &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "east", Finalizers: []string{spokev1alpha1.Finalizer}},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Encapsulation: "VXLAN", Port: 4789, Membership: spokev1alpha1.MembershipMember},
	}
}

func (d *departure) router() *spokev1alpha1.LocalRouter {
	return &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "demo.v", Finalizers: []string{spokev1alpha1.Finalizer}},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: "v", VNI: 100}, VpcUID: "uid-v", LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net", CIDR: "10.0.0.0/24", Gateway: "10.0.0.1"}},
		},
	}
}

// install makes the DaemonSet of an installation.
func (d *departure) install(t *testing.T) error {
	labels := map[string]string{"app": "node"}
	return d.spoke.Client.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "tombolo-agent-node"},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}},
	})
}

// leave starts what the chart's Job does, as its account.
func (d *departure) leave(t *testing.T, force bool, timeout time.Duration) {
	t.Helper()
	c, err := NewClient(d.spoke.Account("leave"))
	d.must(t, err)
	go func() {
		forget := func(ctx context.Context) (bool, error) { return hubidentity.Forget(ctx, c, identity) }
		d.ended <- (&leave.Job{Client: c, Force: force, Timeout: timeout, Out: d.out, Forget: forget}).Run(context.WithoutCancel(t.Context()))
	}()
}

// identity is the name of the Secret that the chart gives to the Job.
const identity = "tombolo-hub-kubeconfig"

// secret makes the Secret of the agent's identity, by the agent or by somebody else.
func (d *departure) secret(t *testing.T, by string) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: identity, Labels: map[string]string{"app.kubernetes.io/managed-by": by}}}
	d.must(t, d.spoke.Client.Create(t.Context(), s))
	return s
}

// says waits until the hub has heard this of the cluster.
func (d *departure) says(t *testing.T, status metav1.ConditionStatus, reason string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("Leaving=%s (%s) on the hub", status, reason), func(ctx context.Context) error {
		var g spokev1alpha1.InterconnectGateway
		if err := d.hub.Client.Get(ctx, types.NamespacedName{Namespace: "east", Name: "east"}, &g); err != nil {
			return err
		}
		c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionLeaving)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("condition is %+v", c)
		}
		return nil
	})
}

// tells is what the hub says of the cluster.
func (d *departure) tells(t *testing.T, what func(*spokev1alpha1.InterconnectGatewaySpec)) {
	t.Helper()
	clustertest.Eventually(t, "the hub's word to be written", func(ctx context.Context) error {
		g := d.gateway()
		if err := d.hub.Client.Get(ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err
		}
		what(&g.Spec)
		return d.hub.Client.Update(ctx, g)
	})
}

// nodeLeaves is the node's agent: it is clean when it may be.
func (d *departure) nodeLeaves(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "the node may clean up", func(ctx context.Context) error {
		s, err := (&leave.Reader{Client: d.spoke.Client, Live: d.spoke.Client}).State(ctx)
		if err == nil && !s.Clean {
			err = errors.New("not yet")
		}
		return err
	})
	if d.rows(t) == "" && d.copies(t) == 0 {
		t.Error("the controller did not wait for the node")
	}
	d.must(t, leave.NodeDone(t.Context(), d.spoke.Client, "e1"))
}

func (d *departure) rows(t *testing.T) string {
	t.Helper()
	rows := ""
	for _, table := range []string{"Logical_Router", "Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Switch", "Logical_Switch_Port", "Address_Set"} {
		rows += strings.TrimSpace(d.central.NBCtl(t, "--bare", "--columns=_uuid", "list", table))
	}
	return rows
}

func (d *departure) copies(t *testing.T) int {
	t.Helper()
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	d.must(t, d.spoke.Client.List(t.Context(), &routers, client.InNamespace(local.Namespace)), d.spoke.Client.List(t.Context(), &gateways, client.InNamespace(local.Namespace)))
	return len(routers.Items) + len(gateways.Items)
}

// nothingIsLeft holds what the Job's success promises.
func (d *departure) nothingIsLeft(t *testing.T) {
	t.Helper()
	select {
	case err := <-d.ended:
		if err != nil {
			t.Fatalf("the Job failed: %v\n%s", err, d.out)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the Job does not end:\n%s", d.out)
	}
	if rows := d.rows(t); rows != "" {
		t.Errorf("left in OVN: %s", rows)
	}
	if n := d.copies(t); n != 0 {
		t.Errorf("%d copies are left", n)
	}
	var pods corev1.PodList
	d.must(t, d.spoke.Client.List(t.Context(), &pods))
	for _, pod := range pods.Items {
		for _, name := range []string{networkv1alpha1.AnnotationNetwork, local.AnnotationDirectPath} {
			if _, has := pod.Annotations[name]; has {
				t.Errorf("pod %s keeps annotation %s", pod.Name, name)
			}
		}
	}
}

// TestLeave follows a cluster out of the fleet and in again, three times, with real apiservers and a real OVN, under the chart's roles.
func TestLeave(t *testing.T) {
	d := newDeparture(t)
	t.Run("Asked", d.testAsked)
	t.Run("Detached", d.testDetached)
	t.Run("Forced", d.testForced)
}

// testAsked: the cluster's administrator uninstalls Tombolo, and installs it again.
func (d *departure) testAsked(t *testing.T) {
	secret := d.secret(t, spokev1alpha1.AgentName)
	d.leave(t, false, time.Minute)
	d.says(t, metav1.ConditionTrue, spokev1alpha1.ReasonUninstalling)
	d.tells(t, func(s *spokev1alpha1.InterconnectGatewaySpec) {
		s.Membership, s.AwaitedClusters = spokev1alpha1.MembershipDraining, []string{"north"}
	})
	clustertest.Eventually(t, "the Job to say who is waited for", func(context.Context) error {
		return d.said("may still have a way here: north")
	})
	if d.rows(t) == "" || d.copies(t) == 0 {
		t.Fatal("something was taken down before the cluster was drained")
	}
	d.withdraw(t)
	d.tells(t, func(s *spokev1alpha1.InterconnectGatewaySpec) {
		s.Membership, s.AwaitedClusters = spokev1alpha1.MembershipDrained, nil
	})
	clustertest.Eventually(t, "the Job to say which node is waited for", func(context.Context) error { return d.said("waiting for nodes e1") })
	d.nodeLeaves(t)
	d.nothingIsLeft(t)
	d.says(t, metav1.ConditionTrue, spokev1alpha1.ReasonLeft)
	if err := d.spoke.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); !apierrors.IsNotFound(err) {
		t.Errorf("the agent's identity is left: %v", err)
	}

	// The pods of the old installation end late; those of the new one find the old ConfigMap.
	old := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "tombolo-agent-node"}}
	d.must(t, d.spoke.Client.Delete(t.Context(), old))
	time.Sleep(time.Second)
	if n := d.copies(t); n != 0 {
		t.Errorf("the last pods of an installation that has left set %d copies up again", n)
	}
	d.must(t, d.install(t))
	d.says(t, metav1.ConditionFalse, spokev1alpha1.ReasonInstalled)
	d.tells(t, func(s *spokev1alpha1.InterconnectGatewaySpec) { s.Membership = spokev1alpha1.MembershipMember })
	d.must(t, d.hub.Client.Create(t.Context(), d.router()))
	d.comesBack(t)
}

// testDetached: the hub lets go of the cluster, and takes it back as a new one; nobody in the cluster does anything.
func (d *departure) testDetached(t *testing.T) {
	d.withdraw(t)
	d.tells(t, func(s *spokev1alpha1.InterconnectGatewaySpec) {
		s.Membership, s.Detached = spokev1alpha1.MembershipDrained, true
	})
	d.nodeLeaves(t)
	d.says(t, metav1.ConditionTrue, spokev1alpha1.ReasonLeft)
	d.ended <- nil
	d.nothingIsLeft(t)
	own := d.gateway()
	d.must(t, d.hub.Client.Delete(t.Context(), own))
	clustertest.Eventually(t, "the hub to make the cluster anew", func(ctx context.Context) error {
		return d.hub.Client.Create(ctx, d.gateway())
	})
	d.must(t, d.hub.Client.Create(t.Context(), d.router()))
	d.comesBack(t)
}

// cure is the command in a Job's error by which a cluster leaves without its hub.
var cure = regexp.MustCompile(`kubectl -n (\S+) patch configmap (\S+) --type merge --patch '(\S+)'`)

// testForced: the hub is away for good. What the Job's error says is enough for the agents; the next Job, forced by its chart or not, sees that
// they have left.
func (d *departure) testForced(t *testing.T) {
	d.hub.Cut()
	secret := d.secret(t, "somebody-else")
	d.leave(t, false, 2*time.Second)
	err := <-d.ended
	if err == nil || !cure.MatchString(err.Error()) {
		t.Fatalf("error is %v, want one that has the cure", err)
	}
	words := cure.FindStringSubmatch(err.Error())
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: words[1], Name: words[2]}}
	d.must(t, d.spoke.Client.Patch(t.Context(), cm, client.RawPatch(types.MergePatchType, []byte(words[3]))))
	d.nodeLeaves(t)
	d.leave(t, true, time.Minute)
	d.nothingIsLeft(t)
	if err := d.said("kubectl tombolo leave NAME --gone"); err != nil {
		t.Error(err)
	}
	if err := d.spoke.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Errorf("an identity that somebody else has made is gone: %v", err)
	}
}

// withdraw takes the Vpc back, as the hub does when nobody has a way to it.
func (d *departure) withdraw(t *testing.T) {
	t.Helper()
	router := d.router()
	d.must(t, d.hub.Client.Delete(t.Context(), router))
	clustertest.Eventually(t, "the router to go", func(ctx context.Context) error {
		if err := d.hub.Client.Get(ctx, client.ObjectKeyFromObject(router), router); !apierrors.IsNotFound(err) {
			return fmt.Errorf("still there, or %w", err)
		}
		return nil
	})
}

func (d *departure) comesBack(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "everything to come back", func(context.Context) error {
		if d.rows(t) == "" || d.copies(t) != 2 {
			return fmt.Errorf("rows %q, %d copies", d.rows(t), d.copies(t))
		}
		return nil
	})
}

// said tells whether the Job has said something.
func (d *departure) said(what string) error {
	if text := d.out.String(); !strings.Contains(text, what) {
		return fmt.Errorf("the Job did not say %q:\n%s", what, text)
	}
	return nil
}

// lines are what a Job says, while it says it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

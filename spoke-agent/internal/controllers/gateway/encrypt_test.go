// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// encrypting is the world while the node encrypts with the key of that name.
func encrypting(key string) string {
	return strings.NewReplacer(
		"192.0.2.10:4789\n", "192.0.2.10:4789\nfastpath tunnel tbwg0\ntunnel tbwg0 mtu 1440 port 51871 key "+key+"\ntunnel peer 192.0.2.20:51871 key 7\n",
		"[192.0.2.20]\n", "[192.0.2.20] encrypted\n", "w1 192.0.2.20 mtu 1500\n", "w1 192.0.2.20 mtu 1440\n",
	).Replace(serving)
}

// TestEncryption follows a key from the node's disk to the hub's approval and into use, and its successor.
func TestEncryption(t *testing.T) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace), world: newWorld(), keys: t.TempDir()}
	f.Permissions(t)
	f.mustCreate(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}, localRouter("a", 100))
	f.label(t, "true")
	f.agent(t)
	first := f.announced(t, "")
	f.world.name(first, "first")

	own := interconnect("east", true, spokev1alpha1.GatewayEndpoint{Node: "e1", Address: "192.0.2.10", PublicKey: spokev1alpha1.PublicKey(first.String()), WireGuardPort: 51871})
	west := interconnect("west", false, spokev1alpha1.GatewayEndpoint{
		Node: "w1", Address: "192.0.2.20", PublicKey: spokev1alpha1.PublicKey(wireguard.PublicKey{7}.String()), WireGuardPort: 51871,
	})
	f.mustCreate(t, west, own)
	f.eventuallyWorld(t, "nobody wants encryption", serving)
	west.Spec.Encryption = spokev1alpha1.EncryptionWireGuard
	f.mustUpdate(t, west)
	f.eventuallyWorld(t, "west wants it", encrypting("first"))

	f.annotate(t, local.AnnotationRotateKey, "2026-11")
	second := f.announced(t, first.String())
	f.world.name(second, "second")
	f.eventuallyWorld(t, "the first key is used until the second is approved", encrypting("first"))
	own.Spec.Endpoints[0].PublicKey = spokev1alpha1.PublicKey(second.String())
	f.mustUpdate(t, own)
	f.eventuallyWorld(t, "the second key is approved", encrypting("second"))

	f.world.fail("tbwg0", errors.New("no TUN here"))
	west.Spec.Port = 4790 // so that there is something to do
	f.mustUpdate(t, west)
	f.eventuallyStatus(t, "demo.a", spokev1alpha1.LocalRouterStatus{Gateways: []spokev1alpha1.RouterGateway{{Node: "e1", ObservedGeneration: 7, Message: "set tunnel: no TUN here"}}})
	f.eventuallyWorld(t, "without the tunnel neither path has one to send into",
		strings.NewReplacer("fastpath tunnel tbwg0\n", "", "169.254.128.1 remotes 1", "169.254.128.1 remotes 0").Replace(encrypting("second")))
	f.world.fail("tbwg0", nil)
	f.eventuallyWorld(t, "the next attempt succeeds", encrypting("second"))

	west.Spec.Encryption = ""
	f.mustUpdate(t, west)
	f.eventuallyWorld(t, "nobody wants encryption any more", serving)
}

// announced waits for a public key on the Node that is not the former one.
func (f *fixture) announced(t *testing.T, former string) (key wireguard.PublicKey) {
	t.Helper()
	clustertest.Eventually(t, "a new key on the Node", func(ctx context.Context) (err error) {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
			return err
		}
		text := node.Annotations[local.AnnotationGatewayPublicKey]
		if text == former || node.Annotations[local.AnnotationGatewayWireGuardPort] != "51871" {
			return fmt.Errorf("annotations are %v", node.Annotations)
		}
		key, err = wireguard.ParsePublicKey(text)
		return err
	})
	return key
}

func (f *fixture) annotate(t *testing.T, key, value string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	if err := f.Client.Patch(t.Context(), node, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// mustUpdate writes o as it is, whatever the agent has written in the meantime.
func (f *fixture) mustUpdate(t *testing.T, o client.Object) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := o.DeepCopyObject().(client.Object)
		if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(o), now); err != nil {
			return err
		}
		o.SetResourceVersion(now.GetResourceVersion())
		return f.Client.Update(t.Context(), o)
	})
	if err != nil {
		t.Fatal(err)
	}
}

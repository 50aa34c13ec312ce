// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const secretName = "tombolo-hub-kubeconfig"

// world is a hub, and a cluster whose keeper runs.
type world struct {
	hub       *hub
	spoke     *clustertest.Cluster
	bootstrap string
	files     *Files
	log       *buffer
	// keys that were used, which nobody else may see.
	keys [][]byte
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (w *world) start(t *testing.T) {
	t.Helper()
	log := logr.FromSlogHandler(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	manager, err := ctrl.NewManager(w.spoke.Config, ctrl.Options{Scheme: clustertest.Scheme(t), Metrics: server.Options{BindAddress: "0"}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	keeper := &Keeper{
		Cluster: "east", Secret: secretName, Bootstrap: w.bootstrap, Spoke: manager, Files: w.files, Log: log,
		Leave:  &leave.Reader{Client: manager.GetAPIReader(), Live: manager.GetAPIReader()},
		Herald: &herald.Herald{Recorder: manager.GetEventRecorder("tombolo-agent"), Reader: manager.GetAPIReader(), Log: log},
	}
	if err := manager.Add(keeper); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the keeper ended with: %v", err)
		}
		if _, err := os.Stat(w.files.root); !os.IsNotExist(err) {
			t.Errorf("the key is left on disk: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
}

// TestKeeper is the life of an identity, against two real apiservers.
func TestKeeper(t *testing.T) {
	w := &world{hub: newHub(t), spoke: clustertest.Start(t, local.Namespace), bootstrap: filepath.Join(t.TempDir(), "kubeconfig"), log: &buffer{}}
	var err error
	if w.files, err = MakeFiles(); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	t.Run("Nobody", func(t *testing.T) { w.told(t, reasonNoIdentity) })
	t.Run("HubAway", func(t *testing.T) {
		w.hub.Cut()
		w.give(t, w.hub.token(t))
		w.told(t, reasonUnreachable)
		w.hub.will("", 5*time.Minute) // it is to be renewed at once
		w.hub.Mend(t)
		w.works(t)
		w.told(t, reasonJoined)
	})
	t.Run("Renewed", func(t *testing.T) { w.testRenewed(t) })
	t.Run("WrongCA", func(t *testing.T) {
		_, other := newCA(t)
		w.hub.bootstrap(t, w.bootstrap, w.hub.token(t), encodeCA(other))
		w.wake(t)
		w.told(t, reasonWrongCA)
	})
	t.Run("TokenRefused", func(t *testing.T) {
		w.give(t, "nobodys")
		w.wake(t)
		w.told(t, reasonTokenRefused)
	})
	t.Run("Denied", func(t *testing.T) {
		w.hub.will("TokenAlreadyRedeemed", 10*time.Hour)
		w.give(t, w.hub.token(t))
		w.wake(t)
		w.told(t, "TokenAlreadyRedeemed")
		if w.secret(t).Data[pendingKey] != nil {
			t.Error("the key of the denied request is kept")
		}
		w.works(t) // what it had goes on
	})
	t.Run("Left", func(t *testing.T) { w.testLeft(t) })
	t.Run("Anew", func(t *testing.T) {
		before := w.secret(t)
		w.hub.will("", 10*time.Hour)
		w.give(t, w.hub.token(t))
		w.wake(t)
		w.changes(t, before)
		w.works(t)
	})
	t.Run("OCM", func(t *testing.T) { w.testOCM(t) })
	t.Run("NoKeyIsLeaked", func(t *testing.T) { w.testNoLeak(t) })
}

// testRenewed: the certificate of the subtest before is old.
func (w *world) testRenewed(t *testing.T) {
	clustertest.Eventually(t, "a certificate that is good for hours, by the agent itself", func(ctx context.Context) error {
		c := identityOf(w.secret(t)).certificate
		if user := w.hub.lastUser(); c == nil || time.Until(c.NotAfter) < time.Hour || user != spokev1alpha1.AgentUser("east") {
			return fmt.Errorf("certificate is %v, %s asked for it", c, user)
		}
		return nil
	})
	w.works(t)
}

// testLeft: the cluster has left, and the agent runs for a moment longer with a token beside it; then somebody wants it to stay.
func (w *world) testLeft(t *testing.T) {
	w.hub.will("", 10*time.Hour)
	if err := errors.Join(w.spoke.Client.Create(t.Context(), leave.New("", "", false)), leave.AllDone(t.Context(), w.spoke.Client)); err != nil {
		t.Fatal(err)
	}
	w.give(t, w.hub.token(t))
	if deleted, err := Forget(t.Context(), w.spoke.Client, secretName); err != nil || !deleted {
		t.Fatalf("the identity is deleted: %v, %v", deleted, err)
	}
	time.Sleep(2 * time.Second) // long enough to have done harm
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: secretName}}
	if err := w.spoke.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); !apierrors.IsNotFound(err) {
		t.Errorf("the agent made an identity of a cluster that has left: %v", err)
	}
	if deleted, err := Forget(t.Context(), w.spoke.Client, secretName); err != nil || deleted {
		t.Errorf("what is not there is deleted: %v, %v", deleted, err)
	}
	if err := leave.Delete(t.Context(), w.spoke.Client); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the token to be redeemed after all, and to be in effect", func(ctx context.Context) error {
		if err := w.spoke.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(filepath.Dir(w.files.Kubeconfig()), "tls.crt"))
		if err == nil && !bytes.Equal(got, secret.Data["tls.crt"]) {
			err = errors.New("another certificate is")
		}
		return err
	})
	w.works(t)
}

// testOCM: another writer's identity is in effect at once, and is left alone, whatever token there is.
func (w *world) testOCM(t *testing.T) {
	for len(w.files.Changed()) > 0 {
		<-w.files.Changed()
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	signer, _, err := request{cluster: "east", key: key}.signer()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := request{cluster: "east", key: key}.object(signer, "ocm")
	if err != nil {
		t.Fatal(err)
	}
	crt, err := w.hub.sign(csr.Spec.Request, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secret := w.secret(t)
	secret.Data["tls.crt"], secret.Data["tls.key"] = crt, key
	if err := w.spoke.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.files.Changed():
	case <-time.After(20 * time.Second):
		t.Fatal("the new identity is not in effect")
	}
	if got, err := os.ReadFile(filepath.Join(filepath.Dir(w.files.Kubeconfig()), "tls.crt")); err != nil || !bytes.Equal(got, crt) {
		t.Errorf("another certificate is in effect: %v", err)
	}
	w.works(t)
	w.give(t, w.hub.token(t))
	w.wake(t)
	time.Sleep(2 * time.Second) // long enough to have done harm
	if got := w.secret(t); !bytes.Equal(got.Data["tls.crt"], crt) || got.Data[pendingKey] != nil {
		t.Error("a token replaced the identity that OCM's registration wrote")
	}
	if deleted, err := Forget(t.Context(), w.spoke.Client, secretName); err != nil || deleted {
		t.Errorf("the identity that OCM's registration wrote is deleted: %v, %v", deleted, err)
	}
	w.secret(t)
}

// testNoLeak: keys are in the Secret and nowhere else.
func (w *world) testNoLeak(t *testing.T) {
	var events eventsv1.EventList
	var requests certificatesv1.CertificateSigningRequestList
	if err := errors.Join(w.spoke.Client.List(t.Context(), &events), w.hub.Client.List(t.Context(), &requests)); err != nil {
		t.Fatal(err)
	}
	seen := w.log.String() + fmt.Sprintf("%+v %+v", events, requests)
	if len(w.keys) < 3 {
		t.Errorf("only %d keys were used", len(w.keys))
	}
	for _, key := range w.keys {
		for line := range strings.Lines(string(key)) {
			if !strings.HasPrefix(line, "---") && strings.Contains(seen, strings.TrimSpace(line)) {
				t.Error("a private key was seen in the log, an event or a request")
			}
		}
	}
}

// give the cluster a token, as helm does.
func (w *world) give(t *testing.T, token string) {
	t.Helper()
	w.hub.bootstrap(t, w.bootstrap, token, w.hub.Config.CAData)
}

// wake the keeper, which looks at the bootstrap kubeconfig every few seconds otherwise.
func (w *world) wake(t *testing.T) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/wake":"%d"}}}`, time.Now().UnixNano())
	if err := w.spoke.Client.Patch(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: secretName}}, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := w.spoke.Client.Get(t.Context(), client.ObjectKey{Namespace: local.Namespace, Name: secretName}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// changes waits for another certificate than before.
func (w *world) changes(t *testing.T, before *corev1.Secret) {
	t.Helper()
	clustertest.Eventually(t, "another certificate", func(ctx context.Context) error {
		now := w.secret(t)
		if bytes.Equal(now.Data["tls.crt"], before.Data["tls.crt"]) || bytes.Equal(now.Data["tls.key"], before.Data["tls.key"]) {
			return errors.New("it is the same")
		}
		return nil
	})
}

// works waits until the files connect to the hub as the agent.
func (w *world) works(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "the files connect to the hub", func(ctx context.Context) error {
		config, err := clientcmd.BuildConfigFromFlags("", w.files.Kubeconfig())
		if err != nil {
			return err
		}
		config.QPS = -1
		c, err := client.New(config, client.Options{Scheme: clustertest.Scheme(t)})
		if err != nil {
			return err
		}
		err = c.Get(ctx, client.ObjectKey{Name: "none"}, &certificatesv1.CertificateSigningRequest{})
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		stat, err := os.Stat(w.files.root)
		if err == nil && stat.Mode().Perm() != 0o700 {
			err = fmt.Errorf("mode of the directory is %o", stat.Mode().Perm())
		}
		return err
	})
	w.keys = append(w.keys, w.secret(t).Data["tls.key"])
}

// told waits for an event of the agent's Deployment.
func (w *world) told(t *testing.T, reason string) {
	t.Helper()
	clustertest.Eventually(t, "an event "+reason, func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := w.spoke.Client.List(ctx, &events, client.InNamespace(local.Namespace)); err != nil {
			return err
		}
		var reasons []string
		for _, e := range events.Items {
			if e.Reason == reason && e.Regarding.Kind == "Deployment" && (reason == reasonJoined || strings.Contains(e.Note, "Cure: ") || strings.Contains(e.Note, "goes on trying")) {
				return nil
			}
			reasons = append(reasons, e.Reason)
		}
		return fmt.Errorf("there are %s", reasons)
	})
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hubidentity keeps who the agent is on the hub (docs/decisions/0012): it gives the Secret with the identity to the
// mirror as files, makes that Secret from a token of `kubectl tombolo join` when nobody else does, and renews what it made itself.
//
// client-go's certificate.Manager does part of this. It needs to list and watch all requests of the hub, where a token may
// read its own alone; it logs the cause of a failure and returns none, and here people are told cause and cure; and it loses the key
// of a request when it restarts, with which a token that was redeemed is lost too.
package hubidentity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// bootstrapPoll is how often the bootstrap kubeconfig is read: the kubelet replaces it without a word.
	bootstrapPoll = 5 * time.Second
	// answerPoll is how often the agent looks for the hub's answer, at first and after answerSoon.
	answerPoll, answerPollLater = 300 * time.Millisecond, 3 * time.Second
	answerSoon                  = 10 * time.Second
	// Waits after a failure, which double.
	retryFirst, retryMost = 2 * time.Second, time.Minute
	// retryReach is the longest wait for a hub that can't be reached.
	retryReach = 10 * time.Second
	// requestTimeout bounds each request to the hub.
	requestTimeout = 10 * time.Second
	// matter is what the herald calls all this.
	matter = "hub identity"
)

// Keeper of the identity. Of several agents the leader has one.
type Keeper struct {
	// Cluster is the name of this cluster in the fleet.
	Cluster string
	// Secret is the name of the Secret in tombolo-system.
	Secret string
	// Bootstrap is the path of the bootstrap kubeconfig; empty, or a file that is not there: nobody has a token.
	Bootstrap string
	// Spoke is this cluster.
	Spoke cluster.Cluster
	// Files is where the mirror reads.
	Files *Files
	// Herald tells people.
	Herald *herald.Herald
	// Leave says whether the cluster has left: then an identity that is gone stays gone. Nil: it stays.
	Leave *leave.Reader
	// Log of the keeper.
	Log logr.Logger

	woken chan struct{}
	// ahead is how far the hub's clock is before this one's.
	ahead skew
	// failed counts failures in a row; asked is when the request that waits was made.
	failed int
	asked  time.Time
	// tried is what the failures were about: another Secret or token is tried at once.
	tried string
	after time.Time
}

// NeedLeaderElection makes one agent per cluster ask for certificates.
func (k *Keeper) NeedLeaderElection() bool { return true }

// Start keeps the identity until ctx ends. Whatever the hub says is no error of the cluster's.
func (k *Keeper) Start(ctx context.Context) error {
	offerMetrics()
	defer func() {
		if err := k.Files.Remove(); err != nil {
			k.Log.Error(err, "Remove the files of the hub's identity")
		}
	}()
	k.woken = make(chan struct{}, 1)
	informer, err := k.Spoke.GetCache().GetInformer(ctx, &corev1.Secret{})
	if err != nil {
		return fmt.Errorf("watch Secret %s/%s: %w", local.Namespace, k.Secret, err)
	}
	wake := func() {
		select {
		case k.woken <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	})
	if err != nil {
		return fmt.Errorf("watch Secret %s/%s: %w", local.Namespace, k.Secret, err)
	}
	for ctx.Err() == nil {
		wait := k.step(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.woken:
		}
		timer.Stop()
	}
	return nil
}

// step does what is to be done now, and says when to look again at the latest.
func (k *Keeper) step(ctx context.Context) time.Duration {
	have, err := k.read(ctx)
	if err != nil {
		k.Log.Error(err, "Read the hub's identity")
		return bootstrapPoll
	}
	if gone, err := k.left(ctx, have); err != nil || gone {
		if err != nil {
			k.Log.Error(err, "Look whether the cluster has left")
		}
		return bootstrapPoll
	}
	boot, bootErr := readBootstrap(k.Bootstrap)
	now := time.Now().Add(k.ahead.get())
	c := decide(have, boot, k.Cluster, now)
	if bootErr != nil && !c.publish {
		c.news = bad(reasonBootstrap, "%v. Cure: make a token (%s), and run the command that it prints.", bootErr, invite(k.Cluster))
	}
	if c.publish {
		observeExpiry(have.certificate.NotAfter)
		if err := k.Files.publish(have.secret); err != nil {
			k.Log.Error(err, "Give the hub's identity to the mirror")
			return bootstrapPoll
		}
	}
	if c.action == stay {
		k.forget("")
		switch {
		case c.news != nil:
			k.tell(ctx, c.news)
		case c.publish:
			k.tell(ctx, &herald.News{Reason: reasonJoined, Message: fmt.Sprintf("The agent is known on the hub as the one of cluster %s until %s.", k.Cluster, stamp(have.certificate.NotAfter))})
		}
		if c.next.IsZero() {
			return bootstrapPoll
		}
		return max(min(c.next.Sub(now), bootstrapPoll), 0)
	}
	return k.act(ctx, c.action, have, boot)
}

// left is true when the cluster has left and its identity was deleted: the token that is still there must not be redeemed again.
func (k *Keeper) left(ctx context.Context, have identity) (bool, error) {
	if have.secret != nil || k.Leave == nil {
		return false, nil
	}
	s, err := k.Leave.State(ctx)
	return s.Leaving && s.Controller, err
}

// forget the failures that were about something else.
func (k *Keeper) forget(about string) {
	if k.tried != about {
		k.tried, k.failed, k.after, k.asked = about, 0, time.Time{}, time.Time{}
	}
}

// act asks the hub, unless that has just failed.
func (k *Keeper) act(ctx context.Context, do action, have identity, boot *bootstrap) time.Duration {
	about := string(do)
	if do == redeem {
		about += boot.hash
	}
	k.forget(about)
	if left := time.Until(k.after); left > 0 {
		return min(left, bootstrapPoll)
	}
	a := attempt{cluster: k.Cluster}
	config, err := k.hubConfig(do, boot)
	if err == nil {
		a.server = config.Host
		var done bool
		done, err = k.obtain(ctx, config, have, do, boot)
		k.tellClock(ctx)
		if done {
			k.failed, k.asked, k.after = 0, time.Time{}, time.Now().Add(retryMost) // whatever a signer gives, it is not asked again and again
			return 0                                                               // the next step publishes it
		}
	}
	if ctx.Err() != nil {
		return 0
	}
	if err == nil {
		return k.unanswered(ctx, a)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return answerPoll // somebody wrote the Secret meanwhile
	}
	if do == redeem {
		a.boot = boot
	}
	a.now, a.ahead = time.Now(), k.ahead.get()
	news := explain(err, a)
	k.tell(ctx, news)
	wait := min(retryFirst<<min(k.failed, 10), retryMost)
	if news.Reason == reasonUnreachable {
		wait = min(wait, retryReach)
	}
	k.failed++
	k.after = time.Now().Add(wait)
	return min(wait, bootstrapPoll)
}

// tellClock says when the hub's clock is another one.
func (k *Keeper) tellClock(ctx context.Context) {
	if text := clock(k.ahead.get()); text != "" {
		k.Herald.Tell(ctx, "clock", *bad(reasonClock, "The clocks of hub and cluster differ%s. Certificates are good from one moment to another: "+
			"by a clock that is wrong they are not yet good, or no longer. Cure: correct the clocks of the nodes, on both sides (NTP).", text))
	}
}

// unanswered is how long to wait for the hub's answer.
func (k *Keeper) unanswered(ctx context.Context, a attempt) time.Duration {
	if k.asked.IsZero() {
		k.asked = time.Now()
	}
	if time.Since(k.asked) < answerSoon {
		return answerPoll
	}
	k.tell(ctx, bad(reasonUnanswered, "The hub %s has not answered this agent's request for a certificate for %s. The agent goes on waiting. "+
		"Cure: look whether tombolo-hub runs there (kubectl -n tombolo-system get pods), and what it says (kubectl get csr).", a.server, time.Since(k.asked).Round(time.Second)))
	return answerPollLater
}

// hubConfig connects to the hub by the token, or by the identity that there is.
func (k *Keeper) hubConfig(do action, boot *bootstrap) (*rest.Config, error) {
	var config *rest.Config
	if do == redeem {
		config = rest.CopyConfig(boot.config)
	} else {
		var err error
		if config, err = clientcmd.BuildConfigFromFlags("", k.Files.Kubeconfig()); err != nil {
			return nil, fmt.Errorf("read the hub's kubeconfig: %w", err)
		}
	}
	config.Timeout = requestTimeout
	config.UserAgent = "tombolo-agent"
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &dated{next: next, skew: &k.ahead} })
	return config, nil
}

// obtain a certificate, or go on with that. The key is kept in the Secret before the hub hears of it: a token is good for one
// certificate, and an agent that dies in between must be able to use it.
func (k *Keeper) obtain(ctx context.Context, config *rest.Config, have identity, do action, boot *bootstrap) (done bool, err error) {
	key := have.pending
	if len(key) == 0 {
		if key, err = newKey(); err != nil {
			return false, err
		}
		if have.secret, err = k.write(ctx, withPending(have.secret, k.Secret, key)); err != nil {
			return false, err
		}
	}
	hub, err := hubClient(config, k.Spoke)
	if err != nil {
		return false, err
	}
	certificate, name, err := request{hub: hub, cluster: k.Cluster, key: key}.certificate(ctx)
	if _, no := errors.AsType[*denial](err); no {
		_, writeErr := k.write(ctx, withoutPending(have.secret)) // the next attempt is another request
		return false, errors.Join(err, writeErr)
	}
	if err != nil || certificate == nil {
		return false, err
	}
	g := granted{cluster: k.Cluster, certificate: certificate, key: key, redeemed: have.redeemed, kubeconfig: have.secret.Data["kubeconfig"]}
	if do == redeem {
		g.redeemed = boot.hash
		if g.kubeconfig, err = boot.kubeconfig(k.Cluster); err != nil {
			return false, err
		}
	}
	if _, err := k.write(ctx, withIdentity(have.secret, k.Secret, g)); err != nil {
		return false, err
	}
	k.Log.Info("The hub gave the agent a certificate", "request", name, "by", string(do))
	return true, nil
}

// read the Secret from the apiserver itself: a step must see what the one before it wrote.
func (k *Keeper) read(ctx context.Context) (identity, error) {
	secret := &corev1.Secret{}
	err := k.Spoke.GetAPIReader().Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: k.Secret}, secret)
	if apierrors.IsNotFound(err) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, fmt.Errorf("read Secret %s/%s: %w", local.Namespace, k.Secret, err)
	}
	return identityOf(secret), nil
}

// write makes the Secret, or changes it unless it has changed since it was read.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	var err error
	if secret.ResourceVersion == "" {
		err = k.Spoke.GetClient().Create(ctx, secret)
	} else {
		err = k.Spoke.GetClient().Update(ctx, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("write Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return secret, nil
}

func (k *Keeper) tell(ctx context.Context, n *herald.News) {
	observeState(n.Reason)
	k.Herald.Tell(ctx, matter, *n)
}

// hubClient knows requests for certificates, and needs no discovery for them.
func hubClient(config *rest.Config, spoke cluster.Cluster) (client.Client, error) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"), meta.RESTScopeRoot)
	hub, err := client.New(config, client.Options{Scheme: spoke.GetScheme(), Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make hub client: %w", err)
	}
	return hub, nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// A cluster believes one hub: the first that it was told by, until it is joined anew. The copy of its own InterconnectGateway remembers which.

const (
	// annotationTrustedHub on the copy of the own InterconnectGateway is the identity of the hub that the cluster is joined to.
	annotationTrustedHub = "spoke.tombolo.io/trusted-hub"
	// annotationJoined on it tells one hub's address and certificate authority from another's: those of the kubeconfig by which the hub was found.
	annotationJoined = "spoke.tombolo.io/joined"
	// maxNamed objects are named in a condition.
	maxNamed = 5
)

// origin is which hub wrote an object, and in which epoch. Hubs before 0.3 don't say.
type origin struct {
	uid   string
	epoch int64
}

func originOf(o client.Object) origin {
	if g, is := o.(*spokev1alpha1.InterconnectGateway); is {
		return origin{g.Spec.Hub.UID, g.Spec.Hub.Epoch}
	}
	epoch, err := strconv.ParseInt(o.GetAnnotations()[spokev1alpha1.AnnotationHubEpoch], 10, 64)
	if err != nil {
		epoch = 0
	}
	return origin{o.GetAnnotations()[spokev1alpha1.AnnotationHub], epoch}
}

// trust is whom the cluster believes.
type trust struct {
	// hub that the cluster is joined to; empty while it believes any.
	hub string
	// restored is the epoch since which that hub's word counts although it had gone back.
	restored int64
}

// believes is true for what may come from the hub.
func (t trust) believes(o origin) bool { return t.hub == "" || o.uid == "" || t.hub == o.uid }

// whom reads from the copy of the own InterconnectGateway whom the cluster believes. joined is the fingerprint of the hub that it is connected to:
// another one than when the hub was found means that an administrator has joined the cluster to another hub, whoever that says it is.
func whom(ctx context.Context, spoke client.Reader, cluster, joined string) (trust, error) {
	own := &spokev1alpha1.InterconnectGateway{}
	err := spoke.Get(ctx, localKey(cluster), own)
	if apierrors.IsNotFound(err) {
		return trust{}, nil
	}
	if err != nil {
		return trust{}, fmt.Errorf("get copy of the own InterconnectGateway: %w", err)
	}
	if was := own.Annotations[annotationJoined]; was != "" && was != joined {
		return trust{}, nil
	}
	return trust{hub: own.Annotations[annotationTrustedHub], restored: own.Spec.Hub.RestoredEpoch}, nil
}

// pin makes the cluster believe the hub whose word the copy of the own InterconnectGateway is.
func pin(copy *spokev1alpha1.InterconnectGateway, joined string) {
	if copy.Spec.Hub.UID != "" {
		copy.Annotations[annotationTrustedHub], copy.Annotations[annotationJoined] = copy.Spec.Hub.UID, joined
	}
}

// fingerprintOf tells one hub's address and certificate authority from another's.
func fingerprintOf(config *rest.Config) (string, error) {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", fmt.Errorf("read what the hub's kubeconfig names: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q ", config.Host, config.ServerName)
	sum.Write(config.CAData)
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// behind is true for what is older than its copy: of an earlier epoch of the same hub, or an earlier generation. What a hub says that went back, and was
// confirmed to be right since, is not.
func (s sides) behind() bool {
	is, was := originOf(s.hub), originOf(s.copy)
	sameObject := local.HubUID(s.copy) == string(s.hub.GetUID())
	older := sameObject && s.hub.GetGeneration() < local.HubGeneration(s.copy)
	if is.uid == was.uid {
		older = older || is.epoch < was.epoch
	}
	confirmed := s.trust.restored > 0 && is.epoch >= s.trust.restored && was.epoch < s.trust.restored
	return older && !confirmed
}

// hubTrusted sums up whom the cluster refuses to believe, for the hub and for its own people. verdict is that on the own InterconnectGateway.
func hubTrusted(hub, copy *spokev1alpha1.InterconnectGateway, v verdict, routers []spokev1alpha1.LocalRouter) metav1.Condition {
	c := metav1.Condition{
		Type: spokev1alpha1.ConditionHubTrusted, Status: metav1.ConditionTrue, ObservedGeneration: hub.Generation,
		Reason: spokev1alpha1.ReasonTrusted, Message: "The cluster takes what the hub says.",
	}
	switch v {
	case foreign:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, spokev1alpha1.ReasonForeignHub, foreignMessage(copy, hub.Spec.Hub.UID)
		return c
	case older:
		c.Status, c.Reason = metav1.ConditionFalse, spokev1alpha1.ReasonWentBack
		c.Message = fmt.Sprintf("The cluster has seen epoch %d and generation %d of its InterconnectGateway, and the hub has epoch %d and generation %d: it keeps what it has. "+
			"Cure: on the hub, kubectl tombolo confirm.", copy.Spec.Hub.Epoch, local.HubGeneration(copy), hub.Spec.Hub.Epoch, hub.Generation)
		return c
	}
	var names []string
	for i := range routers {
		p := meta.FindStatusCondition(routers[i].Status.Conditions, spokev1alpha1.ConditionProgrammed)
		refused := p != nil && p.Status == metav1.ConditionFalse && p.Reason == spokev1alpha1.ReasonWentBack
		// What bears an epoch of before the confirmation is written again by the hub, and no new doubt.
		if refused && originOf(&routers[i]).epoch >= hub.Spec.Hub.RestoredEpoch {
			names = append(names, routers[i].Name)
		}
	}
	if len(names) == 0 {
		return c
	}
	c.Status, c.Reason = metav1.ConditionFalse, spokev1alpha1.ReasonWentBack
	c.Message = fmt.Sprintf("The cluster has newer copies of %d LocalRouters (%s) than the hub, and keeps them. Cure: on the hub, kubectl tombolo confirm.",
		len(names), strings.Join(names[:min(len(names), maxNamed)], ", "))
	return c
}

func foreignMessage(own *spokev1alpha1.InterconnectGateway, uid string) string {
	trusted := ""
	if own != nil {
		trusted = own.Annotations[annotationTrustedHub]
	}
	return fmt.Sprintf("Another hub (UID %s) says this than the one that the cluster is joined to (UID %s): the cluster keeps what it has, and deletes nothing. Cure: bring the right hub back; "+
		"or join the cluster to the new one (kubectl tombolo join), and when that has the address and certificate authority of the old one, in the cluster: "+
		"kubectl -n %s annotate --overwrite interconnectgateway --selector %s=true %s=%s", uid, trusted, local.Namespace, local.LabelOwn, annotationTrustedHub, uid)
}

// observedEpoch is the highest epoch that the cluster has seen of the hub that it believes.
func observedEpoch(hub *spokev1alpha1.InterconnectGateway, copies []spokev1alpha1.InterconnectGateway, routers []spokev1alpha1.LocalRouter) int64 {
	highest := hub.Status.ObservedEpoch
	see := func(o origin) {
		if o.uid != "" && o.uid == hub.Spec.Hub.UID {
			highest = max(highest, o.epoch)
		}
	}
	for i := range copies {
		see(originOf(&copies[i]))
	}
	for i := range routers {
		see(originOf(&routers[i]))
	}
	return highest
}

// sayTrust tells of a hub that is not believed.
func sayTrust(ctx context.Context, h *herald.Herald, c metav1.Condition) {
	if c.Status != metav1.ConditionTrue {
		h.Tell(ctx, "hub", herald.News{Bad: true, Reason: c.Reason, Message: c.Message})
	}
}

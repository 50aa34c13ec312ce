// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package herald tells the cluster's administrator what keeps the agent from its work: in the log, and as events of the
// agent's own Deployment. It does not repeat itself more often than helps.
package herald

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// deployment of the agent that speaks for the cluster.
	deployment = "tombolo-agent-controller"

	// What goes on is logged and told again after this time.
	logAgain   = 30 * time.Second
	eventAgain = 10 * time.Minute

	// maxNote is the longest note of an event.
	maxNote = 1024
)

// News of one matter. Message has the cause and, of what is bad, the cure.
type News struct {
	Bad             bool
	Reason, Message string
}

// Herald of one agent.
type Herald struct {
	// Recorder of events.
	Recorder events.EventRecorder
	// Reader of the Deployment's UID, by which `kubectl describe` finds its events.
	Reader client.Reader
	// Log of the agent.
	Log logr.Logger

	mu   sync.Mutex
	told map[string]*told
	self *appsv1.Deployment
}

// told is what was said of a matter last, and when.
type told struct {
	reason        string
	logged, event time.Time
}

// Tell the news of a matter, such as "hub identity". That something is well is said once.
func (h *Herald) Tell(ctx context.Context, matter string, n News) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == nil {
		h.told = map[string]*told{}
	}
	t, now := h.told[matter], time.Now()
	if t == nil || t.reason != n.Reason {
		t = &told{reason: n.Reason}
		h.told[matter] = t
	}
	if t.logged.IsZero() || n.Bad && now.Sub(t.logged) >= logAgain {
		h.Log.Info(n.Message, "matter", matter, "reason", n.Reason)
		t.logged = now
	}
	if t.event.IsZero() || n.Bad && now.Sub(t.event) >= eventAgain {
		kind := corev1.EventTypeNormal
		if n.Bad {
			kind = corev1.EventTypeWarning
		}
		h.Recorder.Eventf(h.deployment(ctx), nil, kind, n.Reason, "Join", "%s", n.Message[:min(len(n.Message), maxNote)])
		t.event = now
	}
}

// deployment is the agent's, with its UID as soon as it can be read.
func (h *Herald) deployment(ctx context.Context) *appsv1.Deployment {
	if h.self != nil {
		return h.self
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: deployment}}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	if err := h.Reader.Get(ctx, client.ObjectKeyFromObject(d), meta); err == nil {
		d.UID = meta.UID
		h.self = d
	}
	return d
}

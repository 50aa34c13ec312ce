// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

const api = "/apis/spoke.tombolo.io/v1alpha1"

// agent does what the real one does with the hub: it watches its LocalRouters and the directory, and answers each new generation.
type agent struct {
	cluster string
	client  *http.Client
	server  string
	// seen is told of every router that comes.
	seen func(cluster string, router *spokev1alpha1.LocalRouter)
	// watching is how many of its watches have all there is.
	watching atomic.Int32
	watches  int32
	// own is what it tells of itself; only a cluster's agent has it.
	own own
}

// newAgent has the identity that the hub gives to a cluster, and a connection of its own.
func (b *bench) newAgent(cluster string) (*agent, error) {
	// With the group of the add-on's agents everywhere, as OCM's registration gives it.
	groups := []string{spokev1alpha1.AgentGroup(cluster), "system:open-cluster-management:addon:tombolo"}
	pair, err := b.servers.plane.CA().Client(spokev1alpha1.AgentUser(cluster), groups)
	if err != nil {
		return nil, err
	}
	config := &rest.Config{
		Host: b.servers.config.Host, Dial: netns.DialContext(namespace),
		TLSClientConfig: rest.TLSClientConfig{CAData: b.servers.plane.CA().PEM(), CertData: pair.Cert, KeyData: pair.Key},
	}
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	a := &agent{cluster: cluster, client: c, server: config.Host, seen: b.saw}
	a.own = own{routers: map[string]spokev1alpha1.Hold{}, news: make(chan struct{}, 1)}
	return a, nil
}

// run watches until ctx ends: its LocalRouters, and its own InterconnectGateway or those of all clusters.
func (a *agent) run(ctx context.Context, directory bool) {
	a.watches = 2
	gateways := api + "/namespaces/" + a.cluster + "/interconnectgateways"
	if directory {
		gateways = api + "/interconnectgateways"
	}
	go a.report(ctx)
	go a.watch(ctx, gateways, a.gateway)
	a.watch(ctx, api+"/namespaces/"+a.cluster+"/localrouters", func(kind string, object json.RawMessage) error { return a.router(ctx, kind, object) })
}

func (a *agent) ready() bool { return a.watching.Load() == a.watches }

// watch lists and then watches by one request (KEP-3157), as client-go does; after an error again, from the last version when that still is there.
func (a *agent) watch(ctx context.Context, path string, handle func(kind string, object json.RawMessage) error) {
	version, synced := "", false
	for ctx.Err() == nil {
		err := a.stream(ctx, path, &version, &synced, handle)
		if synced {
			synced = false
			a.watching.Add(-1)
		}
		if err != nil && ctx.Err() == nil {
			if _, gone := errors.AsType[*goneError](err); gone {
				version = ""
			}
			time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
		}
	}
}

// goneError says that the server does not have the version any more.
type goneError struct{ message string }

func (e *goneError) Error() string { return e.message }

func (a *agent) stream(ctx context.Context, path string, version *string, synced *bool, handle func(string, json.RawMessage) error) error {
	query := url.Values{"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {*version}}
	if *version == "" {
		query["sendInitialEvents"], query["resourceVersionMatch"] = []string{"true"}, []string{"NotOlderThan"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refused(response)
	}
	if *version != "" {
		*synced = true
		a.watching.Add(1)
	}
	decoder := json.NewDecoder(response.Body)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		var meta struct {
			Code     int               `json:"code"`
			Message  string            `json:"message"`
			Metadata metav1.ObjectMeta `json:"metadata"`
		}
		if err := json.Unmarshal(event.Object, &meta); err != nil {
			return err
		}
		switch event.Type {
		case "ERROR":
			if meta.Code == http.StatusGone {
				return &goneError{meta.Message}
			}
			return errors.New(meta.Message)
		case "BOOKMARK":
			if meta.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true" && !*synced {
				*synced = true
				a.watching.Add(1)
			}
		default:
			if err := handle(event.Type, event.Object); err != nil {
				return err
			}
		}
		*version = meta.Metadata.ResourceVersion
	}
}

func refused(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusGone {
		return &goneError{string(text)}
	}
	return fmt.Errorf("%s: %s", response.Status, text)
}

// router realizes a router at once; one under deletion goes, and one that is gone is not held any more.
func (a *agent) router(ctx context.Context, kind string, object json.RawMessage) error {
	router := &spokev1alpha1.LocalRouter{}
	if err := json.Unmarshal(object, router); err != nil {
		return err
	}
	switch {
	case kind == "DELETED":
		a.own.drop(router)
		return nil
	case router.DeletionTimestamp != nil:
		return a.patch(ctx, api+"/namespaces/"+a.cluster+"/localrouters/"+router.Name, map[string]any{"metadata": map[string]any{"finalizers": nil}})
	}
	a.own.keep(router)
	a.seen(a.cluster, router)
	if router.Status.ObservedGeneration == router.Generation {
		return nil
	}
	return a.answer(ctx, router)
}

// answer tells the hub that a router's newest generation is realized.
func (a *agent) answer(ctx context.Context, router *spokev1alpha1.LocalRouter) error {
	status := spokev1alpha1.LocalRouterStatus{ObservedGeneration: router.Generation, Conditions: []metav1.Condition{{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed", ObservedGeneration: router.Generation,
		LastTransitionTime: metav1.Now().Rfc3339Copy(), Message: "The router is in OVN.",
	}}}
	return a.patch(ctx, api+"/namespaces/"+a.cluster+"/localrouters/"+router.Name+"/status", map[string]any{"status": status})
}

func (a *agent) patch(ctx context.Context, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, a.server+path, strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("patch %s: %w", path, refused(response))
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

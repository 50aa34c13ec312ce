// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// cell is one thing that somebody may try.
type cell struct {
	kind *kind
	// verb as RBAC has it; a patch says which: "patch json".
	verb string
	// sub is the subresource.
	sub string
	// place is the namespace, empty for all or none; name that of the object, empty for lists.
	place, name string
	// forges is what the write wants to be other than it is.
	forges string
}

func (c cell) String() string {
	target := c.kind.plural
	if c.sub != "" {
		target += "/" + c.sub
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s/%s %s", c.verb, target, c.place, c.name, c.forges))
}

func (c cell) reads() bool { return slices.Contains([]string{"get", "list", "watch"}, c.verb) }

// forgeries are what a write may want to change. "nothing" is a write of what is there.
var forgeries = map[string]func(k *kind, o *unstructured.Unstructured){
	"nothing": func(*kind, *unstructured.Unstructured) {},
	"label": func(_ *kind, o *unstructured.Unstructured) {
		o.SetLabels(with(o.GetLabels(), "tombolo.io/forged", "yes"))
	},
	"annotation": func(_ *kind, o *unstructured.Unstructured) {
		o.SetAnnotations(with(o.GetAnnotations(), "tombolo.io/forged", "yes"))
	},
	"ownerReference": func(_ *kind, o *unstructured.Unstructured) {
		o.SetOwnerReferences(append(o.GetOwnerReferences(), metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "forged", UID: "forged"}))
	},
	"finalizer": func(_ *kind, o *unstructured.Unstructured) {
		o.SetFinalizers(append(o.GetFinalizers(), "tombolo.io/forged"))
	},
	"finalizer of another off": func(_ *kind, o *unstructured.Unstructured) {
		o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f != spokev1alpha1.Finalizer }))
	},
	"finalizer off": func(_ *kind, o *unstructured.Unstructured) {
		o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == spokev1alpha1.Finalizer }))
	},
	"spec":   func(k *kind, o *unstructured.Unstructured) { k.spec.set(o) },
	"status": func(k *kind, o *unstructured.Unstructured) { k.status.set(o) },
}

func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

func (f field) set(o *unstructured.Unstructured) {
	if err := unstructured.SetNestedField(o.Object, f.value, strings.Split(f.path, ".")...); err != nil {
		panic(fmt.Sprintf("set %s of %s: %v", f.path, o.GetKind(), err))
	}
}

// applies is whether a forgery makes sense for a kind.
func applies(k *kind, forgery string) bool {
	if !k.ours() { // no policy of ours judges what a write to these changes: RBAC forbids it whole, or it does not
		return forgery == "nothing" || forgery == "label" || forgery == "spec" && k.spec.path != ""
	}
	switch forgery {
	case "spec":
		return k.spec.path != ""
	case "status":
		return k.status.path != ""
	}
	return true
}

// cells are all that may be tried with these kinds.
func cells(list []*kind) []cell {
	var all []cell
	for _, k := range list {
		if !k.cluster {
			all = append(all, cell{kind: k, verb: "list"}, cell{kind: k, verb: "watch"})
		}
		for _, place := range k.places() {
			for _, verb := range []string{"list", "watch", "deletecollection"} {
				if k.plural == "namespaces" && verb == "deletecollection" {
					continue // the API server has no such request
				}
				all = append(all, cell{kind: k, verb: verb, place: place})
			}
			for _, verb := range []string{"create", "patch apply"} {
				all = append(all, cell{kind: k, verb: verb, place: place, name: k.fresh(), forges: "nothing"})
			}
			for _, name := range k.namesIn(place) {
				all = append(all, cellsOf(k, place, name)...)
			}
		}
	}
	return all
}

// thin are those cells that are enough for who may hardly do anything: every kind, verb and place, and few forgeries.
func thin(all []cell) []cell {
	return slices.DeleteFunc(slices.Clone(all), func(c cell) bool { return !slices.Contains([]string{"", "nothing", "status", "spec"}, c.forges) })
}

// fresh is a name that no object has.
func (k *kind) fresh() string {
	if k.plural == "customresourcedefinitions" {
		return "news.example.com"
	}
	if k.plural == "ipaddresses" { // the name is the address
		return "new.203-0-113-7"
	}
	return "new"
}

// cellsOf are those of one object.
func cellsOf(k *kind, place, name string) []cell {
	var all []cell
	add := func(verb, sub, forges string) {
		all = append(all, cell{kind: k, verb: verb, sub: sub, place: place, name: name, forges: forges})
	}
	subs, patches := []string{""}, []string{"patch json", "patch merge", "patch apply"}
	if k.ours() {
		subs = append(subs, "status", "scale", "finalizers")
	} else {
		patches = append(patches, "patch strategic")
	}
	add("delete", "", "")
	for _, sub := range subs {
		add("get", sub, "")
		for forgery := range forgeries {
			if !applies(k, forgery) || (sub == "scale" || sub == "finalizers") && forgery != "nothing" && forgery != "status" {
				continue
			}
			for _, verb := range append([]string{"update"}, patches...) {
				add(verb, sub, forgery)
			}
		}
	}
	return all
}

// try does it, as a dry run. A write returns what the object would be.
func (c cell) try(ctx context.Context, as dynamic.Interface, now *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r := c.kind.resource()
	on := dynamic.ResourceInterface(as.Resource(r))
	if c.place != "" {
		on = as.Resource(r).Namespace(c.place)
	}
	var subs []string
	if c.sub != "" {
		subs = []string{c.sub}
	}
	switch c.verb {
	case "get":
		return on.Get(ctx, c.name, metav1.GetOptions{}, subs...)
	case "list":
		_, err := on.List(ctx, metav1.ListOptions{Limit: 1})
		return nil, err
	case "watch":
		w, err := on.Watch(ctx, metav1.ListOptions{})
		if err == nil {
			w.Stop()
		}
		return nil, err
	case "delete":
		return nil, on.Delete(ctx, c.name, metav1.DeleteOptions{DryRun: dry}, subs...)
	case "deletecollection":
		return nil, on.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{})
	case "create":
		return on.Create(ctx, c.kind.object(c.place, c.name), metav1.CreateOptions{DryRun: dry}, subs...)
	}
	if now == nil {
		now = c.kind.object(c.place, c.name)
	}
	forged := now.DeepCopy()
	forgeries[c.forges](c.kind, forged)
	if c.verb == "update" {
		return on.Update(ctx, forged, metav1.UpdateOptions{DryRun: dry}, subs...)
	}
	kind, patch, err := c.patch(now, forged)
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{DryRun: dry}
	if kind == types.ApplyPatchType {
		options.FieldManager, options.Force = "matrix", new(true)
	}
	return on.Patch(ctx, c.name, kind, patch, options, subs...)
}

// patch is the difference of two objects in the form that the verb names.
func (c cell) patch(now, forged *unstructured.Unstructured) (types.PatchType, []byte, error) {
	switch c.verb {
	case "patch json":
		var operations []map[string]any
		for _, key := range []string{"metadata", "spec", "status"} {
			if value, ok := forged.Object[key]; ok {
				operations = append(operations, map[string]any{"op": "add", "path": "/" + key, "value": value})
			}
		}
		patch, err := json.Marshal(operations)
		return types.JSONPatchType, patch, err
	case "patch apply":
		forged.SetManagedFields(nil)
		forged.SetResourceVersion("")
		patch, err := json.Marshal(forged)
		return types.ApplyPatchType, patch, err
	}
	patch, err := client.MergeFrom(now).Data(forged)
	if c.verb == "patch strategic" {
		return types.StrategicMergePatchType, patch, err
	}
	return types.MergePatchType, patch, err
}

// done is true when the answer of a write has what the write wanted.
func (c cell) done(now, answer *unstructured.Unstructured) bool {
	if c.forges == "" || c.forges == "nothing" {
		return true
	}
	if answer == nil {
		return false
	}
	// Forging once more what is forged already changes nothing but lists that get longer.
	got := func(o *unstructured.Unstructured) any {
		switch c.forges {
		case "label":
			return o.GetLabels()["tombolo.io/forged"]
		case "annotation":
			return o.GetAnnotations()["tombolo.io/forged"]
		case "ownerReference":
			return fmt.Sprint(len(o.GetOwnerReferences()))
		case "spec":
			return c.kind.spec.of(o)
		case "status":
			return c.kind.status.of(o)
		}
		return strings.Join(o.GetFinalizers(), ",")
	}
	return got(answer) != got(now)
}

func (f field) of(o *unstructured.Unstructured) string {
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, strings.Split(f.path, ".")...)
	return fmt.Sprint(value)
}

// request is a certificate request, in PEM and base64.
var request = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "somebody"}}, key)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: raw}))
}()

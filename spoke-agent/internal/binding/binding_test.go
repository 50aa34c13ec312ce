// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func router(namespace, name string, modify ...func(*spokev1alpha1.LocalRouter)) spokev1alpha1.LocalRouter {
	r := spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "." + name},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc:     spokev1alpha1.VpcIdentity{Namespace: namespace, Name: name},
			Subnets: []spokev1alpha1.RouterSubnet{{Name: name + "-a"}, {Name: name + "-b", Default: true}},
		},
	}
	for _, m := range modify {
		m(&r)
	}
	return r
}

func binds(namespaces ...string) func(*spokev1alpha1.LocalRouter) {
	return func(r *spokev1alpha1.LocalRouter) { r.Spec.Namespaces = namespaces }
}

func TestResolve(t *testing.T) {
	deleting := func(r *spokev1alpha1.LocalRouter) { r.DeletionTimestamp = new(metav1.Now()) }
	younger := func(r *spokev1alpha1.LocalRouter) {
		r.CreationTimestamp = metav1.NewTime(time.Unix(1_800_000_000, 0))
	}
	noDefault := func(r *spokev1alpha1.LocalRouter) { r.Spec.Subnets[1].Default = false }
	subnetBinds := func(r *spokev1alpha1.LocalRouter) { r.Spec.Subnets[0].Namespaces = []string{"demo"} }

	cases := map[string]struct {
		reason  string
		routers []spokev1alpha1.LocalRouter
		subnet  string // annotation on the pod
		consent string // annotation on the Namespace
		pod     func(*corev1.Pod)
		want    string // SubnetKey
		wantErr []string
	}{
		"Unbound": {
			reason:  "a pod whose namespace no Vpc names is not ours",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v")},
		},
		"Annotation": {
			reason:  "the pod's annotation names a Subnet of its own tenant",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v")}, subnet: "v-a", want: "demo/v-a",
		},
		"AnnotationFull": {
			reason:  "its own namespace may be written out",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v")}, subnet: "demo/v-a", want: "demo/v-a",
		},
		"AnnotationUnknown": {
			reason:  "a name that is not there must not fall back to another network",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, subnet: "net9",
			wantErr: []string{networkv1alpha1.AnnotationSubnet, `"net9"`, "demo/net9", "name a Subnet"},
		},
		"AnnotationForeignNotShared": {
			reason:  "a tenant can't walk into another's Vpc by naming it",
			routers: []spokev1alpha1.LocalRouter{router("shop", "v")}, subnet: "shop/v-a", consent: "shop/v",
			wantErr: []string{`"shop/v-a"`, "not shared", "spec.namespaces"},
		},
		"AnnotationForeignNoConsent": {
			reason:  "nor can a Vpc take another tenant's pods without that tenant's word",
			routers: []spokev1alpha1.LocalRouter{router("shop", "v", binds("demo"))}, subnet: "shop/v-a",
			wantErr: []string{"does not consent", "tombolo.io/vpc=shop/v"},
		},
		"AnnotationForeign": {
			reason:  "both sides agree",
			routers: []spokev1alpha1.LocalRouter{router("shop", "v", binds("demo"))}, subnet: "shop/v-a", consent: "shop/v", want: "shop/v-a",
		},
		"Namespace": {
			reason:  "a bound namespace joins the default Subnet",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, want: "demo/v-b",
		},
		"NamespaceBySubnet": {
			reason:  "a Subnet that names the namespace comes before the default one",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"), subnetBinds)}, want: "demo/v-a",
		},
		"NamespaceNoDefault": {
			reason:  "a bound pod must not start on an open network because nobody chose a Subnet",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"), noDefault)},
			wantErr: []string{`"demo"`, "demo/v", "spec.default"},
		},
		"NamespaceForeignNoConsent": {
			reason:  "being listed by another tenant changes nothing",
			routers: []spokev1alpha1.LocalRouter{router("shop", "v", binds("demo"))},
		},
		"NamespaceForeign": {
			reason:  "the Namespace chose another tenant's Vpc over its own",
			routers: []spokev1alpha1.LocalRouter{router("demo", "own", binds("demo")), router("shop", "v", binds("demo"))}, consent: "shop/v", want: "shop/v-b",
		},
		"NamespaceTwice": {
			reason:  "the older Vpc keeps its pods while another takes over",
			routers: []spokev1alpha1.LocalRouter{router("demo", "a", binds("demo"), younger), router("demo", "b", binds("demo"))}, want: "demo/b-b",
		},
		"Deleting": {
			reason:  "a router under deletion takes nobody",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"), deleting)},
		},
		"HostNetwork": {
			reason:  "a pod of the host's network has no interface of its own",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, pod: func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		},
		"Finished": {
			reason:  "a finished pod gives its address back",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		},
		"StartedElsewhere": {
			reason:  "a pod that runs on the cluster's own network stays there",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, pod: func(p *corev1.Pod) { p.Status.PodIP = "10.9.0.1" },
		},
		"StartedHere": {
			reason:  "a pod that runs in the Vpc stays in it",
			routers: []spokev1alpha1.LocalRouter{router("demo", "v", binds("demo"))}, want: "demo/v-b",
			pod: func(p *corev1.Pod) {
				p.Status.PodIP = "10.0.0.2"
				p.Annotations[networkv1alpha1.AnnotationNetwork] = "{}"
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p", Annotations: map[string]string{}}}
			if tc.subnet != "" {
				pod.Annotations[networkv1alpha1.AnnotationSubnet] = tc.subnet
			}
			if tc.pod != nil {
				tc.pod(pod)
			}
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
			if tc.consent != "" {
				namespace.Annotations = map[string]string{networkv1alpha1.AnnotationVpc: tc.consent}
			}
			got, err := NewIndex(tc.routers).Resolve(pod, namespace)
			key := ""
			if got != nil {
				key = got.SubnetKey()
			}
			if key != tc.want || (err != nil) != (tc.wantErr != nil) {
				t.Errorf("%s: got %q, %v, want %q", tc.reason, key, err, tc.want)
			}
			for _, part := range tc.wantErr {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error %q does not say %q", tc.reason, err, part)
				}
			}
		})
	}
}

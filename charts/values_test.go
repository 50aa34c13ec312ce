// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestBadValues: whoever gives a wrong value reads which, and what to write instead.
func TestBadValues(t *testing.T) {
	const east = "clusterName: east\n"
	for name, test := range map[string]struct {
		reason, chart, namespace, values string
		want                             []string
	}{
		"HubNamespace":   {"agents know the hub's by name", Hub, "default", `{}`, []string{`namespace "default"`, "tombolo-system", "--namespace"}},
		"AgentNamespace": {"roles and policies are bound to it", SpokeAgent, "kube-system", east, []string{`namespace "kube-system"`, "tombolo-system", "--namespace"}},
		"UnknownHub":     {"a slip of the pen is not passed over", Hub, "", `{replica: 3}`, []string{"additional properties 'replica' not allowed"}},
		"UnknownAgent":   {"a slip deep down neither", SpokeAgent, "", east + `node: {podMtu: 1400}`, []string{"/node", "additional properties 'podMtu' not allowed"}},
		"NoCluster":      {"nobody else knows the name", SpokeAgent, "", `{}`, []string{"clusterName is empty", "--set clusterName=NAME"}},
		"ClusterName":    {"it is a namespace on the hub", SpokeAgent, "", `{clusterName: East_1}`, []string{`clusterName "East_1" is no DNS label`, "a-z"}},
		"LongName":       {"63 characters are the limit", SpokeAgent, "", `{clusterName: ` + strings.Repeat("a", 64) + `}`, []string{"is no DNS label", "at most 63"}},
		"NoToken":        {"half an invitation", SpokeAgent, "", east + `hub: {bootstrap: {server: "https://hub:6443"}}`, []string{"hub.bootstrap.token is empty", "kubectl tombolo join"}},
		"NoServer":       {"the other half", SpokeAgent, "", east + `hub: {bootstrap: {token: x}}`, []string{"hub.bootstrap.server is empty", "kubectl tombolo join"}},
		"OnlyCA":         {"a CA of nobody", SpokeAgent, "", east + `hub: {bootstrap: {caData: x}}`, []string{"hub.bootstrap.server is empty"}},
		"PlainHTTP":      {"a token is not sent in the clear", SpokeAgent, "", east + `hub: {bootstrap: {server: "http://hub:6443", token: x}}`, []string{`hub.bootstrap.server "http://hub:6443" is no https URL`}},
		"CAIsPEM":        {"PEM goes in as base64", SpokeAgent, "", east + `hub: {bootstrap: {server: "https://hub", token: x, caData: "-----BEGIN CERTIFICATE-----"}}`, []string{"hub.bootstrap.caData", "base64"}},
		"CAIsNone":       {"base64 of something else", SpokeAgent, "", east + `hub: {bootstrap: {server: "https://hub", token: x, caData: aGVsbG8=}}`, []string{"hub.bootstrap.caData", "no certificate"}},
		"TLSProxy":       {"a proxy's own TLS would need another CA", SpokeAgent, "", east + `hub: {proxy: {httpsProxy: "https://proxy:3129"}}`, []string{`hub.proxy.httpsProxy "https://proxy:3129"`, "http://HOST:PORT"}},
		"ProxyPassword":  {"values are no place for it", SpokeAgent, "", east + `hub: {proxy: {httpsProxy: "http://me:secret@proxy:3129"}}`, []string{"without a password"}},
		"NoProxyAlone":   {"exceptions of nothing", SpokeAgent, "", east + `hub: {proxy: {noProxy: [a]}}`, []string{"httpsProxy is empty"}},
		"Northbound":     {"OVN's way to write it", SpokeAgent, "", east + `ovn: {northbound: "192.0.2.1:6641"}`, []string{`ovn.northbound "192.0.2.1:6641"`, "tcp:HOST:PORT"}},
		"SecondOne":      {"each of several is looked at", SpokeAgent, "", east + `ovn: {northbound: "tcp:192.0.2.1:6641,192.0.2.2:6641"}`, []string{`ovn.northbound "192.0.2.2:6641"`}},
		"NoCertificates": {"ssl: needs some", SpokeAgent, "", east + `ovn: {northbound: "ssl:192.0.2.1:6641"}`, []string{"needs certificates", "ovn.tls.secretName"}},
		"NotEncrypted":   {"who gives certificates wants encryption", SpokeAgent, "", east + `ovn: {northbound: "tcp:192.0.2.1:6641", tls: {secretName: ovn}}`, []string{"ovn.tls.secretName", "nothing would be encrypted"}},
		"Reserved":       {"a range and not an address", SpokeAgent, "", east + `controller: {reservedCIDRs: [10.96.0.1]}`, []string{`controller.reservedCIDRs "10.96.0.1" is no IPv4 CIDR`, "10.96.0.0/12"}},
		"SamePort":       {"two servers, one port", SpokeAgent, "", east + `node: {metricsPort: 9518}`, []string{"node.metricsPort and node.healthPort are both 9518"}},
		"MTU":            {"RFC 791", SpokeAgent, "", east + `node: {podMTU: 100}`, []string{"/node/podMTU", "minimum"}},
		"LogLevel":       {"one of four", SpokeAgent, "", east + `node: {logLevel: trace}`, []string{"/node/logLevel", "'debug', 'info', 'warn', 'error'"}},
		"Port":           {"16 bits", SpokeAgent, "", east + `node: {wireguardPort: 70000}`, []string{"/node/wireguardPort", "maximum"}},
		"Interface":      {"the kernel's limit", SpokeAgent, "", east + `node: {endpointInterface: a-very-long-name}`, []string{"/node/endpointInterface", "maxLength"}},
		"RunDir":         {"a path of the node", SpokeAgent, "", east + `ovs: {runDir: openvswitch}`, []string{"/ovs/runDir", "pattern"}},
		"Text":           {"a number and not a word", Hub, "", `{replicas: two}`, []string{"/replicas", "want integer"}},
		"NoReplicas":     {"none does nothing", Hub, "", `{replicas: 0}`, []string{"/replicas", "minimum"}},
		"Digest":         {"a whole one", Hub, "", `{image: {digest: "sha256:abc"}}`, []string{"/image/digest", "pattern"}},
		"NoOperator":     {"said before the apiserver says it of each object", Hub, "", `{monitoring: {serviceMonitor: {enabled: true}}}`, []string{"monitoring.serviceMonitor.enabled true", "install the Prometheus operator first"}},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := test.namespace
			if namespace == "" {
				namespace = Namespace
			}
			_, err := render(test.chart, namespace, values(t, test.values), nil)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q: %s\n%v", want, test.reason, err)
				}
			}
		})
	}
}

// TestUser: the controller is nobody, unless it has to talk to a socket of root's.
func TestUser(t *testing.T) {
	for name, test := range map[string]struct {
		reason, values, want string
	}{
		"TCP":    {"any user can", `ovn: {northbound: "tcp:192.0.2.1:6641"}`, "runAsUser: 65532"},
		"Socket": {"OVN's packages make it root's", `ovn: {northbound: "unix:/run/ovn/ovnnb_db.sock"}`, "runAsUser: 0"},
		"Both":   {"one of them is enough", `ovn: {northbound: "tcp:192.0.2.1:6641,unix:/run/ovn/ovnnb_db.sock"}`, "runAsUser: 0"},
		"Given":  {"a person knows better", `controller: {runAsUser: 107}`, "runAsUser: 107"},
		"Root":   {"root by a person", `{ovn: {northbound: "tcp:192.0.2.1:6641"}, controller: {runAsUser: 0}}`, "runAsUser: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := render(SpokeAgent, Namespace, values(t, "clusterName: east", test.values), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range r.manifests {
				if m.Head.Kind == "Deployment" && !strings.Contains(m.Content, test.want+"\n") {
					t.Errorf("the controller has no %q: %s", test.want, test.reason)
				}
			}
		})
	}
}

// TestBootstrap: what kubectl tombolo join prints becomes a kubeconfig that client-go reads.
func TestBootstrap(t *testing.T) {
	const ca = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="
	for name, test := range map[string]struct {
		reason, values string
		want           *rest.Config
	}{
		"OCM":      {"OCM's agents write the identity themselves", "{}", nil},
		"Token":    {"an invitation", `hub: {bootstrap: {server: "https://hub:6443", caData: ` + ca + `, token: "a.b:c"}}`, &rest.Config{Host: "https://hub:6443", BearerToken: "a.b:c", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("-----BEGIN CERTIFICATE-----\n")}}},
		"PublicCA": {"a hub behind a certificate that everybody trusts", `hub: {bootstrap: {server: "https://hub", token: t}}`, &rest.Config{Host: "https://hub", BearerToken: "t"}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Render(SpokeAgent, values(t, "clusterName: east", test.values))
			if err != nil {
				t.Fatal(err)
			}
			var got *rest.Config
			for _, object := range objects {
				if text, ok, _ := unstructured.NestedString(object.Object, "stringData", "kubeconfig"); ok && object.GetName() == "tombolo-hub-bootstrap" {
					if got, err = clientcmd.RESTConfigFromKubeConfig([]byte(text)); err != nil {
						t.Fatalf("parse kubeconfig: %v\n%s", err, text)
					}
				}
			}
			if (got == nil) != (test.want == nil) || got != nil && (got.Host != test.want.Host || got.BearerToken != test.want.BearerToken || string(got.CAData) != string(test.want.CAData)) {
				t.Errorf("kubeconfig says %v, want %v: %s", got, test.want, test.reason)
			}
		})
	}
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

func sample() values {
	return values{ClusterName: "123", Hub: hubValues{Bootstrap: bootstrapValues{Server: "https://hub:6443", CAData: []byte("pem"), Token: "a.b-c_d"}}}
}

// TestCommand runs the command in a shell, with a helm that prints its arguments.
func TestCommand(t *testing.T) {
	v := sample()
	v.Hub.Bootstrap.Server = "https://hub:6443/a,b'c"
	script := `helm() { for a in "$@"; do echo "$a"; done; }` + "\n" + printer{chart: "./my charts/x"}.command(v)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"upgrade", "--install", "tombolo-spoke-agent", "./my charts/x", "--namespace", "tombolo-system", "--create-namespace",
		"--set-string", "clusterName=123", "--set-string", `hub.bootstrap.server=https://hub:6443/a\,b'c`,
		"--set-string", "hub.bootstrap.caData=cGVt", "--set-string", "hub.bootstrap.token=a.b-c_d",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(string(out)), "\n")); diff != "" {
		t.Error(diff)
	}
}

// TestPrint: standard output holds what was asked for, and nothing else.
func TestPrint(t *testing.T) {
	for format, parse := range map[string]func([]byte, any) error{
		outputJSON: json.Unmarshal, outputYAML: func(b []byte, into any) error { return yaml.Unmarshal(b, into) },
	} {
		streams, _, out, _ := genericiooptions.NewTestIOStreams()
		if err := (printer{chart: "c", format: format}).print(streams, sample(), time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		var got invited
		if err := parse(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, out)
		}
		if diff := cmp.Diff(sample(), got.Values); diff != "" || got.Expires != "1970-01-01T00:00:00Z" || got.Cluster != "123" {
			t.Errorf("%s: %+v\n%s", format, got, diff)
		}
	}
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	command := printer{chart: "c", format: outputCommand, valuesFiles: []string{"my own.yaml"}}
	if err := command.print(streams, sample(), time.Unix(0, 0)); err != nil || !strings.HasPrefix(out.String(), "helm upgrade --install ") || !strings.Contains(out.String(), "--values 'my own.yaml'") {
		t.Errorf("command: %v\n%s", err, out)
	}
}

func TestAddress(t *testing.T) {
	ca := rest.TLSClientConfig{CAData: []byte("pem")}
	for name, tc := range map[string]struct {
		reason      string
		config      rest.Config
		server      string
		err, warned string
	}{
		"Kubeconfig": {"the usual", rest.Config{Host: "https://hub.example.com:6443", TLSClientConfig: ca}, "", "", ""},
		"Loopback":   {"kind and the like", rest.Config{Host: "https://127.0.0.1:6443", TLSClientConfig: ca}, "", "", "this machine's own"},
		"Localhost":  {"a tunnel", rest.Config{Host: "https://localhost:6443", TLSClientConfig: ca}, "", "", "this machine's own"},
		"Server":     {"what is given counts", rest.Config{Host: "https://127.0.0.1:6443", TLSClientConfig: ca}, "https://hub:6443", "", ""},
		"Plain":      {"a token in the clear", rest.Config{Host: "http://hub"}, "", "no https URL", ""},
		"NoCA":       {"a public CA, or a mistake", rest.Config{Host: "https://hub"}, "", "", "--ca-file"},
		"Insecure":   {"the cluster must know whom it speaks to", rest.Config{Host: "https://hub", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, "", "--ca-file", ""},
		"OtherName":  {"the agent would not believe it", rest.Config{Host: "https://hub", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("x"), ServerName: "kubernetes"}}, "", "", `"kubernetes"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := options{server: tc.server}
			a, err := o.address(&tc.config)
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("%s: got %v, want %q", tc.reason, err, tc.err)
			}
			if err != nil {
				return
			}
			if got := strings.Join(a.warnings(), "\n"); (got != "") != (tc.warned != "") || !strings.Contains(got, tc.warned) {
				t.Errorf("%s: warned %q, want %q", tc.reason, got, tc.warned)
			}
		})
	}
}

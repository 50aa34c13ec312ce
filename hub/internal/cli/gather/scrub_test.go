// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Secrets that no output may have. They are of the right form, and nobody's.
const (
	plantedPEM       = "MHcCAQEEIPlantedPlantedPlantedPlantedPlantedPlantedPl"
	plantedToken     = "c2VjcmV0LXBsYW50ZWQtdG9rZW4tMTIzNDU2"
	plantedJWT       = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.UGxhbnRlZFNpZ25hdHVyZQ"
	plantedWireGuard = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
)

func TestScrub(t *testing.T) {
	pem := "-----BEGIN EC PRIVATE KEY-----\n" + plantedPEM + "\n-----END EC PRIVATE KEY-----"
	kubeconfig := "users:\n- name: a\n  user:\n    client-key-data: " + base64.StdEncoding.EncodeToString([]byte(pem)) + "\n    token: " + plantedToken + "\n"
	tests := map[string]struct {
		reason string
		text   string
		want   string // empty: only that nothing planted is left
	}{
		"PEM":                {"a private key", "before\n" + pem + "\nafter", "before\n(removed)\nafter"},
		"escaped PEM":        {"a private key in JSON", `{"k":"` + strings.ReplaceAll(pem, "\n", `\n`) + `"}`, `{"k":"(removed)"}`},
		"PEM without end":    {"a log line that was cut", "-----BEGIN PRIVATE KEY-----\n" + plantedPEM, "(removed)"},
		"PEM without begin":  {"the end of a log", plantedPEM + "\n" + plantedPEM[:9] + "\n-----END EC PRIVATE KEY-----\nready", "(removed)\nready"},
		"PEM in times":       {"a log with times, cut", "2026-03-01T12:00:00.123456789Z " + plantedPEM + "\n2026-03-01T12:00:00.123456790Z -----END PRIVATE KEY-----", "(removed)"},
		"certificate":        {"certificates are no secret", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		"JWT":                {"a service account's token", "sent " + plantedJWT + " to", "sent (removed) to"},
		"bearer":             {"a header", "Authorization: Bearer " + plantedToken, ""},
		"header dump":        {"client-go at -v=8", `curl -H "Authorization: Bearer ` + plantedToken + `" https://hub`, ""},
		"kubeconfig":         {"YAML with key and token", kubeconfig, ""},
		"base64 kubeconfig":  {"as in a Secret or a flag", "hub: " + base64.StdEncoding.EncodeToString([]byte(kubeconfig)), "hub: (removed)"},
		"twice base64":       {"a Secret of a Secret", base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(kubeconfig)))), "(removed)"},
		"bootstrap token":    {"kubeadm's form", "join with abcdef.0123456789abcdef now", "join with (removed) now"},
		"password in URL":    {"a proxy", "HTTPS_PROXY=http://me:" + plantedToken + "@proxy:3128", "HTTPS_PROXY=http://(removed)@proxy:3128"},
		"flag with space":    {"a command line", "kubectl --token " + plantedToken + " get pods", "kubectl --token (removed) get pods"},
		"flag with =":        {"a command line", "--bootstrap-token=" + plantedToken, "--bootstrap-token=(removed)"},
		"JSON field":         {"structured log", `{"token":"` + plantedToken + `","n":1}`, `{"token":"(removed)","n":1}`},
		"JSON in JSON":       {"an annotation", `{\"password\":\"` + plantedToken + `\"}`, ""},
		"WireGuard conf":     {"wg's own form", "PrivateKey = " + plantedWireGuard, "PrivateKey = (removed)"},
		"WireGuard UAPI":     {"wireguard-go's form", "private_key=" + strings.Repeat("ab", 32), "private_key=(removed)"},
		"key by itself":      {"can't be told from a public one: a fingerprint, always the same", "peer " + plantedWireGuard + " up", "peer (key sha256:" + strings.TrimSuffix(strings.TrimPrefix(fingerprint(plantedWireGuard), "(key sha256:"), ")") + ") up"},
		"digest":             {"an image's digest is no secret", "image@sha256:" + strings.Repeat("ab", 32), "image@sha256:" + strings.Repeat("ab", 32)},
		"words":              {"people write about tokens", "the token has expired; delete the Secret tombolo-hub-kubeconfig", "the token has expired; delete the Secret tombolo-hub-kubeconfig"},
		"projected volume":   {"a field whose name only begins so", "serviceAccountToken:\n  expirationSeconds: 3607\n  path: token", "serviceAccountToken:\n  expirationSeconds: 3607\n  path: token"},
		"long name":          {"base64 alphabet, and nothing in it", "pod tombolo-agent-controller-6f9c8d7b5-abcde is ready", "pod tombolo-agent-controller-6f9c8d7b5-abcde is ready"},
		"nothing":            {"empty", "", ""},
		"single quotes":      {"shell", "password='" + plantedToken + "'", "password='(removed)'"},
		"quoted with spaces": {"a passphrase", `passphrase: "` + plantedToken + ` and more"`, `passphrase: "(removed)"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Scrub(test.text)
			for _, planted := range []string{plantedPEM, plantedToken, plantedJWT, plantedWireGuard} {
				if strings.Contains(got, planted) {
					t.Errorf("%s: %q came out: %s", test.reason, planted, got)
				}
			}
			if test.want != "" {
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: -want +got:\n%s", test.reason, diff)
				}
			}
			if again := Scrub(got); again != got {
				t.Errorf("%s: scrubbed twice it is another text: %q, then %q", test.reason, got, again)
			}
		})
	}
}

func TestScrubObject(t *testing.T) {
	tests := map[string]struct {
		reason       string
		object, want string
	}{
		"Secret": {"names of keys stay, values go",
			`{"kind":"Secret","metadata":{"name":"a"},"data":{"tls.key":"eA=="},"stringData":{"x":"y"}}`,
			`{"kind":"Secret","metadata":{"name":"a"},"data":{"tls.key":"(removed)"},"stringData":{"x":"(removed)"}}`},
		"ManifestWork": {"a Secret inside another object",
			`{"kind":"ManifestWork","spec":{"workload":{"manifests":[{"kind":"Secret","data":{"kubeconfig":"eA=="}}]}}}`,
			`{"kind":"ManifestWork","spec":{"workload":{"manifests":[{"kind":"Secret","data":{"kubeconfig":"(removed)"}}]}}}`},
		"environment": {"by name of the variable; a reference is none",
			`{"env":[{"name":"HUB_TOKEN","value":"x"},{"name":"LOG","value":"debug"},{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]}`,
			`{"env":[{"name":"HUB_TOKEN","value":"(removed)"},{"name":"LOG","value":"debug"},{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]}`},
		"arguments": {"flag and value as two arguments, and as one",
			`{"args":["--token","x","--nb=tcp:1","--hub-token=y"]}`,
			`{"args":["--token","(removed)","--nb=tcp:1","--hub-token=(removed)"]}`},
		"metadata": {"what kubectl apply and the API server wrote down",
			`{"metadata":{"name":"a","managedFields":[{}],"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","b":"c"}}}`,
			`{"metadata":{"name":"a","annotations":{"b":"c"}}}`},
		"public key": {"a fingerprint, so that equal keys stay equal",
			`{"spec":{"endpoints":[{"publicKey":"` + plantedWireGuard + `"}]}}`,
			`{"spec":{"endpoints":[{"publicKey":"` + fingerprint(plantedWireGuard) + `"}]}}`},
		"numbers": {"a field that only sounds so",
			`{"spec":{"token":7,"automountServiceAccountToken":false}}`,
			`{"spec":{"token":7,"automountServiceAccountToken":false}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got, want map[string]any
			if err := errors.Join(json.Unmarshal([]byte(test.object), &got), json.Unmarshal([]byte(test.want), &want)); err != nil {
				t.Fatal(err)
			}
			ScrubObject(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", test.reason, diff)
			}
		})
	}
}

// FuzzScrub plants secrets in the forms in which they turn up, amid anything: none comes out.
func FuzzScrub(f *testing.F) {
	f.Add("level=info msg=\"", "\" n=1", "user: a\n")
	f.Add("{\"a\":\"", "\"}", "=====")
	f.Add("", "", "")
	f.Add("-----BEGIN ", "\\", "token: \"")
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + plantedPEM + "\n-----END RSA PRIVATE KEY-----\n"
	forms := []string{
		pem, strings.ReplaceAll(pem, "\n", `\n`), "Bearer " + plantedToken, " token: " + plantedToken + "\n", `"password":"` + plantedToken + `"`,
		" " + plantedJWT + " ", "\nPrivateKey = " + plantedWireGuard + "\n", " " + base64.StdEncoding.EncodeToString([]byte(pem)) + " ",
	}
	encodedPEM := base64.StdEncoding.EncodeToString([]byte(pem))
	f.Fuzz(func(t *testing.T, before, after, inside string) {
		for _, form := range forms {
			text := before + "\n" + form + "\n" + after
			for _, document := range []string{text, inside + "\n" + text} {
				got := Scrub(document)
				for _, planted := range []string{plantedPEM, plantedToken, plantedJWT, plantedWireGuard, encodedPEM} {
					if strings.Contains(got, planted) && !strings.Contains(before+after+inside, planted) {
						t.Fatalf("%q came out of %q: %q", planted, document, got)
					}
				}
			}
		}
	})
}

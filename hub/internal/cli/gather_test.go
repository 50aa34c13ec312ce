// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/gather"
)

// planted must not come out.
const planted = "planted-secret-c2VjcmV0LXBsYW50ZWQ"

const plantedLog = "level=info msg=started\nlevel=debug msg=request Authorization=\"Bearer " + planted + "\"\n-----BEGIN PRIVATE KEY-----\n" + planted + "\n-----END PRIVATE KEY-----\nlevel=info msg=ready\n"

// kubelet answers the API server's question for logs, as a node's would.
func kubelet(t *testing.T) (address string, port int32) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/exec/"+facts.Namespace+"/") {
			execute(w, r)
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/containerLogs/"+facts.Namespace+"/") {
			http.NotFound(w, r)
			return
		}
		text := plantedLog
		if r.URL.Query().Get("previous") == "true" {
			text = "panic: before the restart\n"
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	host, number, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return host, int32(n)
}

// execute answers a command as the kubelet does: its words on the stream stdout, and how it ended on the stream error.
func execute(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{"v4.channel.k8s.io"}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 4)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if connection == nil {
		return
	}
	defer connection.Close()
	found := map[string]httpstream.Stream{}
	for range 3 {
		select {
		case stream := <-streams:
			found[stream.Headers().Get(corev1.StreamType)] = stream
		case <-r.Context().Done():
			return
		}
	}
	_, _ = io.WriteString(found[corev1.StreamTypeStdout], strings.Join(r.URL.Query()["command"], " ")+": PrivateKey = "+planted+"\n")
	_, _ = io.WriteString(found[corev1.StreamTypeError], `{"status":"Success"}`)
	for _, stream := range found {
		_ = stream.Close()
	}
	<-connection.CloseChan()
}

// system fills tombolo-system with what there is, and a secret in every place where one may be.
func system(t *testing.T) {
	t.Helper()
	address, port := kubelet(t)
	hub.create(t, &corev1.Node{ObjectMeta: meta("", "node-1"), Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}}}})
	hub.create(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: facts.Namespace, Name: "tombolo-hub-1", Annotations: map[string]string{"note": "token=" + planted}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "hub", Image: "tombolo-hub", Args: []string{"--token", planted},
			Env: []corev1.EnvVar{{Name: "HUB_PASSWORD", Value: planted}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "hub", RestartCount: 1}}},
	})
	hub.create(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: facts.Namespace, Name: "tombolo-agent-node-1", Labels: map[string]string{"app.kubernetes.io/component": "node"}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "agent", Image: "tombolo-agent"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "agent"}}},
	})
	hub.create(t,
		&corev1.Secret{ObjectMeta: meta(facts.Namespace, facts.HubSecret), Data: map[string][]byte{"kubeconfig": []byte(planted), "cluster-name": []byte("east")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: facts.Namespace, Name: "sh.helm.release.v1.tombolo-hub.v2",
			Labels: map[string]string{"owner": "helm", "name": "tombolo-hub", "version": "2", "status": "deployed"}}, Data: map[string][]byte{"release": []byte(planted)}},
		&corev1.ConfigMap{ObjectMeta: meta(facts.Namespace, "tombolo-agent"), Data: map[string]string{"config": "client-key-data: " + base64.StdEncoding.EncodeToString([]byte(planted))}},
		&corev1.Event{ObjectMeta: meta(facts.Namespace, "event-1"), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: facts.Namespace, Name: "tombolo-hub-1"},
			Type: corev1.EventTypeWarning, Reason: "BackOff", Message: "password: " + planted, LastTimestamp: metav1.Now()},
		&workv1.ManifestWork{ObjectMeta: meta("east", "addon-tombolo-deploy-0"), Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: []workv1.Manifest{
			{RawExtension: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"b"},"stringData":{"x":"` + planted + `"}}`)}}}}}},
	)
}

func TestGather(t *testing.T) {
	fleet(t)
	system(t)
	file := filepath.Join(t.TempDir(), "bug.tar.gz")
	out, complaints, err := run(t, hub.kubeconfig, "gather", "-o", file, "--maps", "--flows=1s")
	if err != nil || strings.TrimSpace(out) != file {
		t.Fatalf("%v, %q\n%s", err, out, complaints)
	}
	files := unpack(t, file)
	for name, text := range files {
		for _, form := range []string{planted, base64.StdEncoding.EncodeToString([]byte(planted))} {
			if strings.Contains(text, form) {
				t.Errorf("%s: a secret came out:\n%s", name, text)
			}
		}
	}
	for name, want := range map[string]string{
		"status.txt": "shop/one-two", "status.json": `"kind": "Status"`, "diagnose.txt": "Installation", "diagnose.json": `"kind": "Diagnosis"`,
		"resources/network.tombolo.io/vpcpeering.yaml": "no answer from west", "resources/spoke.tombolo.io/interconnectgateway.yaml": "east-1",
		"resources/cluster.open-cluster-management.io/managedcluster.yaml": "name: west", "resources/work.open-cluster-management.io/manifestwork.yaml": "addon-tombolo-deploy-0",
		"resources/core/pod.yaml": "tombolo-hub-1", "resources/core/node.yaml": "node-1", "resources/core/event.yaml": "BackOff", "resources/coordination.k8s.io/lease.yaml": "namespace: west",
		"logs/tombolo-hub-1/hub.log": "msg=ready", "logs/tombolo-hub-1/hub.previous.log": "before the restart",
		"dumps/node-1.dump.txt": "/usr/bin/tombolo-agent dump: ", "dumps/node-1.flows.txt": "/usr/bin/tombolo-agent flows --drops --duration=1s: ",
		"secrets.json": `"cluster": "east"`, "releases.json": `"revision": "2"`, "crds.json": "vpcpeerings.network.tombolo.io",
	} {
		if text, found := files[name]; !found || !strings.Contains(text, want) {
			t.Errorf("%s has no %q:\n%s", name, want, text)
		}
	}
	if strings.Contains(complaints, "could not be read") {
		t.Errorf("an administrator may read everything:\n%s", complaints)
	}
}

// TestGatherWithout: no permission is no failure, and neither is one of two contexts that does not answer.
func TestGatherWithout(t *testing.T) {
	fleet(t)
	file := filepath.Join(t.TempDir(), "bug.tar.gz")
	if _, complaints, err := run(t, hub.user(t, "nobody"), "gather", "-o", file); err != nil {
		t.Fatalf("%v\n%s", err, complaints)
	}
	manifest := readManifest(t, file)
	unread := func(what string) bool {
		return slices.ContainsFunc(manifest.Clusters[0].Unread, func(u facts.Unread) bool { return u.What == what && strings.Contains(u.Why, "forbidden") })
	}
	if !unread("vpcs") || !unread("pods in "+facts.Namespace) || !unread("secrets in "+facts.Namespace) {
		t.Errorf("what could not be read is not told: %+v", manifest.Clusters[0].Unread)
	}
	if _, _, err := run(t, hub.kubeconfig, "gather", "-o", file, "--contexts", "nowhere"); err == nil {
		t.Error("there is nothing to gather, and no error")
	}
	config, err := os.ReadFile(hub.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	current := currentContext(t, config)
	if _, complaints, err := run(t, hub.kubeconfig, "gather", "-o", file, "--contexts", current+",nowhere"); err != nil {
		t.Fatalf("one of two answers: %v\n%s", err, complaints)
	}
	if manifest := readManifest(t, file); len(manifest.Clusters) != 2 || len(manifest.Clusters[1].Unread) != 1 || !manifest.Clusters[0].Hub {
		t.Errorf("the manifest: %+v", manifest.Clusters)
	}
}

// currentContext is the current context of a kubeconfig.
func currentContext(t *testing.T, config []byte) string {
	t.Helper()
	for line := range strings.Lines(string(config)) {
		if name, found := strings.CutPrefix(line, "current-context: "); found {
			return strings.TrimSpace(name)
		}
	}
	t.Fatal("the kubeconfig has no current context")
	return ""
}

// unpack gives the files of the first cluster, and the manifest.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	archive, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	plain, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		if directory, rest, found := strings.Cut(name, "/"); found && strings.HasPrefix(directory, "1-") {
			name = rest
		}
		files[name] = string(text)
	}
}

func readManifest(t *testing.T, file string) gather.Manifest {
	t.Helper()
	var manifest gather.Manifest
	if err := json.Unmarshal([]byte(unpack(t, file)[gather.ManifestFile]), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tombolo-io/tombolo/charts"
)

// giveHubIdentity writes the Secret that OCM's registration, or the agent itself with a token, writes: user and groups
// are those of the add-on's registration. It stands for both ways in.
func (l *Lab) giveHubIdentity(ctx context.Context, c *Cluster) error {
	addon := "system:open-cluster-management:cluster:" + c.Name + ":addon:tombolo"
	pair, err := l.Hub.CA().Client(addon+":agent:tombolo-agent", []string{addon, "system:open-cluster-management:addon:tombolo"})
	if err != nil {
		return fmt.Errorf("make hub identity of %s: %w", c.Name, err)
	}
	kubeconfig, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"hub": {Server: l.Hub.Server(), CertificateAuthorityData: l.Hub.CA().PEM()}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"agent": {ClientCertificate: "tls.crt", ClientKey: "tls.key"}},
		Contexts:       map[string]*clientcmdapi.Context{"hub": {Cluster: "hub", AuthInfo: "agent"}},
		CurrentContext: "hub",
	})
	if err != nil {
		return fmt.Errorf("make hub identity of %s: %w", c.Name, err)
	}
	data := map[string]any{}
	for key, value := range map[string][]byte{
		"kubeconfig": kubeconfig, "tls.crt": pair.Cert, "tls.key": pair.Key, "cluster-name": []byte(c.Name), "agent-name": []byte("tombolo-agent"),
	} {
		data[key] = base64.StdEncoding.EncodeToString(value)
	}
	return c.Apply(ctx, namespace(charts.Namespace), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": charts.Namespace, "name": "tombolo-hub-kubeconfig"},
		"data":     data,
	}})
}

// installCNI puts the plugin on the nodes of a cluster, and a configuration that is before the node's own: that one
// becomes its delegate.
func (l *Lab) installCNI(c *Cluster) error {
	for _, n := range c.Nodes {
		if err := l.installPlugin(n); err != nil {
			return fmt.Errorf("install CNI on node %s of %s: %w", n.Name, c.Name, err)
		}
	}
	return nil
}

func (l *Lab) installPlugin(n *Node) error {
	if err := copyFile(filepath.Join(n.CNIBinDir(), "tombolo-cni"), l.Binaries.Path("tombolo-cni")); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(n.CNIConfDir(), "10-bridge.conflist"))
	if err != nil {
		return err
	}
	var own struct {
		CNIVersion, Name string
		Plugins          []map[string]any
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return err
	}
	// A delegate is called by its plugin alone and so is a whole configuration.
	delegate := own.Plugins[0]
	delegate["cniVersion"], delegate["name"] = own.CNIVersion, "tombolo"
	path := filepath.Join(n.CNIConfDir(), "00-tombolo.conflist")
	err = writeJSON(path+".tmp", map[string]any{"cniVersion": own.CNIVersion, "name": "tombolo", "plugins": []any{
		map[string]any{"type": "tombolo-cni", "delegate": delegate},
	}})
	if err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := io.Copy(target, source); err != nil {
		return err
	}
	return os.Rename(to+".tmp", to)
}

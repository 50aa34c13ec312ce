// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	operatorv1 "open-cluster-management.io/api/operator/v1"
	ocm "open-cluster-management.io/ocm/manifests"
	"sigs.k8s.io/yaml"
)

// Names that OCM's operators give by default.
const (
	hubNamespace   = "open-cluster-management-hub"
	agentNamespace = "open-cluster-management-agent"
	agentAccount   = "klusterlet-work-sa"
)

// klusterlet has the fields that the templates of a managed cluster read.
type klusterlet struct {
	KlusterletName             string
	KlusterletNamespace        string
	AgentNamespace             string
	RegistrationServiceAccount string
	WorkServiceAccount         string
	ManagedClusterRoleArn      string
	Labels                     map[string]string
	RegistrationDriver         struct{ AuthType string }
}

// manifestsCommand prints OCM's own manifests, filled in, as its operators apply
// them, but for pods. Services are among them: who reads this has to drop them.
func manifestsCommand() *cobra.Command {
	var url, ca string
	group := &cobra.Command{Use: "manifests"}
	hub := &cobra.Command{
		Use:   "hub",
		Short: "CRDs, RBAC and webhook configurations of a hub",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			p := printer{out: cmd.OutOrStdout(), values: hubValues(pem), webhooks: url}
			if err := p.print(ocm.ClusterManagerManifestFiles, "cluster-manager/cluster-manager-namespace.yaml"); err != nil {
				return err
			}
			for _, part := range []string{"crds", "registration", "placement", "work", "addon-manager"} {
				if err := p.print(ocm.ClusterManagerManifestFiles, "cluster-manager/hub/"+part); err != nil {
					return err
				}
			}
			return nil
		},
	}
	hub.Flags().StringVar(&url, "webhook-url", "", "where webhooks is served, instead of at OCM's Services")
	hub.Flags().StringVar(&ca, "webhook-ca", "", "PEM file with the authority that signed the webhooks' certificate")
	agent := &cobra.Command{
		Use:   "agent",
		Short: "CRDs and RBAC of a managed cluster whose agent is one process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := printer{out: cmd.OutOrStdout(), values: agentValues()}
			return p.print(ocm.KlusterletManifestFiles, "klusterlet")
		},
	}
	group.AddCommand(hub, agent)
	return group
}

func hubValues(pem []byte) ocm.HubConfig {
	bundle, server := base64.StdEncoding.EncodeToString(pem), ocm.Webhook{Port: 9443}
	return ocm.HubConfig{
		ClusterManagerName:              "cluster-manager",
		ClusterManagerNamespace:         hubNamespace,
		OperatorNamespace:               "open-cluster-management",
		RegistrationAPIServiceCABundle:  bundle,
		WorkAPIServiceCABundle:          bundle,
		AddonAPIServiceCABundle:         bundle,
		RegistrationWebhook:             server,
		WorkWebhook:                     server,
		AddonWebhook:                    server,
		AddOnManagerEnabled:             true,
		WorkControllerEnabled:           true,
		ResourceRequirementResourceType: operatorv1.ResourceQosClassDefault,
	}
}

func agentValues() klusterlet {
	k := klusterlet{
		KlusterletName:             "klusterlet",
		KlusterletNamespace:        agentNamespace,
		AgentNamespace:             agentNamespace,
		RegistrationServiceAccount: agentAccount, // in Singleton mode one account does both
		WorkServiceAccount:         agentAccount,
	}
	k.RegistrationDriver.AuthType = "csr"
	return k
}

type printer struct {
	out      io.Writer
	values   any
	webhooks string // base URL
}

// print writes every manifest below a path as YAML.
func (p printer) print(files fs.FS, below string) error {
	return fs.WalkDir(files, below, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || skipped(entry.Name()) {
			return err
		}
		manifest, err := p.fill(files, path)
		if err != nil {
			return fmt.Errorf("fill %s: %w", path, err)
		}
		if len(manifest) == 0 {
			return nil // a template whose condition does not hold
		}
		p.reach(manifest)
		dropRemovals(manifest)
		text, err := yaml.Marshal(manifest)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "---\n# %s\n%s", path, text)
		return err
	})
}

// skipped are templates that ask for more than values of a cluster: of pods, and
// of one add-on's token.
func skipped(name string) bool {
	return strings.HasSuffix(name, "deployment.yaml") || strings.HasPrefix(name, "token-")
}

func (p printer) fill(files fs.FS, path string) (map[string]any, error) {
	text, err := fs.ReadFile(files, path)
	if err != nil {
		return nil, err
	}
	t, err := template.New(path).Funcs(template.FuncMap{"indent": indent}).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var filled bytes.Buffer
	if err := t.Execute(&filled, p.values); err != nil {
		return nil, err
	}
	manifest := map[string]any{}
	return manifest, yaml.Unmarshal(filled.Bytes(), &manifest)
}

// indent is a function of the operators' own that their templates call.
func indent(spaces int, text []byte) string {
	return strings.ReplaceAll(string(text), "\n", "\n"+strings.Repeat(" ", spaces))
}

// reach makes every reference to a Service of webhooks one to a URL: nothing in
// the lab gives host processes a Service.
func (p printer) reach(value any) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			p.reach(element)
		}
	case map[string]any:
		for _, element := range v {
			p.reach(element)
		}
		client, _ := v["clientConfig"].(map[string]any)
		service, _ := client["service"].(map[string]any)
		if path, ok := service["path"].(string); ok && p.webhooks != "" {
			client["url"] = p.webhooks + path
			delete(client, "service")
		}
	}
}

// dropRemovals drops annotations whose name ends in a dash: for the operators they
// mean that one has to go, for the apiserver they are invalid.
func dropRemovals(manifest map[string]any) {
	metadata, _ := manifest["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	for name := range annotations {
		if strings.HasSuffix(name, "-") {
			delete(annotations, name)
		}
	}
}

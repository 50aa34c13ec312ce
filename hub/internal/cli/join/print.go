// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"
)

const (
	outputCommand = "command"
	outputJSON    = "json"
	outputYAML    = "yaml"

	release   = "tombolo-spoke-agent"
	namespace = "tombolo-system"
)

// values of the chart tombolo-spoke-agent.
type values struct {
	ClusterName string    `json:"clusterName"`
	Hub         hubValues `json:"hub"`
}

type hubValues struct {
	Bootstrap bootstrapValues `json:"bootstrap"`
}

// bootstrapValues are what the agent redeems. JSON has CAData in base64, as the chart wants it.
type bootstrapValues struct {
	Server string `json:"server"`
	CAData []byte `json:"caData,omitempty"`
	Token  string `json:"token"`
}

// invited is what -o json and -o yaml print.
type invited struct {
	Cluster   string `json:"cluster"`
	Release   string `json:"release"`
	Namespace string `json:"namespace"`
	Chart     string `json:"chart"`
	Expires   string `json:"expires"`
	Values    values `json:"values"`
	Command   string `json:"command"`
}

type printer struct {
	chart, format string
	valuesFiles   []string
}

func (p printer) print(streams genericiooptions.IOStreams, v values, expires time.Time) error {
	until := expires.UTC().Format(time.RFC3339)
	fmt.Fprintf(streams.ErrOut, "cluster %s can join until %s, once: run this with the kubeconfig of %s\n", v.ClusterName, until, v.ClusterName)
	var text []byte
	var err error
	i := invited{Cluster: v.ClusterName, Release: release, Namespace: namespace, Chart: p.chart, Expires: until, Values: v, Command: p.command(v)}
	switch p.format {
	case outputJSON:
		text, err = json.MarshalIndent(i, "", "  ")
		text = append(text, '\n')
	case outputYAML:
		text, err = yaml.Marshal(i)
	default:
		text = []byte(i.Command + "\n")
	}
	if err != nil {
		return fmt.Errorf("print invitation: %w", err)
	}
	_, err = streams.Out.Write(text)
	return err
}

// command is for a POSIX shell.
func (p printer) command(v values) string {
	lines := []string{
		"helm upgrade --install " + release + " " + quote(p.chart) + " --namespace " + namespace + " --create-namespace",
	}
	for _, file := range p.valuesFiles {
		lines = append(lines, "--values "+quote(file))
	}
	lines = append(lines,
		"--set-string clusterName="+v.ClusterName,
		"--set-string hub.bootstrap.server="+quote(escape(v.Hub.Bootstrap.Server)),
	)
	if len(v.Hub.Bootstrap.CAData) > 0 {
		lines = append(lines, "--set-string hub.bootstrap.caData="+base64.StdEncoding.EncodeToString(v.Hub.Bootstrap.CAData))
	}
	lines = append(lines, "--set-string hub.bootstrap.token="+v.Hub.Bootstrap.Token)
	return strings.Join(lines, " \\\n  ")
}

// escape keeps helm from seeing the end of a value in it.
func escape(value string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(value)
}

// quote leaves alone what no shell looks into.
func quote(text string) string {
	plain := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/.:_-@%+=", r))
	}
	if text != "" && !strings.ContainsFunc(text, plain) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

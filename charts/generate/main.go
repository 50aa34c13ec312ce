// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Generate writes what a chart has of other sources: CRDs from apis/crds and from the OCM API's module, README.md and
// values.schema.json from values.yaml. It runs in the directory of the charts.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ocmCRDs are those that the hub watches, by their path in the module.
var ocmCRDs = []string{
	"cluster/v1/*_managedclusters.crd.yaml",
	"cluster/v1beta1/*_placements.crd.yaml",
	"cluster/v1beta1/*_placementdecisions.crd.yaml",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate charts:", err)
		os.Exit(1)
	}
}

func run() error {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/api").Output()
	if err != nil {
		return fmt.Errorf("find module of the OCM API: %w", err)
	}
	var ocm []string
	for _, pattern := range ocmCRDs {
		ocm = append(ocm, filepath.Join(strings.TrimSpace(string(module)), pattern))
	}
	for _, set := range []struct {
		into string
		from []string
	}{
		{"tombolo-hub/files/crds", []string{"../apis/crds/*.yaml"}},
		{"tombolo-hub/files/ocm-crds", ocm},
		{"tombolo-spoke-agent/files/crds", []string{"../apis/crds/spoke.*.yaml"}},
	} {
		if err := copyFiles(set.into, set.from); err != nil {
			return err
		}
	}
	for _, chart := range []string{"tombolo-hub", "tombolo-spoke-agent"} {
		if err := describe(chart); err != nil {
			return fmt.Errorf("describe %s: %w", chart, err)
		}
	}
	return nil
}

// copyFiles makes into a directory of the files that match, and of no other. Each pattern has a match.
func copyFiles(into string, patterns []string) error {
	if err := os.RemoveAll(into); err != nil {
		return err
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return fmt.Errorf("find %s: %d files, %w", filepath.Base(pattern), len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(into, filepath.Base(file)), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe writes the schema and the README of a chart.
func describe(chart string) error {
	values, err := readValues(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	schema, err := schemaOf(chart, values)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(chart, "values.schema.json"), schema, 0o644); err != nil {
		return err
	}
	readme, err := readmeOf(chart, values)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(chart, "README.md"), readme, 0o644)
}

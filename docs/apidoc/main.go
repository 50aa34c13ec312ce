// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Apidoc writes docs/api.md from the CustomResourceDefinitions: every field with
// what it means and what is refused.
package main

import (
	"fmt"
	"io/fs"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
)

//go:generate go run . ../api.md

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: apidoc FILE")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	names, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		return err
	}
	var definitions []apiextensionsv1.CustomResourceDefinition
	for _, name := range names {
		text, err := crds.Files.ReadFile(name)
		if err != nil {
			return err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		definitions = append(definitions, definition)
	}
	return os.WriteFile(file, []byte(page(definitions)), 0o644)
}

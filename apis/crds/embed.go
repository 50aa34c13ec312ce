// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crds holds the CustomResourceDefinitions that controller-gen writes
// from the Go types: one source for charts, tests and the lab.
package crds

import "embed"

// Files are the CRDs as YAML, one file per kind.
//
//go:embed *.yaml
var Files embed.FS

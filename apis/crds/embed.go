// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crds holds the CustomResourceDefinitions that controller-gen writes
// from the Go types: one source for charts, tests and the lab.
package crds

import "embed"

//go:generate go tool controller-gen object:headerFile=../../.ci/boilerplate.go.txt crd:crdVersions=v1 paths=../network/... paths=../spoke/... output:crd:dir=.

// Files are the CRDs as YAML, one file per kind.
//
//go:embed *.yaml
var Files embed.FS

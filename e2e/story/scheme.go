// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"embed"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Manifests are the YAML files that the demo and the tests apply.
//
//go:embed manifests/*.yaml
var manifests embed.FS

// Manifest returns one of the YAML files of this package by its name without the ending.
func Manifest(name string) []byte {
	content, err := manifests.ReadFile("manifests/" + name + ".yaml")
	if err != nil {
		panic(err) // a name that is written in this repository
	}
	return content
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.Install, clusterv1beta1.Install, networkv1alpha1.AddToScheme, spokev1alpha1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

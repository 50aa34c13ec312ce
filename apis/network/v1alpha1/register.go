// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "network.tombolo.io", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&IPPool{}, &IPPoolList{},
		&Vpc{}, &VpcList{},
		&Subnet{}, &SubnetList{},
		&VpcPeering{}, &VpcPeeringList{},
		&Fleet{}, &FleetList{},
		&IPAddress{}, &IPAddressList{},
		&ElasticIP{}, &ElasticIPList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

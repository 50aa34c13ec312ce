// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/strvals"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// defaultNamespace is what OCM writes into an AddOnDeploymentConfig that names no namespace.
const defaultNamespace = "open-cluster-management-agent-addon"

// Values are the chart's for one cluster. What is said nearer to the cluster wins: the add-on's annotation over its
// AddOnDeploymentConfig (nil: it has none) over the chart's own. The cluster's name is its ManagedCluster's.
func Values(cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn, config *addonv1beta1.AddOnDeploymentConfig) (map[string]any, error) {
	values := map[string]any{}
	if config != nil {
		if err := configured(values, config); err != nil {
			return nil, fmt.Errorf("read AddOnDeploymentConfig %s/%s: %w", config.Namespace, config.Name, err)
		}
	}
	annotated, err := addonfactory.GetValuesFromAddonAnnotation(cluster, addon)
	if err != nil {
		return nil, fmt.Errorf("read annotation %s of ManagedClusterAddOn %s/%s: %w: write the chart's values as JSON",
			addonfactory.AnnotationValuesName, addon.Namespace, addon.Name, err)
	}
	values = addonfactory.MergeValues(values, annotated)
	values["clusterName"] = cluster.Name
	return values, nil
}

// configured sets the customized variables as `helm --set` does, so that 1400 is a number and {a,b} a list. OCM allows no
// dot in the name of a variable; an underscore, which no value of the chart has, stands for it.
func configured(values map[string]any, config *addonv1beta1.AddOnDeploymentConfig) error {
	if ns := config.Spec.AgentInstallNamespace; !slices.Contains([]string{"", defaultNamespace, Namespace}, ns) {
		return fmt.Errorf("agentInstallNamespace is %q: the agent works in %s only; leave the field out", ns, Namespace)
	}
	for _, variable := range config.Spec.CustomizedVariables {
		path := strings.ReplaceAll(variable.Name, "_", ".")
		if err := strvals.ParseInto(path+"="+variable.Value, values); err != nil {
			return fmt.Errorf("customizedVariables %s: %w: write what helm --set %s=… takes", variable.Name, err, path)
		}
	}
	return nil
}

// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"open-cluster-management.io/addon-framework/pkg/addonmanager"
	"open-cluster-management.io/addon-framework/pkg/index"
	"open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	addonclient "open-cluster-management.io/api/client/addon/clientset/versioned"
	addoninformers "open-cluster-management.io/api/client/addon/informers/externalversions"
	clusterclient "open-cluster-management.io/api/client/cluster/clientset/versioned"
	clusterinformers "open-cluster-management.io/api/client/cluster/informers/externalversions"
	workclient "open-cluster-management.io/api/client/work/clientset/versioned"
	workinformers "open-cluster-management.io/api/client/work/informers/externalversions"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
)

// resync is how often everything is looked at again without an event, as addon-framework has it.
const resync = 10 * time.Minute

// clients of one hub cluster.
type clients struct {
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	addon   addonclient.Interface
	cluster clusterclient.Interface
	work    workclient.Interface
}

func newClients(config *rest.Config) (clients, error) {
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return clients{}, fmt.Errorf("make client of the add-on: %w", err)
	}
	var c clients
	for _, make := range []func() error{
		func() (err error) { c.kube, err = kubernetes.NewForConfigAndClient(config, http); return },
		func() (err error) { c.dynamic, err = dynamic.NewForConfigAndClient(config, http); return },
		func() (err error) { c.addon, err = addonclient.NewForConfigAndClient(config, http); return },
		func() (err error) { c.cluster, err = clusterclient.NewForConfigAndClient(config, http); return },
		func() (err error) { c.work, err = workclient.NewForConfigAndClient(config, http); return },
	} {
		if err := make(); err != nil {
			return clients{}, fmt.Errorf("make client of the add-on: %w", err)
		}
	}
	return c, nil
}

// run runs addon-framework's controllers until the context ends. Their informers hold what is Tombolo's and no more:
// the framework's own start would keep every add-on of every cluster in memory.
func (r *runner) run(ctx context.Context) error {
	c, err := newClients(r.config)
	if err != nil {
		return err
	}
	named := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, Name).String()
	}
	labelled := func(o *metav1.ListOptions) { o.LabelSelector = labels.Set{addonv1beta1.AddonLabelKey: Name}.String() }
	kube := kubeinformers.NewSharedInformerFactoryWithOptions(c.kube, resync, kubeinformers.WithTweakListOptions(labelled), kubeinformers.WithTransform(ctrlcache.TransformStripManagedFields()))
	work := workinformers.NewSharedInformerFactoryWithOptions(c.work, resync, workinformers.WithTweakListOptions(labelled), workinformers.WithTransform(ctrlcache.TransformStripManagedFields()))
	addon := addoninformers.NewSharedInformerFactoryWithOptions(c.addon, resync, addoninformers.WithTweakListOptions(named), addoninformers.WithTransform(ctrlcache.TransformStripManagedFields()))
	cluster := clusterinformers.NewSharedInformerFactoryWithOptions(c.cluster, resync, clusterinformers.WithTransform(strip))
	configs := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, resync)
	if err := addIndexers(work, addon); err != nil {
		return err
	}
	manager := addonmanager.NewBaseAddonManagerImpl(r.config)
	if err := manager.AddAgent(&Agent{chart: r.chart, configs: utils.NewAddOnDeploymentConfigGetter(c.addon), live: r.live, log: r.log}); err != nil {
		return err
	}
	ctx = klog.NewContext(ctx, quiet(r.log))
	if err := manager.StartWithInformers(ctx, c.work, work.Work().V1().ManifestWorks(), kube, addon, cluster, configs); err != nil {
		return err
	}
	for _, run := range []func(<-chan struct{}){kube.Start, work.Start, addon.Start, cluster.Start, configs.Start} {
		run(ctx.Done())
	}
	return nil
}

// addIndexers adds those that the framework's controllers look things up by.
func addIndexers(work workinformers.SharedInformerFactory, addon addoninformers.SharedInformerFactory) error {
	for _, i := range []struct {
		informer cache.SharedIndexInformer
		indexers cache.Indexers
	}{
		{work.Work().V1().ManifestWorks().Informer(), cache.Indexers{
			index.ManifestWorkByAddon:           index.IndexManifestWorkByAddon,
			index.ManifestWorkByHostedAddon:     index.IndexManifestWorkByHostedAddon,
			index.ManifestWorkHookByHostedAddon: index.IndexManifestWorkHookByHostedAddon,
		}},
		{addon.Addon().V1beta1().ManagedClusterAddOns().Informer(), cache.Indexers{
			index.ManagedClusterAddonByNamespace: index.IndexManagedClusterAddonByNamespace,
			index.AddonByConfig:                  index.IndexAddonByConfig,
		}},
		{addon.Addon().V1beta1().ClusterManagementAddOns().Informer(), cache.Indexers{
			index.ClusterManagementAddonByConfig: index.IndexClusterManagementAddonByConfig,
		}},
	} {
		if err := i.informer.AddIndexers(i.indexers); err != nil {
			return fmt.Errorf("index objects of the add-on: %w", err)
		}
	}
	return nil
}

// strip keeps of a cluster what the add-on reads.
func strip(o any) (any, error) {
	cluster, ok := o.(*clusterv1.ManagedCluster)
	if !ok {
		return o, nil
	}
	kept := &clusterv1.ManagedCluster{ObjectMeta: cluster.ObjectMeta}
	kept.ManagedFields = nil
	kept.Spec.HubAcceptsClient = cluster.Spec.HubAcceptsClient
	kept.Status.Version = cluster.Status.Version
	return kept, nil
}

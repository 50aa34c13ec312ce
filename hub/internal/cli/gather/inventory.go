// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// inventory is what is told of objects that are too large, too private, or secret, to be in the archive as they are.
func (c *collector) inventory(ctx context.Context, f *facts.Facts) error {
	if err := c.secrets(ctx); err != nil {
		return err
	}
	if err := c.archive.addJSON(c.file("crds.json"), crdsOf(f)); err != nil {
		return err
	}
	if f.Cluster {
		return c.archive.addJSON(c.file("bound-pods.json"), boundPods(f.BoundPods))
	}
	return nil
}

// secretOf is what is told of a Secret. It is everything that is ever read of most: their data stays where it is.
type secretOf struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Created   time.Time       `json:"created"`
	Identity  *facts.Identity `json:"identity,omitempty"`
}

// releaseOf is a release of helm, by the labels of its Secret.
type releaseOf struct {
	Name     string    `json:"name"`
	Revision string    `json:"revision"`
	Status   string    `json:"status"`
	Created  time.Time `json:"created"`
}

// secrets lists names; of the agent's identity also keys and validity. Only the metadata is asked for.
func (c *collector) secrets(ctx context.Context) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.connection.Client.List(ctx, list, client.InNamespace(facts.Namespace)); err != nil {
		c.unread("secrets in "+facts.Namespace, err)
		return nil
	}
	secrets, releases := []secretOf{}, []releaseOf{}
	for i := range list.Items {
		secret := &list.Items[i]
		if secret.Labels["owner"] == "helm" {
			releases = append(releases, releaseOf{Name: secret.Labels["name"], Revision: secret.Labels["version"], Status: secret.Labels["status"], Created: secret.CreationTimestamp.UTC()})
			continue
		}
		told := secretOf{Namespace: secret.Namespace, Name: secret.Name, Created: secret.CreationTimestamp.UTC()}
		if secret.Name == facts.HubSecret {
			var whole corev1.Secret
			if err := c.connection.Client.Get(ctx, client.ObjectKeyFromObject(secret), &whole); err != nil {
				c.unread("secret "+secret.Name, err)
			} else {
				told.Identity = facts.IdentityOf(&whole)
			}
		}
		secrets = append(secrets, told)
	}
	if err := c.archive.addJSON(c.file("secrets.json"), secrets); err != nil {
		return err
	}
	return c.archive.addJSON(c.file("releases.json"), releases)
}

// crdOf is a CRD without its schema, which diagnose has compared.
type crdOf struct {
	Name    string   `json:"name"`
	Served  []string `json:"served"`
	Storage string   `json:"storage"`
	Stored  []string `json:"stored"`
	// Generator is the version of controller-gen.
	Generator string `json:"generator,omitempty"`
}

func crdsOf(f *facts.Facts) []crdOf {
	found := []crdOf{}
	for i := range f.CRDs {
		crd := &f.CRDs[i]
		told := crdOf{Name: crd.Name, Served: []string{}, Stored: crd.Status.StoredVersions, Generator: crd.Annotations["controller-gen.kubebuilder.io/version"]}
		for _, version := range crd.Spec.Versions {
			if version.Served {
				told.Served = append(told.Served, version.Name)
			}
			if version.Storage {
				told.Storage = version.Name
			}
		}
		found = append(found, told)
	}
	return found
}

// podOf is what is told of a pod of a Vpc: nothing of what runs in it.
type podOf struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Node        string            `json:"node,omitempty"`
	Phase       corev1.PodPhase   `json:"phase"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func boundPods(pods []corev1.Pod) []podOf {
	found := []podOf{}
	for i := range pods {
		pod := &pods[i]
		told := podOf{Namespace: pod.Namespace, Name: pod.Name, Node: pod.Spec.NodeName, Phase: pod.Status.Phase, Created: pod.CreationTimestamp.UTC(), Annotations: map[string]string{}}
		for key, value := range pod.Annotations {
			if strings.HasPrefix(key, "tombolo.io/") {
				told.Annotations[key] = value
			}
		}
		found = append(found, told)
	}
	return found
}

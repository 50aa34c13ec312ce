// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

const (
	// minKubernetes is the oldest Kubernetes: ValidatingAdmissionPolicy and CEL's IP library.
	minKubernetes = "1.31.0"
	// maxSkew between two clocks: a certificate or token that was just made must be valid for the other one.
	maxSkew = 30 * time.Second
	// leaseSlack is how long after its end a lease is still taken for late.
	leaseSlack = 15 * time.Second
	// manyRestarts of a container, and recentRestart: an agent that crashes again and again.
	manyRestarts  = 5
	recentRestart = time.Hour
)

const groupInstallation = "Installation"

// Kinds by the names of facts.Unread.
const (
	needCRDs        = "customresourcedefinitions"
	needDeployments = "deployments in " + facts.Namespace
	needDaemonSets  = "daemonsets in " + facts.Namespace
	needPods        = "pods in " + facts.Namespace
	needLeases      = "leases in " + facts.Namespace
)

// common are the checks of either side.
var common = []check{
	{groupInstallation, "Kubernetes is new enough", nil, kubernetesVersion},
	{groupInstallation, "CRDs are installed, and are those of this version", []string{needCRDs}, crdVersions},
	{groupInstallation, "containers of Tombolo run, and do not restart again and again", []string{needPods}, containers},
	{groupInstallation, "this machine's clock and the API server's agree", nil, localClock},
}

func kubernetesVersion(f *facts.Facts) []Finding {
	version, err := utilversion.ParseGeneric(f.ServerVersion)
	if err != nil {
		return []Finding{warning("API server", fmt.Sprintf("version %q can't be read", f.ServerVersion), "make sure that it is "+minKubernetes+" or newer")}
	}
	if version.LessThan(utilversion.MustParseGeneric(minKubernetes)) {
		return []Finding{failed("API server", "is "+f.ServerVersion, "upgrade it to "+minKubernetes+" or newer")}
	}
	return nil
}

// crdVersions compares with the CRDs that this program was built with. A cluster without the hub needs those of spoke.tombolo.io only.
func crdVersions(f *facts.Facts) []Finding {
	installed := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for i := range f.CRDs {
		installed[f.CRDs[i].Name] = &f.CRDs[i]
	}
	var findings []Finding
	for _, want := range ownCRDs() {
		if !f.Hub && want.Spec.Group != "spoke.tombolo.io" {
			continue
		}
		if finding := crdFinding(&want, installed[want.Name]); finding != nil {
			findings = append(findings, *finding)
		}
	}
	return findings
}

func crdFinding(want, have *apiextensionsv1.CustomResourceDefinition) *Finding {
	const cure = "upgrade Tombolo's chart, which brings its CRDs (docs/install.md)"
	subject := "CustomResourceDefinition " + want.Name
	if have == nil {
		return new(failed(subject, "is not installed", cure))
	}
	for _, c := range have.Status.Conditions {
		if (c.Type == apiextensionsv1.Established || c.Type == apiextensionsv1.NamesAccepted) && c.Status == apiextensionsv1.ConditionFalse {
			return new(failed(subject, c.Message, "remove what has taken its names: kubectl get crd "+want.Name+" -o yaml"))
		}
	}
	wanted := want.Spec.Versions[0]
	i := slices.IndexFunc(have.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == wanted.Name })
	if i < 0 || !have.Spec.Versions[i].Served {
		return new(failed(subject, "does not serve version "+wanted.Name, cure))
	}
	missing := missingFields("", wanted.Schema.OpenAPIV3Schema, have.Spec.Versions[i].Schema.OpenAPIV3Schema)
	if len(missing) > 0 {
		return new(failed(subject, "is older than this program: the API server throws away "+strings.Join(missing, ", "), cure))
	}
	if newer := missingFields("", have.Spec.Versions[i].Schema.OpenAPIV3Schema, wanted.Schema.OpenAPIV3Schema); len(newer) > 0 {
		return new(warning(subject, "is newer than this program, which does not know "+strings.Join(newer, ", "), "use a newer kubectl-tombolo"))
	}
	return nil
}

// missingFields are the fields of want that have lacks.
func missingFields(path string, want, have *apiextensionsv1.JSONSchemaProps) []string {
	if want == nil {
		return nil
	}
	if have == nil {
		return []string{cmp.Or(strings.TrimPrefix(path, "."), "everything")}
	}
	var missing []string
	for name, property := range want.Properties {
		got, found := have.Properties[name]
		if !found {
			missing = append(missing, strings.TrimPrefix(path+"."+name, "."))
			continue
		}
		missing = append(missing, missingFields(path+"."+name, &property, &got)...)
	}
	if want.Items != nil && have.Items != nil {
		missing = append(missing, missingFields(path+"[]", want.Items.Schema, have.Items.Schema)...)
	}
	slices.Sort(missing)
	return missing
}

// ownCRDs are those that this program was built with.
func ownCRDs() []apiextensionsv1.CustomResourceDefinition {
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var own []apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := crds.Files.ReadFile(file)
		if err != nil {
			panic(err) // it is in the program
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(data, &crd); err != nil {
			panic(fmt.Errorf("parse %s: %w", file, err))
		}
		own = append(own, crd)
	}
	return own
}

func containers(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.Pods {
		pod := &f.Pods[i]
		for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if finding := containerFinding(f.Now, pod, &status); finding != nil {
				findings = append(findings, *finding)
			}
		}
	}
	return findings
}

func containerFinding(now time.Time, pod *corev1.Pod, status *corev1.ContainerStatus) *Finding {
	subject := fmt.Sprintf("pod %s, container %s", pod.Name, status.Name)
	logs := fmt.Sprintf("kubectl -n %s logs %s -c %s", pod.Namespace, pod.Name, status.Name)
	if w := status.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
		cure := "look at kubectl -n " + pod.Namespace + " describe pod " + pod.Name
		if w.Reason == "CrashLoopBackOff" {
			cure = "look at " + logs + " --previous"
		}
		if strings.Contains(w.Reason, "Image") {
			cure = "make the image available to node " + pod.Spec.NodeName + ", or set image.registry and image.pullSecrets of the chart"
		}
		return new(failed(subject, w.Reason+": "+w.Message, cure))
	}
	last := status.LastTerminationState.Terminated
	if status.RestartCount >= manyRestarts && last != nil && now.Sub(last.FinishedAt.Time) < recentRestart {
		return new(warning(subject, fmt.Sprintf("has restarted %d times, the last time %s with exit code %d (%s)",
			status.RestartCount, last.FinishedAt.UTC().Format(time.RFC3339), last.ExitCode, last.Reason), "look at "+logs+" --previous"))
	}
	return nil
}

func localClock(f *facts.Facts) []Finding {
	if f.ServerTime.IsZero() {
		return nil
	}
	// The server tells whole seconds, and the answer has travelled.
	if skew := f.Now.Sub(f.ServerTime); skew.Abs() > maxSkew {
		return []Finding{warning("this machine", fmt.Sprintf("its clock is %s off the API server's", skew.Round(time.Second)),
			"set the clock of the one that is wrong: certificates and tokens of the other are not valid yet, or no more")}
	}
	return nil
}

// deploymentReady is the check of one Deployment of tombolo-system.
func deploymentReady(name, chart string) func(*facts.Facts) []Finding {
	return func(f *facts.Facts) []Finding {
		deployment := f.Deployment(name)
		subject := "Deployment " + facts.Namespace + "/" + name
		if deployment == nil {
			return []Finding{failed(subject, "is not there", "install the chart "+chart+" into namespace "+facts.Namespace+" (docs/install.md)")}
		}
		wanted := int32(1)
		if deployment.Spec.Replicas != nil {
			wanted = *deployment.Spec.Replicas
		}
		describe := "look at kubectl -n " + facts.Namespace + " describe deployment,pods -l app.kubernetes.io/name=" + deployment.Spec.Template.Labels["app.kubernetes.io/name"]
		switch ready := deployment.Status.ReadyReplicas; {
		case wanted == 0:
			return []Finding{failed(subject, "is scaled to 0 replicas", "kubectl -n "+facts.Namespace+" scale deployment "+name+" --replicas=2")}
		case ready == 0:
			return []Finding{failed(subject, fmt.Sprintf("none of %d replicas is ready", wanted), describe)}
		case ready < wanted:
			return []Finding{warning(subject, fmt.Sprintf("%d of %d replicas are ready", ready, wanted), describe)}
		}
		return rollout(subject, deployment)
	}
}

func rollout(subject string, deployment *appsv1.Deployment) []Finding {
	for _, c := range deployment.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse {
			return []Finding{failed(subject, "the newest version does not come up: "+c.Message, "look at its pods, or go back: helm rollback")}
		}
	}
	return nil
}

// leaderFresh is the check of a leader's lease.
func leaderFresh(name string) func(*facts.Facts) []Finding {
	return func(f *facts.Facts) []Finding {
		subject, logs := "Lease "+facts.Namespace+"/"+name, "look at the logs of deployment "+name
		if name == facts.AddOn {
			logs = "look at the logs of deployment " + facts.AgentDeployment
		}
		lease := f.Lease(facts.Namespace, name)
		if lease == nil || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
			return []Finding{warning(subject, "nobody has it", "a replica takes it within seconds of its start: "+logs)}
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return []Finding{warning(subject, "its holder has given it up, and nobody else has taken it", logs)}
		}
		end := lease.Spec.RenewTime.Add(time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second + leaseSlack)
		if now := f.Clock(); now.After(end) {
			return []Finding{failed(subject, fmt.Sprintf("%s has not renewed it for %s: nobody works", *lease.Spec.HolderIdentity, now.Sub(lease.Spec.RenewTime.Time).Round(time.Second)),
				logs+": it can't reach the API server, or it hangs")}
		}
		return nil
	}
}

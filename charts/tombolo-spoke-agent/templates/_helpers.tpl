{{- /* Copyright The Tombolo Authors. */ -}}
{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{/* Labels that select pods: they never change. */}}
{{- define "tombolo-agent.selectorLabels" -}}
app.kubernetes.io/name: tombolo-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "tombolo-agent.labels" -}}
{{ include "tombolo-agent.selectorLabels" . }}
app.kubernetes.io/part-of: tombolo
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image, by tag or by digest. */}}
{{- define "tombolo-agent.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end }}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* imagePullSecrets of a pod, or nothing. */}}
{{- define "tombolo-agent.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Pods on as many nodes and zones as there are. Takes the labels that select them. */}}
{{- define "tombolo-agent.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $ | nindent 6 }}
{{- end }}
{{- end }}

{{/*
Who a CRD of this chart belongs to, if that is somebody else: another release, or "nobody" for one that was put there without
helm. Takes the CRD. A rendering that asks no cluster finds none.
*/}}
{{- define "tombolo-agent.owner" -}}
{{- $root := index . 0 }}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (index . 1).metadata.name }}
{{- if $there }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $there }}
{{- if ne $owner $root.Release.Name }}{{ $owner | default "nobody" }}{{ end }}
{{- end }}
{{- end }}

{{/* The CRDs of a list of the root and a pattern of files: kept when the release goes, since their objects would go with them. */}}
{{- define "tombolo-agent.crds" -}}
{{- $root := index . 0 }}
{{- range $file, $content := $root.Files.Glob (index . 1) }}
{{- $crd := fromYaml (toString $content) }}
{{- if not (include "tombolo-agent.owner" (list $root $crd)) }}
{{- $keep := dict "helm.sh/resource-policy" "keep" "addon.open-cluster-management.io/deletion-orphan" "" }}
{{- $_ := set $crd.metadata "annotations" (merge $keep ($crd.metadata.annotations | default dict)) }}
{{- $_ := set $crd.metadata "labels" (merge (fromYaml (include "tombolo-agent.labels" $root)) ($crd.metadata.labels | default dict)) }}
---
{{ toYaml $crd }}
{{- end }}
{{- end }}
{{- end }}

{{/* Directories of the node with sockets of the northbound database, as JSON. */}}
{{- define "tombolo-agent.northboundSocketDirs" -}}
{{- $dirs := list }}
{{- range splitList "," .Values.ovn.northbound }}
{{- if hasPrefix "unix:" . }}{{ $dirs = append $dirs (dir (trimPrefix "unix:" .)) }}{{ end }}
{{- end }}
{{- uniq $dirs | toJson }}
{{- end }}

{{/* Ports of the northbound database, as JSON. */}}
{{- define "tombolo-agent.northboundPorts" -}}
{{- $ports := list }}
{{- range splitList "," .Values.ovn.northbound }}
{{- if not (hasPrefix "unix:" .) }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* What containers are held to that need nothing of their node. Takes their user. */}}
{{- define "tombolo-agent.securityContext" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: {{ ne (int .) 0 }}
runAsUser: {{ int . }}
seccompProfile: {type: RuntimeDefault}
capabilities:
  drop: [ALL]
{{- end }}

{{/*
The controller's user. Packages of OVN let nobody but root write to its socket, so with one the controller is root, without any
capability even then.
*/}}
{{- define "tombolo-agent.controllerUser" -}}
{{- $user := .Values.controller.runAsUser }}
{{- if kindIs "string" $user }}{{ $user = ternary 0 65532 (contains "unix:" .Values.ovn.northbound) }}{{ end }}
{{- int $user }}
{{- end }}

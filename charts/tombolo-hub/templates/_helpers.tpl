{{- /* Copyright The Tombolo Authors. */ -}}
{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{/* Labels that select pods: they never change. */}}
{{- define "tombolo-hub.selectorLabels" -}}
app.kubernetes.io/name: tombolo-hub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "tombolo-hub.labels" -}}
{{ include "tombolo-hub.selectorLabels" . }}
app.kubernetes.io/part-of: tombolo
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image, by tag or by digest. */}}
{{- define "tombolo-hub.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end }}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* imagePullSecrets of a pod, or nothing. */}}
{{- define "tombolo-hub.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What every container of the hub is held to: it needs nothing of its node. */}}
{{- define "tombolo-hub.securityContext" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
seccompProfile: {type: RuntimeDefault}
capabilities:
  drop: [ALL]
{{- end }}

{{/* Pods on as many nodes and zones as there are. Takes the labels that select them. */}}
{{- define "tombolo-hub.spread" -}}
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
{{- define "tombolo-hub.owner" -}}
{{- $root := index . 0 }}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (index . 1).metadata.name }}
{{- if $there }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $there }}
{{- if ne $owner $root.Release.Name }}{{ $owner | default "nobody" }}{{ end }}
{{- end }}
{{- end }}

{{/* The CRDs of a list of the root and a pattern of files: kept when the release goes, since their objects would go with them. */}}
{{- define "tombolo-hub.crds" -}}
{{- $root := index . 0 }}
{{- range $file, $content := $root.Files.Glob (index . 1) }}
{{- $crd := fromYaml (toString $content) }}
{{- if not (include "tombolo-hub.owner" (list $root $crd)) }}
{{- $keep := dict "helm.sh/resource-policy" "keep" "addon.open-cluster-management.io/deletion-orphan" "" }}
{{- $_ := set $crd.metadata "annotations" (merge $keep ($crd.metadata.annotations | default dict)) }}
{{- $_ := set $crd.metadata "labels" (merge (fromYaml (include "tombolo-hub.labels" $root)) ($crd.metadata.labels | default dict)) }}
---
{{ toYaml $crd }}
{{- end }}
{{- end }}
{{- end }}

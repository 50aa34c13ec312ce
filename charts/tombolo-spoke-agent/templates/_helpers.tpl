{{/* Copyright The Tombolo Authors. */}}
{{/* SPDX-License-Identifier: Apache-2.0 */}}

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
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* The image, by tag or by digest. */}}
{{- define "tombolo-agent.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end }}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/*
A CRD of this release: kept when the release goes, since its objects would go with it. One that is there and that another release
or a person has put there is left alone. Takes a list of the root and the CRD.
*/}}
{{- define "tombolo-agent.crd" -}}
{{- $root := index . 0 }}
{{- $crd := index . 1 }}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $crd.metadata.name }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $there }}
{{- if or (not $there) (eq $owner $root.Release.Name) }}
{{- $_ := set $crd.metadata.annotations "helm.sh/resource-policy" "keep" }}
{{- $_ := set $crd.metadata "labels" (merge (fromYaml (include "tombolo-agent.labels" $root)) ($crd.metadata.labels | default dict)) -}}
---
{{ toYaml $crd }}
{{- end }}
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

{{/* Directories of the node with sockets of the northbound database, as JSON. */}}
{{- define "tombolo-agent.northboundSocketDirs" -}}
{{- $dirs := list }}
{{- range splitList "," .Values.ovn.northbound }}
{{- if hasPrefix "unix:" . }}{{ $dirs = append $dirs (dir (trimPrefix "unix:" .)) }}{{ end }}
{{- end }}
{{- uniq $dirs | toJson }}
{{- end }}

{{- /* An image, as (list . NAME SUFFIX): images.NAME; the suffix is that of the tag that it has if none is given. */}}
{{- define "mlflow-model-api.image" -}}
{{- $root := index . 0 }}
{{- $image := index $root.Values.images (index . 1) }}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}
{{- else }}:{{ $image.tag | default (printf "%s%s" $root.Chart.AppVersion (index . 2)) }}
{{- end }}
{{- end }}

{{- define "mlflow-model-api.pull-secrets" -}}
{{- range .Values.images.pullSecrets }}
- name: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* The settings of a part, as (list . "webhook"): those of its components, and the admin's, which win. */}}
{{- define "mlflow-model-api.settings" -}}
{{- $root := index . 0 }}
{{- $settings := include (printf "mlflow-model-api.settings.%s" (index . 1)) $root | fromYaml }}
{{- range $name, $value := (index $root.Values (index . 1)).settings }}
{{- $_ := set $settings $name $value }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- /* The name of their ConfigMap: its hash is that of kustomize (which leaves the name out), so that a changed setting is a
     rollout. */}}
{{- define "mlflow-model-api.settings-name" -}}
{{- $name := printf "model-api-%s-settings" (index . 1) }}
{{- $data := include "mlflow-model-api.settings" . | fromYaml }}
{{- $hash := dict "kind" "ConfigMap" "name" "" "data" $data | toJson | sha256sum | trunc 10 }}
{{- $name }}-{{ $hash | replace "0" "g" | replace "1" "h" | replace "3" "k" | replace "a" "m" | replace "e" "t" }}
{{- end }}

{{- /* The pull token of each project as a file, for the sync of a shared claim. */}}
{{- define "mlflow-model-api.sync-tokens" -}}
{{- range .Values.sharedVolume.projects }}
- secret:
    name: mlflow-pull-{{ . }}
    items:
      - key: token
        path: {{ . | quote }}
{{- end }}
{{- end }}

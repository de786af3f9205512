{{- /* Written by `make render` from manifests/. */}}
{{- define "mlflow-model-api.parts" -}}
certManager: webhook
highAvailability: webhook
monitoring: webhook
mlflowAccess: webhook
objectStores: webhook
sharedVolume: webhook
gateDomino: gate
gateMonitoring: gate
gateReplicas: gate
gateServiceAccountTokens: gate
gatePodLabels: gate
{{- end }}

{{- define "mlflow-model-api.settings.webhook" -}}
{{- if .Values.objectStores.enabled }}
MODEL_API_WEBHOOK_DELIVERY_IMAGE: "{{ include "mlflow-model-api.image" (list . "delivery" "-full") }}"
{{- else }}
MODEL_API_WEBHOOK_DELIVERY_IMAGE: "{{ include "mlflow-model-api.image" (list . "delivery" "") }}"
{{- end }}
MODEL_API_WEBHOOK_NAMESPACE: "{{ .Release.Namespace }}"
MODEL_API_WEBHOOK_TRACKING_URI: "http://mlflow.{{ .Values.namespaces.mlflow }}.svc:5000"
{{- if .Values.selfManagedCerts.enabled }}
MODEL_API_WEBHOOK_SERVER_CERTIFICATES: self-managed
{{- end }}
{{- if .Values.sharedVolume.enabled }}
MODEL_API_WEBHOOK_DELIVERY: volume
MODEL_API_WEBHOOK_CLAIM: mlflow-models
MODEL_API_WEBHOOK_TOKEN: none
{{- end }}
{{- end }}

{{- define "mlflow-model-api.settings.gate" -}}
MODEL_API_GATE_SERVE_UPSTREAM: "http://mlflow.{{ .Values.namespaces.mlflow }}.svc:5000"
MODEL_API_GATE_SERVE_SECRET_DIR: /run/model-api-gate/tokens
MODEL_API_GATE_SERVE_AUDIT_LOG: /var/log/model-api-gate/audit.jsonl
MODEL_API_GATE_SERVE_METRICS_PORT: '8080'
{{- if .Values.gateDomino.enabled }}
MODEL_API_GATE_SERVE_DOMINO_URL: "http://nucleus-frontend.{{ .Values.namespaces.domino }}.svc"
{{- end }}
{{- if .Values.gateReplicas.enabled }}
MODEL_API_GATE_SERVE_LEASE: "{{ .Values.namespaces.mlflow }}/model-api-gate"
MODEL_API_GATE_SERVE_SHUTDOWN_SECONDS: '300'
{{- end }}
{{- if .Values.gateServiceAccountTokens.enabled }}
MODEL_API_GATE_SERVE_ISSUERS_FILE: /run/model-api-gate/issuers/issuers.json
{{- end }}
{{- end }}

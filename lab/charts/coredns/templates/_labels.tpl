{{- define "coredns.k8sapp" -}}
{{ default .Chart.Name .Values.k8sAppLabelOverride }}
{{- end }}

{{- define "coredns.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ .Chart.Name }}
k8s-app: {{ include "coredns.k8sapp" . }}
{{- end }}

{{- define "coredns.labels" -}}
{{ include "coredns.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: "{{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}"
kubernetes.io/cluster-service: "true"
kubernetes.io/name: "CoreDNS"
{{- end }}

{{- define "coredns.account" -}}
{{ .Values.serviceAccount.create | ternary .Release.Name "default" }}
{{- end }}

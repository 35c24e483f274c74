"""Tiny charts and a helmfile over them, written into a test's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels:
        app: {{ .Release.Name }}
        helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
    spec:
      containers: [{name: main, image: "registry.k8s.io/pause:3.10", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {greeting: {{ .Values.greeting | quote }}}
"""
# Kinds quoted, a long line, a plain `=`, a hook and another kind: what real charts put between definitions.
DEFINITIONS = """\
{{- if .Values.crds.enabled }}
kind: "CustomResourceDefinition"
apiVersion: apiextensions.k8s.io/v1
metadata: {name: gadgets.test.firstlight, annotations: {long: "{{ repeat 70000 "x" }}"}}
spec:
  group: test.firstlight
  names: {kind: Gadget, plural: gadgets}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {matchType: {type: string, enum: [=, "!="]}}
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: post-install}}
"""
HELMFILE = """\
environments:
  lab: {}
---
releases:
  - name: first
    namespace: default
    chart: ./app
    values: [{greeting: {{ env "GREETING" | default "hello" }}}]
  - name: second
    namespace: default
    chart: ./app
    needs: [default/first]
"""


def write(folder: Path) -> Path:
    """Two charts and a helmfile; gives the helmfile."""
    for name, template, values in (
        ("app", DEPLOYMENT, "replicas: 1\ngreeting: hello\n"),
        ("definitions", DEFINITIONS, "crds: {enabled: false}\n"),
    ):
        chart = folder / name
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.2.3\n")
        (chart / "values.yaml").write_text(values)
        (chart / "templates" / "all.yaml").write_text(template)
    file = folder / "core.yaml.gotmpl"
    file.write_text(HELMFILE)
    return file


def write_definitions(folder: Path, *, enabled: bool) -> Path:
    """A helmfile over the chart of definitions."""
    file = folder / "crds.yaml"
    file.write_text(
        "environments: {lab: {}}\n---\nreleases:\n"
        "  - {name: definitions, namespace: default, chart: ./definitions, "
        f"values: [{{crds: {{enabled: {str(enabled).lower()}}}}}]}}\n"
    )
    return file

"""A small repository, written into a test's folder, that tests then break in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from gitops.build import Kustomize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {
    "clusters/lab/kustomization.yaml": "resources: [settings.yaml, apps.yaml]\n",
    "clusters/lab/settings.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-settings, namespace: flux-system}
data:
  CLUSTER: lab
  CLUSTER_ID: "250"
  VERSION: 1.2.3
  COMPONENTS: '["a", "b"]'
""",
    "clusters/lab/apps.yaml": """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec:
  interval: 10m
  path: ./kubernetes/apps
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
  postBuild:
    substitute: {GREETING: hello}
    substituteFrom:
      - {kind: ConfigMap, name: cluster-settings}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: plain, namespace: flux-system}
spec:
  interval: 10m
  path: ./kubernetes/plain
  prune: true
  targetNamespace: other
  sourceRef: {kind: GitRepository, name: flux-system}
  dependsOn:
    - name: apps
  patches:
    - patch: '[{"op": "add", "path": "/data/patched", "value": "yes"}]'
      target: {kind: ConfigMap}
""",
    "apps/kustomization.yaml": "resources: [one.yaml, two.yaml]\n",
    "apps/one.yaml": """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: one, namespace: apps}
spec:
  interval: 1h
  url: oci://ghcr.io/charts/one
  ref:
    tag: ${VERSION}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: one, namespace: apps}
spec:
  interval: 1h
  chartRef: {kind: OCIRepository, name: one}
  values:
    id: ${CLUSTER_ID}
    components: ${COMPONENTS}
    greeting: ${GREETING} ${NAME:=world}
    escaped: $${CLUSTER}
""",
    "apps/two.yaml": """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: two, namespace: apps}
spec:
  interval: 1h
  url: https://charts.example/
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: two, namespace: apps}
spec:
  interval: 1h
  targetNamespace: elsewhere
  chart:
    spec:
      chart: two
      version: 4.5.6
      sourceRef: {kind: HelmRepository, name: two}
  valuesFrom:
    - {kind: ConfigMap, name: defaults}
  values: {deep: {own: 1}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: defaults, namespace: apps, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}
data:
  values.yaml: |
    deep: {own: 0, default: 2}
    literal: ${CLUSTER}
""",
    "plain/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: '${CLUSTER}'}\n",
    "plain/b/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {}\n",
}


def write(root: Path) -> Path:
    """The repository; gives its root."""
    for name, content in FILES.items():
        path = root / "kubernetes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def kustomize(programs: Callable[[str], Path]) -> Kustomize:
    return Kustomize(ShCommandRunner(Redactor()), programs("kustomize"))

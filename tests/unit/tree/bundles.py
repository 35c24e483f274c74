"""The helmfile of definitions over charts on disk, for tests without a registry."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.objects import mapping, text
from gitops import releases
from gitops.build import Kustomize
from gitops.loader import load
from kube.crds import extract
from kube.helm import helm_environment
from kube.helmfile import Helmfile
from phases.definitions import EXPECTED
from tests.unit.tree.rendered import ROOT, Programs

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.objects import Object
    from gitops.tree import Tree
    from rehearsal.charts import PackagedChart

FILE = "bootstrap/helmfile.d/00-crds.yaml"


class Bundles:
    """The repository's files with charts on disk in place of those in registries."""

    def __init__(self, root: Path, programs: Programs, runner: CommandRunner, charts: dict[str, PackagedChart]) -> None:
        shutil.copytree(ROOT / "bootstrap" / "helmfile.d", root / "bootstrap" / "helmfile.d")
        shutil.copy(ROOT / EXPECTED, root / "bootstrap")
        self.root = root
        self._programs = programs
        self._runner = runner
        self._charts = charts
        content = self.file.read_text().partition("repositories:")
        local = re.sub(r"(?m)^    chart: [^'\s]*?([\w-]+)$", self._local, content[2].partition("\n\n")[2])
        self.file.write_text(content[0] + local)

    @property
    def file(self) -> Path:
        return self.root / FILE

    def tree(self, cluster: str) -> Tree:
        return load(ROOT, cluster, Kustomize(self._runner, self._programs("kustomize")))

    def extract(self, cluster: str) -> list[Object]:
        core = self.root / "core"
        releases.write_core(self.tree(cluster), core)
        listed = mapping(yaml_io.load((core / "releases.yaml").read_bytes(), source="releases.yaml"))
        for namespace in mapping(listed, "charts"):
            for one in mapping(listed, "charts", namespace).values():
                mapping(one)["chart"] = str(self._charts[text(one, "chart").rpartition("/")[2]].file)
        (core / "releases.yaml").write_text(yaml_io.dump(listed))
        environment = {**helm_environment(self.root / "helm"), "FIRSTLIGHT_CORE": str(core)}
        file = Helmfile(
            self._runner, self._programs("helmfile"), self._programs("helm"), self.file, cluster, environment
        )
        return extract(file, self._programs("yq"))

    def _local(self, found: re.Match[str]) -> str:
        return f"    chart: {self._charts[found[1]].file}"

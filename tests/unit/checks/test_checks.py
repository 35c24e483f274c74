"""Every file of tests/fixtures/checks: a release, what its chart renders, and every problem that must be found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from checks.catalogue import check
from gitops.tree import FLUX_SYSTEM, Kustomization, Name, Tree

if TYPE_CHECKING:
    from bootstrap.host.objects import Object

FOLDER = Path(__file__).parents[2] / "fixtures" / "checks"
ENDPOINT = ("k8s.example.org", "6443")
PLACE = "kubernetes/a"
MARK = "# refused:"
OF_THE_TREE = {"HelmRelease", "HelmRepository", "OCIRepository"}


def tree_of(root: Path, objects: list[Object]) -> Tree:
    own = Kustomization(Name(FLUX_SYSTEM, FLUX_SYSTEM), PLACE, {}, PLACE, objects=tuple(objects))
    return Tree(root, "lab", (own,))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_found_in_a_release(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    (tmp_path / PLACE).mkdir(parents=True)
    (tmp_path / PLACE / file.name).write_text(text)
    documents = [one for one in yaml_io.load_all(text, source=file.name) if isinstance(one, dict)]
    ours = [one for one in documents if one.get("kind") in OF_THE_TREE]
    made = [one for one in documents if "kind" in one and one["kind"] not in {*OF_THE_TREE, "Namespace"}]
    chart = file.stem.partition("--")[0]
    rendered = "".join(f"---\n# Source: {chart}/templates/a.yaml\n{yaml_io.dump(one)}" for one in made)
    found = check(
        tree_of(tmp_path, ours), rendered.encode(), endpoint=ENDPOINT,
        crds=[one for one in documents if "releases" in one],
        resources=[one for one in documents if one.get("kind") == "Namespace"],
    )  # fmt: skip
    wanted = [line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK)]
    prefix = f"{PLACE}/{file.name}:"
    assert [str(problem).removeprefix(prefix) for problem in found] == wanted


def test_every_kind_of_check_has_a_file_that_passes_and_one_that_fails() -> None:
    files = {file.stem.partition("--")[2] for file in FOLDER.glob("*.yaml")}
    assert {"fit", "unfit"} <= {name.partition("-")[0] for name in files}

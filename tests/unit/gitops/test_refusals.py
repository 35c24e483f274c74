"""What a chart's schema refuses, said by the real helm, at the place in the tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from gitops.loader import load
from gitops.refusals import refused_values
from gitops.releases import release
from tests.unit.gitops import trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCHEMA = {
    "type": "object", "additionalProperties": False,
    "properties": {"id": {"type": "string"}, "components": {"type": "array"}, "greeting": {}},
}  # fmt: skip


def test_a_refused_value_is_shown_where_it_is_given(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    chart = tmp_path / "one"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: one\nversion: 1.2.3\n")
    (chart / "values.schema.json").write_text(json.dumps(SCHEMA))
    (chart / "values.yaml").write_text(yaml_io.dump(release(tree, "one").values))
    command = Command(programs("helm"), ("template", "x", str(chart)), allowed=frozenset({1}))
    said = ShCommandRunner(Redactor()).run(command).stderr.decode()
    said_of = "HelmRelease apps/one: the schema of chart one refuses"
    assert [str(problem) for problem in refused_values(tree, said + said)] == [
        f"kubernetes/apps/one.yaml:17:9: {said_of} id: got number, want string",
        f"kubernetes/apps/one.yaml:20:14: {said_of} escaped: additional properties 'escaped' not allowed",
    ]


def test_other_words_are_no_refusal(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    assert refused_values(tree, "Error: one:\nfailed to download oci://ghcr.io/charts/one") == ()

"""Edits of the patches in fixtures/talos/tree that must be refused: each file of the folder is a case, found by itself.

A case names the file, what stands there, what stands there instead, and every problem that must be reported.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import ExitCode, InputError
from inventory.loader import load
from talos import machineconfig
from tests.unit.talos.recorded import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.secret import Secret
    from talos.client import Talosctl

TREE = FIXTURES / "tree"
CASES = sorted((FIXTURES / "refused").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_refused_with_every_problem(talosctl: Talosctl, secrets_bundle: Secret, path: Path, tmp_path: Path) -> None:
    case: Any = yaml_io.load(path.read_text(), source=path.name)
    shutil.copytree(TREE / "talos", tmp_path / "talos")
    edited = tmp_path / case["file"]
    assert case["old"] in edited.read_text()
    edited.write_text(edited.read_text().replace(case["old"], case["new"], 1))
    folder = edited.relative_to(tmp_path / "talos").parts[0]
    cluster = load(TREE, "infra" if folder == "base.yaml" else folder)
    with pytest.raises(InputError) as caught:
        machineconfig.render(talosctl, cluster, cluster.nodes[0], secrets_bundle, root=tmp_path)
    assert [str(problem) for problem in caught.value.problems] == case["refused"]
    assert caught.value.exit_code is ExitCode.INVALID


def test_the_folder_is_found() -> None:
    assert len(CASES) >= 45

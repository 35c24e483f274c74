"""The lab's own programs, tested in their own language."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command
from tests.unit.tree.rendered import ROOT

if TYPE_CHECKING:
    from bootstrap.host.commands import CommandRunner

MODULES = sorted(file.parent for file in (ROOT / "lab").glob("*/go.mod"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_the_go_tests_pass(module: Path, runner: CommandRunner) -> None:
    go = shutil.which("go")
    assert go, "go is not installed"
    environment = {name: value for name, value in os.environ.items() if name.startswith("GO")} | {"CGO_ENABLED": "0"}
    # A cold cache compiles net/http, on a machine that may emulate another one meanwhile.
    command = Command(Path(go), ("test", "./..."), environment, timeout=300, folder=module)
    assert "ok" in runner.run(command).text

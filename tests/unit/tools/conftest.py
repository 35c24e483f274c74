"""Fixtures of the tool tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.tools.workbench import MAIN, Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    recipe = tmp_path / "root" / "tools" / "hello"
    recipe.mkdir(parents=True)
    (recipe / "go.mod").write_text("module example.test/hello\n\ngo 1.21\n")
    (recipe / "main.go").write_text(MAIN)
    return Bench(tmp_path / "root", tmp_path / "cache")


@pytest.fixture
def shim(tmp_path: Path) -> Callable[..., str]:
    """Puts a program that prints something into a folder of its own; gives the folder, for a search path."""

    def make(name: str, prints: str, *, code: int = 0, stream: int = 1) -> str:
        folder = tmp_path / "bin" / f"{name}-{len(list(tmp_path.glob('bin/*')))}"
        folder.mkdir(parents=True)
        (folder / "output").write_text(prints)
        (folder / name).write_text(f"#!/bin/sh\n/bin/cat {folder}/output >&{stream}\nexit {code}\n")
        (folder / name).chmod(0o755)
        return str(folder)

    return make

"""The repository's own files, as Git would hand them to a stranger."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def files() -> dict[str, str]:
    """Text by path, of every file that is tracked or about to be."""
    git = shutil.which("git")
    assert git, "git is not installed"
    # In CI the clone may belong to another user than the one who tests it.
    arguments = ("-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = ShCommandRunner(Redactor()).run(Command(Path(git), arguments, folder=ROOT)).text.split("\0")
    paths = {name: ROOT / name for name in names if name and (ROOT / name).is_file()}
    return {name: path.read_text(encoding="utf-8", errors="replace") for name, path in paths.items()}

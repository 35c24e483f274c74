"""What we are ourselves."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

NAME: Final = "firstlight"


def version() -> str:
    """Our version: of the installed package, else of the worktree that we run from."""
    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
        return str(project["version"])

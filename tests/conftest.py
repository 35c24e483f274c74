"""Fixtures for every ring."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Programs = Callable[[str], Path]


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Where a pinned program is; a missing one fails the test that asks for it."""
    listing = Path(os.environ.get("FIRSTLIGHT_PROGRAMS", "/tmp/programs.txt"))  # noqa: S108 # replaced by the registry
    known = dict(line.split(maxsplit=1) for line in listing.read_text().splitlines()) if listing.exists() else {}

    def find(name: str) -> Path:
        path = Path(known.get(name, f"/tmp/warm/{name}"))  # noqa: S108 # as above
        assert path.exists(), f"{name} is not built"
        return path

    return find

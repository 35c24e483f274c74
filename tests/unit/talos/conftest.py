"""Recorded answers of real nodes, a runner that replays them, and the real talosctl for what needs no node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from talos import throwaway
from talos.client import Talosctl
from tests.unit.talos.recorded import FIXTURES, Replay, read_recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.secret import Secret


@pytest.fixture
def replay() -> Callable[[str], tuple[Talosctl, Replay]]:
    """A talosctl that gives the recordings of the names given, separated by blanks."""

    def make(names: str) -> tuple[Talosctl, Replay]:
        known = {path.stem.rpartition("--")[2]: path for path in sorted(FIXTURES.rglob("*.txt"))}
        runner = Replay([read_recording(known[name]) for name in names.split()])
        return Talosctl(Path("/bin/talosctl"), runner), runner

    return make


@pytest.fixture(scope="session")
def talosctl(programs: Callable[[str], Path]) -> Talosctl:
    """The real program."""
    return Talosctl(programs("talosctl"), ShCommandRunner(Redactor()))


@pytest.fixture(scope="session")
def secrets_bundle() -> Secret:
    """A bundle of the form of talosctl's own, which takes seconds to make."""
    return throwaway.make("a secrets bundle")

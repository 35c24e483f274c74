"""Fixtures for every ring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.configuration import resolve
from bootstrap.host.secret import Redactor
from bootstrap.host.settings import CACHE
from bootstrap.host.toolbox import Toolbox

ROOT = Path(__file__).parents[1]
Programs = Callable[[str], Path]


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Programs:
    """Where a pinned program is; one that is neither on PATH nor cached is built, which takes minutes."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def report(text: str) -> None:
        # Somebody is waiting for a build: its progress is shown at once, not kept for a failure.
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    runner = ShCommandRunner(Redactor())
    toolbox = Toolbox(ROOT, resolve({}, os.environ)[CACHE], runner, report, os.environ.get("PATH", ""))

    @cache
    def find(name: str) -> Path:
        return toolbox.ensure([name])[name]

    return find

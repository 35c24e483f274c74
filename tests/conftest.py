"""Fixtures for every ring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.configuration import resolve
from bootstrap.host.secret import Redactor
from bootstrap.host.settings import CACHE
from bootstrap.host.toolbox import Toolbox
from rehearsal.preparation import NICENESS
from rehearsal.sharing import give_way

ROOT = Path(__file__).parents[1]
LAB = ROOT / "tests" / "lab"
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


LEFT_OUT = pytest.StashKey[int]()
# What xdist carries from a worker to who started it.
CARRIED = "firstlight left out"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also the rehearsals of whole clusters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the rehearsals out unless they are asked for."""
    if config.getoption("--all"):
        return
    left = [item for item in items if item.get_closest_marker("rehearsal")]
    items[:] = [item for item in items if item not in left]
    config.stash[LEFT_OUT] = len(left)
    config.hook.pytest_deselected(items=left)


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker a session of its own, which Linux weighs apart."""
    if hasattr(config, "workerinput"):
        os.setsid()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What needs no lab gives way like the lab's machines: everybody waits for those."""
    if hasattr(item.config, "workerinput"):
        give_way(os.getpid(), 0 if item.path.is_relative_to(LAB) else NICENESS)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell whoever started this worker how many were left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[CARRIED] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from a worker how many were left out; every worker has collected all of them."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get(CARRIED, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was not tested is said last."""
    if left := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"left out: {left} rehearsals of whole clusters; ./invoke test --all runs them")

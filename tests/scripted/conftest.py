"""Scenarios, each in a folder of its own in memory, and the world that they must all end in."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.scripted.canaries import write_store
from tests.scripted.scenario import TALOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

# A thousand runs bring their lines to disk one by one; what is proven here does not need a disk that turns.
_MEMORY = Path("/dev/shm")  # noqa: S108 # a folder of our own is made in it


class Make(Protocol):
    """Makes a scenario."""

    def __call__(self, **settings: Any) -> Scenario:
        """With the settings of `Scenario`."""


class AfterTalos(Protocol):
    """Tells the final world of an undisturbed run of the phase talos."""

    def __call__(self, nodes: int, workers: int = 0) -> list[Any]:
        """Of a cluster with so many control planes and workers."""


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """Where scenarios are kept."""
    folder = tempfile.mkdtemp(prefix="firstlight-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def store(base: Path) -> Path:
    """The secrets of a cluster; the same for all, so that their worlds compare."""
    write_store(base / "store")
    return base / "store"


@pytest.fixture
def make(base: Path, store: Path) -> Iterator[Make]:
    """Makes scenarios; they are gone after the test."""
    made: list[Path] = []

    def scenario(**settings: Any) -> Scenario:
        made.append(base / secrets.token_hex(4))
        return Scenario(made[-1], **{"store": store, **settings})

    yield scenario
    for place in made:
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def wanted(base: Path, store: Path) -> list[Any]:
    """The final world of an undisturbed run."""
    scenario = Scenario(base / "undisturbed", store=store)
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    return scenario.final_world()


@pytest.fixture(scope="session")
def after_talos(base: Path, store: Path) -> AfterTalos:
    """See `AfterTalos`."""

    @cache
    def world(nodes: int, workers: int = 0) -> list[Any]:
        scenario = Scenario(base / f"undisturbed-{nodes}-{workers}", store=store, nodes=nodes, workers=workers)
        ran = scenario.run(**TALOS)
        assert ran.exit_code == 0, ran.stderr
        return scenario.final_world()

    return world


@pytest.fixture
def dice() -> random.Random:
    """Chance that can be repeated: a failed test prints the seed."""
    seed = int(os.environ.get("FIRSTLIGHT_TEST_SEED", "0")) or secrets.randbits(32)
    print(f"FIRSTLIGHT_TEST_SEED={seed}")  # noqa: T201 # shown with a failure
    return random.Random(seed)  # noqa: S311 # chance, not secrecy

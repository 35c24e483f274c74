"""A running lab is joined only when its machines run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.locks import try_lock
from rehearsal.control import listen
from rehearsal.lab import Lab
from tests.unit.rehearsal.bench import make_settings, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal.settings import LabSettings

FINE = {"name": "lab-01", "running": True, "state": "running", "trouble": "", "console": "console.log"}
DEAD = {**FINE, "name": "lab-02", "running": False, "state": "ended", "trouble": "its QEMU ended and printed nothing"}
FULL = {**FINE, "name": "lab-03", "state": "stopped by a full disk", "trouble": "QEMU could not write its disk"}


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return make_settings(tmp_path, tmp_path, {})


@pytest.fixture
def running(tmp_path: Path, settings: LabSettings) -> Iterator[Callable[..., Lab]]:
    """A lab with machines as told, without any: its lock is held and its socket answers."""
    lab = Lab(tmp_path)
    lab.folder.mkdir(parents=True)
    with (lab.cache / "lock").open("w") as lock:

        def start(*machines: dict[str, object]) -> Lab:
            owner = {"root": str(settings.root), "cluster": "lab", "inputs": settings.inputs, "since": "noon"}
            json.dump(owner, lock)
            lock.flush()
            assert try_lock(lock)
            answer = {"state": "ready", "doing": "", "machines": machines, "snapshots": []}

            def handle(_: str, __: dict[str, Any]) -> object:
                return answer

            listen(lab.socket, handle)
            return lab

        yield start


def test_machines_that_run_are_joined(running: Callable[..., Lab], settings: LabSettings) -> None:
    assert not running(FINE).up(settings, runner(), list[str]().append)


def test_a_dead_machine_is_named_with_the_way_out(running: Callable[..., Lab], settings: LabSettings) -> None:
    lab = running(FINE, DEAD, FULL)
    with pytest.raises(InputError, match="the running lab has a machine that does not run") as refused:
        lab.up(settings, runner(), list[str]().append)
    assert [problem.text for problem in refused.value.problems] == [
        "lab-02: its QEMU ended and printed nothing", "lab-03: QEMU could not write its disk",
    ]  # fmt: skip
    assert refused.value.remedy == "./invoke lab.down"
    assert refused.value.exit_code is ExitCode.INVALID


def test_a_full_disk_asks_for_room_first(running: Callable[..., Lab], settings: LabSettings) -> None:
    lab = running(FULL)
    with pytest.raises(InputError) as refused:
        lab.up(settings, runner(), list[str]().append)
    assert refused.value.remedy == "make room there, then the machine goes on by itself; or ./invoke lab.down"

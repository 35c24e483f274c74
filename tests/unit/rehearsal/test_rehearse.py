"""An accident beside a run: when it happens, when it is mended, and how the run is judged."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.journal import FILE
from bootstrap.host.errors import FirstlightError
from inventory.loader import load
from phases.world import state_folder
from rehearsal import rehearse
from rehearsal.catalogue import FAULTS, Fault
from rehearsal.lab import Lab
from rehearsal.rehearse import Accident, Place
from rehearsal.rehearsed import rehearsed
from tests.unit.rehearsal.bench import runner

if TYPE_CHECKING:
    from collections.abc import Callable

INFRA = rehearsed(load(Path(__file__).parents[3], "infra"))


class FakeLab:
    """A lab that keeps what it is asked."""

    def __init__(self, felt: int = 0) -> None:
        self.asked: list[str] = []
        self.mended = threading.Event()
        self._felt = felt

    def ask(self, request: str, **arguments: object) -> int:
        self.asked.append(" ".join([request, *(str(value) for value in arguments.values())]))
        if request == "mend":
            self.mended.set()
        return self._felt


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []
        self.journal = state_folder(root, "infra", rehearsal=True) / FILE
        self.journal.parent.mkdir(parents=True)

    def make(self, fault: Fault, lab: FakeLab) -> Accident:
        chosen: Any = lab
        return Accident(Place(self.root, self.root, runner(), self.said.append), INFRA, chosen, fault)

    def record(self, kind: str, description: str) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps({"kind": kind, "holds": {"description": description}}) + "\n")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(rehearse, "LOOK_SECONDS", 0.001)
    return Bench(tmp_path)


@pytest.mark.parametrize(("felt", "code", "judged"), [(0, 0, 1), (3, 0, 0), (3, 5, 1), (0, 5, 1)])
def test_a_fault_must_be_felt_and_the_run_end_as_it_should(bench: Bench, felt: int, code: int, judged: int) -> None:
    fault = FAULTS["half-open"]
    assert bench.make(fault, FakeLab(felt)).judge(code) == judged
    assert f"felt {felt} times" in bench.said[0]
    assert fault.wanted in bench.said[0]


def test_a_fault_before_the_run_happens_to_the_last_machine(bench: Bench) -> None:
    lab = FakeLab()
    bench.make(FAULTS["other-mac"], lab).before()
    assert lab.asked == ["fault other-mac 2"]
    assert bench.said == ["REHEARSAL: infra-03: a machine with other hardware addresses stands in the machine's place"]


def test_a_fault_waits_for_its_moment_and_is_mended_after_its_time(bench: Bench) -> None:
    applied = "apply the machine configuration to {} at 10.25.11.13"
    # What earlier runs left says nothing about this one.
    bench.record("action ended", applied.format("infra-03"))
    lab = FakeLab()
    accident = bench.make(replace(FAULTS["reset"], lasts=0.01), lab)
    bench.record("action begins", applied.format("infra-03"))
    bench.record("action ended", applied.format("infra-02"))
    accident.before()
    assert not accident._has_begun()
    accident.beside()
    assert lab.asked == []
    bench.record("action ended", applied.format("infra-03"))
    assert lab.mended.wait(10)  # another thread of this very process
    assert lab.asked == ["fault reset 2", "mend reset 2"]


def test_a_lab_that_is_ended_for_another_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Callable[[str], list[str]]
) -> None:
    done = started("")
    place = Place(tmp_path, tmp_path, runner(), list[str]().append)
    assert rehearse.rehearse(place, INFRA, ["true"], fault="", keep=False) == 7
    assert done == ["up", "down"]
    done = started("infra")
    assert rehearse.rehearse(place, INFRA, ["true"], fault="", keep=False) == 7
    assert done == ["up"]
    done = started("")
    assert rehearse.rehearse(place, INFRA, ["true"], fault="", keep=True) == 7
    assert done == ["up"]

    def fail(*_: object, **__: object) -> None:
        raise FirstlightError("it did not come up")

    done = started("")
    monkeypatch.setattr(rehearse, "bring_up", fail)
    with pytest.raises(FirstlightError, match="did not come up"):
        rehearse.rehearse(place, INFRA, ["true"], fault="", keep=False)
    assert done == ["down"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Gives what is done to a lab that runs for a cluster already, or for none."""

    def start(running: str) -> list[str]:
        done: list[str] = []
        owner = {"root": "here", "cluster": running} if running else {}
        monkeypatch.setattr(Lab, "check_owner", lambda *_: None)
        monkeypatch.setattr(Lab, "owner", lambda _: owner)
        monkeypatch.setattr(Lab, "down", lambda _: done.append("down"))
        monkeypatch.setattr(rehearse, "bring_up", lambda *_, **__: done.append("up"))
        monkeypatch.setattr(rehearse, "_show_overlay", lambda *_: None)
        monkeypatch.setattr(rehearse, "accompany", lambda *_: 7)
        return done

    return start

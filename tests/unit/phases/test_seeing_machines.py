"""Preflight sees all machines before one is changed, and refuses what an operator would regret."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.events import Note
from bootstrap.engine.machine import State as StepState
from bootstrap.engine.testing import Recording
from bootstrap.host.errors import ExitCode
from inventory.loader import load
from phases import preflight
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack, said

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.verdict import StepResult, Verdict


def run(rack: Rack, folder: Path, name: str = "machines", recording: Recording | None = None) -> Verdict:
    whole = preflight.phase(racks.world(rack, folder))
    step = next(step for step in whole.steps if step.name == name)
    return racks.run(rack, Phase(name="preflight", title="x", steps=(step,), target=5000.0), recording or Recording())


def last(verdict: Verdict) -> StepResult:
    return list(verdict.steps())[-1]


def test_machines_that_are_as_the_inventory_says(tmp_path: Path) -> None:
    verdict = run(Rack(racks.cluster(3, 2), State.MAINTENANCE), tmp_path)
    assert verdict.exit_code is ExitCode.DONE


def test_a_clock_that_is_not_in_sync_is_noted_with_its_servers(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.MAINTENANCE)
    rack["cp-2"].resources["timestatus"]["node"]["synced"] = False
    recording = Recording()
    assert run(rack, tmp_path, recording=recording).exit_code is ExitCode.DONE
    (note,) = (event.text for event in recording.events if isinstance(event, Note))
    assert "not in sync yet on cp-2; once configured they ask time.cloudflare.com" in note


def test_every_problem_of_every_machine_is_told_at_once(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.MAINTENANCE)
    rack["cp-1"].resources["links"] = {}
    rack["cp-2"].resources["disks"] = {}
    rack["cp-3"].resources["version"]["version"]["version"] = "v1.10.0"
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.INVALID
    assert all(f"{name}: " in said(verdict) for name in rack.boxes)


def test_a_machine_that_comes_late_is_judged_as_well(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.MAINTENANCE)
    rack["cp-2"].states = [State.CLOSED, State.CLOSED, State.MAINTENANCE]
    rack["cp-2"].resources["links"] = {}
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.INVALID
    assert "cp-2: another machine answers" in said(verdict)


@pytest.mark.parametrize("state", [State.CLOSED, State.SILENT, State.HALF_OPEN])
def test_a_machine_that_does_not_answer_is_waited_for_and_named(state: State, tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.OURS)
    rack["cp-2"].states = [state]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "cp-2: shown as" in said(verdict)


def test_an_absent_machine_is_left_out_with_the_reason(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(absent=frozenset({"cp-3"})), State.MAINTENANCE)
    rack["cp-3"].states = [State.SILENT]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.DONE
    assert "left out, absent by the inventory: cp-3" in last(verdict).reason


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ExitCode.INVALID),
        ({"rehearsal": True}, ExitCode.DONE),
        ({"virtual": True}, ExitCode.DONE),
        ({"unverified": frozenset(), "nodes": ()}, ExitCode.DONE),
    ],
)
def test_facts_that_nobody_confirmed_are_refused_on_real_machines(
    changes: dict[str, Any], code: ExitCode, tmp_path: Path
) -> None:
    infra = replace(load(racks.ROOT, "infra"), unverified=frozenset({"endpoint"}))
    verdict = run(Rack(replace(infra, **changes), State.MAINTENANCE), tmp_path, "facts")
    assert verdict.exit_code is code
    assert (last(verdict).state is StepState.FAILED) is (code is ExitCode.INVALID)

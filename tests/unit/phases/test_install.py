"""Machines get their configuration once each, and are followed until they run from their disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.events import Note
from bootstrap.engine.testing import Recording
from bootstrap.host.errors import ExitCode
from phases import install
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import LOST, Box, Rack, said

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.verdict import Verdict

OTHERS = "rpc error: code = FailedPrecondition desc = another apply configuration is in progress"
INVALID = "rpc error: code = InvalidArgument desc = configuration validation failed: x"


def run(rack: Rack, folder: Path, recording: Recording | None = None) -> Verdict:
    phase = Phase(name="talos", title="x", steps=(install.step(racks.world(rack, folder)),), target=5000.0)
    return racks.run(rack, phase, recording or Recording())


def test_every_machine_in_maintenance_is_configured_once(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(3, 2), State.MAINTENANCE)
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert {name: box.count("apply-config") for name, box in rack.boxes.items()} == dict.fromkeys(rack.boxes, 1)


def test_what_is_configured_is_left_alone(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.OURS)
    recording = Recording()
    assert run(rack, tmp_path, recording).exit_code is ExitCode.DONE
    assert all(box.count("apply-config") == 0 for box in rack.boxes.values())
    assert not [event for event in recording.events if isinstance(event, Note)]


OTHER_CONFIG = "machine:\n  type: planted-value\ncluster: {}\n"


@pytest.mark.parametrize("answers", [[], [LOST]], ids=["answered", "answer-lost"])
def test_before_there_is_an_etcd_a_changed_configuration_is_applied(answers: list[str], tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.OURS)
    box = rack["cp-2"]
    box.resources["machineconfig"]["v1alpha1"] = OTHER_CONFIG
    box.errors["apply-config"] = answers
    takes = {"machineconfig": {"v1alpha1": racks.CONFIG}}
    rack.on_ask = lambda one: one.resources.update(takes) if one.count("apply-config") else None
    rack.on_apply = lambda _: None
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert {name: one.count("apply-config") for name, one in rack.boxes.items()} == {"cp-1": 0, "cp-2": 1, "cp-3": 0}


def test_a_change_that_takes_a_reboot_is_waited_for(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.OURS)
    box = rack["cp-1"]
    box.resources["machineconfig"]["v1alpha1"] = OTHER_CONFIG
    takes = {"machineconfig": {"v1alpha1": racks.CONFIG}}
    rack.on_apply = lambda _: None
    rack.on_ask = lambda one: one.resources.update(takes) if one.count("read") > 3 else None
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert box.count("apply-config") == 1


def test_a_control_plane_that_cannot_tell_keeps_its_neighbours_as_they_are(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.OURS)
    rack["cp-2"].resources["machineconfig"]["v1alpha1"] = OTHER_CONFIG
    rack["cp-3"].data = None
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert rack["cp-2"].count("apply-config") == 0


def test_a_machine_that_runs_with_something_else_is_named_and_left_alone(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.OURS)
    rack.start_etcd()
    rack["cp-2"].resources["machineconfig"]["v1alpha1"] = OTHER_CONFIG
    recording = Recording()
    assert run(rack, tmp_path, recording).exit_code is ExitCode.DONE
    (note,) = (event.text for event in recording.events if isinstance(event, Note))
    assert note.startswith("cp-2 ")
    assert note.endswith("machine.type")
    assert "planted-value" not in str(recording.events)
    assert rack["cp-2"].count("apply-config") == 0


@pytest.mark.parametrize("had_effect", [True, False], ids=["after-its-effect", "before-its-effect"])
def test_a_lost_answer_is_decided_by_the_state(had_effect: bool, tmp_path: Path) -> None:  # noqa: FBT001 # a table
    rack = Rack(racks.cluster(1), State.MAINTENANCE)
    box = rack["cp-1"]
    box.errors["apply-config"] = [LOST]
    box.states = [State.MAINTENANCE, State.MAINTENANCE, State.CLOSED, State.OURS] if had_effect else [State.MAINTENANCE]
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert box.count("apply-config") == (1 if had_effect else 2)


def test_a_busy_machine_is_offered_its_configuration_again(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.MAINTENANCE)
    rack["cp-1"].errors["apply-config"] = [OTHERS, OTHERS]
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert rack["cp-1"].count("apply-config") == 3


def test_a_refused_configuration_ends_the_step_at_once(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.MAINTENANCE)
    rack["cp-1"].errors["apply-config"] = [INVALID]
    verdict = run(rack, tmp_path)
    assert "the machine configuration is not valid" in said(verdict)
    assert rack["cp-1"].count("apply-config") == 1


def test_a_foreign_machine_is_refused_before_any_is_touched(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(), State.MAINTENANCE)
    rack["cp-3"].states = [State.FOREIGN]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.INVALID
    assert "cp-3" in said(verdict)
    assert all(box.count("apply-config") == 0 for box in rack.boxes.values())


def test_an_absent_machine_is_neither_configured_nor_waited_for(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(absent=frozenset({"cp-2"})), State.MAINTENANCE)
    rack["cp-2"].states = [State.SILENT]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.DONE
    assert rack["cp-2"].asked == []
    assert "left out, absent by the inventory: cp-2" in list(verdict.steps())[-1].reason


def test_a_failed_install_is_told_when_maintenance_mode_is_back(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.MAINTENANCE)

    def fails(box: Box) -> None:
        box.states = [State.CLOSED, State.MAINTENANCE]

    rack.on_apply = fails
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.FAILED
    assert "cp-1 is in maintenance mode again" in said(verdict)


def test_a_machine_that_reboots_again_and_again_ends_the_wait_with_its_console(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.OURS)
    box = rack["cp-1"]
    box.boots = [f"boot-{number}" for number in range(9)]
    box.resources["machinestatus"]["machine"]["stage"] = "rebooting"
    box.console = "kernel: first\nkernel: last words"
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.FAILED
    assert "reboots again and again" in said(verdict)
    assert "last words" in said(verdict)


def test_a_machine_on_its_way_to_another_boot_is_waited_for(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.OURS)
    box = rack["cp-1"]
    box.resources["machinestatus"]["machine"]["stage"] = "installing"
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "cp-1: installing" in said(verdict)

"""etcd is bootstrapped once, on the pinned node, and only where every control plane showed that it holds nothing."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.testing import Recording
from bootstrap.host.errors import ExitCode
from phases import etcd
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import LOST, Box, Rack, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.engine.verdict import Verdict

UNSYNCED = "rpc error: code = FailedPrecondition desc = time is not in sync yet"
ALREADY = "rpc error: code = AlreadyExists desc = etcd data directory is not empty"


def run(rack: Rack, folder: Path, recording: Recording | None = None) -> Verdict:
    phase = Phase(name="talos", title="x", steps=(etcd.step(racks.world(rack, folder)),), target=5000.0)
    return racks.run(rack, phase, recording or Recording())


def sent(rack: Rack) -> dict[str, int]:
    return {name: box.count("bootstrap") for name, box in rack.boxes.items()}


@pytest.fixture
def rack() -> Rack:
    return Rack(racks.cluster(3, 1), State.OURS)


def test_it_is_sent_once_to_the_pinned_node(rack: Rack, tmp_path: Path) -> None:
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.DONE
    assert sent(rack) == {"cp-1": 1, "cp-2": 0, "cp-3": 0, "w-1": 0}


def test_a_worker_is_never_asked(rack: Rack, tmp_path: Path) -> None:
    run(rack, tmp_path)
    assert rack["w-1"].asked == []


def test_what_runs_is_left_alone(rack: Rack, tmp_path: Path) -> None:
    rack.start_etcd()
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert set(sent(rack).values()) == {0}


def silent(box: Box) -> None:
    box.states = [State.SILENT]


def hanging(box: Box) -> None:
    box.errors["service"] = [LOST] * 9999


def without_folder(box: Box) -> None:
    box.data = None


@pytest.mark.parametrize("name", ["cp-1", "cp-2", "cp-3"])
@pytest.mark.parametrize("spoil", [silent, hanging, without_folder])
def test_a_control_plane_that_cannot_be_asked_blocks(
    spoil: Callable[[Box], None], name: str, rack: Rack, tmp_path: Path
) -> None:
    spoil(rack[name])
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert f"{name} cannot be asked" in said(verdict)
    assert set(sent(rack).values()) == {0}


def test_one_that_is_absent_does_not_block(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(3, absent=frozenset({"cp-3"})), State.OURS)
    rack["cp-3"].states = [State.SILENT]
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert sent(rack)["cp-1"] == 1
    assert rack["cp-3"].asked == []


@pytest.mark.parametrize("name", ["cp-1", "cp-2", "cp-3"])
def test_data_anywhere_means_that_nothing_is_ever_sent(name: str, rack: Rack, tmp_path: Path) -> None:
    rack[name].data = ["member"]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert set(sent(rack).values()) == {0}


@pytest.mark.parametrize(("content", "times"), [("xfs", 0), ("", 1)], ids=["with-data", "reset"])
def test_a_disk_with_state_in_maintenance_mode_is_data(content: str, times: int, rack: Rack, tmp_path: Path) -> None:
    box = rack["cp-2"]
    box.states = [State.MAINTENANCE]
    volume = {"type": "partition", "name": content, "parent_dev_path": "/dev/vda", "partition_label": "EPHEMERAL"}
    box.resources["discoveredvolumes"]["vda6"] = volume
    run(rack, tmp_path)
    assert sent(rack)["cp-1"] == times


def test_a_clock_that_is_not_in_sync_is_waited_for_with_its_server(rack: Rack, tmp_path: Path) -> None:
    rack["cp-1"].errors["bootstrap"] = [UNSYNCED, UNSYNCED]
    recording = Recording()
    assert run(rack, tmp_path, recording).exit_code is ExitCode.DONE
    assert sent(rack)["cp-1"] == 3
    assert "its NTP server is time.cloudflare.com" in str(recording.events)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_of_ours_that_is_wrong_is_called_that(hours: int, rack: Rack, tmp_path: Path) -> None:
    there = datetime.fromtimestamp(time.time() + hours * 3600, UTC)
    rack["cp-1"].time = f"{there:%Y-%m-%d %H:%M:%S}.123456789 +0000 UTC"
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.FAILED
    assert re.search(
        rf"our clock is \d{{4}} s {'behind' if hours > 0 else 'ahead of'} the clock of cp-1", said(verdict)
    )
    assert set(sent(rack).values()) == {0}


def is_late(rack: Rack) -> bool:
    return rack["cp-1"].count("service") > 5  # looks; the bootstrap was in the first


def test_a_lost_answer_after_the_effect_is_not_repeated(rack: Rack, tmp_path: Path) -> None:
    rack["cp-1"].errors["bootstrap"] = [LOST]
    # Nobody hears of it, and it takes a while.
    rack.on_ask = lambda _: rack.start_etcd() if rack["cp-1"].asked.count("bootstrap") and is_late(rack) else None
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert sent(rack)["cp-1"] == 1


def test_an_intent_that_was_lost_is_sent_again_after_minutes_only(rack: Rack, tmp_path: Path) -> None:
    counted: list[int] = []

    def forgets_once(_: Box) -> None:
        counted.append(rack["cp-1"].count("service"))
        if len(counted) == 2:
            rack.start_etcd()

    rack.on_bootstrap = forgets_once
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert sent(rack)["cp-1"] == 2
    assert counted[1] - counted[0] > etcd.LOOKS_BEFORE_RESENDING


def test_an_intent_of_an_earlier_run_is_not_repeated(rack: Rack, tmp_path: Path) -> None:
    rack["cp-1"].console = f"10.0.0.1: user: warning: {etcd.BOOTSTRAP_TAKEN}"
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert set(sent(rack).values()) == {0}


def test_already_exists_is_believed_only_when_the_data_shows(rack: Rack, tmp_path: Path) -> None:
    rack["cp-1"].errors["bootstrap"] = [ALREADY]
    rack.on_ask = lambda _: rack.start_etcd() if rack["cp-1"].count("bootstrap") else None
    assert run(rack, tmp_path).exit_code is ExitCode.DONE
    assert sent(rack)["cp-1"] == 1


def test_two_etcd_clusters_are_refused_with_both_member_lists(rack: Rack, tmp_path: Path) -> None:
    rack.start_etcd("cp-1", "cp-2")
    rack.start_etcd("cp-3")
    rack["cp-1"].members = rack["cp-2"].members = [("id-cp-1", "cp-1", False), ("id-cp-2", "cp-2", False)]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.INVALID
    assert "different etcd clusters" in said(verdict)
    assert "etcd on cp-1 has the members cp-1, cp-2" in said(verdict)
    assert "etcd on cp-3 has the members cp-3" in said(verdict)


def test_members_that_nobody_knows_are_refused(rack: Rack, tmp_path: Path) -> None:
    rack.start_etcd()
    for name in ("cp-1", "cp-2", "cp-3"):
        rack[name].members = [*rack[name].members, ("id-x", "stranger", False)]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.INVALID
    assert "does not know: stranger" in said(verdict)


def test_a_member_that_stays_a_learner_is_named(rack: Rack, tmp_path: Path) -> None:
    rack.start_etcd()
    for name in ("cp-1", "cp-2", "cp-3"):
        rack[name].members = [(key, who, who == "cp-3") for key, who, _ in rack[name].members]
    verdict = run(rack, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "cp-3 (learner)" in said(verdict)

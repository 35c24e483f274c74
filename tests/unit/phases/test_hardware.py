"""The wrong machine, and one that holds data, is refused before anything is applied."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from inventory.model import DiskSelector, Hardware
from phases import hardware
from talos.probe import Observation, State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from pathlib import Path

PART = {"type": "partition", "parent_dev_path": "/dev/vda"}
NVME = {"dev_path": "/dev/nvme0n1", "size": 500 * 10**9, "transport": "nvme", "model": "FAST 1"}
HDD = {"dev_path": "/dev/sda", "size": 4000 * 10**9, "transport": "sata", "rotational": True}


def problems(folder: Path, node: dict[str, Any], shows: dict[str, dict[str, Any]]) -> str:
    cluster = racks.cluster(1)
    rack = Rack(cluster, State.MAINTENANCE)
    rack.cluster = replace(cluster, nodes=(replace(cluster.nodes[0], **node),))
    rack["cp-1"].resources.update(shows)
    seen = {"cp-1": Observation(State.MAINTENANCE, "")}
    found = hardware.judge(racks.world(rack, folder), seen, rack.cluster.nodes[0])
    return "; ".join(problem.text for problem in found)


def test_the_right_machine_is_taken(tmp_path: Path) -> None:
    assert problems(tmp_path, {}, {}) == ""


def test_a_configured_machine_is_not_asked(tmp_path: Path) -> None:
    rack = Rack(racks.cluster(1), State.OURS)
    seen = {"cp-1": Observation(State.OURS, "")}
    assert hardware.judge(racks.world(rack, tmp_path), seen, rack.cluster.nodes[0]) == ()
    assert rack["cp-1"].asked == []


@pytest.mark.parametrize(
    ("node", "shows", "said"),
    [
        ({"macs": ("aa:bb:cc:00:00:01",)}, {}, "another machine answers"),
        ({"macs": ("52:54:00:00:00:00", "aa:bb:cc:00:00:01")}, {}, "permanent address aa:bb:cc:00:00:01; found 52:"),
        ({"driver": "i40e"}, {}, "wanted the driver i40e at the port 52:54:00:00:00:00; found virtio_net"),
        ({"links": ("enp1s0",)}, {}, "wanted the name enp1s0 for the port 52:54:00:00:00:00; found port0"),
        ({"disk": "/dev/sdb"}, {}, "wanted /dev/sdb; found none among /dev/vda"),
        ({}, {"version": {"version": {"version": "v1.12.0"}}}, "it was booted with 1.12.0, of another minor version"),
        ({"hardware": Hardware(memory=16)}, {"memorymodules": {"a": {"sizeMiB": 8192}}}, "wanted 16 GiB of memory"),
        ({"hardware": Hardware(cpus=8)}, {"processors": {"a": {"threadCount": 4}}}, "8 logical processors; found 4"),
        ({}, {"discoveredvolumes": {"vda1": {**PART, "name": "ext4"}}}, "/dev/vda holds data"),
        ({}, {"discoveredvolumes": {"vda6": {**PART, "name": "xfs", "partition_label": "EPHEMERAL"}}}, "EPHEMERAL"),
        ({}, {"discoveredvolumes": {"vda": {"type": "disk", "name": "lvm2-pv"}}}, "/dev/vda holds data"),
        (
            {}, {"discoveredvolumes": {"vdb5": {
                "type": "partition", "parent_dev_path": "/dev/vdb", "name": "xfs", "partition_label": "STATE"}}},
            "vdb5 (STATE)",
        ),
    ],
)  # fmt: skip
def test_what_speaks_against_a_machine(
    node: dict[str, Any], shows: dict[str, dict[str, Any]], said: str, tmp_path: Path
) -> None:
    found = problems(tmp_path, node, shows)
    assert found.startswith("cp-1: ")
    assert said in found


def test_a_machine_that_was_reset_is_free(tmp_path: Path) -> None:
    labels = {"EFI": "vfat", "BIOS": "", "BOOT": "xfs", "META": "talosmeta", "STATE": "", "EPHEMERAL": ""}
    volumes = {f"vda{label}": {**PART, "name": content, "partition_label": label} for label, content in labels.items()}
    assert problems(tmp_path, {}, {"discoveredvolumes": volumes}) == ""


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (DiskSelector(kind="nvme"), True),
        (DiskSelector(kind="ssd"), True),
        (DiskSelector(kind="sd"), False),
        (DiskSelector(model="FAST*"), True),
        (DiskSelector(model="FAST"), False),
        (DiskSelector(size=">= 100GB"), False),
        (DiskSelector(size="<= 1TB"), True),
        (DiskSelector(size="500 GB"), True),
        (DiskSelector(size="> 500GiB", kind="nvme"), False),
        (DiskSelector(), False),
    ],
)
def test_a_selector_must_match_exactly_one_disk(selector: DiskSelector, matches: bool, tmp_path: Path) -> None:  # noqa: FBT001 # a table
    shows = {"disks": {"nvme0n1": NVME, "sda": HDD}, "discoveredvolumes": {}}
    found = problems(tmp_path, {"disk": "", "disk_selector": selector}, shows)
    assert (found == "") is matches

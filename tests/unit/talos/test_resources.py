"""What a node says of itself beyond what the recordings hold, in the form that talosctl prints it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bootstrap.host.secret import Secret
from talos.client import Talosctl
from talos.errors import Kind, TalosError
from talos.resources import Link, Rings, Route, Times, Volume
from tests.unit.talos.recorded import Recording, Replay

NODE = "10.5.0.11"
CONFIG = Secret("planted-talosconfig", "the talosconfig")
Replaying = Callable[[str], tuple[Talosctl, Replay]]


def talosctl(**specs: Any) -> Talosctl:
    printed = "".join(
        f"{json.dumps({'metadata': {'id': key}, 'node': NODE, 'spec': spec}, indent=4)}\n"
        for key, spec in specs.items()
    )
    return Talosctl(Path("/bin/talosctl"), Replay([Recording(0, printed, "")]))


def test_volumes() -> None:
    state = {"type": "partition", "name": "xfs", "parent_dev_path": "/dev/vda", "partition_label": "STATE"}
    found = talosctl(vda={"type": "disk", "name": "gpt"}, vda5=state).volumes(NODE, None)
    assert found == (
        Volume("vda", partition=False, content="gpt", disk="", label=""),
        Volume("vda5", partition=True, content="xfs", disk="/dev/vda", label="STATE"),
    )


def test_rings_of_a_driver_that_says_nothing_are_zero() -> None:
    found = talosctl(a={"rings": {"rx": 512, "rx-max": 8160, "tx": 256}}, b={"port": "Other"}).rings(NODE, CONFIG)
    assert found == {"a": Rings(512, 256), "b": Rings(0, 0)}


def test_the_default_route_has_no_destination() -> None:
    found = talosctl(a={"dst": "", "gateway": "10.5.0.1", "outLinkName": "bond0"}).routes(NODE, CONFIG)
    assert found == (Route("", "10.5.0.1", "bond0"),)


@pytest.mark.parametrize(("speed", "known"), [(10000, 10000), (4294967295, 0)])
def test_a_speed_that_the_kernel_does_not_know_is_zero(speed: int, known: int) -> None:
    found = talosctl(p={"speedMbit": speed, "linkState": True}).links(NODE, None)
    assert found == (Link("p", "", "", "", "", up=True, mtu=0, speed=known),)


def test_the_release_of_a_node_in_maintenance_mode() -> None:
    assert talosctl(version={"version": "v1.11.5"}).release(NODE, None) == "1.11.5"


@pytest.mark.parametrize("synced", [True, False])
def test_whether_the_clock_is_in_sync(synced: bool) -> None:  # noqa: FBT001 # a table
    assert talosctl(node={"synced": synced, "epoch": 1}).in_sync(NODE, None) is synced


def test_memory_and_processors_are_summed() -> None:
    assert talosctl(a={"sizeMiB": 8192}, b={"sizeMiB": 8192}, c={}).memory(NODE, None) == 16384
    assert talosctl(a={"threadCount": 8}, b={}).threads(NODE, None) == 8


def test_a_machine_configuration_is_a_secret() -> None:
    found = talosctl(v1alpha1="machine:\n  token: planted\n").machine_config(NODE, CONFIG)
    assert found.reveal() == b"machine:\n  token: planted\n"
    assert "planted" not in str(found)


def test_entries_of_a_folder_leave_the_folder_itself_out(replay: Replaying) -> None:
    client, _ = replay("10-list")
    assert client.entries(NODE, CONFIG, "/var/lib/etcd") == ("member",)


def test_a_folder_that_is_not_there(replay: Replaying) -> None:
    client, _ = replay("10-list-nosuch")
    with pytest.raises(TalosError) as caught:
        client.entries(NODE, CONFIG, "/nosuch")
    assert caught.value.kind is Kind.NOT_FOUND


def test_times(replay: Replaying) -> None:
    client, _ = replay("09-running-time")
    node = datetime(2026, 11, 21, 9, 21, 8, 775198, tzinfo=UTC)
    reference = datetime(2026, 11, 21, 9, 21, 8, 770962, tzinfo=UTC)
    assert client.times(NODE, CONFIG) == Times("time.cloudflare.com", node, reference)


@pytest.mark.parametrize(
    "printed", ["", "NODE   NTP-SERVER   NODE-TIME   NTP-SERVER-TIME\nn      s            soon        later\n"]
)
def test_times_of_another_form(printed: str) -> None:
    client = Talosctl(Path("/bin/talosctl"), Replay([Recording(0, printed, "")]))
    with pytest.raises(TalosError):
        client.times(NODE, CONFIG)

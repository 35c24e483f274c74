"""Facts that nobody confirmed, asked from machines in maintenance mode, shown and written."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import ExitCode, InputError
from inventory.loader import load_file
from phases.discovery import propose
from talos.client import Talosctl
from tests.unit.talos.recorded import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from inventory.model import Cluster

Spec = dict[str, Any]
PATCH = "talos/infra/controlplane/infra-01.yaml"


def port(name: str, mac: str, driver: str = "i40e", *, up: bool = True) -> tuple[str, Spec]:
    spec = {"permanentAddr": mac, "hardwareAddr": mac, "driver": driver, "linkState": up, "kind": "", "mtu": 1500}
    return name, spec


def disk(path: str, size: int = 512 * 10**9, transport: str = "nvme") -> tuple[str, Spec]:
    return path.removeprefix("/dev/"), {
        "dev_path": path,
        "size": size,
        "transport": transport,
        "model": "M",
        "serial": path,
    }


@dataclass
class Machines:
    """What each address answers, by the kind that is asked for; an address without answers is silent."""

    answers: dict[str, dict[str, list[tuple[str, Spec]]]] = field(default_factory=dict)

    def put(self, address: str, macs: str, **others: list[tuple[str, Spec]]) -> None:
        self.answers[address] = {
            "links": [("lo", {"kind": ""}), port("enp2s0f1np1", f"{macs}:b1"), port("enp2s0f0np0", f"{macs}:b0")],
            "disks": [("loop0", {"dev_path": "/dev/loop0", "readonly": True}), disk("/dev/nvme0n1")],
            "memorymodules": [("a", {"sizeMiB": 32768}), ("b", {"sizeMiB": 32768})],
            "processors": [("CPU-0", {"threadCount": 16})],
            "systeminformation": [("systeminformation", {"manufacturer": "Supermicro", "productName": "X11"})],
            **others,
        }

    def run(self, command: Command) -> Result:
        words = [str(word) for word in command.arguments]
        assert "--insecure" in words
        (address,) = (word.removeprefix("--nodes=") for word in words if word.startswith("--nodes="))
        if address not in self.answers:
            raise CommandError(
                "failed", cause="x", stderr="dial tcp 1.2.3.4:50000: connect: connection refused", exit_code_seen=1
            )
        resources = [{"metadata": {"id": name}, "spec": spec} for name, spec in self.answers[address][words[1]]]
        return Result(0, "\n".join(json.dumps(each) for each in resources).encode(), b"", 0.1)


@pytest.fixture
def machines() -> Machines:
    there = Machines()
    for number in (1, 2, 3):
        there.put(f"10.25.11.1{number}", f"aa:bb:cc:dd:0{number}")
    return there


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES / "tree", tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def run(root: Path, machines: Machines) -> Callable[..., ExitCode]:
    def begin(*, write: bool = False) -> ExitCode:
        return propose(root, infra(root), Talosctl(Path("/bin/talosctl"), machines), write=write)

    return begin


def infra(root: Path) -> Cluster:
    return load_file(root / "inventory" / "infra.yaml", root=root)


def test_the_difference_is_shown_and_nothing_written(
    root: Path, run: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (root / "inventory" / "infra.yaml").read_text()
    assert run() is ExitCode.CHANGES
    said = capsys.readouterr()
    assert "+              permanentAddr: aa:bb:cc:dd:01:b0\n" in said.out
    assert "+name: enp2s0f0np0\n" in said.out
    assert '"aa:bb:cc:dd:02:b0"' in said.out
    assert "infra-01 at 10.25.11.11: Supermicro X11, 65536 MiB, 16 processors" in said.err
    assert "nothing was written; --write does it" in said.err
    assert (root / "inventory" / "infra.yaml").read_text() == before


def test_written_facts_are_those_of_the_machines_and_confirmed(root: Path, run: Callable[..., ExitCode]) -> None:
    assert run(write=True) is ExitCode.DONE
    first = infra(root).nodes[0]
    assert first.macs == ("aa:bb:cc:dd:01:b0", "aa:bb:cc:dd:01:b1")
    assert first.links == ("enp2s0f0np0", "enp2s0f1np1")
    assert first.unverified == frozenset()
    assert (first.hardware.memory, first.hardware.cpus) == (16, 4)
    patch = (root / PATCH).read_text()
    assert "f8:f2:1e" not in patch
    assert "enp1s0" not in patch
    assert "siderolabs/talos#9747" in patch
    assert run() is ExitCode.DONE


def test_a_silent_machine_does_not_keep_the_others_back(
    root: Path, machines: Machines, run: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str]
) -> None:
    del machines.answers["10.25.11.12"]
    assert run(write=True) is ExitCode.FAILED
    assert "not decided: infra-02 at 10.25.11.12: " in capsys.readouterr().err
    unverified = [node.unverified for node in infra(root).nodes]
    assert unverified[0] == unverified[2] == frozenset()
    assert "macs" in unverified[1]


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        ("links", [port("eno1", "aa:aa:aa:aa:aa:01", "igb")], "2 ports of driver i40e are wanted; it has aa:aa:aa:aa"),
        ("links", [port(f"e{n}", f"aa:aa:aa:aa:aa:0{n}") for n in range(4)], "2 ports of driver i40e are wanted"),
        ("disks", [disk("/dev/nvme0n1"), disk("/dev/nvme1n1")], "diskSelector: 2 disks are what the inventory says"),
        ("disks", [disk("/dev/sda", transport="sata")], "diskSelector: 0 disks are what the inventory says"),
    ],
)
def test_what_does_not_follow_is_left_to_a_person(  # noqa: PLR0917 # fixtures and the table's columns
    machines: Machines,
    run: Callable[..., ExitCode],
    capsys: pytest.CaptureFixture[str],
    kind: str,
    answer: Any,
    said: str,
) -> None:
    machines.put("10.25.11.11", "aa:bb:cc:dd:01", **{kind: answer})
    assert run() is ExitCode.FAILED
    assert said in capsys.readouterr().err


def test_of_more_ports_those_with_a_carrier_count(root: Path, machines: Machines, run: Callable[..., ExitCode]) -> None:
    ports = [port(f"enp9s0f{n}", f"aa:aa:aa:aa:aa:0{n}", up=n in {1, 2}) for n in range(4)]
    machines.put("10.25.11.11", "unused", links=ports)
    assert run(write=True) is ExitCode.DONE
    assert infra(root).nodes[0].links == ("enp9s0f1", "enp9s0f2")


def test_less_hardware_than_wanted_is_what_is_written(
    root: Path, machines: Machines, run: Callable[..., ExitCode]
) -> None:
    machines.put("10.25.11.11", "aa:bb:cc:dd:01", memorymodules=[("a", {"sizeMiB": 8192})])
    assert run(write=True) is ExitCode.DONE
    assert infra(root).nodes[0].hardware.memory == 8


def test_a_patch_that_is_not_there_is_not_made(root: Path, run: Callable[..., ExitCode]) -> None:
    assert run(write=True) is ExitCode.DONE
    assert [path.name for path in (root / PATCH).parent.iterdir()] == ["infra-01.yaml"]


def test_one_machine_at_two_addresses_is_refused(root: Path, machines: Machines, run: Callable[..., ExitCode]) -> None:
    before = (root / PATCH).read_text()
    machines.put("10.25.11.12", "aa:bb:cc:dd:01")
    with pytest.raises(InputError, match="aa:bb:cc:dd:01:b0 answers for 2 nodes"):
        run(write=True)
    assert (root / PATCH).read_text() == before

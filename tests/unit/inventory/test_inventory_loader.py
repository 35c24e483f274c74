"""Inventories: each file or folder under fixtures/inventory is a case; refused ones hold their messages themselves.

A folder is a small repository, with other clusters or settings beside the inventory that has its name.
"""

from __future__ import annotations

import re
import shutil
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.secret import Redactor
from inventory import loader
from inventory.model import Budget, Cluster, DiskSelector, Hardware, Role

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "inventory"
REFUSED = sorted((FIXTURES / "refused").iterdir())
ACCEPTED = sorted((FIXTURES / "accepted").iterdir())


def load(case: Path) -> Cluster:
    return loader.load(case, case.name) if case.is_dir() else loader.load_file(case, root=case.parent)


def expected(case: Path) -> list[str]:
    """What the case's files say in their first lines, as `file:line:column: text`."""
    own = case / "inventory" / f"{case.name}.yaml"
    files = [own, *sorted(set(case.rglob("*.yaml")) - {own})] if case.is_dir() else [case]
    folder = case if case.is_dir() else case.parent
    return [
        f"{file.relative_to(folder)}:{message}"
        for file in files
        for message in re.findall(r"^# refused:(.*)$", file.read_text(), re.MULTILINE)
    ]


def text_of(case: Path) -> str:
    """Of all its files."""
    return "\n".join(file.read_text() for file in (case.rglob("*.yaml") if case.is_dir() else [case]))


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_refused_with_every_problem(case: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(case)
    assert [str(problem) for problem in caught.value.problems] == expected(case)
    assert caught.value.exit_code is ExitCode.INVALID


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.stem)
def test_accepted(case: Path) -> None:
    assert load(case).name == case.stem


def test_there_are_enough_cases_each_with_another_cause() -> None:
    # Names, numbers and places differ between two cases of one cause; the words around them do not.
    causes = {re.sub(r'"[^"]*"|`[^`]*`|[0-9][0-9./:-]*|\S+\.yaml', "_", "\n".join(expected(case))) for case in REFUSED}
    assert len(causes) >= 60
    assert len(ACCEPTED) >= 12


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_what_may_be_a_secret_is_never_shown(case: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(case)
    assert "planted" not in f"{caught.value} {caught.value!r}"


def test_a_secret_is_planted_where_people_put_them() -> None:
    planted = {case.stem for case in REFUSED if "planted" in text_of(case)}
    assert planted == {
        "value-in-place-of-reference", "git-url-with-a-token", "connect-host-with-a-password",
        "settings-and-a-url-with-a-token",
    }  # fmt: skip


def test_the_lab() -> None:
    lab = loader.load(ROOT, "lab")
    assert (lab.id, lab.virtual, lab.endpoint_host) == (250, True, "lab-k8s.monosense.io")
    assert [node.name for node in lab.control_planes] == ["lab-01"]
    assert lab.workers == ()
    assert lab.bootstrap.address == IPv4Address("10.25.13.11")
    assert lab.bootstrap.role is Role.CONTROL_PLANE
    assert lab.source == "inventory/lab.yaml"


@pytest.mark.parametrize(
    ("name", "identity", "hosts", "virtual_ip"),
    [("infra", 1, (11, 12, 13), "10.25.11.10"), ("apps", 2, (14, 15, 16), "10.25.11.20")],
)
def test_the_clusters_of_the_specification(name: str, identity: int, hosts: tuple[int, ...], virtual_ip: str) -> None:
    cluster = loader.load(ROOT, name)
    assert (cluster.id, cluster.virtual, cluster.endpoint_host) == (identity, False, f"{name}-k8s.monosense.io")
    assert [node.address for node in cluster.control_planes] == [IPv4Address(f"10.25.11.{host}") for host in hosts]
    assert [node.name for node in cluster.nodes] == [f"{name}-0{number}" for number in (1, 2, 3)]
    assert cluster.virtual_ip == IPv4Address(virtual_ip)
    assert {(len(node.macs), len(node.links), node.driver) for node in cluster.nodes} == {(2, 2, "i40e")}


def test_what_a_node_says_about_its_hardware() -> None:
    node = loader.load_file(FIXTURES / "accepted" / "everything-unverified.yaml", root=ROOT).nodes[0]
    assert node.hardware == Hardware(memory=64, cpus=16)
    assert node.disk_selector == DiskSelector(kind="nvme", size=">= 500GB")
    assert node.disk == ""
    assert node.links == ("eno1", "eno2")
    assert node.unverified == {"macs", "links", "driver", "diskSelector", "hardware", "address"}


def test_who_is_absent_and_what_is_in_the_pools() -> None:
    cluster = loader.load_file(FIXTURES / "accepted" / "absent-worker.yaml", root=ROOT)
    assert [node.name for node in cluster.nodes if node.absent] == ["prod-04"]
    assert cluster.pools == ((IPv4Address("10.20.30.100"), IPv4Address("10.20.30.119")),)
    assert cluster.virtual_ip == IPv4Address("10.20.30.10")
    assert not cluster.rehearsal


def test_what_is_left_out_has_defaults() -> None:
    cluster = loader.load_file(FIXTURES / "accepted" / "real-machine.yaml", root=ROOT)
    node = cluster.nodes[0]
    assert node.maintenance_address == node.address
    assert node.machine is None
    assert cluster.budgets["talos"] == Budget(420, 840)
    assert cluster.budgets["total"] == Budget(1200, 2400)
    assert cluster.release_seconds == 420


def test_budgets_that_are_given() -> None:
    cluster = loader.load_file(FIXTURES / "accepted" / "three-and-a-worker.yaml", root=ROOT)
    assert cluster.budgets["talos"] == Budget(300, 600)
    assert cluster.budgets["total"] == Budget(900, 1800)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lba", "nearest: lab"),
        ("INFRA", "nearest: infra"),
        ("zzz", "known: infra, lab"),
        ("../secret", "known: infra, lab"),
        ("", "known: infra, lab"),
    ],
)
def test_an_unknown_cluster_gets_the_nearest_names(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "inventory").mkdir()
    for known in ("infra", "lab"):
        shutil.copy(ROOT / "inventory" / "lab.yaml", tmp_path / "inventory" / f"{known}.yaml")
    with pytest.raises(InputError) as caught:
        loader.load(tmp_path, name)
    assert caught.value.cause == hint
    assert caught.value.remedy == "give --cluster one of: infra, lab"


def test_a_repository_without_clusters(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loader.load(tmp_path, "lab")
    assert caught.value.cause == f"{tmp_path}/inventory has no file of a cluster"
    assert caught.value.remedy == "name the repository with FIRSTLIGHT_ROOT"


def test_importing_the_loader_does_not_import_pydantic() -> None:
    code = "import inventory.loader, inventory.secrets, sys; print(sorted({'pydantic', 'sh'} & set(sys.modules)))"
    result = ShCommandRunner(Redactor()).run(Command(Path(sys.executable), ("-c", code), folder=ROOT))
    assert result.text.strip() == "[]"

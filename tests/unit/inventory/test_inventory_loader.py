"""Inventories: each file under fixtures/inventory is a case, refused ones with their messages in the first lines."""

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
from inventory.model import Budget, Role

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "inventory"
REFUSED = sorted((FIXTURES / "refused").glob("*.yaml"))
ACCEPTED = sorted((FIXTURES / "accepted").glob("*.yaml"))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_refused_with_every_problem(path: Path) -> None:
    expected = re.findall(r"^# refused:(.*)$", path.read_text(), re.MULTILINE)
    with pytest.raises(InputError) as caught:
        loader.load_file(path, root=path.parent)
    found = [str(problem).removeprefix(path.name).lstrip(":") for problem in caught.value.problems]
    assert found == expected
    assert caught.value.exit_code is ExitCode.INVALID


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_accepted(path: Path) -> None:
    assert loader.load_file(path, root=path.parent).name == path.stem


def test_there_are_enough_cases_each_with_another_cause() -> None:
    expected = ["\n".join(re.findall(r"^# refused:.*$", path.read_text(), re.MULTILINE)) for path in REFUSED]
    assert len(set(expected)) >= 45
    assert len(ACCEPTED) >= 4


def test_a_value_in_place_of_a_reference_is_never_shown() -> None:
    path = FIXTURES / "refused" / "value-in-place-of-reference.yaml"
    with pytest.raises(InputError) as caught:
        loader.load_file(path, root=path.parent)
    assert "planted" in path.read_text()
    assert "planted" not in f"{caught.value} {caught.value!r}"


def test_the_lab() -> None:
    lab = loader.load(ROOT, "lab")
    assert (lab.id, lab.virtual, lab.endpoint_host) == (250, True, "lab-k8s.monosense.io")
    assert [node.name for node in lab.control_planes] == ["lab-01"]
    assert lab.workers == ()
    assert lab.bootstrap.address == IPv4Address("10.25.13.11")
    assert lab.bootstrap.role is Role.CONTROL_PLANE
    assert lab.source == "inventory/lab.yaml"


def test_what_is_left_out_has_defaults() -> None:
    cluster = loader.load_file(FIXTURES / "accepted" / "real-machine.yaml", root=ROOT)
    node = cluster.nodes[0]
    assert node.maintenance_address == node.address
    assert node.machine is None
    assert cluster.budgets["talos"] == Budget(420, 840)
    assert cluster.budgets["total"] == Budget(1200, 2400)


def test_budgets_that_are_given() -> None:
    cluster = loader.load_file(FIXTURES / "accepted" / "three-and-a-worker.yaml", root=ROOT)
    assert cluster.budgets["talos"] == Budget(300, 600)
    assert cluster.budgets["total"] == Budget(900, 1800)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lba", "nearest: lab"),
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


def test_importing_the_loader_does_not_import_pydantic() -> None:
    code = "import inventory.loader, inventory.secrets, sys; print(sorted({'pydantic', 'sh'} & set(sys.modules)))"
    result = ShCommandRunner(Redactor()).run(Command(Path(sys.executable), ("-c", code), folder=ROOT))
    assert result.text.strip() == "[]"

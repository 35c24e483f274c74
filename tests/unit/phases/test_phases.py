from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.graph import Graph
from bootstrap.engine.selection import names
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from inventory.loader import load
from phases.catalogue import build
from phases.resources import load_resources, resolve
from phases.session import Request, check
from tests import worlds

if TYPE_CHECKING:
    from phases.world import World

ROOT = Path(__file__).resolve().parent.parent.parent.parent


@pytest.fixture
def world(tmp_path: Path) -> World:
    return worlds.world(tmp_path)


def test_the_phases_are_those_of_the_specification_in_their_order(world: World) -> None:
    phases = build(world)
    assert [phase.name for phase in phases] == ["preflight", "talos", "prerequisites", "crds", "core", "handover"]
    assert [phase.number for phase in phases] == [None, -1, 0, 1, 2, 3]
    assert all(phase.limit >= phase.target for phase in phases)


def test_the_steps_make_one_graph(world: World) -> None:
    known = names(Graph(build(world)))
    assert {"preflight", "etcd", "cilium", "flux-instance", "adoption"} <= set(known)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ["tallos"]}, "nearest: talos"),
        ({"start": "cor"}, "nearest: core"),
        ({"skip": ["hand-over"]}, "nearest: handover"),
    ],
)
def test_unknown_names_are_refused_before_anything_starts(
    options: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        check(Request(ROOT, tmp_path, load(ROOT, "lab"), "./invoke bootstrap", **options))  # type: ignore[arg-type] # a table
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def write_resources(root: Path, text: str) -> Path:
    (root / "bootstrap").mkdir()
    (root / "bootstrap" / "resources.yaml").write_text(text)
    return root


SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: a}
stringData: {token: %s}
"""


def test_a_reference_is_filled_in_in_memory(tmp_path: Path) -> None:
    objects = load_resources(write_resources(tmp_path, SECRET % "secret://connect-token"))
    (filled,) = resolve(tmp_path, objects, {"connect-token": Secret("hunter2", "op://lab/x/token")})
    assert filled["data"] == {"token": base64.b64encode(b"hunter2").decode()}
    assert "stringData" not in filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SECRET % "hunter2", ":4:21: Secret token: the value of token is no reference"),
        ("kind: Namespace\n", ":1:1: an object without kind or name"),
        ("# nothing\n---\n---\nkind: Namespace\n", ":4:1: an object without kind or name"),
        ("# nothing\n", "bootstrap/resources.yaml: it holds no object"),
        ("a: [\n", "bootstrap/resources.yaml"),
    ],
)
def test_resources_that_cannot_be_used_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_resources(write_resources(tmp_path, text))
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_reference_to_no_secret_of_the_inventory_is_refused(tmp_path: Path) -> None:
    objects = load_resources(write_resources(tmp_path, SECRET % "secret://other"))
    with pytest.raises(InputError, match="not usable") as refused:
        resolve(tmp_path, objects, {"connect-token": Secret("hunter2", "op://lab/x/token")})
    assert [str(problem) for problem in refused.value.problems] == [
        (
            "bootstrap/resources.yaml:4:21: Secret token: secret://other is no secret of the inventory; "
            "known: secret://connect-token"
        )
    ]

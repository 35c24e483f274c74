"""Cilium's definitions as the real trees need them, and what is said of those that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.machine import State as StepState
from bootstrap.engine.proof import ProofKind
from bootstrap.engine.testing import Recording
from phases import cilium_definitions
from phases.cilium_definitions import DEFINITIONS, GROUP
from phases.refs import API, FILES, NETWORK
from phases.world import Access
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack
from tests.unit.tree.rendered import CLUSTERS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.verdict import StepResult
    from gitops.tree import Tree

# As Cilium 1.18 serves them.
ALL = frozenset(
    (f"{GROUP}/{'v2alpha1' if one.kind == 'CiliumL2AnnouncementPolicy' else 'v2'}", one.kind) for one in DEFINITIONS
)


class Api:
    """The part of the Kubernetes API that the step uses.

    Args:
        looks: what discovery says, one a look, the last one stays.
        live: definitions by name.
    """

    def __init__(self, *looks: Any, live: Any = None) -> None:
        self._looks = list(looks)
        self._live = live or {}

    def discover(self) -> Any:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def get(self, _kind: Any, name: str) -> Any:
        return self._live.get(name)


def run(api: Api, tree: Tree, folder: Path) -> StepResult:
    rack = Rack(racks.cluster(1), State.OURS)
    step = cilium_definitions.step(racks.world(rack, folder))
    phase = Phase(name="core", title="x", steps=(step,), target=5000.0)
    access: Any = Access(api, folder)  # type: ignore[arg-type] # the part that is used
    values = {FILES.name: tree, API.name: access, NETWORK.name: None}
    return list(racks.run(rack, phase, Recording(), **values).steps())[-1]


def test_definitions_that_are_served_are_seen(trees: dict[str, Tree], tmp_path: Path) -> None:
    result = run(Api(ALL), trees["infra"], tmp_path)
    assert result.state is StepState.DONE
    assert [proof.kind for proof in result.proofs] == [ProofKind.PROVEN]


def test_the_operator_is_waited_for(trees: dict[str, Tree], tmp_path: Path) -> None:
    result = run(Api(frozenset(), ALL - {(f"{GROUP}/v2", "CiliumNode")}, ALL), trees["infra"], tmp_path)
    assert result.state is StepState.DONE


def test_a_definition_that_is_not_registered_is_named(trees: dict[str, Tree], tmp_path: Path) -> None:
    result = run(Api(ALL - {(f"{GROUP}/v2", "CiliumNode")}), trees["infra"], tmp_path)
    assert result.failure is not None
    assert "Cilium's operator to register its definitions" in result.failure.fact
    assert "ciliumnodes.cilium.io is not registered by the operator" in result.failure.cause


def test_a_definition_that_is_not_established_says_why(trees: dict[str, Tree], tmp_path: Path) -> None:
    condition = {"type": "NamesAccepted", "status": "False", "message": "plural is already in use"}
    live = {"ciliumnodes.cilium.io": {"status": {"conditions": [condition]}}}
    result = run(Api(ALL - {(f"{GROUP}/v2", "CiliumNode")}, live=live), trees["infra"], tmp_path)
    assert result.failure is not None
    assert "ciliumnodes.cilium.io is not served: plural is already in use" in result.failure.cause


def test_what_the_chart_does_not_switch_on_is_not_waited_for(trees: dict[str, Tree]) -> None:
    release = next(item for _, item in trees["lab"].objects() if _is_cilium(item))
    values: Any = release["spec"]["values"]  # type: ignore[index,call-overload] # as it is
    kept = values["bgpControlPlane"]["enabled"]
    try:
        values["bgpControlPlane"]["enabled"] = False
        assert not any("BGP" in one.kind for one in cilium_definitions.wanted(trees["lab"]))
    finally:
        values["bgpControlPlane"]["enabled"] = kept


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_tree_has_objects_of_must_be_served_in_that_version(cluster: str, trees: dict[str, Tree]) -> None:
    class WithPool:
        kustomizations = trees[cluster].kustomizations

        def __getattr__(self, name: str) -> Any:
            return getattr(trees[cluster], name)

        def objects(self) -> Any:
            return [*trees[cluster].objects(), (None, {"apiVersion": f"{GROUP}/v9", "kind": "CiliumNode"})]

    api: Any = Api(ALL)
    look = cilium_definitions.registered(api, WithPool())  # type: ignore[arg-type] # the part that is used
    assert look.seen.endswith(f"{GROUP}/v9 CiliumNode, of which the tree has objects, is not served")


def test_the_labs_operator_registers_them_all() -> None:
    written = (ROOT / "lab" / "cilium" / "operator.go").read_text()
    assert [one.kind for one in DEFINITIONS if f'"{one.kind}", "{one.plural}"' not in written] == []


def _is_cilium(item: Any) -> bool:
    return bool(item["kind"] == "HelmRelease" and item["metadata"]["name"] == "cilium")

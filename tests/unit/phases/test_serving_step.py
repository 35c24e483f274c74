"""Serving certificates are approved where configurations let kubelets ask for them, and for known nodes only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bootstrap.engine import Phase
from bootstrap.engine.machine import State as StepState
from bootstrap.engine.testing import Recording
from bootstrap.host.errors import ExitCode
from bootstrap.host.secret import Secret
from phases import serving
from phases.refs import API, NODES, RENDER
from phases.world import Access
from talos.probe import State
from tests.scripted.requests import serving_request
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.verdict import StepResult, Verdict

ASKING = "machine:\n  kubelet:\n    extraArgs:\n      rotate-server-certificates: true\n"


@dataclass
class Api:
    """The part of the Kubernetes API that the step uses."""

    items: list[Any]
    registered: datetime = field(default_factory=lambda: datetime.now(UTC))
    approvals: list[str] = field(default_factory=list)

    def list_objects(self, *_: Any, **__: Any) -> list[Any]:
        return self.items

    def get(self, *_: Any) -> Any:
        return {"metadata": {"creationTimestamp": self.registered.isoformat()}}

    def approve(self, item: Any) -> bool:
        name = item["metadata"]["name"]
        self.approvals.append(name)
        self.items = [item if each["metadata"]["name"] == name else each for each in self.items]
        return True


def run(api: Api, folder: Path, config: str = ASKING) -> Verdict:
    rack = Rack(racks.cluster(2), State.OURS)
    phase = Phase(name="talos", title="x", steps=(serving.step(racks.world(rack, folder)),), target=5000.0)
    configs = {node.name: Secret(config, "configuration") for node in rack.cluster.nodes}
    access: Any = Access(api, folder / "kubeconfig")  # type: ignore[arg-type] # the part that is used
    return racks.run(rack, phase, Recording(), **{RENDER.name: configs, API.name: access, NODES.name: ()})


def last(verdict: Verdict) -> StepResult:
    return list(verdict.steps())[-1]


def request(name: str, number: int) -> Any:
    return serving_request(name, str(racks.cluster(1).nodes[0].address + number), name)


def test_where_nobody_asks_nothing_is_to_do(tmp_path: Path) -> None:
    api = Api([request("cp-1", 0)])
    verdict = run(api, tmp_path, racks.CONFIG)
    assert last(verdict).state is StepState.SKIPPED
    assert api.approvals == []


def test_every_known_node_is_approved_and_nobody_else(tmp_path: Path) -> None:
    api = Api([request("cp-1", 0), request("cp-2", 1), request("stranger", 2)])
    assert run(api, tmp_path).exit_code is ExitCode.DONE
    assert api.approvals == ["csr-cp-1", "csr-cp-2"]
    assert run(api, tmp_path).exit_code is ExitCode.DONE
    assert api.approvals == ["csr-cp-1", "csr-cp-2"]


def test_a_node_that_asks_for_anothers_address_is_not_approved(tmp_path: Path) -> None:
    api = Api([request("cp-1", 0), request("cp-2", 0)])
    verdict = run(api, tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "it asks for" in verdict.failures[0].cause
    assert api.approvals == ["csr-cp-1"]


def test_a_node_that_was_served_long_ago_has_no_request_left(tmp_path: Path) -> None:
    api = Api([], registered=datetime.now(UTC) - 2 * serving.FORGOTTEN)
    assert run(api, tmp_path).exit_code is ExitCode.DONE


def test_a_fresh_node_is_waited_for(tmp_path: Path) -> None:
    verdict = run(Api([], registered=datetime.now(UTC) - timedelta(minutes=1)), tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert "it has not asked yet" in verdict.failures[0].cause

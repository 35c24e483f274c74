"""Pods that ask, at a real API server that lets only restricted pods in; the test plays scheduler and kubelet."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Action, Done, Phase, Step, ToDo
from bootstrap.engine.testing import run_phases
from bootstrap.host.clock import SystemClock
from bootstrap.host.objects import Object, name_of, objects, text
from kube.cluster import NAMESPACE, POD, ObjectRef
from kube.lightkube_cluster import HEARTBEAT_SECONDS
from kube.probe_pod import Answer, Outcome, Word, ask, pod
from phases.reachability import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.engine import Context
    from bootstrap.engine.verdict import Verdict
    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.conftest import ApiServer

ROOT = Path(__file__).parents[2]
NODE = "lab-01"
QUESTIONS = {"inside": "kubernetes.default.svc:443", "outside": "github.com:443"}


@dataclass
class Place:
    """A namespace for restricted pods, and who runs them."""

    cluster: LightkubeCluster
    namespace: str = field(default_factory=lambda: f"probes-{secrets.token_hex(4)}")
    says: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    @property
    def template(self) -> Any:
        found: Any = read_template(ROOT)
        return {**found, "metadata": {**found["metadata"], "namespace": self.namespace}}

    def pods(self) -> list[Object]:
        return self.cluster.list_objects(POD, self.namespace)

    def write(self, method: str, name: str, part: str, body: Object) -> None:
        """A call that nobody but a scheduler or a kubelet makes."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/{part}"
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        self.cluster._transport.json(method, path, what=part, body=body, body_type=kind)

    def run(self, item: Object) -> None:
        name = name_of(item)
        target: Object = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        self.write("POST", name, "binding", {"metadata": {"name": name}, "target": target})
        statuses: Any = [
            {
                "name": text(one, "name"), "image": "", "imageID": "", "ready": False, "restartCount": 0,
                "state": {"terminated": {
                    "exitCode": int(text(one, "name") in self.says), "message": self.says.get(text(one, "name"), ""),
                }},
            }
            for one in objects(item, "spec", "containers")
        ]  # fmt: skip
        phase = "Failed" if self.says else "Succeeded"
        self.write("PATCH", name, "status", {"status": {"phase": phase, "containerStatuses": statuses}})
        self.ran.append(name)

    @contextmanager
    def kubelet(self) -> Iterator[None]:
        """Runs the pods that are made while open."""
        closing = threading.Event()
        # What is there already waits for a scheduler that never came.
        idle = {name_of(item) for item in self.pods()}

        def run() -> None:
            while not closing.wait(0.02):
                for item in self.pods():
                    if not text(item, "spec", "nodeName") and name_of(item) not in idle:
                        self.run(item)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def ask(self, template: Any = None) -> tuple[Outcome | None, Verdict]:
        found: list[Outcome] = []

        def run(ctx: Context) -> None:
            made = template or self.template
            outcome = ask(
                ctx, self.cluster, made, QUESTIONS, purpose="names", dns_policy="ClusterFirst", seconds=90
            )  # fmt: skip
            found.append(outcome)

        action = Action(description="ask", reason="it was not asked", run=run, recognised_by="an answer")
        step = Step(
            name="ask", title="ask", actions=lambda _ctx, _facts: [action],
            probe=lambda _: Done("asked", None) if found else ToDo(None),
        )  # fmt: skip
        verdict = run_phases([Phase(name="core", title="core", steps=(step,), target=600.0)], clock=SystemClock())
        return (found[0] if found else None), verdict


@pytest.fixture
def place(cluster: LightkubeCluster) -> Iterator[Place]:
    made = Place(cluster)
    labels: Object = {"pod-security.kubernetes.io/enforce": "restricted"}
    item: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace, "labels": labels}}
    cluster.apply([item])
    assert cluster.get(NAMESPACE, made.namespace)
    yield made
    for thread in threading.enumerate():
        if thread.name.endswith(made.namespace):
            # A watch that nobody waits for any more ends with the next thing that it hears.
            thread.join(2 * HEARTBEAT_SECONDS)


def test_a_restricted_namespace_takes_the_pod_and_nothing_is_left(place: Place, api_server: ApiServer) -> None:
    with place.kubelet():
        outcome, verdict = place.ask()
    assert outcome == Outcome(NODE, dict.fromkeys(QUESTIONS, Answer(Word.CONNECTED))), verdict.failures
    assert len(place.ran) == 1
    assert place.pods() == []
    writes = [write for write in api_server.writes("firstlight") if place.ran[0] in write]
    assert [write.split()[0] for write in writes] == ["patch", "create", "patch", "delete"]


def test_what_a_pod_says_is_read_from_the_api(place: Place) -> None:
    place.says = {"outside": "DNS: lookup github.com on 10.253.0.10:53: no such host"}
    with place.kubelet():
        outcome, _ = place.ask()
    assert outcome
    assert outcome.answers["inside"].word is Word.CONNECTED
    assert outcome.answers["outside"] == Answer(Word.DNS, place.says["outside"])
    assert place.pods() == []


def test_what_a_killed_run_left_is_deleted_before_the_next_asks(place: Place) -> None:
    place.cluster.apply([pod(place.template, QUESTIONS, purpose="names", dns_policy="Default", seconds=90)])
    place.cluster.apply([pod(place.template, QUESTIONS, purpose="pod-network", dns_policy="Default", seconds=90)])
    assert len(place.pods()) == 2
    with place.kubelet():
        outcome, _ = place.ask()
    assert outcome
    # Another asker's is another's.
    (left,) = place.pods()
    assert text(left, "metadata", "labels", "app.kubernetes.io/component") == "pod-network"


def test_the_admission_is_a_real_one(place: Place) -> None:
    template = place.template
    template["spec"] = {**template["spec"], "securityContext": {}}
    outcome, verdict = place.ask(template)
    assert outcome is None
    assert "violates PodSecurity" in verdict.failures[0].cause
    assert place.pods() == []


def test_what_is_not_there_is_deleted(place: Place) -> None:
    place.cluster.delete(ObjectRef(*POD, place.namespace, "nobody"))

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Action, Done, Phase, Step, ToDo
from bootstrap.engine.testing import run_phases
from bootstrap.host.objects import mapping, name_of, number, objects, text
from bootstrap.host.yaml_io import load_file
from kube.belongings import labels_of
from kube.probe_pod import ATTEMPTS, Answer, Outcome, Word, ask, pod, read

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, ObjectRef

ROOT = Path(__file__).parents[3]
QUESTIONS = {"inside": "kubernetes.default.svc:443", "outside": "github.com:443"}


def template() -> Any:
    (found,) = load_file(ROOT / "bootstrap" / "probe.yaml")
    return found


def ended(**says: str) -> Any:
    """A pod whose containers ended, with what each said; nothing is a connection."""
    statuses = [
        {"name": name, "state": {"terminated": {"exitCode": int(bool(said)), "message": said, "reason": "Error"}}}
        for name, said in says.items()
    ]
    phase = "Failed" if any(says.values()) else "Succeeded"
    return {"spec": {"nodeName": "lab-01"}, "status": {"phase": phase, "containerStatuses": statuses}}


def waiting(why: str, **status: Any) -> Any:
    state = {"waiting": {"reason": why, "message": "why"}}
    return {
        "spec": {"nodeName": "lab-01"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "inside", "state": state}], **status},
    }


LATE = {"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        ({"status": {"phase": "Pending"}}, None),
        (waiting("ContainerCreating"), None),
        ({**ended(inside=""), "status": {"phase": "Running"}}, None),
        (ended(inside=""), Outcome("lab-01", {"inside": Answer(Word.CONNECTED)})),
        (ended(inside="TIMEOUT\n"), Outcome("lab-01", {"inside": Answer(Word.TIMEOUT, "TIMEOUT")})),
        (ended(inside="REFUSED\n"), Outcome("lab-01", {"inside": Answer(Word.REFUSED, "REFUSED")})),
        (
            ended(inside="", outside="DNS: lookup github.com: i/o timeout\n"),
            Outcome(
                "lab-01",
                {"inside": Answer(Word.CONNECTED), "outside": Answer(Word.DNS, "DNS: lookup github.com: i/o timeout")},
            ),
        ),
        (
            ended(inside="OTHER: dial tcp 10.0.0.1:443: connect: no route to host"),
            Outcome(
                "lab-01", {"inside": Answer(Word.OTHER, "OTHER: dial tcp 10.0.0.1:443: connect: no route to host")}
            ),
        ),
        # What is no answer says nothing about the network.
        (ended(inside="UNKNOWN: missing port"), Outcome("lab-01", hindrance="inside: UNKNOWN: missing port")),
        (ended(inside="", outside="panic: DNS"), Outcome("lab-01", hindrance="outside: panic: DNS")),
        (waiting("ImagePullBackOff"), Outcome("lab-01", hindrance="ImagePullBackOff: why")),
        (waiting("CreateContainerError"), Outcome("lab-01", hindrance="CreateContainerError: why")),
        (
            waiting("ContainerCreating", **LATE),
            Outcome("lab-01", hindrance="DeadlineExceeded: too long", took_all=True),
        ),
        (
            waiting(
                "ContainerCreating", **LATE, conditions=[{"type": "PodReadyToStartContainers", "status": "False"}]
            ),
            Outcome("lab-01", hindrance="DeadlineExceeded: too long", has_network=False, took_all=True),
        ),
        (
            {"status": {"phase": "Failed", "reason": "Evicted"}},
            Outcome("", hindrance="Evicted"),
        ),
    ],
)  # fmt: skip
def test_what_a_pod_says_is_read_from_its_status(item: Object, outcome: Outcome | None) -> None:
    assert read(item) == outcome


def test_each_question_is_a_container_of_the_one_image() -> None:
    made = pod(template(), QUESTIONS, purpose="names", dns_policy="ClusterFirst", seconds=90)
    containers = objects(made, "spec", "containers")
    assert [name_of({"metadata": one}) for one in containers] == list(QUESTIONS)
    assert [one["args"] for one in containers] == [["connect", "--timeout=5s", one] for one in QUESTIONS.values()]
    assert len({text(one, "image") for one in containers}) == 1
    assert text(made, "spec", "dnsPolicy") == "ClusterFirst"
    assert number(made, "spec", "activeDeadlineSeconds") == 90


def test_a_pod_is_found_by_its_labels_whatever_the_template_says() -> None:
    bare = {**template(), "metadata": {"name": "bare", "namespace": "kube-system"}}
    for model in (bare, template()):
        made = pod(model, QUESTIONS, purpose="names", dns_policy="Default", seconds=90)
        assert mapping(made, "metadata", "labels").items() >= labels_of("names").items()


def test_no_two_pods_have_one_name() -> None:
    names = {name_of(pod(template(), QUESTIONS, purpose="names", dns_policy="Default", seconds=90)) for _ in range(20)}
    assert len(names) == 20


class Pods:
    """A cluster that runs pods at once, one answer after the other, the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.there: dict[str, Any] = {"firstlight-probe-names-left": ended(inside="")}
        self.made: list[str] = []
        self.events: list[Any] = []

    def apply(self, items: list[Any]) -> None:
        for item in items:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            self.made.append(name_of(item))
            self.there[name_of(item)] = {**item, **answer, "metadata": item["metadata"]}

    def get(self, _kind: object, name: str, _namespace: str = "") -> Any:
        return self.there.get(name)

    def list_objects(self, kind: tuple[str, str], _namespace: str = "", *, labels: str = "", fields: str = "") -> Any:
        if kind[1] == "Event":
            assert fields == f"involvedObject.name={self.made[-1]},type=Warning"
            return self.events
        assert "app.kubernetes.io/component=names" in labels
        return [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "kube-system"}}
            for name in self.there
        ]

    def watch(self, *_: object, **__: object) -> Any:
        return iter(())

    def delete(self, name: ObjectRef) -> None:
        del self.there[name.name]


def asked(pods: Pods) -> tuple[Outcome | None, Any]:
    """What comes of asking, and the verdict of the run."""
    found: list[Outcome] = []

    def run(ctx: Context) -> None:
        api: Cluster = pods  # type: ignore[assignment] # only what is asked of it
        found.append(ask(ctx, api, template(), {"inside": "x:1"}, purpose="names", dns_policy="Default", seconds=90))

    action = Action(description="ask", reason="it was not asked", run=run, recognised_by="an answer")
    step = Step(
        name="ask", title="ask", actions=lambda _ctx, _facts: [action],
        probe=lambda _: Done("asked", None) if found else ToDo(None),
    )  # fmt: skip
    verdict = run_phases([Phase(name="core", title="core", steps=(step,), target=600.0)])
    return (found[0] if found else None), verdict


GOOD, BROKEN = ended(inside=""), ended(inside="TIMEOUT")


@pytest.mark.parametrize(
    ("answers", "pods", "word"),
    [
        ((GOOD,), 1, Word.CONNECTED),
        ((BROKEN, GOOD), 2, Word.CONNECTED),
        ((BROKEN,), ATTEMPTS, Word.TIMEOUT),
        ((waiting("ErrImagePull"), GOOD), 2, Word.CONNECTED),
    ],
)
def test_only_what_fails_again_and_again_is_broken(answers: tuple[Any, ...], pods: int, word: Word) -> None:
    cluster = Pods(*answers)
    outcome, _ = asked(cluster)
    assert outcome
    assert outcome.answers["inside"].word is word
    assert len(cluster.made) == pods
    assert cluster.there == {}


def test_a_pod_that_never_runs_is_no_answer_and_is_not_made_again() -> None:
    cluster = Pods({"status": {"phase": "Pending"}})
    outcome, verdict = asked(cluster)
    assert outcome
    assert outcome.hindrance.startswith("last seen: firstlight-probe-names-")
    assert outcome.hindrance.endswith("Pending, not scheduled")
    assert len(cluster.made) == 1
    assert cluster.there == {}
    assert verdict.exit_code == 0


def test_what_kubelet_says_last_explains_a_pod_that_could_not_ask() -> None:
    cluster = Pods(waiting("ErrImagePull"))
    cluster.events = [
        {"reason": "Failed", "message": "no such host", "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"reason": "Pulling", "message": "Pulling image", "lastTimestamp": "2026-01-01T00:00:01Z"},
    ]
    outcome, _ = asked(cluster)
    assert outcome
    assert outcome.hindrance == "ErrImagePull: why; Failed: no such host"

"""A pod that tries to connect and says how it went, read from its status alone.

Each question is a container with `agnhost connect HOST:PORT` (Kubernetes, test/images/agnhost/connect): it exits 0, or
1 with a word that says what went wrong. The pod is deleted when it has answered; what a killed run left is found by
label and deleted before the next is made.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Gate, Observation
from bootstrap.host.errors import WaitTimeoutError
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, objects, sequence, text
from kube.belongings import Belongings, labels_of
from kube.cluster import EVENT, POD, reference
from kube.watching import SAFETY_SECONDS, Watched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.engine.step import Context
    from bootstrap.host.yaml_io import Yaml
    from kube.cluster import Cluster, ObjectRef

# Routes to a Service are set up a moment after its pods are ready, so only who fails again and again is broken.
ATTEMPTS: Final = 3
# Seconds beyond the pod's own deadline, for a scheduler and a kubelet that are slow to say so.
PATIENCE: Final = 30.0
# Why a container that is about to be created waits.
_USUAL: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


class Word(StrEnum):
    """How an attempt to connect went; all but the first as agnhost says it."""

    CONNECTED = "CONNECTED"
    DNS = "DNS"
    TIMEOUT = "TIMEOUT"
    REFUSED = "REFUSED"
    OTHER = "OTHER"


_SAID: Final = re.compile(rf"^({'|'.join(word for word in Word if word is not Word.CONNECTED)})\b", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What a pod said to one question.

    Attributes:
        word: how it went.
        said: the whole line; empty when it connected.
    """

    word: Word
    said: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a pod.

    Attributes:
        node: where it ran; empty when it was never scheduled.
        answers: by question; empty when it could not be asked all of them.
        hindrance: why it could not be asked; empty when it was.
        has_network: false when its node could not set up a network for it.
        took_all: whether it used up its time, so that another would as well.
    """

    node: str
    answers: Mapping[str, Answer] = field(default_factory=dict)
    hindrance: str = ""
    has_network: bool = True
    took_all: bool = False

    @property
    def is_good(self) -> bool:
        """Whether every question was answered by a connection."""
        return bool(self.answers) and all(one.word is Word.CONNECTED for one in self.answers.values())


def ask(
    ctx: Context, api: Cluster, template: Object, questions: Mapping[str, str],
    *, purpose: str, dns_policy: str, seconds: float,
) -> Outcome:  # fmt: skip
    """Ask from a pod, from another one where the first could not connect, and leave none behind.

    Args:
        ctx: of the action that asks.
        api: the cluster.
        template: the pod with one container; its namespace is where the pod runs.
        questions: `HOST:PORT` by name, which is a DNS label.
        purpose: who asks, a DNS label; pods that a killed run left with it are deleted first.
        dns_policy: `Default` for names as the node knows them, `ClusterFirst` for names as pods do.
        seconds: the longest that a pod may take to be made and to answer.

    Raises:
        KubeError: the API cannot be used, or does not take the pod.
        WaitTimeoutError: the deadline of phase or run has passed.
    """
    pods = Belongings(api, purpose, (POD,), namespace_of(template))
    for attempt in range(ATTEMPTS):
        with ctx.outside("request"):
            pods.remove()
        item = pod(template, questions, purpose=purpose, dns_policy=dns_policy, seconds=seconds)
        outcome = _ask_once(ctx, api, item, seconds=seconds)
        if outcome.is_good or outcome.took_all or attempt == ATTEMPTS - 1:
            break
        ctx.note(f"asking again from another pod: {_told(outcome)}")
    return outcome


def pod(
    template: Object, questions: Mapping[str, str], *, purpose: str, dns_policy: str, seconds: float
) -> Object:  # fmt: skip
    """The pod that asks these questions, with a name of its own; see `ask`."""
    # A name known beforehand, where `generateName` leaves the name of a pod unknown whose creation was answered by
    # nobody. Eight digits are enough: there are at most a few at the same time.
    name = f"{name_of(template)}-{purpose}-{secrets.token_hex(4)}"
    labels = {**mapping(template, "metadata", "labels"), **labels_of(purpose)}
    (model,) = objects(template, "spec", "containers")
    containers: list[Yaml] = [
        {**model, "name": question, "args": [*sequence(model, "args"), target]}
        for question, target in questions.items()
    ]
    return {
        **template,
        "metadata": {**mapping(template, "metadata"), "name": name, "labels": labels},
        "spec": {
            **mapping(template, "spec"),
            "activeDeadlineSeconds": round(seconds),
            "containers": containers,
            "dnsPolicy": dns_policy,
        },
    }


def read(item: Object) -> Outcome | None:
    """What became of a pod; None while it may still answer."""
    node, statuses = text(item, "spec", "nodeName"), objects(item, "status", "containerStatuses")
    for status in statuses:
        waiting = mapping(status, "state", "waiting")
        if text(waiting, "reason") not in _USUAL:
            return Outcome(node, hindrance=f"{text(waiting, 'reason')}: {text(waiting, 'message')}")
    if text(item, "status", "phase") not in {"Succeeded", "Failed"}:
        return None
    ended = [(text(status, "name"), mapping(status, "state", "terminated")) for status in statuses]
    reason = ": ".join(part for key in ("reason", "message") if (part := text(item, "status", key)))
    took_all = text(item, "status", "reason") == "DeadlineExceeded"
    if not ended or not all(state for _, state in ended):
        hindrance = reason or "it ended without having asked"
        return Outcome(node, hindrance=hindrance, has_network=_has_network(item), took_all=took_all)
    answers = {name: _answer(state) for name, state in ended}
    silent = [name for name, answer in answers.items() if answer is None]
    if silent:
        texts = "; ".join(f"{name}: {_words(state)}" for name, state in ended if name in silent)
        return Outcome(node, hindrance=texts, took_all=took_all)
    return Outcome(node, answers={name: answer for name, answer in answers.items() if answer})


def _answer(state: Object) -> Answer | None:
    """What a container that ended said; None when it did not get as far as that."""
    if number(state, "exitCode") == 0:
        return Answer(Word.CONNECTED)
    found = _SAID.search(text(state, "message"))
    return Answer(Word(found[1]), _words(state)) if found else None


def _words(state: Object) -> str:
    said = " ".join(text(state, "message").split())
    return said or f"{text(state, 'reason')}, exit code {number(state, 'exitCode')}"


def _has_network(item: Object) -> bool:
    # True once the sandbox is there and its network is set up (Kubernetes, PodReadyToStartContainersCondition).
    told = {text(one, "type"): text(one, "status") for one in objects(item, "status", "conditions")}
    return told.get("PodReadyToStartContainers", "True") == "True"


def _ask_once(ctx: Context, api: Cluster, item: Object, *, seconds: float) -> Outcome:
    name = reference(item)
    watched = Watched(lambda: api, (POD, name.namespace))

    def check(_: Context) -> Observation[Outcome]:
        found = watched.now().get(POD, name.name, name.namespace)
        outcome = read(found) if found else None
        seen = _told(outcome) if outcome else _seen(found)
        return Observation(holds=outcome is not None, seen=f"{name.name}: {seen}", value=outcome)

    gate = Gate(
        # Without the pod's own name, so that a wait knows how long the earlier ones took.
        description=f"a pod in {name.namespace} to answer",
        check=check,
        timeout=seconds + PATIENCE,
        interval=SAFETY_SECONDS,
        watch=watched.watch,
    )
    with ctx.outside("request"):
        api.apply([item])
    try:
        found = ctx.wait(gate).value or Outcome("")
        return found if found.answers else _explained(ctx, api, name, found)
    except WaitTimeoutError as error:
        # Where the limit was not the pod's own there is nothing left here, and this raises again.
        ctx.limit(gate.timeout)
        return Outcome("", hindrance=error.cause, took_all=True)
    finally:
        with ctx.outside("request"):
            api.delete(name)


def _explained(ctx: Context, api: Cluster, name: ObjectRef, outcome: Outcome) -> Outcome:
    """With what kubelet or scheduler said last of a pod that could not ask."""
    with ctx.outside("request"):
        events = api.list_objects(EVENT, name.namespace, fields=f"involvedObject.name={name.name},type=Warning")
    last = max(events, key=lambda event: text(event, "lastTimestamp"), default=None)
    if last is None:
        return outcome
    said = f"{outcome.hindrance}; {text(last, 'reason')}: {text(last, 'message')}"
    return Outcome(outcome.node, hindrance=said, has_network=outcome.has_network, took_all=outcome.took_all)


def _seen(found: Object | None) -> str:
    if found is None:
        return "it is not there"
    where = f" on {node}" if (node := text(found, "spec", "nodeName")) else ", not scheduled"
    return f"{text(found, 'status', 'phase') or 'Pending'}{where}"


def _told(outcome: Outcome) -> str:
    answers = ", ".join(f"{name} {answer.said or answer.word}" for name, answer in outcome.answers.items())
    return answers or outcome.hindrance

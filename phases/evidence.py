"""What a person would ask for after a failed run, gathered while it can still be had: nodes, events, pods, Flux.

Everything only reads. A question that gets no answer is named in `index.txt` with the reason.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bootstrap.engine import Done
from bootstrap.engine.machine import State
from bootstrap.host.errors import ExitCode
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import dig, name_of, namespace_of, number, objects, text
from bootstrap.views.failure import failure_lines
from bootstrap.views.text import one_line
from kube.cluster import EVENT, NODE, POD
from kube.pods import container_statuses
from phases.controlplane import kubeconfig
from phases.machines import present
from phases.refs import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bootstrap.engine import Context, Phase
    from bootstrap.engine.step import AnyStep
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.objects import Object
    from inventory.model import Node
    from kube.cluster import Cluster
    from phases.world import Credentials, World

# Seconds for everything: an operator who waits at a failed run waits no longer for what may not come.
WHOLE_SECONDS: Final = 30.0
# Questions at the same time: enough for the nodes of a cluster, few beside what one machine can bear.
WORKERS: Final = 8
# Bytes of a file: what an editor opens at once, and more than a kernel's own buffer.
MOST_BYTES: Final = 1_000_000
# Lines of a service's log: several minutes of a service that restarts in a loop.
LOG_LINES: Final = 500
# After these there is something to look at; the rest refused before anything was touched, or was told to end.
_WORTH_IT: Final = frozenset({ExitCode.FAILED, ExitCode.TIMED_OUT})
# A service that ended well; all others should be healthy.
FINISHED: Final = "Finished"


def is_wanted(verdict: Verdict) -> bool:
    """Whether a run failed in a way that machines and cluster can say more about."""
    return verdict.exit_code in _WORTH_IT and any(step.state is State.FAILED for step in verdict.steps())


@dataclass(frozen=True)
class Question:
    """One file of the bundle, and how its text is had."""

    file: str
    ask: Callable[[], str]


class Gatherer:
    """The `Evidence` of a cluster.

    Args:
        world: whose machines and cluster are asked; its redactor masks every text.
        end_children: ends programs that still run when the time is over.
        seconds: for everything.
    """

    def __init__(
        self, world: World, *, end_children: Callable[[], None] = lambda: None, seconds: float = WHOLE_SECONDS
    ) -> None:
        self._world = world
        self._end_children = end_children
        self._seconds = seconds
        self._credentials: Credentials | None = None

    def follow(self, phases: Sequence[Phase]) -> tuple[Phase, ...]:
        """The same phases; with the secrets that the run resolves, evidence is asked for later."""
        return tuple(replace(phase, steps=tuple(self._kept(step) for step in phase.steps)) for phase in phases)

    def _kept(self, step: AnyStep) -> AnyStep:
        if step.name != SECRETS.name:
            return step

        def probe(ctx: Context) -> Any:
            found = step.probe(ctx)
            if isinstance(found, Done):
                self._credentials = found.value
            return found

        return replace(step, probe=probe)

    def gather(self, folder: Path, verdict: Verdict) -> None:
        """Write what can be had within the time below `folder`; see `Evidence.gather`."""
        asked = tuple(self._questions())
        answers = self._answers(asked)
        missing = {each.file: f"no answer within {self._seconds:.0f} s" for each in asked}
        try:
            for question, answer in answers.items():
                if isinstance(answer, Exception):
                    missing[question.file] = self._clean(one_line(str(answer)) or type(answer).__name__)
                else:
                    write_atomically(folder / question.file, _bounded(self._clean(answer)), mode=0o600)
                    del missing[question.file]
            index = "\n".join(_index(verdict, asked, missing)) + "\n"
            write_atomically(folder / "index.txt", index.encode(), mode=0o600)
        except OSError:
            # A full disk is what the run itself has told of by then.
            return

    def _clean(self, answer: str) -> str:
        return self._world.redactor.redact(answer)

    def _questions(self) -> Iterator[Question]:
        credentials = self._credentials
        if credentials is None:
            return
        for node in present(self._world.cluster):
            yield Question(f"{node.name}/services.txt", partial(self._services, node, credentials))
            yield Question(f"{node.name}/dmesg.txt", partial(self._kernel, node, credentials))
        for name, render in (("nodes", _nodes), ("pods", _pods), ("events", _events), ("flux", _flux)):
            yield Question(f"{name}.txt", partial(self._kubernetes, render, credentials))

    def _answers(self, questions: Sequence[Question]) -> dict[Question, str | Exception]:
        waiting: queue.SimpleQueue[Question] = queue.SimpleQueue()
        given: queue.SimpleQueue[tuple[Question, str | Exception]] = queue.SimpleQueue()
        stop = threading.Event()
        for question in questions:
            waiting.put(question)
        for _ in range(min(WORKERS, len(questions))):
            # A daemon, because a call that never returns must not keep the process.
            threading.Thread(target=_work, args=(waiting, given, stop), daemon=True).start()
        answers: dict[Question, str | Exception] = {}
        deadline = time.monotonic() + self._seconds
        try:
            while len(answers) < len(questions):
                question, answer = given.get(timeout=max(0.0, deadline - time.monotonic()))
                answers[question] = answer
        except queue.Empty:
            pass
        finally:
            # Also when a signal ends the wait: nothing more is asked, and no child outlives us.
            if len(answers) < len(questions):
                stop.set()
                self._end_children()
        return answers

    def _services(self, node: Node, credentials: Credentials) -> str:
        """The services of a node, and the logs of those that are not well."""
        talosctl, address = self._world.talosctl, str(node.address)
        services = talosctl.services(address, credentials.talosconfig)
        parts = [
            f"{name:<12} {each.state:<10} {_health(each.healthy):<10} {each.event}" for name, each in services.items()
        ]
        for name, each in services.items():
            if each.healthy is not True and each.state != FINISHED:
                parts += ("", f"--- the end of the log of {name}")
                parts.append(talosctl.service_log(address, credentials.talosconfig, name, lines=LOG_LINES))
        return "\n".join(parts) + "\n"

    def _kernel(self, node: Node, credentials: Credentials) -> str:
        return self._world.talosctl.kernel_log(str(node.address), credentials.talosconfig)

    def _kubernetes(self, render: Callable[[Cluster], Iterator[str]], credentials: Credentials) -> str:
        api = self._world.connect(kubeconfig(self._world, credentials))
        try:
            return "".join(f"{line}\n" for line in render(api)) or "there is none\n"
        finally:
            api.close()


def _work(
    waiting: queue.SimpleQueue[Question],
    given: queue.SimpleQueue[tuple[Question, str | Exception]],
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            question = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            given.put((question, question.ask()))
        except Exception as error:  # noqa: BLE001 # whatever it is, it is why this file is not there
            given.put((question, error))


def _nodes(api: Cluster) -> Iterator[str]:
    for node in api.list_objects(NODE):
        yield name_of(node)
        yield from _conditions(node)


def _pods(api: Cluster) -> Iterator[str]:
    """The pods that are not ready, and what their containers say."""
    pods = [pod for pod in api.list_objects(POD) if not _is_well(pod)]
    yield f"{len(pods)} pods are not ready"
    for pod in pods:
        place = text(pod, "spec", "nodeName") or "no node"
        yield f"{namespace_of(pod)}/{name_of(pod)}: {text(pod, 'status', 'phase')} on {place}"
        yield from _conditions(pod)
        for container in container_statuses(pod):
            yield f"  {text(container, 'name')}: {'; '.join(_states(container))}"


def _is_well(pod: Object) -> bool:
    if text(pod, "status", "phase") == "Succeeded":
        return True
    ready = (each for each in objects(pod, "status", "conditions") if text(each, "type") == "Ready")
    return any(text(each, "status") == "True" for each in ready)


def _states(container: Object) -> Iterator[str]:
    yield f"image {text(container, 'image')}, {number(container, 'restartCount')} restarts"
    for when, label in (("state", ""), ("lastState", "before: ")):
        for kind in ("waiting", "terminated"):
            if dig(container, when, kind) is not None:
                code = text(container, when, kind, "exitCode")
                said = text(container, when, kind, "message")
                reason = text(container, when, kind, "reason")
                yield one_line(f"{label}{kind} {reason}{f', exit code {code}' if code else ''} {said}")


def _events(api: Cluster) -> Iterator[str]:
    """All events, the latest last."""
    for event in sorted(api.list_objects(EVENT), key=_happened):
        about = f"{text(event, 'involvedObject', 'kind')} {namespace_of(event)}/{text(event, 'involvedObject', 'name')}"
        yield one_line(
            f"{_happened(event)} {text(event, 'type')} {about}: {text(event, 'reason')}, "
            f"{max(1, number(event, 'count'))} times: {text(event, 'message')}"
        )


def _happened(event: Object) -> str:
    found = (text(event, name) for name in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return next((each for each in found if each), text(event, "metadata", "creationTimestamp"))


def _flux(api: Cluster) -> Iterator[str]:
    """Every object of Flux with its conditions."""
    for kind in sorted(kind for kind in api.discover() if "fluxcd." in kind[0]):
        for item in api.list_objects(kind):
            suspended = ", suspended" if dig(item, "spec", "suspend") is True else ""
            generation = number(item, "metadata", "generation")
            yield f"{kind[1]} {namespace_of(item)}/{name_of(item)}: generation {generation}{suspended}"
            yield from _conditions(item)


def _conditions(item: Object) -> Iterator[str]:
    for each in objects(item, "status", "conditions"):
        said = one_line(f"{text(each, 'reason')} {text(each, 'message')}")
        yield f"  {text(each, 'type')}={text(each, 'status')} since {text(each, 'lastTransitionTime')}: {said}"


def _health(healthy: bool | None) -> str:  # noqa: FBT001 # a state of a service, not a flag
    return {True: "healthy", False: "unhealthy", None: "unknown"}[healthy]


def _index(verdict: Verdict, asked: Sequence[Question], missing: dict[str, str]) -> Iterator[str]:
    yield f"run {verdict.run_id} of {verdict.cluster}, exit code {int(verdict.exit_code)}"
    for failure in verdict.failures:
        yield from failure_lines(failure)
    yield ""
    if not asked:
        yield "nothing was asked: the run ended before its secrets were there to ask with"
    yield from (each.file for each in asked if each.file not in missing)
    for file, reason in missing.items():
        yield f"not to be had: {file}: {reason}"


def _bounded(answer: str) -> bytes:
    """The end of an answer, from the beginning of a line."""
    content = answer.encode()
    if len(content) <= MOST_BYTES:
        return content
    kept = content[-MOST_BYTES:]
    kept = kept[kept.find(b"\n") + 1 :]
    return f"{len(content) - len(kept)} bytes before this were left out\n".encode() + kept

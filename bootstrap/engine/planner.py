"""`make_plan`: phases in, plan out; the run without the writes.

The steps are gone through in a run's order, several at once, with the functions that a run would call. A step that
reads files alone is probed, and what its actions leave in our own files is made (in folders that whoever asks for the
plan throws away), so that later steps have their values. A step that says what it foresees is not probed: its
`actions`, which are pure, make of that what a run in an empty world would do. A live plan probes such a step as
well, as long as everything that it needs was found done.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar, cast

from bootstrap.engine.context import UndeclaredNeedError
from bootstrap.engine.driver import is_ours_alone, needed_but_not_selected
from bootstrap.engine.plan import Outlook, Plan, PlannedAction, PlannedGate, PlannedPhase, PlannedStep
from bootstrap.engine.step import Conflict, ConflictError, Done, Skip, ToDo
from bootstrap.engine.verdict import Failure
from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from bootstrap.engine.graph import Graph, Node
    from bootstrap.engine.retry import Patience
    from bootstrap.engine.run import Settings
    from bootstrap.engine.selection import Selection
    from bootstrap.engine.step import Action, Found, Gate, Observation, StepRef

ValueT = TypeVar("ValueT")


def make_plan(
    graph: Graph,
    selection: Selection,
    settings: Settings,
    *,
    live: bool = False,
    note: Callable[[str], None] = lambda _text: None,
    given: Mapping[str, object] | None = None,
) -> Plan:
    """Go through the steps without writing anything but files of our own.

    Args:
        graph: phases and steps, made for a world whose own files may be thrown away.
        selection: which of them a run would act on.
        settings: of the run.
        live: also probe what only the real world can tell.
        note: hears what the steps say beside, in the order of the steps.
        given: values of steps that are not gone through, by name; they count as done.

    Returns:
        The plan. What is wrong with the files, or conflicts with the world, is in it and not raised.

    Raises:
        PlanBugError: a step can have no plan.
    """
    planner = _Planner(graph, selection, settings, live=live, given=given or {})
    planner.plan()
    for path in graph.nodes:
        for text in planner.notes.get(path, ()):
            note(text)
    phases = tuple(
        PlannedPhase(
            phase.name,
            phase.title,
            phase.number,
            phase.target,
            phase.limit,
            tuple(planner.steps[node.path] for node in graph.steps_of(phase)),
        )
        for phase in graph.phases
    )
    return Plan(settings.cluster, live, settings.target, settings.limit, phases)


class PlanBugError(RuntimeError):
    """A step does what no plan can show; a bug of the step."""


class _Planner:
    """Goes through each step once, after those that it needs."""

    def __init__(
        self,
        graph: Graph,
        selection: Selection,
        settings: Settings,
        *,
        live: bool,
        given: Mapping[str, object],
    ) -> None:
        self.steps: dict[str, PlannedStep] = {}
        self.notes: dict[str, list[str]] = {}
        self._graph = graph
        self._selection = selection
        self._settings = settings
        self._live = live
        self._given = {graph.path(name): value for name, value in given.items()}
        self._values: dict[str, object] = {}
        # Steps whose value only stands for what a run would have.
        self._uncertain: set[str] = set()

    def plan(self) -> None:
        """Plan every step, each as soon as those are planned that it needs or follows."""
        left = dict(self._graph.nodes)
        going: dict[Future[PlannedStep], str] = {}
        with ThreadPoolExecutor(self._settings.workers, "plan") as pool:
            while left or going:
                for path in [path for path, node in left.items() if node.needs | node.after <= self.steps.keys()]:
                    going[pool.submit(self._planned, left.pop(path))] = path
                for ended in wait(going, return_when=FIRST_COMPLETED).done:
                    self.steps[going.pop(ended)] = ended.result()

    def _planned(self, node: Node) -> PlannedStep:
        if node.path in self._given:
            self._values[node.path] = self._given[node.path]
            return self._step(node, Outlook.DONE)
        if node.path not in self._selection.acting | self._selection.probing:
            return self._step(node, Outlook.SKIPPED, "not selected")
        without = [path for name in node.step.needs if (path := self._graph.path(name)) not in self._values]
        if without:
            return self._step(node, Outlook.UNKNOWN, f"needs {', '.join(without)}")
        notes = self.notes.setdefault(node.path, [])
        context = _Context(node, self._graph, self._values, notes.append)
        try:
            planned = self._look(node, context)
            return planned if node.path in self._selection.acting else self._needed(node, planned)
        except FirstlightError as error:
            failure = Failure.of(error, remedy=self._settings.resume_command)
            return self._step(node, Outlook.REFUSED, str(error).splitlines()[0], failure=failure)

    def _look(self, node: Node, context: _Context) -> PlannedStep:
        step = node.step
        if step.foresee is None:
            return self._probe(node, context)
        uncertain = [name for name in step.needs if self._graph.path(name) in self._uncertain]
        if self._live and not uncertain:
            return self._probe(node, context)
        foreseen = step.foresee(context)
        self._values[node.path] = foreseen.value
        self._uncertain.add(node.path)
        known_after = ", ".join(uncertain) if self._live else foreseen.known_after
        if foreseen.done:
            return self._step(node, Outlook.DONE, foreseen.summary, known_after=known_after)
        actions = step.actions(context, foreseen.facts)
        return self._to_do(node, context, actions, foreseen.summary, known_after=known_after)

    def _probe(self, node: Node, context: _Context) -> PlannedStep:
        found = node.step.probe(context)
        if not isinstance(found, ToDo):
            return self._found(node, found)
        actions = node.step.actions(context, found.facts)
        if node.step.foresee is None:
            self._make(node, context, actions)
            return self._to_do(node, context, actions, found.summary)
        self._values[node.path] = node.step.foresee(context).value
        self._uncertain.add(node.path)
        return self._to_do(node, context, actions, found.summary, preview=True)

    def _found(self, node: Node, found: Found[object, object]) -> PlannedStep:
        """What is done, does not apply, or is refused."""
        if isinstance(found, Done):
            self._values[node.path] = found.value
            return self._step(node, Outlook.DONE, found.evidence)
        if isinstance(found, Skip):
            self._values[node.path] = found.value
            return self._step(node, Outlook.SKIPPED, found.reason)
        if isinstance(found, Conflict):
            raise ConflictError(found)
        raise FirstlightError(f"{node.path} did what it had to, but its effect is not there", cause=found.summary)

    def _make(self, node: Node, context: _Context, actions: Sequence[Action]) -> None:
        """Leave in our own files what a run would leave there, and take the step's value from that."""
        for action in actions:
            if action.writes:
                raise PlanBugError(f"{node.path} changes {action.changes} and does not say what it foresees")
            action.run(context)
        self._found(node, node.step.probe(context))

    def _needed(self, node: Node, planned: PlannedStep) -> PlannedStep:
        """A step that was not selected, but whose value a selected one needs."""
        if planned.actions and is_ours_alone(node.step, (action.changes for action in planned.actions)):
            return planned
        if planned.outlook is Outlook.DONE:
            text = f"not selected; found done: {planned.text}" if planned.text else "not selected; found done"
        elif self._live and not planned.known_after:
            settings = self._settings
            raise needed_but_not_selected(
                planned.path, planned.text, settings.resume_command, settings.complete_command
            )
        else:
            text = "not selected; a run must find it done"
        return PlannedStep(planned.path, planned.title, Outlook.SKIPPED, text, planned.known_after)

    def _to_do(
        self,
        node: Node,
        context: _Context,
        actions: Sequence[Action],
        text: str,
        *,
        known_after: str = "",
        preview: bool = False,
    ) -> PlannedStep:
        shown = tuple(
            PlannedAction(
                index,
                action.description,
                action.reason,
                action.recognised_by,
                action.kill_safety,
                action.changes,
                action.preview(context) if preview and action.preview else "",
            )
            for index, action in enumerate(actions, start=1)
        )
        gate = node.step.gate(context)
        waits = PlannedGate(gate.description, gate.timeout) if gate else None
        return self._step(node, Outlook.TO_DO, text, known_after=known_after, actions=shown, gate=waits)

    @staticmethod
    def _step(
        node: Node,
        outlook: Outlook,
        text: str = "",
        *,
        known_after: str = "",
        actions: tuple[PlannedAction, ...] = (),
        gate: PlannedGate | None = None,
        failure: Failure | None = None,
    ) -> PlannedStep:
        return PlannedStep(node.path, node.step.title, outlook, text, known_after, actions, gate, failure)


class _Context:
    """What the functions of a step get while it is planned; see the protocol `Context`."""

    def __init__(self, node: Node, graph: Graph, values: Mapping[str, object], note: Callable[[str], None]) -> None:
        self._node = node
        self._graph = graph
        self._values = values
        self._note = note

    @property
    def path(self) -> str:
        """`phase/step`."""
        return self._node.path

    def value(self, step: StepRef[ValueT]) -> ValueT:
        """The value of a step that this one needs; see `Context.value`."""
        path = self._graph.path(step.name)
        if path not in self._node.needs:
            raise UndeclaredNeedError(f"{self.path} reads the value of {path} without needing it")
        # The step that the reference names put its own value there, so the type is the reference's.
        return cast("ValueT", self._values[path])

    def wait(self, gate: Gate[ValueT]) -> Observation[ValueT]:
        """Refused: what must be waited for is not there yet."""
        raise PlanBugError(f"{self.path} waits for {gate.description} while it is planned")

    def note(self, text: str) -> None:
        """Say something that no part of the plan says."""
        self._note(f"{self.path}: {text}")

    def identify(self, kind: str, value: str) -> None:
        """Nothing is remembered."""

    def retry(self, call: Callable[[], ValueT], patience: Patience, *, once: bool = False) -> ValueT:  # noqa: ARG002 # the protocol's names
        """Once: a plan says at once what is wrong."""
        return call()

    def outside(self, kind: str) -> AbstractContextManager[None]:  # noqa: ARG002 # the protocol's name
        """No time is measured."""
        return contextlib.nullcontext()

    def limit(self, seconds: float) -> float:
        """No deadline runs yet."""
        return seconds

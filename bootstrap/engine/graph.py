"""Phases as one graph of steps."""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bootstrap.engine.phase import Phase
    from bootstrap.engine.step import AnyStep


class GraphError(ValueError):
    """The phases do not make a graph that can be run; a bug in the list of phases."""


@dataclass(frozen=True)
class Node:
    """A step in its place.

    Attributes:
        path: `phase/step`.
        phase: the phase that it is part of.
        step: the step.
        needs: paths of the steps that it names, directly or through others; their values are its to read.
        after: paths of the steps that must have ended before, because they stand in earlier phases or it names them.
    """

    path: str
    phase: Phase
    step: AnyStep
    needs: frozenset[str]
    after: frozenset[str]


class Graph:
    """All steps of all phases, in the order of the list.

    Args:
        phases: in their order.

    Raises:
        GraphError: a name stands twice, a need names no step, or steps wait for each other in a circle.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.phases = tuple(phases)
        _refuse_twice("phase", (phase.name for phase in self.phases))
        _refuse_twice("step", (step.name for phase in self.phases for step in phase.steps))
        self._path_of_name = {step.name: f"{phase.name}/{step.name}" for phase in self.phases for step in phase.steps}
        self.nodes: Mapping[str, Node] = {node.path: node for node in self._nodes()}
        self._refuse_circles()

    def path(self, name: str) -> str:
        """The path of a step by its name.

        Raises:
            KeyError: there is no such step.
        """
        return self._path_of_name[name]

    def steps_of(self, phase: Phase) -> tuple[Node, ...]:
        """The nodes of one phase."""
        return tuple(node for node in self.nodes.values() if node.phase is phase)

    @cached_property
    def dependants(self) -> Mapping[str, frozenset[str]]:
        """For each path the steps that cannot run when that one failed, by need or by the order of phases."""
        found: dict[str, set[str]] = {path: set() for path in self.nodes}
        order = graphlib.TopologicalSorter({p: n.needs | n.after for p, n in self.nodes.items()}).static_order()
        for path in reversed(tuple(order)):
            for before in self.nodes[path].needs | self.nodes[path].after:
                found[before] |= {path} | found[path]
        return {path: frozenset(names) for path, names in found.items()}

    def _nodes(self) -> Iterable[Node]:
        direct = self._direct_needs()
        try:
            order = tuple(graphlib.TopologicalSorter(direct).static_order())
        except graphlib.CycleError as error:
            raise GraphError(f"steps need each other in a circle: {' -> '.join(error.args[1])}") from None
        needs: dict[str, frozenset[str]] = {}
        for path in order:
            needs[path] = direct[path].union(*(needs[before] for before in direct[path]))
        earlier: set[str] = set()
        for phase in self.phases:
            paths = [self.path(step.name) for step in phase.steps]
            for path, step in zip(paths, phase.steps, strict=True):
                named = frozenset(self.path(name) for name in step.after)
                yield Node(path, phase, step, needs[path], named if step.early else named.union(earlier))
            earlier.update(paths)

    def _direct_needs(self) -> dict[str, frozenset[str]]:
        direct: dict[str, frozenset[str]] = {}
        for phase in self.phases:
            for step in phase.steps:
                unknown = [name for name in (*step.needs, *step.after) if name not in self._path_of_name]
                if unknown:
                    raise GraphError(f"step {step.name} needs {', '.join(unknown)}, which is no step")
                if undeclared := set(step.reads or ()) - set(step.needs):
                    raise GraphError(f"step {step.name} reads {', '.join(sorted(undeclared))} without needing it")
                direct[self.path(step.name)] = frozenset(self.path(name) for name in step.needs)
        return direct

    def _refuse_circles(self) -> None:
        sorter = graphlib.TopologicalSorter({path: n.needs | n.after for path, n in self.nodes.items()})
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            circle = " -> ".join(error.args[1])
            raise GraphError(f"steps need what comes after them: {circle}") from None


def _refuse_twice(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GraphError(f"the {kind} {name} stands twice in the list")
        seen.add(name)

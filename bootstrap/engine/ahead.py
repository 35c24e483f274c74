"""Looks ahead: probes of steps that an earlier run finished, made before their turn.

A resumed run would find out one step after the other that what is done is done. Probes only read, so those of steps
that the journal calls done are made as soon as the values are there that they read, all at the same time. What such a
look saw counts only when the step's turn comes, only if it was `Done`, and only while the run has neither written nor
waited since it began. Everything else is thrown away, and the step is probed at its turn like any other: no action,
no refusal and no evidence for either ever comes from a look ahead.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bootstrap.engine.step import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from bootstrap.engine.graph import Node
    from bootstrap.engine.retry import Patience
    from bootstrap.engine.scene import Scene
    from bootstrap.engine.step import Gate, Observation, StepRef

ValueT = TypeVar("ValueT")

# Seconds for which a look counts: all probes of a finished cluster take 8 s under emulation, thrice that on a slow day.
MOST_AGE: Final = 30.0


@dataclass(frozen=True)
class Look:
    """What a look ahead saw.

    Attributes:
        found: the step is done.
        began: the clock's seconds.
        read: the values that it was given, by path.
        notes: what the probe said beside.
        identities: whom it met, kind and value.
    """

    found: Done[Any]
    began: float
    read: Mapping[str, object]
    notes: tuple[str, ...]
    identities: tuple[tuple[str, str], ...]


class Ahead:
    """The looks of one run; safe to use from several threads."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._looks: dict[str, Look] = {}
        self._over = threading.Event()

    def end(self) -> None:
        """The run writes or waits: no look counts any more, and none is begun."""
        self._over.set()

    def may_begin(self, node: Node, scene: Scene) -> bool:
        """Whether a step is worth a look, and the values are there that it reads; true once for each step."""
        if self._over.is_set() or node.path in self._begun or not scene.recorder.was_done(node.path):
            return False
        if not all(self._has(path, scene) for path in _read_by(node, scene)):
            return False
        self._begun.add(node.path)
        return True

    def look(self, node: Node, scene: Scene) -> None:
        """Make a step's probe; whatever it raises will be raised again at its turn."""
        context = _LookContext(node, scene, self._value)
        began = scene.clock.monotonic()
        try:
            found = node.step.probe(context)
        except Exception:  # noqa: BLE001 # a look decides nothing, so neither does what ends it
            return
        if isinstance(found, Done):
            said = (context.read, tuple(context.notes), tuple(context.identities))
            self._looks[node.path] = Look(found, began, *said)

    def take(self, path: str, scene: Scene) -> Look | None:
        """What a look saw, at the step's turn; None when it does not count."""
        look = self._looks.get(path)
        if look is None or self._over.is_set() or scene.clock.monotonic() - look.began > MOST_AGE:
            return None
        # A need that was probed again may have given another value than the look was made with.
        is_same = all(before in scene.values and scene.values[before] is value for before, value in look.read.items())
        return look if is_same else None

    def _has(self, path: str, scene: Scene) -> bool:
        return path in scene.values or path in self._looks

    def _value(self, path: str, scene: Scene) -> object:
        if path in scene.values:
            return scene.values[path]
        return self._looks[path].found.value


def _read_by(node: Node, scene: Scene) -> frozenset[str]:
    """The paths of the steps whose values a probe reads."""
    names = node.step.needs if node.step.reads is None else node.step.reads
    return frozenset(scene.path_of_name[name] for name in names)


class _LookContext:
    """What a probe gets ahead of its turn: it may read, and what it says is kept until its look is taken."""

    def __init__(self, node: Node, scene: Scene, value: Callable[[str, Scene], object]) -> None:
        self._node = node
        self._scene = scene
        self._value = value
        self.read: dict[str, object] = {}
        self.notes: list[str] = []
        self.identities: list[tuple[str, str]] = []

    @property
    def path(self) -> str:
        return self._node.path

    def value(self, step: StepRef[ValueT]) -> ValueT:
        path = self._scene.path_of_name[step.name]
        if path not in _read_by(self._node, self._scene):
            raise KeyError(path)
        self.read[path] = self._value(path, self._scene)
        return cast("ValueT", self.read[path])

    def wait(self, gate: Gate[ValueT]) -> Observation[ValueT]:
        raise RuntimeError(f"what waits is not looked at ahead: {gate.description}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def identify(self, kind: str, value: str) -> None:
        self.identities.append((kind, value))

    def retry(self, call: Callable[[], ValueT], _patience: Patience, *, once: bool = False) -> ValueT:  # noqa: ARG002 # the protocol's names
        return call()

    def outside(self, kind: str) -> AbstractContextManager[None]:
        return self._scene.meter.outside(kind)

    def limit(self, seconds: float) -> float:
        return seconds

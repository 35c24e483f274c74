"""Ends or stops a run at a chosen moment, for real: the process sends itself a signal."""

from __future__ import annotations

import errno
import os
import signal
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bootstrap.engine.journal import Journal
from bootstrap.engine.journal_file import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bootstrap.engine.step import Action
    from tests.scripted.model import Effect


class Point(StrEnum):
    """Where an action can be ended."""

    BEFORE_LINE = "before the line that announces it"
    AFTER_LINE = "after that line, before the effect"
    INSIDE = "inside of a helm that it runs"
    EFFECT = "after one effect of it on the world"
    BEFORE_END = "after the effect, before the line that ends it"


@dataclass(frozen=True)
class Trap:
    """What happens when a point is reached for the n-th time; 0 is never."""

    point: Point = Point.BEFORE_LINE
    number: int = 0
    signal: signal.Signals = signal.SIGKILL


class Snare:
    """A trap that is set.

    Args:
        trap: which.
        mark: written when it closes: a scenario whose fault did not happen has failed.
        still: while open, no thread of ours is about to change the world; who is stopped must not hold up others.
    """

    def __init__(self, trap: Trap, mark: Path, still: Callable[[], AbstractContextManager[None]]) -> None:
        self._trap = trap
        self._mark = mark
        self._still = still
        self._lock = threading.Lock()
        self._reached = 0

    def reach(self, point: Point, what: str) -> None:
        """A point was reached."""
        with self._lock:
            if point is not self._trap.point:
                return
            self._reached += 1
            if self._reached == self._trap.number:
                self._mark.write_text(what)
                with self._still():
                    os.kill(os.getpid(), self._trap.signal)

    def effect(self, effect: Effect) -> None:
        """The world was changed."""
        if effect.kind == "begun":
            self.reach(Point.INSIDE, effect.what)
        elif effect.kind != "lease":
            self.reach(Point.EFFECT, f"{effect.kind} {effect.what}")


class FullDisk:
    """A disk that is full from a chosen write on; 0 is never."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._writes = 0

    def write(self, descriptor: int, line: bytes) -> int:
        """Write, or refuse as the kernel does."""
        self._writes += 1
        if 0 < self._number <= self._writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, line)


class TrappedJournal(Journal):
    """The journal, with a snare at each of its action's lines."""

    snare: ClassVar[Snare]
    disk: ClassVar[FullDisk]

    @classmethod
    def open(cls, *arguments: Any, **settings: Any) -> Self:
        """See `Journal.open`."""
        return super().open(*arguments, **settings, disk=Disk(write=cls.disk.write))

    def action_begins(self, path: str, index: int, action: Action) -> None:
        """See `Recorder.action_begins`."""
        self.snare.reach(Point.BEFORE_LINE, f"{path} {index}")
        super().action_begins(path, index, action)
        self.snare.reach(Point.AFTER_LINE, f"{path} {index}")

    def action_ended(self, path: str, index: int, seconds: float, error: str) -> None:
        """See `Recorder.action_ended`."""
        self.snare.reach(Point.BEFORE_END, f"{path} {index}")
        super().action_ended(path, index, seconds, error)

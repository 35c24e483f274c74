"""A phase as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bootstrap.engine.step import AnyStep

# A deadline is this many targets: a slow day is no failure, a day off is.
DEADLINE_FACTOR: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """An ordered part of a run.

    Attributes:
        name: one word, unique among the phases.
        title: what a person reads.
        steps: in the order in which lists and plans show them.
        target: seconds to ready; judged, not enforced.
        deadline: seconds after which waits end; None means twice the target.
        number: the number of the specification's task table; None where it has none.
    """

    name: str
    title: str
    steps: tuple[AnyStep, ...]
    target: float
    deadline: float | None = None
    number: int | None = None

    @property
    def limit(self) -> float:
        """The deadline in seconds, default included."""
        return self.target * DEADLINE_FACTOR if self.deadline is None else self.deadline

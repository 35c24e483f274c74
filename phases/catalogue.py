"""The phases in their order; everything that lists, runs or documents them reads this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from phases import core, crds, handover, preflight, prerequisites, talos

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine import Phase
    from phases.world import World

PHASES: Final[tuple[Callable[[World], Phase], ...]] = (
    preflight.phase,
    talos.phase,
    prerequisites.phase,
    crds.phase,
    core.phase,
    handover.phase,
)


def build(world: World) -> tuple[Phase, ...]:
    """Every phase for a world, in order."""
    return tuple(make(world) for make in PHASES)

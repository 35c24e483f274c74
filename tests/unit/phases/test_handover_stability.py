"""A hand-over is proven by Kustomizations that stay ready, not by a moment in which they are."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from bootstrap.engine.machine import State
from bootstrap.engine.step import Observation
from bootstrap.engine.testing import FakeClock, run_phases
from phases import criteria
from phases.refs import API
from phases.world import Access
from tests.unit.engine.world import phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.cluster import Cluster, Look
    from phases.world import World

# Seconds of the fake clock, more than any look here needs.
PATIENCE = 600.0
# What is seen at each look, the probe's among them; the last stays.
SEEN = (False, True, False, True, True)


class Flapping:
    """Kustomizations that are not ready once more after they were; nobody tells when."""

    def __init__(self, clock: FakeClock) -> None:
        self.looked_at: list[float] = []
        self.over = threading.Event()
        self._clock = clock

    def look(self, *_: object) -> Look:
        self.looked_at.append(self._clock.monotonic())
        return Observation(SEEN[min(len(self.looked_at), len(SEEN)) - 1], "a look")

    def watch(self, *_: object, **__: object) -> Iterator[Any]:
        self.over.wait()
        return iter(())


def test_every_kustomization_has_to_stay_ready() -> None:
    clock = FakeClock()
    flapping = Flapping(clock)
    (criterion,) = (one for one in criteria.criteria() if one.name == "kustomizations")
    world = cast("World", SimpleNamespace(is_verdict=False, cluster=SimpleNamespace(release_seconds=PATIENCE)))
    step = replace(criteria.step_of(world, replace(criterion, look=flapping.look)), needs=(API.name,), reads=None)
    access = Access(cast("Cluster", flapping), Path())
    try:
        verdict = run_phases([phase("handover", step)], values={API.name: access}, clock=clock)
    finally:
        flapping.over.set()
    assert verdict.state is State.DONE
    assert len(flapping.looked_at) > len(SEEN) - 1
    assert flapping.looked_at[-1] - flapping.looked_at[3] >= criteria.STABLE_SECONDS > 0

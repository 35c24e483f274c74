"""The engine's own time in a scripted bootstrap of six machines, beside the longest path through the world's delays.

Run: `.venv/bin/python -m bench.engine`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.clock import SkippingClock
from bench.table import Row, show
from bootstrap.engine import Action, Changes, Context, Done, Found, Gate, Observation, Phase, Step, ToDo
from bootstrap.engine.testing import run_phases
from bootstrap.host import yaml_io
from bootstrap.host.clock import SystemClock
from bootstrap.host.objects import Object, objects, sequence, text
from kube.watching import SAFETY_SECONDS
from phases.controlplane import API_INTERVAL, STEADY
from phases.machines import MACHINE_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.clock import Clock

PROFILE: Final = Path(__file__).with_name("metal.yaml")
# How much faster than life the run in real time is.
SCALE: Final = 20.0
# What scripts are written with: five seconds between two looks (performance facts, 3.3).
SCRIPT_INTERVAL: Final = 5.0
NEVER: Final = threading.Event()


@dataclass(frozen=True)
class Seen:
    """How a gate finds out.

    Attributes:
        interval: seconds between two looks.
        slowest: see `Gate`.
        times: see `Gate`.
        watched: whether the source tells.
    """

    interval: float
    slowest: float | None = None
    times: int = 1
    watched: bool = False


# The intervals are those of the phases themselves.
SEEN: Final = {
    "machine": Seen(MACHINE_INTERVAL),
    "api": Seen(API_INTERVAL, times=STEADY),
    "watch": Seen(SAFETY_SECONDS, watched=True),
}


@dataclass(frozen=True)
class Stage:
    """A step of the profile; see `metal.yaml`."""

    name: str
    phase: str
    needs: tuple[str, ...]
    early: bool
    probe: float
    actions: int
    action: float
    settles: float
    seen: Seen


def read_profile() -> tuple[list[Stage], float]:
    """The stages in their order, and what a look takes."""
    document = yaml_io.load(PROFILE.read_bytes(), source=PROFILE.name)
    look = _number(document, "look")
    return [
        _stage(text(phase, "name"), step) for phase in objects(document, "phases") for step in objects(phase, "steps")
    ], look


def _stage(phase: str, step: Object) -> Stage:
    return Stage(
        name=text(step, "name"),
        phase=phase,
        needs=tuple(str(need) for need in sequence(step, "needs")),
        early=step.get("early") is True,
        probe=_number(step, "probe"),
        actions=int(_number(step, "actions")),
        action=_number(step, "action"),
        settles=_number(step, "settles"),
        seen=SEEN.get(text(step, "seen"), SEEN["watch"]),
    )


def _number(item: object, key: str) -> float:
    value = item.get(key, 0) if isinstance(item, dict) else 0
    return float(value) if isinstance(value, int | float) else 0.0


def longest_path(stages: list[Stage], look: float) -> float:
    """What the world alone takes: a perfect orchestrator does everything as soon as it can, and looks once."""
    ends: dict[str, float] = {}
    phase_ended: dict[str, float] = {}
    for stage in stages:
        before = [phase_ended[phase] for phase in phase_ended if phase != stage.phase and not stage.early]
        begins = max([0.0, *before, *(ends[need] for need in stage.needs)])
        # A gate that wants several looks in a row pauses between them by rule, so that is part of the path.
        steady = (stage.seen.times - 1) * (stage.seen.interval + look)
        gate = stage.settles + look + steady if stage.settles else 0.0
        ends[stage.name] = begins + max(stage.probe, look) + stage.actions * stage.action + gate
        phase_ended[stage.phase] = max(phase_ended.get(stage.phase, 0.0), ends[stage.name])
    return max(ends.values())


class World:
    """Where each step's condition becomes true a while after its last action.

    Args:
        clock: the run's.
        look: seconds that a look takes.
    """

    def __init__(self, clock: Clock, look: float) -> None:
        self.clock = clock
        self._look = look
        self._ready_at: dict[str, float] = {}

    def take(self, ctx: Context, seconds: float) -> None:
        """Somebody else is busy for us."""
        with ctx.outside("request"):
            self.clock.pause(seconds, NEVER)

    def step(self, stage: Stage) -> Step[None, str]:
        """The step of a stage."""

        def probe(ctx: Context) -> Found[None, str]:
            self.take(ctx, max(stage.probe, self._look))
            return ToDo(None, "absent") if stage.actions or stage.settles else Done("there", "value")

        def run(ctx: Context) -> None:
            self.take(ctx, stage.action)
            self._ready_at[stage.name] = self.clock.monotonic() + stage.settles

        def actions(_ctx: Context, _facts: None) -> list[Action]:
            action = Action(
                description="act", reason="absent", run=run, recognised_by="the gate", changes=Changes.MACHINES
            )
            return [replace(action, description=f"act {number}") for number in range(stage.actions)]

        return Step(
            name=stage.name, title=stage.name, probe=probe, actions=actions, gate=lambda _: self._gate(stage),
            needs=stage.needs, early=stage.early,
        )  # fmt: skip

    def _gate(self, stage: Stage) -> Gate[str] | None:
        ready_at = self._ready_at.setdefault(stage.name, self.clock.monotonic() + stage.settles)

        def check(_ctx: Context) -> Observation[str]:
            holds = self.clock.monotonic() >= ready_at
            self.clock.pause(self._look, NEVER)
            return Observation(holds, "there" if holds else "absent", "value")

        @contextlib.contextmanager
        def watch(_ctx: Context, wake: Callable[[], None]) -> Iterator[None]:
            closed = threading.Event()

            def follow() -> None:
                if not self.clock.pause(max(0.0, ready_at - self.clock.monotonic()), closed):
                    wake()

            threading.Thread(target=follow, daemon=True).start()
            yield
            closed.set()

        return Gate(
            description=stage.name, check=check, interval=stage.seen.interval, slowest=stage.seen.slowest,
            times=stage.seen.times, timeout=1e6, watch=watch if stage.seen.watched else None,
        )  # fmt: skip


def run(stages: list[Stage], look: float, clock: Clock) -> Verdict:
    """One bootstrap."""
    world = World(clock, look)
    names = dict.fromkeys(stage.phase for stage in stages)
    phases = [
        Phase(
            name=name,
            title=name,
            steps=tuple(world.step(stage) for stage in stages if stage.phase == name),
            target=1e6,
        )
        for name in names
    ]
    return run_phases(phases, clock=clock, target=1e6)


def scaled(stages: list[Stage], look: float) -> tuple[list[Stage], float]:
    """A faster world; how often we look stays as it is."""
    faster = [
        replace(
            one, probe=one.probe / SCALE, action=one.action / SCALE, settles=one.settles / SCALE,
        )
        for one in stages
    ]  # fmt: skip
    return faster, look / SCALE


def seen_as(stages: list[Stage], seen: Mapping[str, Seen] | Seen) -> list[Stage]:
    """The stages with other gates."""
    return [replace(one, seen=seen if isinstance(seen, Seen) else seen.get(one.name, one.seen)) for one in stages]


def main() -> None:
    """Measure and print."""
    stages, look = read_profile()
    rows: list[Row] = []
    watched, scripted = seen_as(stages, SEEN["watch"]), seen_as(stages, Seen(SCRIPT_INTERVAL))
    for name, variant in (("every source watched", watched), ("as the phases do", stages), ("every 5 s", scripted)):
        verdict, path = run(variant, look, SkippingClock()), longest_path(variant, look)
        doubt = sum(wait.doubt for step in verdict.steps() for wait in step.waits)
        rows += [
            Row(f"1:1, {name}: whole run", verdict.seconds, path, "its longest path", "s"),
            Row(
                f"1:1, {name}: more than the path", verdict.seconds - path, doubt, "doubt of all its polled gates", "s"
            ),
        ]
    for name, variant in (("every source watched", watched), ("as the phases do", stages)):
        faster, quick_look = scaled(variant, look)
        began = time.process_time()
        verdict, path = run(faster, quick_look, SystemClock()), longest_path(faster, quick_look)
        spent = time.process_time() - began
        rows += [
            Row(f"1:{SCALE:.0f}, {name}: whole run", verdict.seconds, path, "its longest path", "s"),
            Row(f"1:{SCALE:.0f}, {name}: more than the path", verdict.seconds - path, spent, "processor time", "s"),
        ]
    show(rows)


if __name__ == "__main__":
    main()

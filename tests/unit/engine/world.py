"""A little world for steps to act on, and builders for steps and phases."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.engine import Action, Changes, Context, Done, Found, Gate, Observation, Phase, Step, ToDo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.engine.step import AnyStep


@dataclass
class World:
    """Which effects exist, and in which order they came about."""

    effects: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, effect: str) -> None:
        with self.lock:
            self.effects.append(effect)

    def acting(
        self,
        name: str,
        *,
        needs: tuple[str, ...] = (),
        early: bool = False,
        effects: Sequence[str] = (),
        before: Callable[[Context], None] = lambda _ctx: None,
        gate: Gate[str] | None = None,
        writes: bool = True,
    ) -> Step[tuple[str, ...], str]:
        """A step with one action for each effect that does not exist yet; its value is its name."""
        wanted = tuple(effects) or (name,)

        def probe(_ctx: Context) -> Found[tuple[str, ...], str]:
            missing = tuple(effect for effect in wanted if effect not in self.effects)
            return ToDo(missing, f"{missing[0]} is missing") if missing else Done(f"{name} is there", name)

        def run(effect: str) -> Callable[[Context], None]:
            def act(ctx: Context) -> None:
                before(ctx)
                self.add(effect)

            return act

        def actions(_ctx: Context, missing: tuple[str, ...]) -> list[Action]:
            return [
                Action(
                    description=f"make {effect}",
                    reason=f"{effect} is missing",
                    run=run(effect),
                    recognised_by=f"{effect} exists",
                    changes=Changes.CLUSTER if writes else Changes.FILES,
                )
                for effect in missing
            ]

        def wait(_ctx: Context) -> Gate[str] | None:
            return gate

        return Step(name=name, title=name, needs=needs, early=early, probe=probe, actions=actions, gate=wait)


def reading(
    name: str,
    look: Callable[[Context], str] = lambda _ctx: "there",
    *,
    needs: tuple[str, ...] = (),
    early: bool = False,
) -> Step[None, str]:
    """A step that only probes; what `look` gives is its value."""

    def probe(ctx: Context) -> Found[None, str]:
        return Done("found", look(ctx))

    return Step(name=name, title=name, needs=needs, early=early, probe=probe)


def phase(name: str, *steps: AnyStep, target: float = 60.0, deadline: float | None = None) -> Phase:
    return Phase(name=name, title=name.title(), steps=steps, target=target, deadline=deadline)


def holds_at_look(number: int, *, seen: str = "not yet") -> Callable[[Context], Observation[str]]:
    """A check that holds from its `number`th look on."""
    looks = iter(range(1, 1_000_000))

    def check(_ctx: Context) -> Observation[str]:
        look = next(looks)
        return Observation(look >= number, "it is there" if look >= number else seen)

    return check

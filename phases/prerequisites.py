"""The phase `prerequisites`: namespaces and the first secret."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bootstrap.engine import Action, Context, Done, Foreseen, Found, KillSafety, Phase, Step, ToDo
from kube.cluster import Comparison, Standing, describe, reference
from phases import sources
from phases.refs import API, RESOURCES, SECRETS
from phases.resources import load_resources, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.world import World


def phase(world: World) -> Phase:
    """The phase `prerequisites`."""
    budget = world.cluster.budgets["prerequisites"]
    return Phase(
        name="prerequisites",
        title="Apply namespaces and the first secret",
        number=0,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            Step(
                name=RESOURCES.name,
                title="Apply bootstrap/resources.yaml",
                probe=partial(_probe, world),
                foresee=partial(_foreseen, world),
                actions=partial(_actions, world),
                needs=(SECRETS.name, API.name),
                inputs=sources.RESOURCES,
            ),
        ),
    )


def _probe(world: World, ctx: Context) -> Found[tuple[Comparison, ...], None]:
    wanted = resolve(load_resources(world.root), ctx.value(SECRETS).named)
    with ctx.outside("request"):
        compared = ctx.value(API).api.compare(wanted)
    pending = tuple(one for one in compared if one.standing in {Standing.ABSENT, Standing.DIFFERENT})
    if not pending:
        return Done(f"{len(compared)} objects as wanted", None)
    return ToDo(pending, "; ".join(f"{one.reference} is {one.standing}" for one in pending))


def _foreseen(world: World, _ctx: Context) -> Foreseen[tuple[Comparison, ...], None]:
    absent = tuple(Comparison(reference(item), Standing.ABSENT) for item in load_resources(world.root))
    return Foreseen(absent, None, known_after=API.name)


def _actions(world: World, _ctx: Context, pending: tuple[Comparison, ...]) -> Sequence[Action]:
    def apply(inner: Context) -> None:
        wanted = resolve(load_resources(world.root), inner.value(SECRETS).named)
        with inner.outside("request"):
            inner.value(API).api.apply(wanted)

    def preview(inner: Context) -> str:
        wanted = resolve(load_resources(world.root), inner.value(SECRETS).named)
        with inner.outside("request"):
            tried = inner.value(API).api.dry_run(wanted)
        return "\n".join(describe(one) for one in tried if one.standing in {Standing.ABSENT, Standing.DIFFERENT})

    names = ", ".join(str(one.reference) for one in pending)
    return [
        Action(
            description=f"apply {names}",
            reason="; ".join(f"{one.reference} is {one.standing}" for one in pending),
            run=apply,
            recognised_by="each object holds what the file says, owned by firstlight",
            kill_safety=KillSafety.PARTIAL,
            preview=preview,
        )
    ]

"""The phase `crds`: definitions out of the charts, into the cluster, established, before any release."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Context, Done, Foreseen, Found, KillSafety, Observation, Phase, Step, ToDo
from bootstrap.engine.step import Gate
from bootstrap.host.objects import Object, name_of
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, Standing, describe
from kube.crds import established, extract
from kube.watching import SAFETY_SECONDS, Watched
from phases import sources
from phases.charts import helmfile
from phases.refs import API, CORE_FOLDER, DEFINITIONS, EXTRACT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.world import World

# One API server establishes at once, several after 5 s; the rest is a busy machine.
ESTABLISHED_SECONDS: Final = 60.0


def phase(world: World) -> Phase:
    """The phase `crds`."""
    budget = world.cluster.budgets["crds"]
    return Phase(
        name="crds",
        title="Apply custom resource definitions",
        number=1,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            Step(
                name=EXTRACT.name,
                title="Extract definitions from the charts",
                probe=partial(_extract, world),
                needs=(CORE_FOLDER.name,),
                early=True,
                inputs=(*sources.HELMFILES, *sources.tree(world.cluster)),
            ),
            Step(
                name=DEFINITIONS.name,
                title="Apply definitions",
                probe=partial(_probe, world),
                foresee=_foreseen,
                actions=partial(_actions, world),
                gate=partial(_gate, world),
                needs=(EXTRACT.name, API.name),
                inputs=(*sources.HELMFILES, *sources.tree(world.cluster)),
            ),
        ),
    )


def _extract(world: World, ctx: Context) -> Found[None, tuple[Object, ...]]:
    file = helmfile(world, ctx.value(CORE_FOLDER), "00-crds.yaml", kubeconfig=None)
    found = tuple(extract(file, world.programs["yq"]))
    return Done(f"{len(found)} definitions", found)


def _probe(_world: World, ctx: Context) -> Found[tuple[str, ...], None]:
    definitions = ctx.value(EXTRACT)
    api = ctx.value(API).api
    with ctx.outside("request"):
        compared = api.compare(definitions)
        look = established(api, [name_of(item) for item in definitions])
    pending = tuple(one.reference.name for one in compared if one.standing in {Standing.ABSENT, Standing.DIFFERENT})
    if not pending and look.holds:
        return Done(look.seen, None)
    return ToDo(pending, f"to apply: {', '.join(pending) or 'none'}; {look.seen}")


def _foreseen(ctx: Context) -> Foreseen[tuple[str, ...], None]:
    return Foreseen(tuple(name_of(item) for item in ctx.value(EXTRACT)), None, known_after=API.name)


def _actions(_world: World, ctx: Context, pending: tuple[str, ...]) -> Sequence[Action]:
    definitions = [item for item in ctx.value(EXTRACT) if name_of(item) in pending]

    def apply(inner: Context) -> None:
        with inner.outside("request"):
            inner.value(API).api.apply(definitions)

    def preview(inner: Context) -> str:
        with inner.outside("request"):
            return "\n".join(map(describe, inner.value(API).api.compare(definitions)))

    if not definitions:
        return []
    return [
        Action(
            description=f"apply the definitions {', '.join(pending)}",
            reason="they are absent or different",
            run=apply,
            recognised_by="each definition holds what its chart says, owned by firstlight",
            kill_safety=KillSafety.PARTIAL,
            preview=preview,
        )
    ]


def _gate(_world: World, ctx: Context) -> Gate[None]:
    names = [name_of(item) for item in ctx.value(EXTRACT)]
    watched = Watched(lambda: ctx.value(API).api, (CUSTOM_RESOURCE_DEFINITION, ""))

    def check(_: Context) -> Observation[None]:
        look = established(watched.now(), names)
        return Observation(look.holds, look.seen)

    return Gate(
        description="every definition to be established",
        check=check,
        interval=SAFETY_SECONDS,
        timeout=ESTABLISHED_SECONDS,
        watch=watched.watch,
    )

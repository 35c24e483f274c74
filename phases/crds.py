"""The phase `crds`: definitions out of the charts, into the cluster, established, before any release."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import (
    Action,
    Conflict,
    Context,
    Done,
    Foreseen,
    Found,
    KillSafety,
    Observation,
    Phase,
    Step,
    ToDo,
)
from bootstrap.engine.step import Gate
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import Problem
from bootstrap.host.objects import Object, name_of
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, Standing, describe
from kube.crds import established, parsed, selected, served
from kube.errors import KubeError, KubeErrorKind
from kube.watching import SAFETY_SECONDS, Watched
from phases import sources
from phases.charts import helmfile, kept
from phases.definitions import HELMFILE, judge, refuse, refuse_unknown, unrendered
from phases.refs import API, CORE_FOLDER, DEFINITIONS, EXTRACT, FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kube.cluster import Cluster, Look
    from phases.world import World

# One API server establishes at once, several after 5 s; one that is emulated takes a second for each definition.
ESTABLISHED_SECONDS: Final = 180.0


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
                needs=(CORE_FOLDER.name, FILES.name),
                early=True,
                inputs=(*sources.HELMFILES, *sources.DEFINITIONS, *sources.tree(world.cluster)),
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
    file = helmfile(world, ctx.value(CORE_FOLDER), HELMFILE, kubeconfig=None)
    yq = world.programs["yq"]
    try:
        found = tuple(parsed(kept(world, file, (yq,), partial(selected, file, yq)), str(file.file)))
    except CommandError as error:
        problems = unrendered(world.root, error.stderr)
        if not problems:
            raise
        return Conflict(
            "a chart of definitions cannot be rendered", problems=problems, remedy="check chart, version and values"
        )
    refuse_unknown(world.forced, found)
    refuse(judge(world.root, world.cluster.name, ctx.value(FILES), found))
    return Done(f"{len(found)} definitions, as expected", found)


def _probe(world: World, ctx: Context) -> Found[tuple[str, ...], None]:
    definitions = ctx.value(EXTRACT)
    api = ctx.value(API).api
    with ctx.outside("request"):
        compared = api.compare(definitions)
        look = _settled(api, definitions, [one.live for one in compared if one.live])
        changed = [item for item, one in zip(definitions, compared, strict=True) if one.standing is Standing.DIFFERENT]
        contested = _contested(api, [item for item in changed if name_of(item) not in world.forced])
    pending = tuple(one.reference.name for one in compared if one.standing in {Standing.ABSENT, Standing.DIFFERENT})
    if contested:
        return contested
    if not pending and look.holds:
        return Done(look.seen, None)
    return ToDo(pending, f"to apply: {', '.join(pending) or 'none'}; {look.seen}")


def _settled(api: Cluster, definitions: Sequence[Object], live: Iterable[Object]) -> Look:
    """Whether all definitions are established and everything that they define is served."""
    look = established(live, [name_of(item) for item in definitions])
    if not look.holds:
        return look
    offered = served(api, definitions)
    return Observation(offered.holds, f"{look.seen}, {offered.seen}")


def _contested(api: Cluster, changed: Sequence[Object]) -> Conflict | None:
    """Fields that other managers own and that an apply would change, as the server itself finds them."""
    try:
        api.dry_run(changed)
    except KubeError as error:
        if error.kind is not KubeErrorKind.CONFLICT:
            raise
        parts = error.parts or (error,)
        return Conflict(
            "other managers own fields of definitions that the charts set otherwise",
            problems=tuple(Problem(f"{part.fact.removeprefix('cannot apply ')}: {part.cause}") for part in parts),
            remedy="suspend who owns them; --force-conflicts takes the fields of the definitions that it names",
        )
    return None


def _foreseen(ctx: Context) -> Foreseen[tuple[str, ...], None]:
    return Foreseen(tuple(name_of(item) for item in ctx.value(EXTRACT)), None, known_after=API.name)


def _actions(world: World, ctx: Context, pending: tuple[str, ...]) -> Sequence[Action]:
    definitions = [item for item in ctx.value(EXTRACT) if name_of(item) in pending]

    def apply(inner: Context) -> None:
        api = inner.value(API).api
        with inner.outside("request"):
            api.apply([item for item in definitions if name_of(item) not in world.forced])
            api.apply([item for item in definitions if name_of(item) in world.forced], force=True)

    def preview(inner: Context) -> str:
        with inner.outside("request"):
            api = inner.value(API).api
            ours = api.dry_run([item for item in definitions if name_of(item) not in world.forced])
            taken = api.dry_run([item for item in definitions if name_of(item) in world.forced], force=True)
        return "\n".join(map(describe, sorted([*ours, *taken], key=lambda one: one.reference)))

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
    definitions = ctx.value(EXTRACT)
    watched = Watched(lambda: ctx.value(API).api, (CUSTOM_RESOURCE_DEFINITION, ""))

    def check(_: Context) -> Observation[None]:
        look = _settled(ctx.value(API).api, definitions, watched.now().list_objects(CUSTOM_RESOURCE_DEFINITION))
        return Observation(look.holds, look.seen)

    return Gate(
        description="every definition to be established and served",
        check=check,
        # No watch tells of discovery, which follows a definition within a second.
        slowest=SAFETY_SECONDS,
        timeout=ESTABLISHED_SECONDS,
        watch=watched.watch,
    )

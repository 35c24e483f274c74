"""The phase `prerequisites`: namespaces and the first secrets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import (
    Action,
    Changes,
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
from bootstrap.host.objects import Object, name_of
from kube.cluster import NAMESPACE, Comparison, Standing, describe, reference
from kube.namespaces import gone, holders
from kube.watching import SAFETY_SECONDS, Watched
from phases import sources
from phases.baseline import digest_key
from phases.obstacles import Survey, survey
from phases.refs import API, RESOURCES, SECRETS
from phases.resources import load_resources, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.world import World

# Seconds; pods get 30 s to end, and the namespace controller looks again within as many. What takes longer is held.
ENDING_SECONDS: Final = 90.0


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


def _wanted(world: World, ctx: Context) -> list[Object]:
    return resolve(world.root, load_resources(world.root), ctx.value(SECRETS).named)


def _probe(world: World, ctx: Context) -> Found[Survey, None]:
    wanted = _wanted(world, ctx)
    with ctx.outside("request"):
        found = survey(
            ctx.value(API).api, wanted, root=world.root, rotate=world.rotate,
            key=lambda: digest_key(ctx.value(SECRETS)),
        )  # fmt: skip
    if found.problems:
        return Conflict("objects of the cluster are not free to be written", problems=found.problems)
    if not found.pending:
        return Done(f"{len(wanted)} objects as wanted", None)
    return ToDo(found, _reason(found))


def _reason(found: Survey) -> str:
    ending = [f"Namespace {name_of(one)} is being deleted, held by {holders(one)}" for one in found.ending]
    pending = [
        f"{one.reference} is {one.standing}{' and to be replaced' if one.reference in found.replaced else ''}"
        for one in found.pending
    ]
    return "; ".join([*ending, *pending])


def _foreseen(world: World, _ctx: Context) -> Foreseen[Survey, None]:
    absent = tuple(Comparison(reference(item), Standing.ABSENT) for item in load_resources(world.root))
    return Foreseen(Survey(absent), None, known_after=API.name)


def _actions(world: World, _ctx: Context, found: Survey) -> Sequence[Action]:
    def split(inner: Context) -> tuple[list[Object], list[Object]]:
        """What others may own fields of, which stops the apply, and what is replaced whoever owns it."""
        wanted = _wanted(world, inner)
        taken = [item for item in wanted if reference(item) in found.replaced]
        return [item for item in wanted if reference(item) not in found.replaced], taken

    def apply(inner: Context) -> None:
        ours, taken = split(inner)
        with inner.outside("request"):
            inner.value(API).api.apply(ours)
            inner.value(API).api.apply(taken, force=True)

    def preview(inner: Context) -> str:
        ours, taken = split(inner)
        # Nothing can be tried in a namespace that is being deleted.
        coming = {one.reference for one in found.pending if one.standing is Standing.ABSENT} if found.ending else set()
        with inner.outside("request"):
            api = inner.value(API).api
            tried = api.dry_run([item for item in ours if reference(item) not in coming])
            tried += api.dry_run(taken, force=True)
        made = [Comparison(name, Standing.ABSENT) for name in sorted(coming)]
        return "\n".join(
            describe(one) for one in [*made, *tried] if one.standing in {Standing.ABSENT, Standing.DIFFERENT}
        )

    names = ", ".join(str(one.reference) for one in found.pending)
    return [
        *([_await_end(found)] if found.ending else []),
        Action(
            description=f"apply {names}",
            reason=_reason(found),
            run=apply,
            recognised_by="each object holds what the file says, owned by firstlight",
            kill_safety=KillSafety.PARTIAL,
            preview=preview,
        ),
    ]


def _await_end(found: Survey) -> Action:
    names = [name_of(one) for one in found.ending]
    spoken = ", ".join(names)

    def wait(ctx: Context) -> None:
        watched = Watched(lambda: ctx.value(API).api, (NAMESPACE, ""))

        def check(_: Context) -> Observation[None]:
            look = gone(watched.now(), names)
            return Observation(look.holds, look.seen)

        ctx.wait(
            Gate(
                description=f"namespace {spoken} to be gone",
                check=check,
                interval=SAFETY_SECONDS,
                timeout=ENDING_SECONDS,
                watch=watched.watch,
                remedy="end what holds it, by its own means; then run the same command again",
            )
        )

    return Action(
        description=f"wait for namespace {spoken} to be gone",
        reason=f"nothing can be made in it: {'; '.join(holders(one) for one in found.ending)}",
        run=wait,
        recognised_by="the API has no such namespace, or another one",
        changes=Changes.NOTHING,
    )

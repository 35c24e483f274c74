"""The criteria of the hand-over that are looks at the live cluster, each with the step that judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Context, Done, Foreseen, Found, Observation, Step, ToDo
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from bootstrap.host.errors import ExitCode
from gitops import apart, handover
from gitops.tree import FLUX_SYSTEM, HELM_GROUP, name_in
from kube.cluster import DEPLOYMENT, POD
from kube.rollout import deployment_ready
from kube.watching import SAFETY_SECONDS, Watched
from phases.refs import API, BASELINE, COMMIT, FILES, LAST, SECRETS
from phases.releases import instance_ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from kube.cluster import Look, Reading
    from kube.watching import Source
    from phases.world import World

# Seconds; a child that its parent has just changed is reconciled anew within one or two, and is not Ready meanwhile.
STABLE_SECONDS: Final = 3.0
# What every step of the phase reads.
NEEDS: Final = (FILES.name, SECRETS.name, API.name, COMMIT.name, BASELINE.name, LAST.name)


@dataclass(frozen=True)
class Criterion:
    """One criterion of the hand-over that is a look at the live cluster.

    Attributes:
        name: of the step.
        title: what it shows, for the verdict.
        awaited: completes "waiting for ...".
        look: sees whether it holds, in what the last parameter gives of the cluster.
        sources: what that look reads.
        stable: seconds for which it must hold without a break, where it can flap.
    """

    name: str
    title: str
    awaited: str
    look: Callable[[Context, Reading], Look]
    sources: tuple[Source, ...]
    stable: float = 0.0


def criteria() -> tuple[Criterion, ...]:
    """All of them, in the order in which they come to hold."""
    return (
        Criterion(
            "operator", "flux-operator is Ready", "flux-operator to be ready",
            lambda _, live: deployment_ready(live, FLUX_SYSTEM, "flux-operator"),
            ((DEPLOYMENT, FLUX_SYSTEM), (POD, FLUX_SYSTEM)),
        ),
        Criterion(
            "instance", "FluxInstance is Ready at the version of the tree", "FluxInstance to be ready",
            lambda ctx, live: instance_ready(live, ctx.value(FILES)),
            ((handover.FLUX_INSTANCE, FLUX_SYSTEM), (DEPLOYMENT, FLUX_SYSTEM)),
        ),
        Criterion(
            "source", "the Git source has the commit that was bootstrapped", "the Git source to have the commit",
            lambda ctx, live: handover.source_at(live, ctx.value(COMMIT)),
            ((handover.GIT_REPOSITORY, FLUX_SYSTEM),),
        ),
        Criterion(
            "kustomizations", "every Kustomization is Ready at that commit", "every Kustomization to be ready",
            _kustomizations,
            ((handover.KUSTOMIZATION, ""), (handover.HELM_RELEASE, ""), (handover.GIT_REPOSITORY, FLUX_SYSTEM)),
            stable=STABLE_SECONDS,
        ),
        Criterion(
            "releases", "every HelmRelease is Ready", "every HelmRelease to be ready", _releases,
            ((handover.HELM_RELEASE, ""), (handover.KUSTOMIZATION, "")), stable=STABLE_SECONDS,
        ),
    )  # fmt: skip


def step_of(world: World, criterion: Criterion) -> Step[None, None]:
    """The step that judges a criterion."""

    def proofs(look: Look) -> tuple[Proof, ...]:
        return (Proof(criterion.title, look.seen), *look.proofs) if look.holds else ()

    def probe(ctx: Context) -> Found[None, None]:
        with ctx.outside("request"):
            look = criterion.look(ctx, ctx.value(API).api)
        if not look.holds:
            return ToDo(None, look.seen)
        if world.is_verdict and criterion.stable:
            # A run that only judges has not waited for anything before, so one look may have met a moment.
            held = ctx.wait(gate(ctx))
            return Done(held.seen, None, held.proofs)
        return Done(look.seen, None, proofs(look))

    def gate(ctx: Context) -> Gate[None]:
        watched = Watched(lambda: ctx.value(API).api, *criterion.sources)

        def check(_: Context) -> Observation[None]:
            look = criterion.look(ctx, watched.now())
            return Observation(look.holds, look.seen, proofs=proofs(look), conflict=look.conflict)

        return Gate(
            description=criterion.awaited,
            check=check,
            interval=SAFETY_SECONDS,
            timeout=world.cluster.release_seconds,
            stable=criterion.stable,
            grace=handover.GRACE_SECONDS,
            expires=expiry(world),
            watch=watched.watch,
        )

    return Step(
        name=criterion.name, title=criterion.title, probe=probe, gate=gate, needs=NEEDS, foresee=awaited,
        reads=(FILES.name, API.name, COMMIT.name),
    )  # fmt: skip


def expiry(world: World) -> ExitCode:
    """What a run exits with when something did not come to hold in time."""
    return ExitCode.FAILED if world.is_verdict else ExitCode.TIMED_OUT


def awaited(_ctx: Context) -> Foreseen[None, None]:
    """Foreseen once Flux has been installed."""
    return Foreseen(None, None, known_after=LAST.name)


def _kustomizations(ctx: Context, live: Reading) -> Look:
    tree = ctx.value(FILES)
    separate = apart.of_tree(tree)
    expected = [one.name for one in tree.kustomizations if one.name not in separate]
    return handover.kustomizations_at(live, ctx.value(COMMIT), expected)


def _releases(ctx: Context, live: Reading) -> Look:
    tree = ctx.value(FILES)
    separate = apart.of_tree(tree)
    every = tree.of_kind(HELM_GROUP, "HelmRelease")
    return handover.releases_ready(live, [name_in(item) for one, item in every if one.name not in separate])
